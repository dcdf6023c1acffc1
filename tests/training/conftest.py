"""Trainings that are the same in every run, in whatever order."""

import keras
import pytest


@pytest.fixture(autouse=True)
def _seed() -> None:
    keras.utils.set_random_seed(1)
