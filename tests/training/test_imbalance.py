"""Classes of unequal size, in the loss."""

import keras
import numpy as np
import pytest

from tests.networks import changed_params
from tissue.data.shards import RowSelection
from tissue.training.head import fit_head
from tissue.training.imbalance import Balance, balance_classes, cross_entropy
from tissue.training.inference import predict_features

UNEQUAL = np.repeat([0, 1, 2], [90, 9, 9])


def test_equal_classes_change_nothing_and_unequal_ones_only_where_asked() -> None:
    for how in ("none", "balanced", "logit_adjusted"):
        assert balance_classes(np.repeat([0, 1], 5), how, classes=2) == Balance()
    assert balance_classes(UNEQUAL, "none", classes=3) == Balance()


def test_balanced_weights_give_each_class_the_same_total() -> None:
    weights = balance_classes(UNEQUAL, "balanced", classes=3).weights
    assert weights is not None
    totals = [weights[label] * (label == UNEQUAL).sum() for label in range(3)]
    assert np.allclose(totals, len(UNEQUAL) / 3)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_adjusted_loss_is_that_of_logits_plus_the_logarithm_of_the_prior(
    smoothing: float,
) -> None:
    rng = np.random.default_rng(0)
    logits, prior = rng.normal(size=(7, 3)), np.array([0.8, 0.15, 0.05], np.float32)
    targets = np.eye(3)[rng.integers(3, size=7)]
    loss = cross_entropy(Balance(prior=prior), label_smoothing=smoothing)
    found = loss(targets, keras.ops.softmax(logits))
    expected = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)(
        targets, logits + np.log(prior)
    )
    assert float(found) == pytest.approx(float(expected), rel=1e-4)


def test_rare_classes_are_recognised_more_often() -> None:
    """Overlapping classes, of which the first has ten times as many images."""
    rng = np.random.default_rng(1)
    centres = np.array([[0.0, 0.0], [1.5, 0.0], [0.0, 1.5]])

    def draw(labels: np.ndarray) -> RowSelection:
        values = centres[labels] + rng.normal(size=(len(labels), 2))
        return RowSelection(values[:, None].astype(np.float32), np.arange(len(labels)))

    train, asked = (draw(UNEQUAL), UNEQUAL), np.repeat([1, 2], 200)
    unseen, recall = draw(asked), {}
    for how in ("none", "balanced", "logit_adjusted"):
        params = changed_params(class_weights=how)
        head = fit_head(params, [train], penalty=0.01, classes=3)
        recall[how] = (predict_features(head, unseen)[:, 0].argmax(axis=1) == asked).mean()
    assert recall["balanced"] > recall["none"] + 0.2
    assert recall["logit_adjusted"] > recall["none"] + 0.2
