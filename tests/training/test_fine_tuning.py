"""Fine-tuning: what learns, what stays, and the copies whose maps are kept."""

from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers
from keras.utils import to_categorical

from tests.networks import changed_params, dataset, joined, mobilenet, same_weights
from tissue.backbones.build import build_backbone
from tissue.common.errors import InputError
from tissue.data.index import Dataset
from tissue.training.batches import Batches
from tissue.training.fine_tuning import augment_both_scales, both_scales, fine_tune, unfreeze
from tissue.training.frozen_maps import cut_below_trained, pick_copy
from tissue.training.inference import is_fine_tuned
from tissue.training.loop import FitSettings, Phase, fit, validation_loss
from tissue.training.saving import load_model, save_model

small = pytest.mark.usefixtures("small_mobilenet")


WHOLE = dataset(8)
WITH_CROPS = WHOLE._replace(crops=np.stack([WHOLE.images, WHOLE.images[:, ::-1]], axis=1))


def tune(model: keras.Model, data: Dataset, *, lr: float, **changes: int) -> pd.DataFrame:
    return fine_tune(model, data, data, changed_params(pretrained=changes, lr=lr, batch_size=4))


def layers_of(backbone: keras.Model) -> list[keras.Layer]:
    return backbone.get_layer("mobilenet_v2_035").layers


@small
@pytest.mark.parametrize("count", [4, 1000])
def test_unfrozen_layers_learn_and_batch_normalisation_does_not(count: int, tmp_path: Path) -> None:
    backbone = mobilenet()
    model = joined(backbone)
    save_model(model, tmp_path / "frozen.keras")
    unfreeze(backbone, count)
    network = layers_of(backbone)
    norms = [layer for layer in network if isinstance(layer, layers.BatchNormalization)]
    assert not any(layer.trainable for layer in norms)
    before = [layer.get_weights() for layer in network]
    batches = Batches(WHOLE.images, to_categorical(WHOLE.labels, 4), batch_size=4, seed=1)
    fit(model, [Phase(1, batches, batches)], FitSettings(0.01, average=1.0))
    learnt = {
        layer
        for old, layer in zip(before, network, strict=True)
        if not same_weights(old, layer.get_weights())
    }
    assert learnt
    assert not learnt & set(norms)
    assert learnt <= set(network[-count:])
    # Evaluating reads it off the file, since cached features are not those of this model.
    save_model(model, tmp_path / "tuned.keras")
    for name, tuned in (("frozen", False), ("tuned", True)):
        assert is_fine_tuned(load_model(tmp_path / f"{name}.keras")) is tuned


@small
def test_fine_tuning_that_only_harms_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    model = joined(mobilenet())
    before = model.get_weights()
    table = tune(model, WHOLE, lr=1e4, fine_tune_epochs=2, fine_tune_layers=4)
    assert len(table) == 2
    assert model.optimizer is None, "it would be saved with the model"
    assert "the network stays as it was" in capsys.readouterr().out
    assert same_weights(before, model.get_weights())


@small
def test_top_layers_without_weights_are_refused() -> None:
    with pytest.raises(InputError, match=r"fine_tune_layers: expected .* Received: 2,"):
        tune(joined(mobilenet()), WHOLE, lr=0.001, fine_tune_epochs=1, fine_tune_layers=2)


def test_crops_are_stained_as_their_image() -> None:
    rng = np.random.default_rng(0)
    whole = np.broadcast_to(rng.integers(90, 250, (5, 1, 1, 3), np.uint8), (5, 24, 24, 3))
    crops = np.broadcast_to(whole[:, None], (5, 3, 24, 24, 3))
    inputs = {"image": whole, "crops": crops}
    found = augment_both_scales(inputs, rng, zoom=0.5, stain_jitter=0.6)
    assert np.array_equal(np.broadcast_to(found["image"][:, None], crops.shape), found["crops"])
    assert (found["image"] != whole).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize(
    ("key", "strides"),
    [("mobilenet_v2_035", (32,)), ("mobilenet_v2_035", (8, 16)), ("convnext_tiny", (16,))],
)
def test_both_halves_of_a_cut_backbone_are_the_backbone(key: str, strides: tuple[int, ...]) -> None:
    backbone = build_backbone(key, image_size=64, weights="random", strides=strides)
    unfreeze(backbone, 60)
    lower, upper = cut_below_trained(backbone)
    assert not lower.trainable_weights
    trained = [weights.path for weights in backbone.trainable_weights]
    assert [weights.path for weights in upper.trainable_weights] == trained
    images = np.random.default_rng(0).uniform(0, 255, (3, 64, 64, 3)).astype(np.float32)
    assert len(lower.output_shape) == 4
    assert lower.output_shape[1] < 64
    assert np.allclose(upper(lower(images)), backbone(images), atol=1e-5)


@small
def test_with_copies_the_model_of_images_is_trained_above_the_cut() -> None:
    backbone = mobilenet()
    model = joined(backbone, crops=2)
    before = [layer.get_weights() for layer in layers_of(backbone)]
    changes = {"fine_tune_epochs": 6, "fine_tune_layers": 4, "fine_tune_copies": 3}
    table = tune(model, WITH_CROPS, lr=0.003, **changes)
    # The trained layers are in the model that takes images.
    targets = to_categorical(WITH_CROPS.labels, 4)
    val = Batches(both_scales(WITH_CROPS), targets, batch_size=4)
    assert validation_loss(model, val, keras.losses.CategoricalCrossentropy()) == pytest.approx(
        table["val_loss"].iloc[-1], rel=0.01
    )
    learnt = [
        not same_weights(old, layer.get_weights())
        for old, layer in zip(before, layers_of(backbone), strict=True)
    ]
    assert any(learnt[-4:])
    assert not any(learnt[:-4])


def test_each_row_gets_one_of_its_own_copies() -> None:
    copies = [{"image": (10 * copy + np.arange(5)).astype(np.float16)} for copy in range(3)]
    rng = np.random.default_rng(0)
    drawn = [pick_copy(copies)(np.array([1, 4]), rng)["image"] for _ in range(50)]
    assert {tuple(rows) for rows in np.stack(drawn).tolist()} == {
        (one, four) for one in (1, 11, 21) for four in (4, 14, 24)
    }


@small
def test_copies_are_refused_where_the_whole_backbone_is_trained() -> None:
    backbone = mobilenet()
    unfreeze(backbone, 1000)
    with pytest.raises(InputError, match=r"fine_tune_copies: expected 0 where no layer below"):
        cut_below_trained(backbone)
