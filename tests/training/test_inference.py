"""Probabilities of images and of their cached features."""

import numpy as np
import pytest

from tests.networks import four_classes, head_for, mobilenet
from tissue.common.augmentation import dihedral
from tissue.training.head import join_backbone
from tissue.training.inference import predict_batch, predict_features


@pytest.mark.usefixtures("small_mobilenet")
def test_each_view_is_predicted_from_images_as_from_features() -> None:
    backbone = mobilenet()
    images, _ = four_classes(35)
    views = [backbone.predict_on_batch(dihedral(images, view)) for view in range(3)]
    features = np.stack(views, axis=1)
    head = head_for(features.shape[-1])
    from_features = predict_features(head, features)
    from_images = predict_batch(join_backbone(backbone, head, crops=0), images, None, views=3)
    expected = np.stack([head.predict_on_batch(view) for view in views], axis=1)
    assert from_features.shape == (35, 3, 4)
    assert np.allclose(from_features, expected, atol=1e-6)
    assert np.allclose(from_features, from_images, atol=1e-5)
