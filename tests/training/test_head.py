"""The head on features, and the model that joins it with a backbone."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from tests.networks import PARAMS, SIDE, coefficients, four_classes, head_for, mobilenet
from tissue.data.shards import RowSelection
from tissue.training.head import build_head, fit_head, join_backbone
from tissue.training.saving import load_model, save_model

pytestmark = pytest.mark.usefixtures("small_mobilenet")


def test_joined_model_is_the_head_on_the_features() -> None:
    images, _ = four_classes(6)
    backbone = mobilenet()
    head = head_for(backbone.output_shape[-1])
    model = join_backbone(backbone, head, crops=0)
    assert model.input_shape == (None, SIDE, SIDE, 3)
    probabilities = model.predict_on_batch(images)
    expected = head.predict_on_batch(backbone.predict_on_batch(images))
    assert np.allclose(probabilities, expected, atol=1e-5)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("crops", [1, 3])
def test_crops_are_pooled_after_the_whole_image(crops: int) -> None:
    images, _ = four_classes(6)
    magnified = np.random.default_rng(1).integers(0, 256, (6, crops, SIDE, SIDE, 3), np.uint8)
    backbone = mobilenet()
    head = head_for(2 * backbone.output_shape[-1])
    model = join_backbone(backbone, head, crops=crops)
    each = [backbone.predict_on_batch(magnified[:, crop]) for crop in range(crops)]
    both = np.concatenate([backbone.predict_on_batch(images), np.mean(each, axis=0)], axis=1)
    found = model.predict_on_batch([images, magnified])
    assert np.allclose(found, head.predict_on_batch(both), atol=1e-5)


def test_the_keras_head_answers_as_the_fitted_coefficients(tmp_path: Path) -> None:
    features = np.random.default_rng(2).normal(3, 2, (40, 8)).astype(np.float32)
    fitted = coefficients(8)
    save_model(build_head(fitted, penalty=0.1), tmp_path / "head.keras")
    head = load_model(tmp_path / "head.keras")
    assert np.allclose(head.predict_on_batch(features), fitted.predict(features), atol=1e-6)


def test_a_head_is_fitted_to_the_mean_of_the_views_and_to_restained_images() -> None:
    rng = np.random.default_rng(3)
    labels = np.arange(40) % 4
    features = (np.eye(4)[labels][:, None] + rng.normal(size=(40, 3, 4))).astype(np.float32)
    plain, restained = (
        (RowSelection(each, np.arange(40)), labels) for each in (features, features[:, :1] + 1)
    )
    head = fit_head(PARAMS, [plain, restained], penalty=0.1, classes=4)
    means = np.concatenate([features.mean(axis=1), features[:, 0] + 1])
    scaled = StandardScaler().fit_transform(means.astype(np.float64))
    expected = LogisticRegression(C=1 / (0.1 * 80), tol=1e-8, max_iter=1000)
    expected.fit(scaled, np.tile(labels, 2))
    found = head.predict_on_batch(means.astype(np.float32))
    assert np.allclose(found, expected.predict_proba(scaled), atol=1e-4)
