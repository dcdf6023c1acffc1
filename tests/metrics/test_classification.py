"""Metrics against scikit-learn and scipy, and against what is known beforehand."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from sklearn import metrics as sk

from tissue.common.names import SYSTEMS, TISSUES, is_atlas
from tissue.metrics.classification import (
    calibration_error,
    confusions,
    measure_models,
    paired_comparison,
    prediction_table,
    split_metrics,
)
from tissue.metrics.intervals import Sampling

CLASSES = ["a", "b", "c", "d", "e"]


def predictions(
    seed: int = 0, *, n: int = 300, classes: list[str] = CLASSES, skill: float = 2.0
) -> pd.DataFrame:
    """A table of predictions, most of them correct."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(classes), n)
    scores = rng.normal(0, 1, (n, len(classes))) + skill * np.eye(len(classes))[labels]
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    index = pd.DataFrame(
        {"id": [f"i{row}" for row in range(n)], "class": np.asarray(classes)[labels]}
    )
    return prediction_table(index, probabilities.astype(np.float32), split="test", classes=classes)


def measured(table: pd.DataFrame, classes: list[str] = CLASSES) -> dict[str, Any]:
    donors = pd.Series(np.arange(len(table)) // 3)
    return split_metrics(table, donors, classes=classes, sampling=Sampling(200, 1))


class TestTable:
    def test_columns(self) -> None:
        index = pd.DataFrame({"id": ["x", "y"], "class": ["b", "b"]}, index=[5, 6])
        probabilities = np.array([[0.75, 0.25], [0.0, 1.0]], np.float32)
        table = prediction_table(index, probabilities, split="val", classes=["a", "b"])
        assert table.to_csv(index=False, lineterminator=" ").split() == [
            "id,split,class,predicted,confidence,p_a,p_b",
            "x,val,b,a,0.75,0.75,0.25",
            "y,val,b,b,1.0,0.0,1.0",
        ]

    def test_each_split_is_measured_on_its_own_rows(self) -> None:
        tables = []
        for split, correct in (("train", 4), ("val", 3), ("test", 2)):
            table = predictions(1, classes=["a", "b"]).head(4).assign(split=split)
            wrong = table["class"].map({"a": "b", "b": "a"})
            table["predicted"] = table["class"].where(np.arange(4) < correct, wrong)
            tables.append(table)
        table = pd.concat(tables, ignore_index=True)
        values = measure_models(
            {"scratch": table, "pretrained": table.assign(predicted=table["class"])},
            pd.Series(["d1", "d1", "d2", "d2"]),
            classes=["a", "b"],
            parameters={"scratch": 7, "pretrained": 8},
            sampling=Sampling(100, 0),
        )
        scratch = values["scratch"]
        accuracies = [scratch[split]["accuracy"] for split in ("train", "val", "test")]
        assert accuracies == [1.0, 0.75, 0.5]
        assert scratch["test"]["n"] == values["comparison"]["test"]["n"] == 4
        assert scratch["parameters"] == 7
        assert values["comparison"]["test"]["only_pretrained"] == 2


class TestAgainstScikitLearn:
    @pytest.mark.parametrize("seed", range(3))
    def test_every_metric(self, seed: int) -> None:
        table = predictions(seed)
        values = measured(table)
        actual, predicted = table["class"], table["predicted"]
        scores = table[[f"p_{name}" for name in CLASSES]]
        expected = {
            "n": len(table),
            "accuracy": sk.accuracy_score(actual, predicted),
            "macro_f1": sk.f1_score(actual, predicted, average="macro"),
            "kappa": sk.cohen_kappa_score(actual, predicted),
            "balanced_accuracy": sk.balanced_accuracy_score(actual, predicted),
            "top3_accuracy": sk.top_k_accuracy_score(actual, scores, k=3, labels=CLASSES),
        }
        assert {name: values[name] for name in expected} == pytest.approx(expected)
        report = sk.classification_report(actual, predicted, output_dict=True)
        assert values["recall"] == pytest.approx({c: report[c]["recall"] for c in CLASSES})
        assert values["accuracy_low"] < values["accuracy"] < values["accuracy_high"]
        assert values["macro_f1_low"] < values["macro_f1"] < values["macro_f1_high"]

    @pytest.mark.filterwarnings("ignore")  # of scikit-learn, that kappa is not defined
    def test_test_set_of_one_class(self) -> None:
        table = predictions(1, skill=100)
        values = measured(table[table["class"] == CLASSES[0]].reset_index(drop=True))
        assert (values["accuracy"], values["kappa"]) == (1.0, 0.0)

    def test_row_order_does_not_matter(self) -> None:
        table = predictions(4)
        donors = pd.Series(np.arange(len(table)) // 3)
        order = np.random.default_rng(1).permutation(len(table))
        settings = {"classes": CLASSES, "sampling": Sampling(100, 2)}
        first = pd.json_normalize(split_metrics(table, donors, **settings))
        second = pd.json_normalize(split_metrics(table.iloc[order], donors.iloc[order], **settings))
        pd.testing.assert_frame_equal(first, second)

    def test_class_without_test_images(self) -> None:
        table = predictions(5)
        table = table[table["class"] != "c"]
        values = measured(table)
        assert "c" not in values["recall"]
        present = [name for name in CLASSES if name != "c"]
        recall = sk.recall_score(
            table["class"], table["predicted"], labels=present, average="macro"
        )
        assert values["balanced_accuracy"] == pytest.approx(recall)
        assert np.isfinite(pd.json_normalize(values).to_numpy(float)).all()

    def test_all_correct(self) -> None:
        values = measured(predictions(6, skill=100))
        for name in ("accuracy", "accuracy_high", "macro_f1", "kappa"):
            assert values[name] == 1
        # Donors without an error do not prove that no other donor has one.
        assert 0.9 < values["accuracy_low"] < 1
        assert values["ece"] < 1e-6

    def test_two_and_three_classes_have_no_top_three(self) -> None:
        for classes in (["a", "b"], ["a", "b", "c"]):
            assert "top3_accuracy" not in measured(predictions(7, classes=classes), classes)


@pytest.mark.parametrize(
    ("confidence", "correct", "expected"),
    [
        # Bins of 1/15: 0.91 (correct) with 0.93 (wrong), 0.50 (correct), 1.0 (correct).
        ([0.91, 0.93, 0.50, 1.0], [True, False, True, True], 2 / 4 * 0.42 + 1 / 4 * 0.5),
        ([0.5] * 10, [True, False] * 5, 0),
        ([1.0] * 4, [False] * 4, 1),
    ],
)
def test_calibration_error(confidence: list[float], correct: list[bool], expected: float) -> None:
    predicted = ["a" if hit else "b" for hit in correct]
    table = pd.DataFrame({"class": "a", "predicted": predicted, "confidence": confidence})
    assert calibration_error(table) == pytest.approx(expected)


class TestAtlas:
    def test_classes_are_ten_tissues_and_eight_systems(self) -> None:
        assert set(TISSUES) == set(SYSTEMS)
        assert len(TISSUES) == 12
        assert len(set(TISSUES.values())) == 10
        assert len(set(SYSTEMS.values())) == 8
        for tissue in set(TISSUES.values()):
            assert len({SYSTEMS[name] for name in TISSUES if TISSUES[name] == tissue}) == 1
        assert SYSTEMS["lymph_node"] == SYSTEMS["spleen"]
        assert TISSUES["lymph_node"] != TISSUES["spleen"]

    def test_joined_accuracies(self) -> None:
        table = predictions(8, classes=sorted(TISSUES), n=600, skill=1.0)
        values = measured(table, sorted(TISSUES))
        assert values["accuracy"] < values["accuracy_10_tissues"] < values["accuracy_8_systems"]
        within = [{"skin_1", "skin_2"}, {"endometrium_1", "endometrium_2"}]
        same = [
            a == p or {a, p} in within
            for a, p in zip(table["class"], table["predicted"], strict=True)
        ]
        assert values["accuracy_10_tissues"] == pytest.approx(np.mean(same))

    def test_other_classes_have_none(self) -> None:
        assert not is_atlas(["liver", "something else"])
        values = measured(predictions(9))
        assert not {"accuracy_10_tissues", "accuracy_8_systems"} & set(values)


class TestComparison:
    @staticmethod
    def tables(
        *, both: int, first: int, second: int, neither: int
    ) -> tuple[pd.DataFrame, pd.DataFrame, pd.Series]:
        """Tables of two models of which both, the first, the second or neither are correct."""
        counts = [both, first, second, neither]
        a, b = np.repeat(["aa", "ab", "ba", "bb"], counts).astype("U2").view("U1").reshape(-1, 2).T
        tables = [pd.DataFrame({"class": "a", "predicted": column}) for column in (a, b)]
        return tables[0], tables[1], pd.Series(range(len(a)))

    def test_known_table(self) -> None:
        first, second, donors = self.tables(both=50, first=5, second=20, neither=25)
        values = paired_comparison(first, second, donors, sampling=Sampling(500, 1))
        assert values["n"] == 100
        assert (values["both_right"], values["both_wrong"]) == (50, 25)
        assert (values["only_scratch"], values["only_pretrained"]) == (5, 20)
        assert values["difference"] == pytest.approx(0.15)
        assert 0 < values["difference_low"] < 0.15 < values["difference_high"] < 0.3
        # 2 * sum of C(25, k) / 2 ** 25 for k up to 5
        assert values["p_value"] == pytest.approx(2 * 68406 / 2**25)
        assert values["p_value"] == pytest.approx(binomtest(20, 25).pvalue)

    def test_models_exchanged(self) -> None:
        first, second, donors = self.tables(both=50, first=5, second=20, neither=25)
        forth = paired_comparison(first, second, donors, sampling=Sampling(100, 1))
        back = paired_comparison(second, first, donors, sampling=Sampling(100, 1))
        assert back["difference"] == -forth["difference"]
        assert back["p_value"] == pytest.approx(forth["p_value"])
        assert back["only_scratch"] == forth["only_pretrained"]

    def test_equal_predictions(self) -> None:
        first, second, donors = self.tables(both=5, first=0, second=0, neither=5)
        values = paired_comparison(first, second, donors, sampling=Sampling(100, 1))
        assert values["p_value"] == 1
        assert values["difference"] == 0
        # Agreement on ten donors does not prove agreement on all.
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
            actual, predicted = (
                pd.Index(CLASSES).get_indexer(rows[c]) for c in ("actual", "predicted")
            )
            assert rows["count"].tolist() == matrix[actual, predicted].tolist()
            assert rows["count"].sum() == matrix.sum() - np.trace(matrix)
            assert rows["n"].tolist() == matrix.sum(axis=1)[actual].tolist()
            assert rows["share"].tolist() == pytest.approx((rows["count"] / rows["n"]).tolist())

    def test_nothing_confused(self) -> None:
        frame = confusions({"scratch": predictions(1, skill=100)})
        assert frame.empty
        assert list(frame.columns) == ["model", "actual", "predicted", "count", "share", "n"]
