"""The head on features, and the model that joins it with a backbone."""

import numpy as np
import pytest

from tests.networks import PARAMS, SIDE, four_classes, head_for, mobilenet
from tissue.training.head import build_head, join_backbone

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


def test_features_are_standardised() -> None:
    features = np.random.default_rng(2).normal(3, 2, (40, 8)).astype(np.float32)
    head = build_head(features, PARAMS.pretrained, classes=3, seed=1)
    scaled = np.asarray(head.get_layer("standardise")(features))
    assert np.allclose(scaled.mean(axis=0), 0, atol=1e-4)
    assert np.allclose(scaled.std(axis=0), 1, atol=1e-3)


def test_a_feature_that_hardly_varies_in_training_does_not_dominate() -> None:
    features = np.random.default_rng(2).normal(3, 2, (40, 8)).astype(np.float32)
    features[:, 7] = 0
    head = build_head(features, PARAMS.pretrained, classes=3, seed=1)
    features[:, 7] = 0.1
    scaled = np.asarray(head.get_layer("standardise")(features))
    assert np.abs(scaled).max() < 10
