"""The mean of the weights over training steps, and the batch normalisation that fits it."""

import keras
import numpy as np
import pytest
from keras import layers
from keras.utils import to_categorical
from numpy.typing import NDArray

from tissue.training.averaging import update_bn
from tissue.training.batches import Batches
from tissue.training.loop import FitSettings, Phase, fit, validation_loss


def test_averaged_weights_are_the_mean_over_the_steps_of_the_last_epochs() -> None:
    rows = np.random.default_rng(0).normal(size=(16, 5)).astype(np.float32)
    train = Batches(rows, to_categorical(np.arange(16) % 4, 4), batch_size=8, seed=1)
    model = keras.Sequential([keras.Input((5,)), layers.Dense(4, "softmax")])
    steps: list[list[NDArray[np.float32]]] = []
    note = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: steps.append(model.get_weights())
    )
    settings = FitSettings(0.01, average=0.75, warm_up=1)
    table = fit(model, [Phase(4, train, train)], settings, callbacks=[note])
    assert len(steps) == 4 * 2
    for values, *last in zip(model.get_weights(), *steps[2:], strict=True):
        assert np.allclose(values, np.mean(last, axis=0), atol=1e-6)
    # The mean is validated, not the last step.
    assert table["val_loss"].iloc[-1] == pytest.approx(
        validation_loss(model, train, keras.losses.CategoricalCrossentropy()), rel=1e-4
    )
    # At a rate that falls to zero, all steps would be near the last.
    assert table["lr"].tolist() == pytest.approx([0.005, 0.01, 0.01, 0.01])


def test_statistics_of_batch_normalisation_fit_the_weights() -> None:
    norm, frozen = layers.BatchNormalization(), layers.BatchNormalization(trainable=False)
    model = keras.Sequential([keras.Input((3,)), frozen, layers.Rescaling(1.0), norm])
    values = np.random.default_rng(1).normal(5, 2, (20, 3)).astype(np.float32)
    before = frozen.get_weights()
    update_bn(model, Batches(values, to_categorical(np.zeros(20), 2), batch_size=8))
    inputs = values / np.sqrt(1 + frozen.epsilon)
    batches = [inputs[at : at + 8] for at in (0, 8, 16)]
    expected = [np.mean([f(rows, axis=0) for rows in batches], axis=0) for f in (np.mean, np.var)]
    assert np.allclose(norm.moving_mean, expected[0], atol=1e-4)
    assert np.allclose(norm.moving_variance, expected[1], atol=1e-4)
    assert norm.momentum == 0.99
    assert all(map(np.array_equal, before, frozen.get_weights()))
