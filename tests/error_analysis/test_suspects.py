"""Cross-validated class probabilities, and the labels that they contradict."""

import numpy as np
import pandas as pd
import pytest

from tissue.error_analysis.suspects import label_fit, out_of_fold_probabilities, suspect_labels

pytestmark = pytest.mark.filterwarnings("ignore:The least populated class:UserWarning")


def test_class_of_one_donor_still_gets_probabilities() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [20, 20, 2])
    donors = np.r_[np.arange(40) // 4, 10, 10]
    points = rng.normal(size=(42, 3)) + 5 * np.eye(3)[labels]
    values = out_of_fold_probabilities(points, labels, donors, classes=3, seed=1)
    assert values.sum(axis=1) == pytest.approx(1)
    assert (values[:40].argmax(axis=1) == labels[:40]).mean() > 0.9


def test_fewer_images_of_a_class_than_folds() -> None:
    points = np.random.default_rng(0).normal(size=(36, 3))
    values = out_of_fold_probabilities(
        points, np.tile(np.arange(12), 3), np.arange(36), classes=12, seed=1
    )
    assert values.sum(axis=1) == pytest.approx(1)


def test_two_classes_one_of_them_of_one_donor() -> None:
    labels = np.repeat([0, 1], [20, 4])
    donors = np.r_[np.arange(20) // 4, 9, 9, 9, 9]
    points = np.random.default_rng(0).normal(size=(24, 3)) + 5 * np.eye(3)[labels]
    values = out_of_fold_probabilities(points, labels, donors, classes=2, seed=1)
    # The models that judge the single donor know only the other class.
    assert values[20:] == pytest.approx(np.tile([1.0, 0.0], (4, 1)))
    assert values.sum(axis=1) == pytest.approx(1)


def test_one_class_has_no_suspects() -> None:
    images = pd.DataFrame({"id": ["a", "b"], "class": "colon", "label": 0, "split": "test"})
    assert suspect_labels(images, np.ones((2, 1)), ["colon"]).empty


def test_common_mistake_fits_its_label_better_than_an_uncommon_one() -> None:
    labels = np.repeat([0, 1, 2], 20)
    values = np.full((60, 3), 0.02)
    values[np.arange(60), labels] = 0.6
    values[np.arange(60), np.array([1, 0, 2])[labels]] += 0.36  # 0 and 1 are alike
    values[0], values[1] = [0.02, 0.96, 0.02], [0.02, 0.02, 0.96]
    fit = label_fit(values, labels)
    assert fit.min() >= 0
    assert fit.max() <= 1
    assert fit[1] < 0.5 < fit[0] < fit[2:].min()
