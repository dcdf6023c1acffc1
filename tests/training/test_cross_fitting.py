"""Cross-validation of the head: no image is predicted by a head that has seen its donor."""

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from tests.networks import changed_params
from tissue.common.errors import InputError
from tissue.data.shards import RowSelection
from tissue.training.cross_fitting import (
    PENALTIES,
    Choice,
    choose_penalty,
    held_out_arrays,
    read_held_out,
)
from tissue.training.head import Examples
from tissue.training.model_file import HELD_OUT, members

DONORS, IMAGES, CLASSES = 12, 3, 3
OF_DONOR = np.repeat(np.arange(DONORS), IMAGES)
LABELS = np.arange(DONORS)[OF_DONOR] % CLASSES
IS_VAL = OF_DONOR >= 9


def choose(features: NDArray[np.float64], **changes: float) -> Choice:
    """Cross-validate on features (N, D) in two views, and once more as if restained."""
    views = np.repeat(features[:, None], 2, axis=1).astype(np.float32)

    def examples(rows: NDArray[np.bool_]) -> Examples:
        return RowSelection(views, np.flatnonzero(rows)), LABELS[rows]

    names = pd.Series(OF_DONOR.astype(str))
    return choose_penalty(
        changed_params(pretrained=changes), [examples(~IS_VAL), examples(~IS_VAL)],
        examples(IS_VAL), (names[~IS_VAL], names[IS_VAL]), classes=CLASSES,
    )  # fmt: skip


def test_a_head_that_had_seen_the_donor_would_know_its_label() -> None:
    """Labels are drawn by donor, and features show the donor alone: others' heads only guess."""
    noise = np.random.default_rng(0).normal(size=(len(LABELS), DONORS))
    found = choose(4 * np.eye(DONORS)[OF_DONOR] + 0.1 * noise)
    assert found.probabilities.shape == (len(LABELS), 2, CLASSES)
    assert found.labels.tolist() == LABELS.tolist()
    assert np.allclose(found.probabilities.sum(axis=-1), 1)
    of_label = found.probabilities.mean(axis=1)[np.arange(len(LABELS)), LABELS]
    assert of_label.mean() < 0.5
    assert (found.curve["accuracy"] > 0.99).all()
    # Nothing is to be learnt, so the strongest penalty is best.
    assert found.penalty == PENALTIES[0]
    again = choose(4 * np.eye(DONORS)[OF_DONOR] + 0.1 * noise)
    assert (found.probabilities == again.probabilities).all()


def test_the_penalty_has_the_lowest_loss_of_what_was_held_out() -> None:
    rng = np.random.default_rng(0)
    features = 0.8 * np.eye(CLASSES)[LABELS] + rng.normal(size=(len(LABELS), CLASSES))
    found = choose(features)
    assert found.curve["penalty"].tolist() == list(PENALTIES)
    best = found.curve["val_loss"].argmin()
    assert 0 < best < len(PENALTIES) - 1
    assert found.penalty == PENALTIES[best]
    of_label = found.probabilities.mean(axis=1)[np.arange(len(LABELS)), LABELS]
    assert -np.log(of_label).mean() == pytest.approx(found.curve["val_loss"].min())
    assert (np.diff(found.curve["loss"]) < 0).all()


def test_a_given_penalty_is_kept() -> None:
    found = choose(np.eye(CLASSES)[LABELS], penalty=0.5)
    assert found.penalty == 0.5
    assert found.curve["penalty"].tolist() == [0.5]


def test_what_the_folds_said_of_validation_is_kept_with_the_model(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as saved:
        saved.writestr("config.json", "{}")
    ids = pd.Series(["b.png", "a.png"])
    assert read_held_out(path, ids) == {}
    views = np.array([[[0.8, 0.2], [0.5, 0.5]], [[0.5, 0.5], [0.5, 0.5]]])
    with zipfile.ZipFile(path, "a") as saved:
        arrays = {HELD_OUT: held_out_arrays(ids, views, divisor=2.0)}
        for name, content in members([], 1.0, arrays).items():
            saved.writestr(name, content)
    # Half the logit of 4 : 1 is that of 2 : 1.
    expected = np.array([[(2 / 3 + 1 / 2) / 2, 5 / 12], [1 / 2, 1 / 2]])
    assert read_held_out(path, ids)["val"] == pytest.approx(expected)
    assert read_held_out(path, ids[::-1])["val"] == pytest.approx(expected[::-1])
    with pytest.raises(InputError, match=r"fitted with 2, of which 1 are the same"):
        read_held_out(path, pd.Series(["b.png", "c.png"]))
