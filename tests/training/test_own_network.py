"""A network of another make in place of that of `build_scratch`."""

import keras
import numpy as np
import pytest
from keras import layers

from tissue.common.errors import InputError
from tissue.training.calibration import calibrate
from tissue.training.scratch import check_network


def network(*last: keras.layers.Layer, pooling: keras.layers.Layer) -> keras.Model:
    keras.utils.set_random_seed(3)
    return keras.Sequential([keras.Input((16, 16, 3)), layers.Conv2D(4, 3), pooling, *last])


def test_names_of_layers_do_not_matter() -> None:
    own = network(layers.Dense(3, activation="softmax"), pooling=layers.GlobalMaxPooling2D())
    check_network(own)
    kernel = own.layers[-1].get_weights()[0]
    seen = np.random.default_rng(0).dirichlet(np.ones(3), (12, 1, 2)).astype(np.float32)
    divisor = calibrate(own, seen, np.arange(12) % 3)
    assert divisor != 1
    np.testing.assert_allclose(own.layers[-1].get_weights()[0], kernel / divisor)


def test_what_a_later_stage_cannot_use_is_refused_before_training() -> None:
    split = network(
        layers.Dense(3), layers.Activation("softmax"), pooling=layers.GlobalAveragePooling2D()
    )
    with pytest.raises(InputError, match=r"Dense with softmax .* Received: Activation"):
        check_network(split)
    linear = network(layers.Dense(3), pooling=layers.GlobalAveragePooling2D())
    with pytest.raises(InputError, match=r"Dense with softmax .* Received: Dense"):
        check_network(linear)
    flat = network(layers.Dense(3, activation="softmax"), pooling=layers.Flatten())
    with pytest.raises(InputError, match="Grad-CAM"):
        check_network(flat)
