"""The model card states what the metrics state."""

import hashlib
import json
from pathlib import Path

from tests.pipeline import ROOT
from tests.report_examples import run_report
from tissue.report.model_card import Facts, model_card

METRICS = json.loads((ROOT / "metrics/pretrained.json").read_text())
SPLIT = json.loads((ROOT / "metrics/split.json").read_text())
FACTS = Facts(
    source="phantom",
    classes=sorted(METRICS["test"]["recall"]),
    metrics=METRICS,
    split=SPLIT,
    params={"lr": 0.001, "backbone": "mobilenet_v2_035"},
    digest="0" * 64,
)
PHANTOM = "Trained and tested on drawn cores"


def test_it_holds_data_donors_metrics_limits_licence_and_digest() -> None:
    card = model_card(FACTS)
    test = METRICS["test"]
    low, high = test["accuracy_low"], test["accuracy_high"]
    assert f"| Accuracy | {test['accuracy']:.3f} | {low:.3f} to {high:.3f} |" in card
    assert f"| test | {SPLIT['images']['test']} | {SPLIT['groups']['test']} |" in card
    colon = (test[key]["colon"] for key in ("recall", "recall_low", "recall_high"))
    assert "| colon | {:.3f} | {:.3f} to {:.3f} |".format(*colon) in card
    fitted = METRICS["val"]
    expected = f"{fitted['accuracy']:.3f} ({fitted['accuracy_low']:.3f} to "
    assert f"{expected}{fitted['accuracy_high']:.3f}) on validation images" in card
    assert "\n\nOf 30 test images per class.\n\n| Class |" in card
    assert "Not a medical device" in card
    assert "Apache-2.0" in card
    assert f"| pretrained.keras | {'0' * 64} |" in card
    assert "| backbone | mobilenet_v2_035 |" in card
    assert "Accuracy over 10 tissues" in card


def test_the_stage_writes_it_beside_the_model(results: Path) -> None:
    """Only this test shows that the stage passes the results on to the card."""
    run_report(results)
    card = (results / "data/models/pretrained.md").read_text(encoding="utf-8")
    digest = hashlib.sha256((results / "data/models/pretrained.keras").read_bytes()).hexdigest()
    accuracy = json.loads((results / "metrics/pretrained.json").read_text())["test"]["accuracy"]
    assert f"| pretrained.keras | {digest} |" in card
    assert f"| Accuracy | {accuracy:.3f} |" in card
    assert "Source: phantom. Split by donor;" in card
    assert "| seed | 17 |\n" in card
    assert "| lr | 0.001 |\n" in card
    assert not list(results.glob("data/models/.pretrained*"))


def test_only_the_phantom_is_called_a_phantom() -> None:
    assert PHANTOM in model_card(FACTS)
    assert PHANTOM not in model_card(FACTS._replace(source="../cores.zip"))


def test_a_head_without_its_backbone_is_called_a_head() -> None:
    assert "in one file." in model_card(FACTS)
    assert "a separate file" in model_card(FACTS._replace(params={"backbone": "a/b.onnx"}))


def test_the_order_of_parameters_changes_nothing() -> None:
    reordered = FACTS._replace(params=dict(reversed(FACTS.params.items())))
    assert model_card(FACTS) == model_card(reordered)


def test_missing_measures_are_left_out_and_classes_without_images_are_named() -> None:
    test = {key: value for key, value in METRICS["test"].items() if "accuracy_10" not in key}
    test |= {key: {"colon": 1.0} for key in ("recall", "recall_low", "recall_high")}
    card = model_card(FACTS._replace(metrics={**METRICS, "test": test}))
    assert "10 tissues" not in card
    assert "| liver | no image |" in card


def test_names_are_not_taken_for_markdown() -> None:
    card = model_card(FACTS._replace(classes=["<img src=x>", "*a*", "a|b"], source="`b`"))
    assert "| \\<img src=x> | no image |" in card
    assert "| \\*a\\* | no image |" in card
    assert "| a\\|b | no image |" in card
    assert "Source: \\`b\\`. Split" in card


def test_tissues_and_systems_are_counted() -> None:
    card = model_card(FACTS._replace(classes=["skin_1", "skin_2", "spleen", "lymph_node"]))
    assert "Accuracy over 3 tissues" in card
    assert "Accuracy over 2 organ systems" in card


def test_packaged_weights_are_credited() -> None:
    credit = "packaged ImageNet weights of the backbone, by Google and ML Illustrated"
    assert credit not in model_card(FACTS)
    params = {"backbone": "efficientnet_lite0", "weights": "packaged"}
    assert credit in model_card(FACTS._replace(params=params))
