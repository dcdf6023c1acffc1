"""The error analysis on invented features with planted causes, and Grad-CAM on tiny networks."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from tests.error_examples import write_errors
from tissue.backbones.build import build_backbone
from tissue.common.names import SPLITS
from tissue.config.loading import load_params
from tissue.data.index import Dataset
from tissue.error_analysis import space
from tissue.error_analysis.analysis import Analysis, analyse, shown_errors, write_analysis
from tissue.error_analysis.causes import (
    STANDS_OUT,
    Quality,
    evidence,
    fit_quality,
    measure_images,
    name_cause,
    surprise,
)
from tissue.error_analysis.gradcam import (
    error_heat,
    own_features,
    pretrained_heat,
    scratch_heat,
    split_at_maps,
)
from tissue.error_analysis.space import fit_space, nearest_images
from tissue.error_analysis.suspects import cross_validated, label_fit, suspect_labels
from tissue.error_analysis.table import (
    CAUSES,
    ERROR_COLUMNS,
    HEAT_SIDE,
    MEASURES,
    NEIGHBOUR_COLUMNS,
    NONE_FOUND,
    rarity,
)
from tissue.metrics.classification import prediction_table
from tissue.metrics.intervals import Sampling
from tissue.training.fine_tuning import unfreeze
from tissue.training.head import build_head, join_backbone

PARAMS = load_params(Path(__file__).parents[2] / "params.yaml")
CLASSES = ["colon", "kidney", "lung", "skin_1", "skin_2"]
COUNTS = {"train": 60, "val": 15, "test": 30}
PLANTED = {"blur": 6, "little_tissue": 6, "extreme_stain": 6, "unlike_training": 6}


def planted_parts(folder: Path, seed: int = 0) -> tuple[dict[str, Dataset], pd.Series]:
    """Write features, and return the parts and what was planted in the test."""
    rng = np.random.default_rng(seed)
    centres = rng.gamma(2, 1, (len(CLASSES), 24))
    centres[4] = centres[3] + 0.3 * rng.normal(size=24)  # the two skins
    parts, planted = {}, pd.Series(dtype=str)
    for part in SPLITS:
        labels = np.repeat(np.arange(len(CLASSES)), COUNTS[part])
        n = len(labels)
        table = pd.DataFrame({
            "id": [f"{part}/{i}" for i in range(n)],
            "class": np.asarray(CLASSES)[labels],
            "label": labels,
            "group": [f"{part}-{i // 3}" for i in range(n)],
            "tissue_fraction": 0.45 * np.exp(rng.normal(0, 0.15, n)),
            "blur": 0.16 * np.exp(rng.normal(0, 0.08, n)),
            "haematoxylin": 0.22 * np.exp(rng.normal(0, 0.2, n)),
            "dab": 0.2 * np.exp(rng.normal(0, 0.3, n)),
        })  # fmt: skip
        points = centres[labels] + 0.5 * rng.normal(size=(n, 24))
        if part == "test":
            planted = _plant(table, points, rng)
        points = np.abs(points)[:, None] + 0.01 * rng.normal(size=(n, 2, 24))
        np.save(folder / f"{part}.npy", points.astype(np.float32))
        table[["id"]].to_csv(folder / f"{part}.csv", index=False)
        images = rng.integers(0, 256, (n, 16, 16, 3), dtype=np.uint8)
        parts[part] = Dataset(images, table)
    return parts, planted


def _plant(table: pd.DataFrame, points: np.ndarray, rng: np.random.Generator) -> pd.Series:
    planted = pd.Series("", table.index)
    order = iter(rng.permutation(len(table)))
    for cause, count in PLANTED.items():
        rows = [next(order) for _ in range(count)]
        planted[rows] = cause
        if cause == "unlike_training":
            points[rows] = rng.gamma(2, 3, (1, points.shape[1])) + rng.normal(size=(count, 24))
        else:
            column, factor = {
                "blur": ("blur", 3), "little_tissue": ("tissue_fraction", 0.1),
                "extreme_stain": ("haematoxylin", 5),
            }[cause]  # fmt: skip
            table.loc[rows, column] *= factor
    rows = [next(order) for _ in range(6)]
    planted[rows] = "suspect_label"
    # Another class than its own, and none of the same organ system.
    table.loc[rows, "label"] = np.where(table.loc[rows, "label"] == 0, 1, 0)
    table["class"] = np.asarray(CLASSES)[table["label"]]
    return planted


def predicted(parts: dict[str, Dataset], planted: pd.Series, seed: int) -> pd.DataFrame:
    """Right but for what was planted and some of the skins."""
    rng = np.random.default_rng(seed)
    tables = []
    for name, part in parts.items():
        wrong = (planted != "").to_numpy() if name == "test" else np.zeros(len(part.index), bool)
        skins = part.index["class"].isin(["skin_1", "skin_2"]) & (rng.random(len(wrong)) < 0.2)
        chosen = part.labels.copy()
        chosen[wrong] = (chosen[wrong] + 1) % 3
        chosen[skins & ~wrong] = 7 - chosen[skins & ~wrong]
        probabilities = np.full((len(chosen), len(CLASSES)), 0.05, np.float32)
        probabilities[np.arange(len(chosen)), chosen] = 0.8
        tables.append(prediction_table(part.index, probabilities, split=name, classes=CLASSES))
    return pd.concat(tables, ignore_index=True)


@pytest.fixture(scope="module")
def analysed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Analysis, dict[str, Dataset], Any]:
    folder = tmp_path_factory.mktemp("embed")
    parts, planted = planted_parts(folder)
    predictions = {name: predicted(parts, planted, seed) for seed, name in enumerate("ab")}
    analysis = analyse(predictions, parts, folder, classes=CLASSES, sampling=Sampling(100, 3))
    return analysis, parts, planted


def test_planted_cause_is_named(analysed: tuple[Analysis, dict[str, Dataset], Any]) -> None:
    analysis, parts, planted = analysed
    truth = dict(zip(parts["test"].index["id"], planted, strict=True))
    errors = analysis.errors.assign(planted=analysis.errors["id"].map(truth))
    named = errors[errors["planted"] != ""]
    share = (named["planted"] == named["cause"]).groupby(named["planted"]).mean()
    assert set(share.index) == {*PLANTED, "suspect_label"}
    assert share.min() >= 0.8
    pairs = errors[(errors["planted"] == "") & errors["class"].str.startswith("skin")]
    assert (pairs["cause"] == "confusable_pair").mean() > 0.5


def test_errors_have_the_promised_form(
    analysed: tuple[Analysis, dict[str, Dataset], Any], tmp_path: Path
) -> None:
    analysis, parts, _ = analysed
    errors = analysis.errors
    assert list(errors.columns) == list(ERROR_COLUMNS)
    assert (errors["class"] != errors["predicted"]).all()
    assert errors.equals(errors.sort_values(["model", "class", "id"], ignore_index=True))
    assert set(errors["cause"]) <= {*CAUSES, NONE_FOUND}
    assert errors["sentence"].str.endswith(".").all()
    assert not errors["sentence"].str.contains("nan|_").any()
    train = parts["train"].index.set_index("id")
    first = errors.iloc[0]
    classes = [train["class"][first[column]] for column in NEIGHBOUR_COLUMNS]
    assert first["neighbour_classes"] == " ".join(classes)
    shown = shown_errors(errors, 5)
    write_analysis(analysis, shown, np.zeros((len(shown), 2, 28, 28), np.uint8), tmp_path)
    assert pd.read_csv(tmp_path / "gradcam.csv").equals(shown[["model", "id"]])
    assert pd.read_csv(tmp_path / "errors.csv").shape == errors.shape


def test_summary_adds_up(analysed: tuple[Analysis, dict[str, Dataset], Any]) -> None:
    analysis = analysed[0]
    for model in "ab":
        summary = analysis.summary[model]
        causes = summary["causes"].values()
        assert sum(cause["errors"] for cause in causes) == summary["errors"]
        assert sum(cause["share"] for cause in causes) == pytest.approx(1)
        assert all(cause["low"] <= cause["share"] <= cause["high"] for cause in causes)
        levels = summary["accuracy"]
        assert levels["classes"]["share"] < levels["systems"]["share"]
    counts = analysis.summary["suspects"]
    assert sum(part["suspects"] for part in counts.values()) == len(analysis.suspects)


def test_relabelled_images_lead_the_suspects(
    analysed: tuple[Analysis, dict[str, Dataset], Any],
) -> None:
    analysis, parts, planted = analysed
    ids = set(parts["test"].index["id"][planted == "suspect_label"])
    assert len(ids & set(analysis.suspects["id"].head(len(ids) + 6))) >= 0.8 * len(ids)
    assert analysis.suspects["quality"].is_monotonic_increasing


def test_a_large_set_is_placed_in_blocks_by_a_fit_on_some_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, _ = planted_parts(tmp_path)
    tables = {name: part.index for name, part in parts.items()}
    whole = fit_space(tables["train"], tmp_path, seed=1).place(tables["test"], "test", tmp_path)
    monkeypatch.setattr(space, "BLOCK", 7)
    blocks = fit_space(tables["train"], tmp_path, seed=1).place(tables["test"], "test", tmp_path)
    for one, other in zip(whole, blocks, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)
    monkeypatch.setattr(space, "FITTED", 200)
    points, novelty = fit_space(tables["train"], tmp_path, seed=1).place(
        tables["test"], "test", tmp_path
    )
    assert points.shape[0] == len(tables["test"]) == len(novelty)
    # What lies far from all training images lies far from some of them, too.
    assert spearmanr(novelty, whole[1]).statistic > 0.7


def test_the_surest_errors_of_each_class_are_shown() -> None:
    rng = np.random.default_rng(4)
    errors = pd.DataFrame({
        "model": ["pretrained"] * 40 + ["scratch"] * 80,
        "class": ["a", "b", "b", "b"] * 30,
        "id": [f"{number:03}" for number in range(120)],
        "confidence": rng.integers(40, 100, 120) / 100,
    })  # fmt: skip
    assert shown_errors(errors, 120).equals(shown_errors(errors, 1000))
    assert shown_errors(errors, 120).equals(errors)
    few = shown_errors(errors, 24)
    sizes = few.groupby(["model", "class"]).size().to_dict()
    assert sizes == {
        ("pretrained", "a"): 2, ("pretrained", "b"): 6, ("scratch", "a"): 4, ("scratch", "b"): 12,
    }  # fmt: skip
    assert few["id"].is_monotonic_increasing
    for key, rows in errors.groupby(["model", "class"]):
        shown = rows["id"].isin(few["id"])
        assert rows["confidence"][shown].min() >= rows["confidence"][~shown].max(), key
    shuffled = errors.sample(frac=1, random_state=1)
    assert set(shown_errors(shuffled.reset_index(drop=True), 24)["id"]) == set(few["id"])
    assert shown_errors(errors.head(0), 24).empty


def test_example_for_others_has_the_same_form(tmp_path: Path) -> None:
    (tmp_path / "data/predictions").mkdir(parents=True)
    (tmp_path / "metrics").mkdir()
    tested = pd.DataFrame({"id": ["a", "b"], "class": ["x", "y"], "predicted": ["y", "y"]})
    train = pd.DataFrame({"id": list("12345"), "class": list("xyxyx"), "group": list("pqrst")})
    errors = write_errors(tmp_path, {"scratch": tested}, train)
    assert list(errors.columns) == list(ERROR_COLUMNS)
    assert np.load(tmp_path / "data/predictions/gradcam.npy").shape == (1, 2, 28, 28)


def test_surprise_counts_within_the_reference_and_goes_on_beyond_it() -> None:
    reference = np.random.default_rng(0).exponential(size=5000)
    values = np.array([0.0, np.log(2), np.log(100), np.log(1e5)])
    assert surprise(values, reference) == pytest.approx([0, 0.3, 2, 5], abs=0.35)
    assert surprise([3.0], []) == 0
    assert np.isfinite(surprise([1.0, 2.0], [1.0, 1.0, 1.0])).all()


@pytest.mark.parametrize(
    ("strengths", "expected"),
    [
        ({}, NONE_FOUND),
        ({"blur": 1.5, "confusable_pair": 1.0}, "confusable_pair"),
        ({"blur": 1.8, "suspect_label": 1.4}, "blur"),
        ({"blur": 1.8, "suspect_label": 3.0}, "suspect_label"),
        ({"blur": 1.8, "suspect_label": 3.0, "unlike_training": 1.8}, "blur"),
        ({"extreme_stain": 4.0, "suspect_label": 3.0}, "suspect_label"),
        ({"blur": 1.8, "unlike_training": 2.5}, "unlike_training"),
        ({"extreme_stain": 2.5, "unlike_training": 2.5}, "extreme_stain"),
        ({"suspect_label": 1.4, "confusable_pair": 1.0}, "suspect_label"),
        ({"donor_unseen": 1.8}, "donor_unseen"),
    ],
)
def test_strongest_evidence_is_named(strengths: dict[str, float], expected: str) -> None:
    assert name_cause(pd.Series({**dict.fromkeys(MEASURES, 0.0), **strengths})) == expected


def stained_images(factors: list[float]) -> tuple[pd.DataFrame, Quality]:
    """Pale colons and dark kidneys; the first colons, stained by factors, taken for kidneys."""
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], 200)
    dark = np.where(labels == 1, 2.5, 1)
    table = pd.DataFrame({
        "class": np.asarray(CLASSES)[labels],
        "label": labels,
        "tissue_fraction": 0.3 * np.exp(rng.normal(0, 0.2, 400)),
        "blur": 0.2 * np.exp(rng.normal(0, 0.1, 400)),
        "haematoxylin": 0.2 * dark * np.exp(rng.normal(0, 0.2, 400)),
        "dab": 0.2 * dark * np.exp(rng.normal(0, 0.2, 400)),
    })  # fmt: skip
    quality = fit_quality(table)
    table["predicted"], table["split"] = table["class"], "test"
    for row, factor in enumerate(factors):
        table.loc[row, ["tissue_fraction", "haematoxylin", "dab"]] = [0.3, *[0.2 * factor] * 2]
        table.loc[row, "predicted"] = CLASSES[1]
    novelty = np.exp(rng.normal(0, 0.1, 400))
    table = table.assign(novelty=novelty, label_probability=0.9, suspect=False, unseen=False)
    return table, quality


def test_dark_stain_accounts_for_distance_and_pale_stain_does_not() -> None:
    table, quality = stained_images([2.5, 0.4])
    table.loc[:1, "novelty"] = 10.0
    found = evidence(table, measure_images(table, quality, CLASSES), CLASSES)
    assert (found["extreme_stain"][:2] >= STANDS_OUT).all()
    assert [name_cause(found.loc[row]) for row in (0, 1)] == ["extreme_stain", "unlike_training"]


def test_a_picture_that_is_usual_for_its_class_is_not_blurred() -> None:
    table, _ = stained_images([1.0, 1.0, 1.0])
    table.loc[table["label"] == 1, "blur"] *= 0.4  # the predicted class is much sharper
    table.loc[:2, "blur"] = 0.2
    quality = fit_quality(table)
    usual = measure_images(table, quality, CLASSES)
    assert (evidence(table, usual, CLASSES)["blur"][:3] < STANDS_OUT).all()
    table.loc[:2, "blur"] = 0.8
    blurred = measure_images(table, quality, CLASSES)
    assert (evidence(table, blurred, CLASSES)["blur"][:3] >= STANDS_OUT).all()


def test_copies_in_training_put_nothing_far_from_it(tmp_path: Path) -> None:
    parts, _ = planted_parts(tmp_path)
    train = parts["train"].index
    whole = fit_space(train, tmp_path, seed=1)
    features = np.load(tmp_path / "train.npy")
    rng = np.random.default_rng(0)
    copies = np.repeat(features[:1], 30, axis=0) * (
        1 + 1e-6 * rng.random((30, *features.shape[1:]))
    )
    np.save(tmp_path / "train.npy", np.concatenate([features, copies.astype(np.float32)]))
    more = pd.concat([train, train.iloc[[0] * 30].assign(id=[f"copy/{i}" for i in range(30)])])
    more[["id"]].to_csv(tmp_path / "train.csv", index=False)
    other = fit_space(more.reset_index(drop=True), tmp_path, seed=1)
    test = parts["test"].index
    (_, before), (_, after) = (one.place(test, "test", tmp_path) for one in (whole, other))
    assert after.max() < 2 * before.max()


def test_stain_counts_the_area_that_it_makes_visible() -> None:
    table, quality = stained_images([1.5, 1.5, 1.5])
    table.loc[:2, "tissue_fraction"] = [0.3, 0.6, 0.15]
    usual, wide, narrow = measure_images(table, quality, CLASSES)["extreme_stain"][:3]
    assert wide > 2 * usual
    assert narrow == pytest.approx(usual, rel=0.1)


def test_doubt_counts_for_suspects_only() -> None:
    table, quality = stained_images([1.0, 1.0])
    table["suspect"] = table.index == 1
    table.loc[:1, "label_probability"] = 0.001
    found = evidence(table, measure_images(table, quality, CLASSES), CLASSES)
    assert found["suspect_label"][:2].tolist() == pytest.approx([0, 3])


def test_new_donors_count_against_those_of_the_test_alone() -> None:
    table, quality = stained_images([])
    table.loc[:99, "split"] = "val"  # whose donors are all new
    table["unseen"] = (table["split"] == "val") | (table.index == 399)
    table.loc[399, "predicted"] = "colon"
    found = evidence(table, measure_images(table, quality, CLASSES), CLASSES)
    assert found["donor_unseen"][399] == pytest.approx(np.log10(300))
    assert found["donor_unseen"][398] == 0


def test_rarity_is_what_was_counted() -> None:
    assert rarity(4, 390) == "only 4 of 390 correctly classified images"
    assert rarity(0, 1390) == "none of 1,390 correctly classified images"


def test_fewer_training_images_than_neighbours() -> None:
    train = pd.DataFrame({"id": ["a", "b"], "class": ["x", "y"], "group": ["1", "2"]})
    near = nearest_images(np.zeros((1, 2)), np.array([[3.0, 0], [1, 0]]), train)
    assert near.loc[0, list(NEIGHBOUR_COLUMNS)].tolist() == ["b", "a", "", "", ""]
    assert near.loc[0, "neighbour_groups"] == "2 1"


def test_class_of_one_donor_gets_probabilities_all_the_same() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [20, 20, 2])
    donors = np.r_[np.arange(40) // 4, 10, 10].astype(str)
    points = rng.normal(size=(42, 3)) + 5 * np.eye(3)[labels]
    values = cross_validated(points, labels, donors, classes=3, seed=1)
    assert values.sum(axis=1) == pytest.approx(1)
    assert (values[:40].argmax(axis=1) == labels[:40]).mean() > 0.9


def test_fewer_images_a_class_than_folds() -> None:
    labels, donors = np.tile(np.arange(12), 3), np.arange(36).astype(str)
    points = np.random.default_rng(0).normal(size=(36, 3))
    values = cross_validated(points, labels, donors, classes=12, seed=1)
    assert values.sum(axis=1) == pytest.approx(1)


def test_one_class_has_no_suspects() -> None:
    table = pd.DataFrame({"id": ["a", "b"], "class": "colon", "label": 0})
    assert suspect_labels({"test": table}, {"test": np.ones((2, 1))}, ["colon"]).empty


def test_two_classes_one_of_them_of_one_donor() -> None:
    labels = np.repeat([0, 1], [20, 4])
    donors = np.r_[np.arange(20) // 4, 9, 9, 9, 9].astype(str)
    points = np.random.default_rng(0).normal(size=(24, 3)) + 5 * np.eye(3)[labels]
    values = cross_validated(points, labels, donors, classes=2, seed=1)
    # Those of the lone donor are judged by models that know the other class only.
    assert values[20:] == pytest.approx(np.tile([1.0, 0.0], (4, 1)))
    assert values.sum(axis=1) == pytest.approx(1)


def test_usual_mistake_fits_its_label_better_than_an_unusual_one() -> None:
    labels = np.repeat([0, 1, 2], 20)
    values = np.full((60, 3), 0.02)
    values[np.arange(60), labels] = 0.6
    values[np.arange(60), np.array([1, 0, 2])[labels]] += 0.36  # 0 and 1 are alike
    values[0], values[1] = [0.02, 0.96, 0.02], [0.02, 0.02, 0.96]
    fit = label_fit(values, labels)
    assert fit.min() >= 0
    assert fit.max() <= 1
    assert fit[1] < 0.5 < fit[0] < fit[2:].min()


def bright_half_network(pooling: str = "GlobalAveragePooling2D") -> keras.Model:
    """Class 1 where pixels are bright, class 0 where they are dark."""
    images = keras.Input((16, 16, 3))
    maps = keras.layers.Conv2D(2, 1, activation="relu", name="maps")(images)
    pooled = getattr(keras.layers, pooling)()(maps)
    network = keras.Model(images, keras.layers.Dense(2, activation="softmax")(pooled))
    weights = np.stack([np.full(3, -1.0), np.full(3, 1.0)], axis=1)[None, None] / 765
    network.set_weights([weights, np.array([0.5, -0.5]), 4 * np.eye(2), np.zeros(2)])
    return network


@pytest.mark.parametrize("pooling", ["GlobalAveragePooling2D", "GlobalMaxPooling2D"])
def test_heat_lies_where_the_class_is(pooling: str) -> None:
    images = np.zeros((11, 16, 16, 3), np.uint8)
    images[:, :, 8:] = 255
    heat = scratch_heat(bright_half_network(pooling), images, np.tile([[1, 0]], (11, 1)))
    assert heat.shape == (11, 2, HEAT_SIDE, HEAT_SIDE)
    assert heat.max() == 255
    assert heat[:, 0, :, 16:].mean() > 200 > 20 > heat[:, 0, :, :12].mean()
    assert heat[:, 1, :, :12].mean() > 200 > 20 > heat[:, 1, :, 16:].mean()


@pytest.mark.parametrize("strides", [(32,), (8, 32)])
def test_a_network_in_two_is_the_same(strides: tuple[int, ...]) -> None:
    network = build_backbone("mobilenet_v2_035", image_size=64, weights="embedded", strides=strides)
    images = np.random.default_rng(1).uniform(0, 255, (3, 64, 64, 3)).astype(np.float32)
    start, rest = split_at_maps(network)
    maps = start(images)
    assert maps.shape == (3, 2, 2, 1280)
    assert np.array_equal(rest(images, maps), network(images))
    # And the output depends on the maps through their mean only.
    raised = np.asarray(rest(images, maps + 1) - rest(images, maps))
    assert np.allclose(raised[:, -1280:], 1, atol=1e-4)
    assert not raised[:, :-1280].any()


def test_blocks_of_a_network_may_be_networks_themselves() -> None:
    network = build_backbone("convnext_tiny", image_size=64, weights="random")
    images = keras.ops.ones((1, 64, 64, 3))
    start, rest = split_at_maps(network)
    assert start(images).shape == (1, 2, 2, 768)
    assert np.array_equal(rest(images, start(images)), network(images))


def test_heat_of_both_models_follows_the_rows_of_the_errors(tmp_path: Path) -> None:
    inner = bright_half_network()
    image = keras.Input((16, 16, 3))
    features = keras.Model(inner.inputs, inner.layers[-2].output, name="features")
    backbone = keras.Model(image, features(keras.layers.Rescaling(1.0)(image)), name="backbone")
    backbone.trainable = False
    wide = keras.Input((3,))
    head = keras.Model(wide, keras.layers.Dense(2, activation="softmax")(wide), name="head")
    head.set_weights([np.array([[4.0, 0], [0, 4], [0, 0]]), np.zeros(2)])
    rest = keras.layers.Lambda(lambda x: keras.ops.pad(x, ((0, 0), (0, 1))))(backbone(image))
    pretrained = keras.Model(image, head(rest))
    images = np.zeros((2, 16, 16, 3), np.uint8)
    images[0, :, 8:], images[1, :, :8] = 255, 255
    index = pd.DataFrame({"id": ["left dark", "right dark"]})
    index.to_csv(tmp_path / "test.csv", index=False)
    np.save(tmp_path / "test.npy", np.ones((2, 1, 3), np.float32))
    errors = pd.DataFrame({
        "model": ["pretrained", "pretrained", "scratch"],
        "id": ["right dark", "left dark", "left dark"],
        "predicted": ["bright"] * 3, "class": ["a"] * 3,
    })  # fmt: skip
    networks = {"scratch": inner, "pretrained": pretrained}
    heat = error_heat(networks, errors, Dataset(images, index), tmp_path, classes=["a", "bright"])
    assert heat[0, 0, :, :12].mean() > 200 > 20 > heat[0, 0, :, 16:].mean()
    for row in (1, 2):
        assert heat[row, 0, :, 16:].mean() > 200 > 20 > heat[row, 0, :, :12].mean()
    alone = error_heat(
        {"pretrained": head}, errors, Dataset(images, index), tmp_path, classes=["a", "bright"]
    )
    assert alone.max() == 0


def test_heat_of_a_fine_tuned_network_is_that_of_its_own_features(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    crops = rng.integers(0, 256, (3, 2, 32, 32, 3), dtype=np.uint8)
    backbone = build_backbone("mobilenet_v2_035", image_size=32, weights="random")
    width = backbone.output_shape[-1]
    head = build_head(rng.random((8, 2 * width), np.float32), PARAMS.pretrained, classes=2, seed=1)
    network = join_backbone(backbone, head, crops=2)
    unfreeze(backbone, 10)
    features = own_features(network, images, crops)
    expected = network.predict_on_batch([images, crops])
    assert head.predict_on_batch(features) == pytest.approx(expected, abs=1e-5)
    # The cached ones are not even looked for.
    index = pd.DataFrame({"id": ["a", "b", "c"]})
    errors = pd.DataFrame(
        {"model": "pretrained", "id": ["c", "a"], "predicted": "bright", "class": "a"}
    )
    heat = error_heat(
        {"pretrained": network}, errors, Dataset(images, index, crops), tmp_path / "nowhere",
        classes=["a", "bright"],
    )  # fmt: skip
    rows = np.array([2, 0])
    labels = np.array([[1, 0], [1, 0]])
    assert np.array_equal(heat, pretrained_heat(network, images[rows], labels, features[rows]))
