"""The model card tells what the metrics tell."""

import hashlib
import json
from pathlib import Path

import pytest

from tests.pipeline import ROOT
from tissue.common.files import file_digest
from tissue.report.model_card import PHANTOM, Facts, model_card

METRICS = json.loads((ROOT / "metrics/pretrained.json").read_text())
SPLIT = json.loads((ROOT / "metrics/split.json").read_text())
FACTS = Facts(
    name="pretrained",
    description="A head on a frozen backbone.",
    source="phantom",
    classes=sorted(METRICS["test"]["recall"]),
    metrics=METRICS,
    split=SPLIT,
    params={"lr": 0.001, "pretrained.backbone": "mobilenet_v2_035"},
    digests={"data/models/pretrained.keras": "0" * 64},
)


def test_it_holds_data_donors_metrics_limits_licence_and_digests() -> None:
    card = model_card(FACTS)
    test = METRICS["test"]
    low, high = test["accuracy_low"], test["accuracy_high"]
    assert f"| Accuracy | {test['accuracy']:.3f} | {low:.3f} to {high:.3f} |" in card
    assert f"| test | {SPLIT['images']['test']} | {SPLIT['groups']['test']} |" in card
    assert f"| colon | {test['recall']['colon']:.3f} |" in card
    assert "Not a medical device" in card
    assert "Apache-2.0" in card
    assert f"| data/models/pretrained.keras | {'0' * 64} |" in card
    assert "| pretrained.backbone | mobilenet_v2_035 |" in card


def test_the_phantom_is_called_a_phantom_and_nothing_else_is() -> None:
    assert PHANTOM in model_card(FACTS)
    assert PHANTOM not in model_card(FACTS._replace(source="../cores.zip"))


def test_the_same_facts_give_the_same_bytes_in_whatever_order() -> None:
    turned = FACTS._replace(params=dict(reversed(FACTS.params.items())))
    assert model_card(FACTS) == model_card(turned)


def test_measures_and_classes_that_are_missing_are_left_out_or_named() -> None:
    test = {key: value for key, value in METRICS["test"].items() if "accuracy_10" not in key}
    test["recall"] = {"colon": 1.0}
    card = model_card(FACTS._replace(metrics={**METRICS, "test": test}))
    assert "10 tissues" not in card
    assert "| liver | no image |" in card


def test_a_name_with_a_bar_stays_in_its_cell() -> None:
    assert "| a\\|b | no image |" in model_card(FACTS._replace(classes=["a|b"]))


def test_names_are_not_taken_for_markdown() -> None:
    card = model_card(FACTS._replace(classes=["<img src=x>", "*a*"], source="`b`"))
    assert "| \\<img src=x> | no image |" in card
    assert "| \\*a\\* | no image |" in card
    assert "Source: \\`b\\`. Divided" in card


def test_tissues_and_systems_are_counted() -> None:
    assert "Accuracy over 10 tissues" in model_card(FACTS)
    card = model_card(FACTS._replace(classes=["skin_1", "skin_2", "spleen", "lymph_node"]))
    assert "Accuracy over 3 tissues" in card
    assert "Accuracy over 2 organ systems" in card


@pytest.mark.parametrize("content", [b"", b"model"])
def test_digest(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    assert file_digest(tmp_path / "file") == hashlib.sha256(content).hexdigest()
