"""Temperature scaling: planted temperatures, few images, and restained ones."""

import keras
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.special import softmax

from tests.networks import scratch
from tissue.common.stains import draw_stain_factors
from tissue.data.index import Dataset
from tissue.training.calibration import calibrate, predict_stainings, temperature
from tissue.training.inference import predict_views

CLASSES = 4


def answers(
    count: int, planted: float, *, variants: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Probabilities, in one view, whose logits are `planted` times the calibrated ones."""
    rng = np.random.default_rng(4)
    logits = rng.normal(0, 2, (count, CLASSES))
    labels = np.array([rng.choice(CLASSES, p=p) for p in softmax(logits, axis=1)])
    repeated = np.repeat(logits[:, None, None], variants, axis=1)
    return softmax(planted * repeated, axis=-1), labels


@pytest.mark.parametrize("planted", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("variants", [1, 3])
def test_a_planted_temperature_is_found(planted: float, variants: int) -> None:
    found = temperature(*answers(3000, planted, variants=variants))
    assert found == pytest.approx(planted, rel=0.07)


def test_variants_count_as_one_image() -> None:
    few = [temperature(*answers(12, 3.0, variants=variants)) for variants in (1, 5)]
    assert few[0] == pytest.approx(few[1], rel=1e-3)


@pytest.mark.parametrize("right", [True, False])
def test_few_images_give_moderate_temperatures(right: bool) -> None:
    sure = softmax(np.tile([2.0, 0, 0, 0], (8, 1, 1, 1)), axis=-1)
    labels = np.full(8, 0 if right else 1)
    found = temperature(sure, labels)
    assert (0.3 < found < 1) if right else (1 < found < 3)
    many = temperature(np.repeat(sure, 500, axis=0), np.repeat(labels, 500))
    assert (many < 0.3) if right else (many > 10)


def test_calibrated_model_gives_the_scaled_probabilities() -> None:
    inputs = keras.Input((3,))
    model = keras.Model(
        inputs, keras.layers.Dense(CLASSES, "softmax", name="probabilities")(inputs)
    )
    rows = np.random.default_rng(1).normal(0, 3, (50, 3)).astype(np.float32)
    before = model.predict_on_batch(rows)
    labels = np.random.default_rng(2).integers(0, CLASSES, 50)
    divisor = temperature(before[:, None, None], labels)
    calibrate(model, before[:, None, None], labels)
    expected = softmax(np.log(before) / divisor, axis=1)
    np.testing.assert_allclose(model.predict_on_batch(rows), expected, atol=1e-5)


def test_probabilities_of_restained_images() -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), np.uint8)
    model, dataset = scratch(), Dataset(images, pd.DataFrame(index=range(40)))
    own = predict_views(model, dataset, views=2, name="test")
    settings = {"views": 2, "stainings": 3, "seed": 1, "name": "test"}
    same = predict_stainings(model, dataset, jitter=0.0, **settings)
    assert same.shape == (40, 3, 2, own.shape[-1])
    # Restaining rounds, even where the factor is 1.
    np.testing.assert_allclose(same, np.repeat(own[:, None], 3, axis=1), atol=1e-2)
    other = predict_stainings(model, dataset, jitter=0.5, **settings)
    assert np.abs(other - same).max(axis=(2, 3)).min() > 0
    assert len({round(float(value), 6) for value in other[0, :, 0, 0]}) == 3
    assert draw_stain_factors(np.random.default_rng(1), 0.0).tolist() == [1, 1, 1]
