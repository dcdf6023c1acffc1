"""Metrics against scikit-learn and scipy, and against what is known beforehand."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from tissue.common.names import SYSTEMS, TISSUES, is_atlas
from tissue.metrics.classification import (
    balanced_accuracy,
    class_counts,
    kappa,
    macro_f1,
    measure_models,
    split_metrics,
)
from tissue.metrics.intervals import Sampling
from tissue.metrics.predictions import confusions, prediction_table

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
            "id,split,class,predicted,confidence,dissent,p_a,p_b",
            "x,val,b,a,0.75,0.0,0.75,0.25",
            "y,val,b,b,1.0,0.0,0.0,1.0",
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
            dict.fromkeys(("train", "val", "test"), pd.DataFrame({"group": list("1122")})),
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
        for name in (*expected, "nll", "brier"):
            if name != "n":
                assert values[f"{name}_low"] < values[name] < values[f"{name}_high"], name
        for name in CLASSES:
            assert values["recall_low"][name] < values["recall"][name] < values["recall_high"][name]
        assert values["nll"] == pytest.approx(sk.log_loss(actual, scores, labels=CLASSES))
        one_hot = (actual.to_numpy()[:, None] == np.array(CLASSES)).astype(float)
        assert values["brier"] == pytest.approx(((scores - one_hot) ** 2).sum(axis=1).mean())

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


@given(st.lists(st.integers(0, 30), min_size=16, max_size=16).filter(any))
def test_statistics_of_sums(counts: list[int]) -> None:
    actual, predicted = (
        labels.astype(str) for labels in np.divmod(np.repeat(range(16), counts), 4)
    )
    table = pd.DataFrame({"class": actual, "predicted": predicted})
    sums = class_counts(table, list("0123")).sum(axis=0)
    expected = sk.f1_score(actual, predicted, average="macro", zero_division=0)
    assert macro_f1(np.array([sums, sums])) == pytest.approx([expected, expected])
    recalls = sk.recall_score(
        actual, predicted, labels=np.unique(actual), average="macro", zero_division=0
    )
    assert balanced_accuracy(sums) == pytest.approx(recalls)
    if len({*actual, *predicted}) > 1:
        assert kappa(sums) == pytest.approx(sk.cohen_kappa_score(actual, predicted))


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
