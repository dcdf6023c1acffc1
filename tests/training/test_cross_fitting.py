"""Out-of-fold predictions: no image is predicted by a head that has seen its donor."""

import keras
import numpy as np
import pandas as pd

from tests.pipeline import ROOT
from tissue.config.loading import load_params
from tissue.data.shards import RowSelection
from tissue.training.cross_fitting import predict_out_of_fold

DONORS, IMAGES, CLASSES = 12, 3, 3


def test_a_head_that_had_seen_the_donor_would_know_its_label() -> None:
    """Labels are drawn by donor, and features show the donor alone: others' heads only guess."""
    rng = np.random.default_rng(0)
    params = load_params(ROOT / "params.yaml")
    tuned = params.pretrained.model_copy(update={"epochs": 30, "dropout": 0.0})
    params = params.model_copy(update={"lr": 0.01, "pretrained": tuned})
    donors = np.repeat(np.arange(DONORS), IMAGES)
    labels = np.arange(DONORS)[donors] % CLASSES
    features = 4 * np.eye(DONORS)[donors] + 0.1 * rng.normal(size=(len(donors), DONORS))
    features = np.repeat(features[:, None], 2, axis=1).astype(np.float32)
    is_val = donors >= 9
    train, val = (
        (RowSelection(features[rows], np.arange(rows.sum())), labels[rows])
        for rows in (~is_val, is_val)
    )
    names = pd.Series(donors.astype(str))
    how = {"groups": (names[~is_val], names[is_val]), "classes": CLASSES}
    examples = [train, (train[0], train[1])]  # the second stands for restained images
    keras.utils.set_random_seed(params.seed)  # as at the start of the stage
    found, order = predict_out_of_fold(params, examples, val, **how)
    assert found.shape == (len(donors), 2, CLASSES)
    assert order.tolist() == labels.tolist()
    np.testing.assert_allclose(found.sum(axis=-1), 1, atol=1e-5)
    of_label = found.mean(axis=1)[np.arange(len(labels)), labels]
    assert of_label.mean() < 0.5
    # The same bytes again.
    keras.utils.set_random_seed(params.seed)
    again, _ = predict_out_of_fold(params, examples, val, **how)
    assert (found == again).all()
