"""The order of rows in a file carries no meaning, ids do."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages import embed, evaluate, train_pretrained
from tests.networks import CLASSES, changed_params, mobilenet, scratch, write_split
from tissue.backbones.build import values_digest
from tissue.common.files import write_table
from tissue.common.names import MODELS
from tissue.config.schema import Params
from tissue.training.saving import load_model, save_model


def shuffle_features(folder: Path, order: np.random.Generator) -> None:
    for name in ("train", "train_stained", "val", "test"):
        features = np.load(folder / f"{name}.npy", allow_pickle=False)
        ids = pd.read_csv(folder / f"{name}.csv")
        rows = order.permutation(len(ids))
        np.save(folder / f"{name}.npy", features[rows])
        write_table(ids.iloc[rows], folder / f"{name}.csv")


def predictions(params: Params, root: Path) -> pd.DataFrame:
    evaluate.run(params, root)
    tables = [pd.read_csv(root / f"data/predictions/{name}.csv") for name in MODELS]
    joined = pd.concat(tables, keys=MODELS).reset_index(level=0, names="model")
    return joined.sort_values(["model", "id"], ignore_index=True)


@pytest.mark.usefixtures("small_mobilenet")
def test_shuffled_rows_give_the_same_predictions(tmp_path: Path) -> None:
    weights = tmp_path / "a.weights.h5"
    mobilenet().get_layer("mobilenet_v2_035").save_weights(weights)
    params = changed_params(
        seed=1, lr=0.05, batch_size=8, scratch={"views": 2}, evaluate={"bootstrap": 100},
        pretrained={"weights": str(weights), "views": 2},
    )  # fmt: skip
    plain, embedded, both = (tmp_path / name for name in ("plain", "embedded", "both"))
    rng = np.random.default_rng(8)
    for root in (plain, embedded, both):
        write_split(root / "data/split", rng if root is both else None)
        embed.run(params, root)
        if root is not plain:
            shuffle_features(root / "data/embed", rng)
    for root in (plain, embedded):
        train_pretrained.run(params, root)
    # Features are looked up by id, so training sees the same rows in the same order.
    models = plain / "data/models"
    digests = {
        values_digest(load_model(root / "data/models/pretrained.keras"))
        for root in (plain, embedded)
    }
    assert len(digests) == 1
    save_model(scratch(), models / "scratch.keras")
    (embedded / "data/models/pretrained.keras").unlink()
    for root in (embedded, both):
        (root / "data/models").mkdir(exist_ok=True)
        for name in MODELS:
            (root / f"data/models/{name}.keras").symlink_to(models / f"{name}.keras")
    first, second, third = (predictions(params, root) for root in (plain, embedded, both))
    pd.testing.assert_frame_equal(first, second)
    pd.testing.assert_frame_equal(first, third, atol=1e-4)
    of_head = first[first["model"] == "pretrained"]
    assert (of_head["class"] == of_head["predicted"]).mean() > 0.9
    assert list(first.columns[-4:]) == [f"p_{name}" for name in CLASSES]
