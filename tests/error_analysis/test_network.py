"""What a network learnt and how its views agree, as causes of errors."""

import numpy as np
import pandas as pd
import pytest

from tissue.error_analysis.recognition import measure_network, observe
from tissue.metrics.predictions import prediction_table, views_dissent

CLASSES = ["colon", "kidney"]


def test_training_images_like_it_that_the_model_gets_wrong() -> None:
    """Colons at 0 are learnt, those at 10 are called kidney, and kidneys between them are right."""
    at = np.array([*[0.0] * 5, *[10.0] * 5, *[5.0] * 5, 0.1, 9.9, 5.1])
    labels = np.array([0] * 10 + [1] * 5 + [0, 0, 1])
    images = pd.DataFrame({
        "id": [f"{i}" for i in range(18)], "class": np.array(CLASSES)[labels], "label": labels,
        "split": ["train"] * 15 + ["test"] * 3,
    })  # fmt: skip
    called = np.where(at > 9, 1, labels)
    chances = np.where(np.arange(2) == called[:, None], 0.9, 0.1)
    table = prediction_table(images, chances.astype(np.float32), split="any", classes=CLASSES)
    shuffled = table.sample(frac=1, random_state=1)
    observed = observe(images, at[:, None], shuffled, CLASSES)
    assert observed.index.tolist() == [15, 16, 17]
    expected = np.log(9) * np.array([1, -1, 1])
    assert observed["learnt"].tolist() == pytest.approx(expected, abs=1e-4)
    assert (measure_network(observed)["not_learnt"] > 0).tolist() == [False, True, False]
    assert (observed["dissent"] == 0).all()  # one view


def test_a_view_that_gets_another_class() -> None:
    views = np.array([
        [[0.8, 0.2], [0.6, 0.4], [0.9, 0.1]],
        [[0.8, 0.2], [0.1, 0.9], [0.9, 0.1]],
        [[0.4, 0.6], [0.4, 0.6], [0.4, 0.6]],
    ], np.float32)  # fmt: skip
    dissent = views_dissent(views)
    assert dissent == pytest.approx(np.log([0.4 / 0.6, 9, 0.4 / 0.6]), abs=1e-4)
    index = pd.DataFrame({"id": list("abc"), "class": "colon"})
    table = prediction_table(index, views, split="test", classes=CLASSES)
    assert table["dissent"].tolist() == pytest.approx(dissent)
    assert table["predicted"].tolist() == ["colon", "colon", "kidney"]
    assert table["p_colon"].tolist() == pytest.approx(views.mean(axis=1)[:, 0], rel=1e-5)
