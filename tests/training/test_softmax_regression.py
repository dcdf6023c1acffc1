"""Softmax regression: the optimum, classes of unequal size, and features that hardly vary."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from tissue.training.head import fit_path
from tissue.training.imbalance import Balance, balance_classes

UNEQUAL = np.repeat([0, 1, 2], [24, 6, 3])


def draw(labels: NDArray[np.int64], width: int, seed: int = 0) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    return 2 * rng.normal(size=(3, width))[labels] + rng.normal(size=(len(labels), width)) + 5


def by_definition(
    features: NDArray[np.float64], labels: NDArray[np.int64], penalty: float, balance: Balance
) -> NDArray[np.float64]:
    """The log probabilities of the least loss, as the formula says, without its derivative."""
    classes, width = 3, features.shape[1]
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    prior = np.log(np.ones(3) if balance.prior is None else np.maximum(balance.prior, 1e-30))
    weights = np.array([(balance.weights or {}).get(label, 1.0) for label in labels])

    def logits(flat: NDArray[np.float64]) -> NDArray[np.float64]:
        kernel, bias = flat[:-classes].reshape(width, classes), flat[-classes:]
        return scaled @ kernel + bias

    def loss(flat: NDArray[np.float64]) -> float:
        of_label = log_softmax(logits(flat) + prior, axis=1)[np.arange(len(labels)), labels]
        return -np.average(of_label, weights=weights) + penalty / 2 * (flat[:-classes] ** 2).sum()

    best = minimize(loss, np.zeros((width + 1) * classes), tol=1e-10, options={"gtol": 1e-7})
    return log_softmax(logits(best.x), axis=1)


@pytest.mark.parametrize("how", ["none", "balanced", "logit_adjusted"])
@pytest.mark.parametrize("classes", [2, 3])
def test_the_fit_is_the_optimum_of_its_definition(how: str, classes: int) -> None:
    labels = np.minimum(UNEQUAL, classes - 1)
    features = draw(labels, 3)
    balance = balance_classes(labels, how, classes=3)
    fits = fit_path(features, labels, [1.0, 0.1], balance=balance, classes=3)
    for penalty, fit in zip([1.0, 0.1], fits, strict=True):
        expected = by_definition(features, labels, penalty, balance)
        present = slice(classes)
        found = np.log(fit.predict(features))[:, present]
        # What is absent takes a share of the definition's probabilities that goes to zero.
        expected = log_softmax(expected[:, present], axis=1)
        assert np.allclose(found, expected, atol=2e-3)


def test_with_more_features_than_images_the_optimum_is_the_same() -> None:
    """Features that are repeated count as one with a smaller penalty."""
    features = draw(UNEQUAL, 4)
    options = {"balance": Balance(), "classes": 3}
    (few,) = fit_path(features, UNEQUAL, [0.1], **options)
    (many,) = fit_path(np.tile(features, 20), UNEQUAL, [2.0], **options)
    assert np.allclose(many.predict(np.tile(features, 20)), few.predict(features), atol=1e-5)


def test_every_fit_of_a_path_is_that_of_its_penalty_alone_and_repeated_to_the_byte() -> None:
    features = draw(UNEQUAL, 50)
    options = {"balance": Balance(), "classes": 3}
    path = fit_path(features, UNEQUAL, [1.0, 0.1, 0.01], **options)
    again = fit_path(features, UNEQUAL, [1.0, 0.1, 0.01], **options)
    for penalty, fit, same in zip([1.0, 0.1, 0.01], path, again, strict=True):
        (alone,) = fit_path(features, UNEQUAL, [penalty], **options)
        assert np.allclose(fit.predict(features), alone.predict(features), atol=1e-4)
        assert fit.kernel.tobytes() == same.kernel.tobytes()


def test_a_feature_that_hardly_varies_in_training_does_not_dominate() -> None:
    features = draw(UNEQUAL, 8)
    features[:, 7] = 1e-6 * np.random.default_rng(1).normal(size=len(features))
    (fit,) = fit_path(features, UNEQUAL, [0.1], balance=Balance(), classes=3)
    changed = features.copy()
    changed[:, 7] = 0.01
    assert np.abs(fit.predict(changed) - fit.predict(features)).max() < 0.2


def test_classes_without_an_image_are_never_named() -> None:
    for labels in (np.array([0, 2] * 6), np.zeros(12, np.int64)):
        features = draw(labels, 4)
        (fit,) = fit_path(features, labels, [0.1], balance=Balance(), classes=3)
        found = fit.predict(features)
        assert np.isfinite(found).all()
        assert set(found.argmax(axis=1)) == set(labels)
