"""Probabilities of images and of their cached features."""

import keras
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


def test_a_network_of_any_name_takes_images() -> None:
    """Whoever writes an own network in place of `build_scratch` need not know a name."""
    images, _ = four_classes(6)
    inputs = keras.Input((None, None, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(inputs))
    network = keras.Model(inputs, keras.layers.Dense(4, activation="softmax")(pooled))
    found = predict_batch(network, images, None, views=2)
    expected = np.stack([network.predict_on_batch(dihedral(images, view)) for view in (0, 1)], 1)
    assert np.allclose(found, expected, atol=1e-6)
