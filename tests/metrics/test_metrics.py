"""Metrics against scikit-learn and scipy, and against what is known beforehand."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn import metrics as sk

from tissue.common.names import SYSTEMS, TISSUES, is_atlas
from tissue.metrics import intervals
from tissue.metrics.classification import (
    calibration_error,
    confusions,
    model_metrics,
    paired_comparison,
    prediction_table,
    test_metrics,
)
from tissue.metrics.intervals import Sampling
from tissue.metrics.overlap import overlap

CLASSES = ["a", "b", "c", "d", "e"]


def predictions(
    seed: int = 0, *, n: int = 300, classes: list[str] = CLASSES, skill: float = 2.0
) -> pd.DataFrame:
    """A table of predictions that are right more often than not."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(classes), n)
    scores = rng.normal(0, 1, (n, len(classes))) + skill * np.eye(len(classes))[labels]
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    index = pd.DataFrame(
        {"id": [f"i{row}" for row in range(n)], "class": np.asarray(classes)[labels]}
    )
    return prediction_table(index, probabilities.astype(np.float32), split="test", classes=classes)


def measured(table: pd.DataFrame, classes: list[str] = CLASSES, **changes: Any) -> dict[str, Any]:
    groups = pd.Series(np.arange(len(table)) // 3)
    return test_metrics(table, groups, classes=classes, **{"sampling": Sampling(200, 1), **changes})


class TestTable:
    def test_columns(self) -> None:
        index = pd.DataFrame({"id": ["x", "y"], "class": ["b", "b"]}, index=[5, 6])
        table = prediction_table(
            index, np.float32([[0.7, 0.3], [0.1, 0.9]]), split="val", classes=["a", "b"]
        )
        assert list(table.columns) == [
            "id",
            "split",
            "class",
            "predicted",
            "confidence",
            "p_a",
            "p_b",
        ]
        assert list(table["predicted"]) == ["a", "b"]
        assert list(table["split"]) == ["val", "val"]
        assert table["confidence"].tolist() == pytest.approx([0.7, 0.9])

    def test_each_part_is_measured_on_its_own_rows(self) -> None:
        parts = []
        for split, right in (("train", 4), ("val", 3), ("test", 2)):
            table = predictions(1, classes=["a", "b"]).head(4).assign(split=split)
            other = {"a": "b", "b": "a"}
            wrong = table["class"].map(other)
            table["predicted"] = table["class"].where(np.arange(4) < right, wrong)
            parts.append(table)
        table = pd.concat(parts, ignore_index=True)
        values = model_metrics(
            table,
            pd.Series(["d1", "d1", "d2", "d2"]),
            classes=["a", "b"],
            parameters=7,
            sampling=Sampling(100, 0),
        )
        accuracies = [values[part]["accuracy"] for part in ("train", "val", "test")]
        assert accuracies == [1.0, 0.75, 0.5]
        assert values["test"]["n"] == 4
        assert values["parameters"] == 7


class TestAgainstScikitLearn:
    @pytest.mark.parametrize("seed", range(3))
    def test_every_figure(self, seed: int) -> None:
        table = predictions(seed)
        values = measured(table)
        actual, predicted = table["class"], table["predicted"]
        scores = table[[f"p_{name}" for name in CLASSES]]
        assert values["n"] == len(table)
        assert values["accuracy"] == pytest.approx(sk.accuracy_score(actual, predicted))
        assert values["macro_f1"] == pytest.approx(sk.f1_score(actual, predicted, average="macro"))
        assert values["kappa"] == pytest.approx(sk.cohen_kappa_score(actual, predicted))
        assert values["balanced_accuracy"] == pytest.approx(
            sk.balanced_accuracy_score(actual, predicted)
        )
        assert values["top3_accuracy"] == pytest.approx(
            sk.top_k_accuracy_score(actual, scores, k=3, labels=CLASSES)
        )
        report = sk.classification_report(actual, predicted, output_dict=True)
        assert values["recall"] == pytest.approx({c: report[c]["recall"] for c in CLASSES})
        assert values["accuracy_low"] < values["accuracy"] < values["accuracy_high"]
        assert values["macro_f1_low"] < values["macro_f1"] < values["macro_f1_high"]

    @pytest.mark.filterwarnings("ignore")  # of scikit-learn, that kappa is not defined
    def test_a_test_part_of_one_class(self) -> None:
        table = predictions(1, skill=100)
        alone = table[table["class"] == CLASSES[0]].reset_index(drop=True)
        values = measured(alone)
        assert (values["accuracy"], values["kappa"]) == (1.0, 0.0)

    def test_row_order_does_not_matter(self) -> None:
        table = predictions(4)
        groups = pd.Series(np.arange(len(table)) // 3)
        order = np.random.default_rng(1).permutation(len(table))
        kwargs = {"classes": CLASSES, "sampling": Sampling(100, 2)}
        first = pd.json_normalize(test_metrics(table, groups, **kwargs))
        second = pd.json_normalize(test_metrics(table.iloc[order], groups.iloc[order], **kwargs))
        pd.testing.assert_frame_equal(first, second)

    @given(st.lists(st.integers(0, 30), min_size=16, max_size=16).filter(any))
    def test_macro_f1_of_sums(self, counts: list[int]) -> None:
        matrix = np.array(counts).reshape(4, 4)
        pairs = [(a, p) for a in range(4) for p in range(4) for _ in range(matrix[a, p])]
        actual, predicted = zip(*pairs, strict=True)
        expected = sk.f1_score(actual, predicted, average="macro", zero_division=0)
        received = intervals.macro_f1(np.array([counts, counts], float))
        assert received == pytest.approx([expected, expected])

    def test_class_without_test_images(self) -> None:
        table = predictions(5)
        table = table[table["class"] != "c"]
        values = measured(table)
        assert "c" not in values["recall"]
        present = [name for name in CLASSES if name != "c"]
        recalls = sk.recall_score(
            table["class"], table["predicted"], labels=present, average="macro"
        )
        assert values["balanced_accuracy"] == pytest.approx(recalls)
        assert np.isfinite(pd.json_normalize(values).to_numpy(float)).all()

    def test_all_right(self) -> None:
        table = predictions(6, skill=100)
        values = measured(table)
        for name in ("accuracy", "accuracy_high", "macro_f1", "kappa"):
            assert values[name] == 1
        # So many donors without an error do not say that none will make one.
        assert 0.9 < values["accuracy_low"] < 1
        assert values["ece"] < 1e-6

    def test_two_and_three_classes_have_no_top_three(self) -> None:
        for classes in (["a", "b"], ["a", "b", "c"]):
            assert "top3_accuracy" not in measured(predictions(7, classes=classes), classes)


class TestCalibration:
    @staticmethod
    def table(confidence: list[float], right: list[bool]) -> pd.DataFrame:
        predicted = ["a" if hit else "b" for hit in right]
        return pd.DataFrame({"class": "a", "predicted": predicted, "confidence": confidence})

    def test_by_hand(self) -> None:
        # Bins of 1/15: (0.91, 0.93 right, wrong), (0.50 right), (1.0 right).
        table = self.table([0.91, 0.93, 0.50, 1.0], [True, False, True, True])
        expected = 2 / 4 * abs(0.5 - 0.92) + 1 / 4 * abs(1 - 0.5) + 1 / 4 * 0
        assert calibration_error(table) == pytest.approx(expected)

    def test_perfect(self) -> None:
        assert calibration_error(self.table([0.5] * 10, [True, False] * 5)) == pytest.approx(0)

    def test_sure_and_wrong(self) -> None:
        assert calibration_error(self.table([1.0] * 4, [False] * 4)) == pytest.approx(1)


class TestAtlas:
    def test_twelve_classes_are_ten_tissues_and_eight_systems(self) -> None:
        assert len(TISSUES) == len(SYSTEMS) == 12
        assert set(TISSUES) == set(SYSTEMS)
        assert len(set(TISSUES.values())) == 10
        assert len(set(SYSTEMS.values())) == 8

    def test_classes_of_one_tissue_are_of_one_system(self) -> None:
        for tissue in set(TISSUES.values()):
            assert len({SYSTEMS[name] for name in TISSUES if TISSUES[name] == tissue}) == 1

    def test_joined_accuracies(self) -> None:
        table = predictions(8, classes=sorted(TISSUES), n=600, skill=1.0)
        values = measured(table, sorted(TISSUES))
        assert values["accuracy"] < values["accuracy_10_tissues"] < values["accuracy_8_systems"]
        within = {("skin_1", "skin_2"), ("endometrium_1", "endometrium_2")}
        same = [
            a == p or (a, p) in within or (p, a) in within
            for a, p in zip(table["class"], table["predicted"], strict=True)
        ]
        assert values["accuracy_10_tissues"] == pytest.approx(np.mean(same))

    def test_lymph_node_and_spleen_are_one_system_and_two_tissues(self) -> None:
        assert SYSTEMS["lymph_node"] == SYSTEMS["spleen"]
        assert TISSUES["lymph_node"] != TISSUES["spleen"]

    def test_other_classes_have_no_such_figures(self) -> None:
        assert not is_atlas(["liver", "something else"])
        values = measured(predictions(9))
        assert not {"accuracy_10_tissues", "accuracy_8_systems"} & set(values)


class TestIntervals:
    def test_covers_the_truth_about_as_often_as_it_says(self) -> None:
        rng = np.random.default_rng(3)
        covered = 0
        for seed in range(200):
            # 60 donors of 4 images each; each donor has its own rate, 0.7 on the whole.
            rates = rng.beta(7, 3, 60)
            right = rng.random((60, 4)) < rates[:, None]
            low, high = intervals.mean_interval(
                right.ravel(), np.repeat(np.arange(60), 4), sampling=Sampling(300, seed)
            )
            covered += low <= 0.7 <= high
        assert 0.89 < covered / 200 < 0.99

    def test_wider_where_images_of_a_donor_are_alike(self) -> None:
        rng = np.random.default_rng(4)
        groups = np.repeat(np.arange(40), 10)
        alike = np.repeat(rng.random(40) < 0.7, 10)
        mixed = rng.permutation(alike)
        wide = intervals.mean_interval(alike, groups, sampling=Sampling(500, 1))
        narrow = intervals.mean_interval(mixed, groups, sampling=Sampling(500, 1))
        assert wide.high - wide.low > 2 * (narrow.high - narrow.low)

    def test_one_image_a_group_is_the_ordinary_bootstrap(self) -> None:
        right = np.random.default_rng(5).random(400) < 0.8
        low, high = intervals.mean_interval(right, np.arange(400), sampling=Sampling(4000, 1))
        spread = 1.96 * np.sqrt(right.mean() * (1 - right.mean()) / 400)
        assert low == pytest.approx(right.mean() - spread, abs=0.006)
        assert high == pytest.approx(right.mean() + spread, abs=0.006)

    def test_of_one_group_images_are_resampled(self) -> None:
        right = [1, 1, 1, 0, 1, 0, 1, 1]
        one = intervals.mean_interval(right, ["a"] * 8, sampling=Sampling(500, 1))
        assert one == intervals.mean_interval(right, np.arange(8), sampling=Sampling(500, 1))
        assert one.low < 0.75 < one.high

    @pytest.mark.parametrize("hit", [0, 1])
    def test_where_all_are_alike_the_interval_is_exact(self, hit: int) -> None:
        low, high = intervals.share_interval(
            [hit] * 60, np.arange(60) // 3, sampling=Sampling(9, 1)
        )
        bound = 0.025 ** (1 / 20)  # of twenty donors
        assert (low, high) == pytest.approx((0, 1 - bound) if hit == 0 else (bound, 1))
        mixed = np.arange(60) % 5 == 0
        groups = np.arange(60) // 3
        assert intervals.share_interval(
            mixed, groups, sampling=Sampling(99, 1)
        ) == intervals.mean_interval(mixed, groups, sampling=Sampling(99, 1))
        # Two donors of which half is right are no proof that half of all are.
        low, high = intervals.share_interval([1, 0, 1, 0], list("aabb"), sampling=Sampling(99, 1))
        assert low < 0.1
        assert high > 0.9

    def test_few_donors_widen_the_interval(self) -> None:
        """What it covers, of donors that differ: without the widening 82 % of the time with 5."""
        rng = np.random.default_rng(0)
        covered = 0
        for seed in range(200):
            shares = rng.beta(3, 1.2, 5)  # mean 3 / 4.2
            right = (rng.random((5, 6)) < shares[:, None]).ravel()
            low, high = intervals.share_interval(
                right, np.repeat(np.arange(5), 6), sampling=Sampling(300, seed)
            )
            covered += low <= 3 / 4.2 <= high
        assert covered > 0.85 * 200

    def test_groups_of_different_size_are_weighted_by_images(self) -> None:
        values = np.array([1.0] * 90 + [0.0] * 10)
        groups = np.array(["big"] * 90 + ["small"] * 10)
        low, high = intervals.mean_interval(values, groups, sampling=Sampling(200, 1))
        assert (low, high) == (0, 1)  # either group alone is drawn now and then

    def test_same_seed_same_interval_and_names_do_not_matter(self) -> None:
        right = np.random.default_rng(6).random(60) < 0.5
        groups = np.repeat(np.arange(20), 3)
        one = intervals.mean_interval(right, groups, sampling=Sampling(100, 1))
        assert one == intervals.mean_interval(right, groups, sampling=Sampling(100, 1))
        assert one != intervals.mean_interval(right, groups, sampling=Sampling(100, 2))
        names = np.array([f"donor {group:02d}" for group in groups])
        assert one == intervals.mean_interval(right, names, sampling=Sampling(100, 1))


class TestCompare:
    @staticmethod
    def tables(counts: dict[str, int]) -> tuple[pd.DataFrame, pd.DataFrame, pd.Series]:
        right = {
            "both": (True, True), "first": (True, False), "second": (False, True),
            "neither": (False, False),
        }  # fmt: skip
        rows = [right[name] for name, count in counts.items() for _ in range(count)]
        tables = [
            pd.DataFrame({"class": "a", "predicted": ["a" if row[k] else "b" for row in rows]})
            for k in (0, 1)
        ]
        return tables[0], tables[1], pd.Series(range(len(rows)))

    def test_known_table(self) -> None:
        first, second, groups = self.tables({"both": 50, "first": 5, "second": 20, "neither": 25})
        values = paired_comparison(first, second, groups, sampling=Sampling(500, 1))
        assert values["n"] == 100
        assert (values["both_right"], values["both_wrong"]) == (50, 25)
        assert (values["only_scratch"], values["only_pretrained"]) == (5, 20)
        assert values["difference"] == pytest.approx(0.15)
        assert 0 < values["difference_low"] < 0.15 < values["difference_high"] < 0.3
        # 2 * sum of C(25, k) / 2 ** 25 for k up to 5
        assert values["p_value"] == pytest.approx(2 * 68406 / 2**25)
        assert values["p_value"] == pytest.approx(binomtest(20, 25).pvalue)

    def test_the_other_way_round(self) -> None:
        first, second, groups = self.tables({"both": 50, "first": 5, "second": 20, "neither": 25})
        forth = paired_comparison(first, second, groups, sampling=Sampling(100, 1))
        back = paired_comparison(second, first, groups, sampling=Sampling(100, 1))
        assert back["difference"] == -forth["difference"]
        assert back["p_value"] == pytest.approx(forth["p_value"])
        assert back["only_scratch"] == forth["only_pretrained"]

    def test_equal_predictions(self) -> None:
        first, second, groups = self.tables({"both": 5, "neither": 5})
        values = paired_comparison(first, second, groups, sampling=Sampling(100, 1))
        assert values["p_value"] == 1
        assert values["difference"] == 0
        # Ten donors on which they agree do not show that they agree on all.
        bound = 1 - 0.025 ** (1 / 10)
        assert values["difference_high"] == -values["difference_low"] == pytest.approx(bound)


class TestConfusions:
    def test_worst_first_and_as_counted_by_scikit_learn(self) -> None:
        tables = {"scratch": predictions(1, skill=1), "pretrained": predictions(2)}
        frame = confusions(tables)
        assert list(frame.columns) == ["model", "actual", "predicted", "count", "share", "n"]
        assert (frame["count"].diff().dropna() <= 0).all()
        assert (frame["actual"] != frame["predicted"]).all()
        for name, table in tables.items():
            matrix = sk.confusion_matrix(table["class"], table["predicted"], labels=CLASSES)
            rows = frame[frame["model"] == name]
            assert rows["count"].sum() == matrix.sum() - np.trace(matrix)
            for _, row in rows.iterrows():
                a, p = CLASSES.index(row["actual"]), CLASSES.index(row["predicted"])
                assert row["count"] == matrix[a, p]
                assert row["n"] == matrix[a].sum()
                assert row["share"] == pytest.approx(matrix[a, p] / matrix[a].sum())

    def test_nothing_confused(self) -> None:
        frame = confusions({"scratch": predictions(1, skill=100)})
        assert frame.empty
        assert list(frame.columns) == ["model", "actual", "predicted", "count", "share", "n"]


class TestMixing:
    @staticmethod
    def data(shift: float, seed: int = 0) -> tuple[np.ndarray, pd.DataFrame]:
        """Three classes, 40 donors each of 3 images that lie close together; a third is test."""
        rng = np.random.default_rng(seed)
        groups = np.repeat(np.arange(120), 3)
        classes = groups % 3
        is_test = rng.permuted(np.arange(120) // 3 % 3 == 0) if shift == 0 else (
            np.arange(120) // 3 % 3 == 0
        )  # fmt: skip
        centres = rng.normal(0, 1, (120, 6)) + 8 * np.eye(6)[np.arange(120) % 3]
        points = centres[groups] + rng.normal(0, 0.3, (360, 6))
        points[is_test[groups]] += shift
        index = pd.DataFrame(
            {
                "split": np.where(is_test[groups], "test", "train"),
                "class": np.array(["a", "b", "c"])[classes],
                "group": [f"g{group}" for group in groups],
            }
        )
        return points.astype(np.float32), index

    @staticmethod
    def mixing(points: np.ndarray, index: pd.DataFrame, **changes: int) -> dict[str, float]:
        settings = {"neighbours": 10, "random_splits": 200, "seed": 1, **changes}
        return overlap(points, index, **settings)["mixing"]

    def test_random_split_is_as_mixed_as_random_splits(self) -> None:
        values = [self.mixing(*self.data(0.0, seed)) for seed in range(5)]
        assert np.median([value["p_value"] for value in values]) > 0.05
        for value in values:
            assert value["random_low"] <= value["random_mean"] <= value["random_high"]
            # Donors lie close together, so even random splits of donors are below 1.
            assert 0.7 < value["random_mean"] < 1

    def test_random_labels_of_single_images_are_fully_mixed(self) -> None:
        rng = np.random.default_rng(2)
        index = pd.DataFrame(
            {
                "split": rng.permutation(["test"] * 150 + ["train"] * 300),
                "class": "a",
                "group": [f"g{row}" for row in range(450)],
            }
        )
        value = self.mixing(rng.normal(0, 1, (450, 4)).astype(np.float32), index)
        assert value["real"] == pytest.approx(1, abs=0.06)
        assert value["random_mean"] == pytest.approx(1, abs=0.02)
        assert value["p_value"] > 0.02

    def test_shifted_test_set_is_noticed(self) -> None:
        value = self.mixing(*self.data(1.5))
        assert value["real"] < value["random_low"]
        assert value["p_value"] == pytest.approx(1 / 201)

    def test_sets_that_lie_apart_do_not_mix(self) -> None:
        assert self.mixing(*self.data(100.0))["real"] == 0

    def test_same_seed_same_figures(self) -> None:
        points, index = self.data(0.3)
        assert self.mixing(points, index) == self.mixing(points, index)

    def test_row_order_does_not_matter_to_the_real_figure(self) -> None:
        points, index = self.data(0.3)
        order = np.random.default_rng(1).permutation(len(points))
        shuffled = self.mixing(points[order], index.iloc[order].reset_index(drop=True))
        assert shuffled["real"] == pytest.approx(self.mixing(points, index)["real"])

    def test_more_neighbours_than_images(self) -> None:
        points, index = self.data(0.0)
        rows = np.r_[0:6, 9:15]
        few = index.iloc[rows].reset_index(drop=True)
        few["split"] = ["test", "train"] * 6
        assert self.mixing(points[rows], few, neighbours=50)["real"] == pytest.approx(1)
