"""What the benchmark of second classifiers plants in features."""

import numpy as np

from benchmarks.recognition import OTHER, plant_features


def test_other_whole_images_and_mixed_cores_are_planted() -> None:
    labels = np.repeat([0, 1, 2], 20)
    features = np.tile(labels.astype(np.float32)[:, None, None], (1, 8, 8))
    changed, planted = plant_features(features, labels, {0: 1, 1: 0}, np.random.default_rng(0))
    assert planted.value_counts().to_dict() == {
        "": 51, "one_scale": 3, "looks_other": 3, "views_disagree": 3,
    }  # fmt: skip
    for row in np.flatnonzero(planted == "one_scale"):
        assert (changed[row, 0, :4] == 1 - labels[row]).all()
        assert (changed[row, 0, 4:] == labels[row]).all()
    for row in np.flatnonzero(planted == "looks_other"):
        mixed = OTHER * (1 - labels[row]) + (1 - OTHER) * labels[row]
        assert np.allclose(changed[row], mixed)
    for row in np.flatnonzero(planted == "views_disagree"):
        assert (changed[row] == features[row]).all(axis=1).tolist() == [False] * 5 + [True] * 3
    assert np.array_equal(changed[planted == ""], features[planted == ""])
