"""The page: made from invented but consistent numbers, complete, self-contained and readable."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stages import report
from stages.page.numbers import points
from stages.page.overlap import overlap_verdict
from stages.page.reading import MADE_BY, MODELS, PICTURES, read_inputs
from stages.page.wording import confused_pairs, verdict

CLASSES = [
    "colon",
    "endometrium_1",
    "endometrium_2",
    "kidney",
    "liver",
    "lung",
    "lymph_node",
    "pancreas",
    "skin_1",
    "skin_2",
    "small_intestine",
    "spleen",
]
PAIRS = {"skin_1": "skin_2", "endometrium_1": "endometrium_2", "lymph_node": "spleen"}
PER_CLASS = {"train": 48, "val": 12, "test": 30}
SIZE = {"samples": (700, 900), "data": (932, 1500), "confusion": (1400, 1350), "tsne": (1200, 960)}


def make_results(root: Path, classes: list[str], *, source: str = "phantom") -> None:
    """Write everything that the report reads, with numbers that fit each other."""
    rng = np.random.default_rng(5)
    for folder in ("metrics", "plots", "data/split", "data/predictions"):
        (root / folder).mkdir(parents=True)
    (root / "params.yaml").write_text("seed: 17\nfetch:\n  source: <phantom> & more\n")
    (root / "data/split/classes.json").write_text(json.dumps(classes))
    index = {part: _index(part, number, classes, rng) for part, number in PER_CLASS.items()}
    for part, frame in index.items():
        frame.to_csv(root / f"data/split/{part}.csv", index=False)
    rejected = pd.DataFrame({"id": ["train/liver/x.jpg"], "reason": ["truncated file"]})
    rejected.to_csv(root / "data/split/rejected.csv", index=False)
    tested = {}
    for model, skill in (("scratch", 0.55), ("pretrained", 0.84)):
        frame = _predictions(index, classes, skill, rng)
        frame.to_csv(root / f"data/predictions/{model}.csv", index=False)
        tested[model] = frame[frame["split"] == "test"].reset_index(drop=True)
        _write_json(root / f"metrics/{model}.json", _metrics(frame, classes))
        _history(skill, rng).to_csv(root / f"plots/{model}_history.csv", index=False)
    _write_json(root / "metrics/comparison.json", _comparison(tested))
    _write_json(root / "metrics/split.json", _split_metrics(index, classes, source))
    _write_json(root / "metrics/tsne.json", TSNE)
    _confusions(tested).to_csv(root / "plots/confusions.csv", index=False)
    for name in PICTURES:
        Image.new("RGB", SIZE[name.split("_")[0]], "white").save(root / f"plots/{name}.png")


MIXING = {"real": 0.98, "random_mean": 1.0, "random_low": 0.94, "random_high": 1.06}
TSNE: dict[str, Any] = {
    "neighbours": 10,
    "mixing": {"features": {**MIXING, "p_value": 0.31}, "pixels": {**MIXING, "p_value": 0.22}},
}


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True))


def _index(part: str, number: int, classes: list[str], rng: np.random.Generator) -> pd.DataFrame:
    folder = "test" if part == "test" else "train"
    rows = [
        (f"{folder}/{name}/{part}_{i:02d}.jpg", name) for name in classes for i in range(number)
    ]
    frame = pd.DataFrame(rows, columns=["id", "class"])
    frame["label"] = frame["class"].map(classes.index)
    frame["donor"] = [f"{part}-{rng.integers(12)}" for _ in rows]
    frame["group"] = frame["donor"]
    frame["slide"] = frame["antibody"] = ""
    frame["width"] = frame["height"] = 448
    for column, mean in (
        ("tissue_fraction", 0.6),
        ("blur", 140),
        ("haematoxylin", 0.2),
        ("dab", 0.1),
    ):
        frame[column] = mean * rng.gamma(9, 1 / 9, len(frame))
    return frame


def _predictions(
    index: dict[str, pd.DataFrame], classes: list[str], skill: float, rng: np.random.Generator
) -> pd.DataFrame:
    both = {**PAIRS, **{two: one for one, two in PAIRS.items()}}
    frames = []
    for part, frame in index.items():
        good = min(0.99, skill + {"train": 0.12, "val": 0.02, "test": 0.0}[part])
        predicted = []
        for name in frame["class"]:
            twin = both.get(name) if both.get(name) in classes else None
            right = rng.random() < (good - 0.25 * (twin is not None) if part == "test" else good)
            lead = twin if twin and rng.random() < 0.85 else classes[rng.integers(len(classes))]
            predicted.append(name if right else lead)
        frames.append(
            frame[["id", "class"]].assign(split=part, predicted=predicted, confidence=0.7)
        )
    return pd.concat(frames)[["id", "split", "class", "predicted", "confidence"]]


def _metrics(frame: pd.DataFrame, classes: list[str]) -> dict[str, Any]:
    right = frame["class"] == frame["predicted"]
    parts: dict[str, Any] = {
        part: {"accuracy": round(float(right[frame["split"] == part].mean()), 4)}
        for part in PER_CLASS
    }
    accuracy = parts["test"]["accuracy"]
    tested = frame[frame["split"] == "test"]
    recall = (tested["class"] == tested["predicted"]).groupby(tested["class"]).mean()
    parts["test"] |= {
        "n": len(tested),
        "accuracy_low": round(accuracy - 0.045, 4),
        "accuracy_high": round(accuracy + 0.041, 4),
        "macro_f1": round(accuracy - 0.004, 4),
        "balanced_accuracy": accuracy,
        "kappa": round(accuracy - 0.03, 4),
        "top3_accuracy": 0.9667,
        "ece": 0.0412,
        "recall": {name: round(float(recall[name]), 4) for name in classes},
    }
    if classes == CLASSES:
        parts["test"] |= {"accuracy_10_tissues": 0.9, "accuracy_8_systems": 0.9306}
    return parts | {"parameters": 412_340}


def _history(skill: float, rng: np.random.Generator) -> pd.DataFrame:
    epoch = np.arange(1, 31)
    fall = np.exp(-epoch / 8)
    noise = rng.normal(size=(2, len(epoch)))
    return pd.DataFrame(
        {
            "epoch": epoch,
            "accuracy": (skill + 0.1) * (1 - 0.9 * fall),
            "loss": 2.4 * fall + 0.2,
            "val_accuracy": skill * (1 - 0.85 * fall) + 0.01 * noise[0],
            "val_loss": 2.3 * fall + 0.5 + 0.004 * epoch + 0.03 * noise[1],
            "lr": 1e-3,
        }
    )


def _comparison(tested: dict[str, pd.DataFrame]) -> dict[str, Any]:
    one, two = (tested[model]["class"] == tested[model]["predicted"] for model in MODELS)
    difference = float(two.mean() - one.mean())
    return {
        "test": {
            "n": len(one),
            "both_right": int((one & two).sum()),
            "only_scratch": int((one & ~two).sum()),
            "only_pretrained": int((~one & two).sum()),
            "both_wrong": int((~one & ~two).sum()),
            "difference": round(difference, 4),
            "difference_low": round(difference - 0.05, 4),
            "difference_high": round(difference + 0.05, 4),
            "p_value": 0.0002,
        }
    }


def _split_metrics(
    index: dict[str, pd.DataFrame], classes: list[str], source: str
) -> dict[str, Any]:
    return {
        "images": {part: len(frame) for part, frame in index.items()},
        "classes": len(classes),
        "duplicates": {"exact": 0, "near": 3, "across_splits": 0},
        "groups": {**dict.fromkeys(index, 12), "shared": 0},
        "rejected": 1,
        "group_rule": "donor",
        "source": source,
    }


def _confusions(tested: dict[str, pd.DataFrame]) -> pd.DataFrame:
    rows = []
    for model, frame in tested.items():
        wrong = frame[frame["class"] != frame["predicted"]]
        for (actual, predicted), number in wrong.value_counts(["class", "predicted"]).items():
            rows.append((model, actual, predicted, number, number / 30, 30))
    frame = pd.DataFrame(rows, columns=["model", "actual", "predicted", "count", "share", "n"])
    return frame.sort_values(
        ["count", "model", "actual", "predicted"], ascending=[False, *[True] * 3]
    )


class Page(HTMLParser):
    """What a reader or a screen reader finds on a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.tables: list[dict[str, Any]] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)
        if tag == "table":
            self.tables.append({"caption": "", "rows": []})
        elif tag == "tr":
            self.tables[-1]["rows"].append([])
        elif tag in ("td", "th"):
            self.tables[-1]["rows"][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "caption" in self.open:
            self.tables[-1]["caption"] += data
        elif self.open and {"td", "th"} & set(self.open):
            self.tables[-1]["rows"][-1][-1] += data.strip()

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def table(self, caption: str) -> list[list[str]]:
        (found,) = [one["rows"] for one in self.tables if one["caption"].startswith(caption)]
        return found


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("results")
    make_results(root, CLASSES)
    return root


@pytest.fixture(scope="module")
def html(results: Path) -> str:
    report.run(results, out=results / "plots/report.html")
    return (results / "plots/report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_same_results_same_bytes(results: Path, html: str) -> None:
    again = results / "again.html"
    report.run(results, out=again)
    assert again.read_text(encoding="utf-8") == html
    assert not list(results.glob(".again*"))


def test_page_needs_nothing_but_itself(page: Page, html: str) -> None:
    assert len(html) < 12e6
    addresses = [a.get("src") or a.get("href") or "" for _, a in page.tags]
    assert all(one.startswith(("data:", "#")) for one in addresses if one)
    assert not re.search(r"https?://|url\(|@import|<script|<iframe", html)
    targets = {attributes.get("id") for _, attributes in page.tags}
    assert {one[1:] for one in addresses if one.startswith("#")} <= targets


def test_pictures_are_described_and_tables_have_headings(page: Page) -> None:
    pictures = page.all("img")
    assert len(pictures) == len(PICTURES) + len(MODELS)
    assert all(len(one["alt"] or "") > 30 and one["width"] and one["height"] for one in pictures)
    assert all(one["caption"].strip() for one in page.tables)
    assert all(one["scope"] in ("row", "col") for one in page.all("th"))
    for table in page.tables:
        assert len({len(row) for row in table["rows"]}) == 1, table["caption"]


def test_colours_keep_wcag_contrast() -> None:
    css = (Path(report.__file__).parent / "page/templates/style.css").read_text()
    schemes = [dict(re.findall(r"--(\w+): (#\w{6})", part)) for part in css.split("@media")[:2]]
    assert len(schemes[1]) == 8

    def luminance(colour: str) -> float:
        channels = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(
            channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4
        )
        return float(linear @ (0.2126, 0.7152, 0.0722))

    for scheme in schemes:
        for ground in ("paper", "panel"):
            for text in ("ink", "muted", "link", "scratch", "pretrained"):
                low, high = sorted(luminance(scheme[name]) for name in (ground, text))
                assert (high + 0.05) / (low + 0.05) >= 4.5, (ground, text)


def test_results_table_holds_the_metrics(results: Path, page: Page) -> None:
    metrics = read_inputs(results).metrics
    rows = {row[0]: row[1:] for row in page.table("Both models")}
    test = metrics["pretrained"]["test"]
    assert rows["Accuracy, test (n = 360)"][2:] == [
        f"{test['accuracy']:.1%}",
        f"{test['accuracy_low']:.1%} to {test['accuracy_high']:.1%}",
    ]
    assert rows["Accuracy over 8 organ systems"] == ["93.1%", "", "93.1%", ""]
    assert rows["Parameters"] == ["412,340", "", "412,340", ""]
    recall = {row[0]: row for row in page.table("Recall")}
    assert recall["skin_1"][3] == f"{test['recall']['skin_1']:.1%}"
    assert page.table("Rejected images")[1] == ["truncated file", "train/liver/x.jpg", "1"]


def test_confusion_numbers_add_up(results: Path, page: Page) -> None:
    for name in ("CNN from scratch", "pretrained net"):
        rows = page.table(f"Confusion counts, {name}")[1:]
        assert [sum(map(int, row[1:])) for row in rows] == [30] * 12
    pairs = confused_pairs(read_inputs(results).tested("pretrained"))
    assert {frozenset(pair[:2]) for pair in pairs[:3]} == {frozenset(p) for p in PAIRS.items()}


def test_verdict_says_what_was_measured(results: Path) -> None:
    inputs = read_inputs(results)
    accuracy, confusions, overlap = verdict(inputs)
    assert accuracy.startswith("The pretrained net names the right class for ")
    assert "% (95% interval " in accuracy
    assert ") of 360 test images, the CNN from scratch for " in accuracy
    assert "more than chance" in accuracy
    assert accuracy.endswith("(McNemar, p\N{NO-BREAK SPACE}<\N{NO-BREAK SPACE}0.001).")
    assert "skin_1 with skin_2" in confusions
    assert "no more than a random split" in overlap
    inputs.metrics["comparison"]["test"]["p_value"] = 0.41
    accuracy, _, _ = verdict(inputs)
    assert accuracy.replace("\N{NO-BREAK SPACE}", " ").endswith(
        "could be chance (McNemar, p = 0.41)."
    )


def test_a_perfect_model_is_told_as_one(results: Path) -> None:
    inputs = read_inputs(results)
    frame = inputs.predictions["pretrained"]
    frame["predicted"] = frame["class"]
    assert verdict(inputs)[1] == "It makes no error on them."


def test_overlap_verdict_tells_apart_from_close(page: Page) -> None:
    def told(share: float, p: float, shared: int = 0) -> str:
        deep = {**MIXING, "real": share, "p_value": p}
        sentence = overlap_verdict({"neighbours": 10, "mixing": {"features": deep}}, shared)
        return sentence.replace("\N{NO-BREAK SPACE}", " ")

    assert told(0.98, 0.31).startswith(
        "The test images differ from training by no more than a random split: counted over"
    )
    assert told(0.98, 0.31).endswith("p = 0.31); no group of images is shared between the parts.")
    assert told(0.40, 0.005).startswith("The test images differ from training by more than")
    assert told(1.10, 1.0, 7).startswith("The test images lie closer to training")
    assert "7 groups of images are shared" in told(1.10, 1.0, 7)
    row = page.table("Training images among the 10 nearest")[1]
    assert row == ["In pretrained features", "0.98", "1.00", "0.94 to 1.06", "0.31"]


def test_phantom_box_and_atlas_rows_only_where_they_belong(tmp_path: Path, html: str) -> None:
    assert "What the phantom can and cannot show" in html
    make_results(tmp_path, ["1", "None"], source="../images")
    report.run(tmp_path, out=tmp_path / "report.html")
    other = (tmp_path / "report.html").read_text()
    assert "phantom can" not in other
    rows = [row[0] for row in Page(other).table("Both models")]
    assert not any("tissues" in row or "systems" in row for row in rows)
    assert [row[0] for row in Page(other).table("Recall")[1:]] == ["1", "None"]


def test_params_are_shown_as_text(html: str) -> None:
    assert "source: &lt;phantom&gt; &amp; more" in html


def test_missing_files_are_named_with_their_stage(results: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"metrics/scratch\.json \(stage evaluate\)") as caught:
        report.run(tmp_path, out=tmp_path / "report.html")
    assert all(name in str(caught.value) for name in MADE_BY)
    assert not (tmp_path / "report.html").exists()


def test_points_have_a_sign() -> None:
    assert [points(0.236), points(-0.01)] == ["+23.6", "\N{MINUS SIGN}1.0"]
