"""The page: made from invented but consistent numbers, complete, self-contained and readable."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.pipeline import ROOT
from tests.report_examples import PAIRS, VIEWS, make_results, run_report
from tissue.common.names import MODEL_NAMES, MODELS
from tissue.phantom.latents import best_accuracy
from tissue.report.assembling import render
from tissue.report.formatting import percentage_points, render_markdown
from tissue.report.map import library, map_item
from tissue.report.reading import PICTURES, Inputs
from tissue.report.sentences import confused_pairs, verdict_sentences
from tissue.report.why import why_errors, why_sentence


class ParsedPage(HTMLParser):
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
        if tag not in ("meta", "link", "img", "br", "input"):
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
        if self.open and self.open[-1] in ("script", "style"):
            return
        if "caption" in self.open:
            self.tables[-1]["caption"] += data
        elif {"td", "th"} & set(self.open):
            self.tables[-1]["rows"][-1][-1] += data.strip()

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def table(self, caption: str) -> list[list[str]]:
        (found,) = [one["rows"] for one in self.tables if one["caption"].startswith(caption)]
        return found


@pytest.fixture(scope="module")
def page(html: str) -> ParsedPage:
    return ParsedPage(html)


def test_the_same_results_give_the_same_bytes(results: Path, html: str) -> None:
    assert run_report(results).read_text(encoding="utf-8") == html
    assert not list(results.glob("plots/.report*"))


def test_the_page_needs_no_other_file(page: ParsedPage, html: str) -> None:
    assert len(html) < 12e6
    addresses = [a.get("src") or a.get("href") or "" for _, a in page.tags]
    assert all(one.startswith(("data:", "#")) for one in addresses if one)
    # BokehJS names addresses in its notices; the browser is told to load none of them.
    assert not re.search(r"https?://|url\(|@import|<iframe", html.replace(library(), ""))
    (policy,) = [a for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert (policy["content"] or "").startswith("default-src 'none'; img-src data: blob:;")
    assert not any(one.get("src") for one in page.all("script"))
    targets = {attributes.get("id") for _, attributes in page.tags}
    assert {one[1:] for one in addresses if one.startswith("#")} <= targets


def test_pictures_are_described_and_tables_have_headings(page: ParsedPage) -> None:
    pictures = page.all("img")
    # Drawn here: a history, the penalties, ranking, reliability, risk by coverage, two of the audit
    # and two small maps.
    assert len(pictures) == len(PICTURES) + len(MODELS) + 8
    assert all(len(one["alt"] or "") > 30 and one["width"] and one["height"] for one in pictures)
    assert all(one["caption"].strip() for one in page.tables)
    assert all(one["scope"] in ("row", "col") for one in page.all("th"))
    for table in page.tables:
        assert len({len(row) for row in table["rows"]}) == 1, table["caption"]


def test_colours_keep_wcag_contrast() -> None:
    css = (ROOT / "tissue/report/templates/style.css").read_text()
    schemes = [dict(re.findall(r"--(\w+): (#\w{6})", part)) for part in css.split("@media")[:2]]
    assert len(schemes[1]) == 8
    mixes = [int(mix) / 100 for mix in re.findall(r"--mix: (\d+)%", css)]
    for scheme, mix in zip(schemes, mixes, strict=True):
        colours = {name: channels(colour) for name, colour in scheme.items()}
        for ground in ("paper", "panel"):
            for text in ("ink", "muted", "link", "scratch", "pretrained"):
                assert contrast(colours[ground], colours[text]) >= 4.5, (ground, text)
        # The fullest cell of a confusion matrix, with the number on it; mixed as CSS does in sRGB.
        for tone in ("scratch", "pretrained"):
            cell = np.round(mix * colours[tone] + (1 - mix) * colours["panel"])
            assert contrast(cell, colours["ink"]) >= 4.5, (tone, cell)


def channels(colour: str) -> np.ndarray:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], float)


def contrast(one: np.ndarray, other: np.ndarray) -> float:
    shares = np.stack([one, other]) / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    low, high = sorted(linear @ (0.2126, 0.7152, 0.0722))
    return (high + 0.05) / (low + 0.05)


def test_results_table_holds_the_metrics(inputs: Inputs, page: ParsedPage) -> None:
    rows = {row[0]: row[1:] for row in page.table("Both models")}
    test = inputs.metrics["pretrained"]["test"]
    assert rows["Accuracy, test (n = 360)"][2:] == [
        f"{test['accuracy']:.1%}",
        f"{test['accuracy_low']:.1%} to {test['accuracy_high']:.1%}",
    ]
    assert rows["Accuracy over 8 organ systems"][2:] == [
        f"{test['accuracy_8_systems']:.1%}",
        f"{test['accuracy_8_systems_low']:.1%} to {test['accuracy_8_systems_high']:.1%}",
    ]
    assert rows[f"Accuracy by case (n = {test['cases']}), one answer for its images"][2:] == [
        f"{test['case_accuracy']:.1%}",
        f"{test['case_accuracy_low']:.1%} to {test['case_accuracy_high']:.1%}",
    ]
    assert rows["Parameters"] == ["412,340", "", "412,340", ""]
    # Every measure has an interval that holds it; the ECE, which has none, what chance gives.
    assert all(
        row[1] and row[3] for name, row in rows.items() if name not in ("Measure", "Parameters")
    )
    ece = rows["Calibration error (ECE, 15 bins, not debiased)"][3]
    assert ece == f"{test['ece_chance_low']:.3f} to {test['ece_chance_high']:.3f} by chance"
    debiased = rows["Calibration error (root mean square, debiased)"]
    low, high = map(float, debiased[3].split(" to "))
    assert low <= float(debiased[2]) <= high
    recall = {row[0]: row for row in page.table("Recall")}
    assert recall["skin_1"][2] == str(
        inputs.index["test"].query("`class` == 'skin_1'")["group"].nunique()
    )
    assert recall["skin_1"][5:7] == [
        f"{test['recall']['skin_1']:.1%}",
        f"{test['recall_low']['skin_1']:.1%} to {test['recall_high']['skin_1']:.1%}",
    ]
    assert page.table("Rejected images")[1] == ["truncated file", "train/liver/x.jpg", "1"]


def test_confusion_numbers_add_up(inputs: Inputs, page: ParsedPage) -> None:
    for name in MODEL_NAMES.values():
        rows = page.table(f"{name}: one row per class")[1:]
        assert [sum(map(int, row[1:])) for row in rows] == [30] * 12
    small = page.table("Confusion matrix of the pretrained net, 360 test images")
    assert small == page.table("pretrained net: one row per class")
    pairs = confused_pairs(inputs.tested("pretrained"))
    assert {frozenset(pair[:2]) for pair in pairs[:3]} == {frozenset(p) for p in PAIRS.items()}


def test_errors_are_counted_by_cause(inputs: Inputs, page: ParsedPage) -> None:
    rows = {row[0]: row[1:] for row in page.table("The cause named for each error")}
    blurred = inputs.errors[inputs.errors["cause"] == "blur"]["model"].value_counts()
    named = [rows["blur"][at].partition(":")[0] for at in (0, 3)]
    assert named == [str(blurred[model]) for model in MODELS]
    wrong = (inputs.errors["model"] == "scratch").sum()
    assert rows["Cause"][:2] == [
        f"CNN from scratch, of {wrong} errors (95% interval)", f"of {360 - wrong} correct",
    ]  # fmt: skip
    counted = sum(int(row[0].partition(":")[0]) for row in list(rows.values())[1:])
    assert counted == (inputs.errors["model"] == "scratch").sum()
    blur = inputs.metrics["errors"]["scratch"]["causes"]["blur"]
    assert rows["blur"][1] == "1.0% (0.0% to 6.0%)"
    assert rows["blur"][2].startswith(f"{percentage_points(blur['difference'])} (")
    assert page.table("Most confident errors")[1][0] in set(inputs.errors["id"])
    assert page.table("Labels to check")[1][0] == inputs.suspects["id"].iloc[0]


def test_overlap_table_holds_both_spaces(page: ParsedPage) -> None:
    rows = page.table("Distance between test and training")
    assert rows[1][0].startswith("Mixing of nearest neighbours")
    assert rows[1][1:] == ["0.98", "1.00", "0.94 to 1.06", "0.31"]
    assert rows[3][1:4] == ["50.0", "52.0", "45.0 to 60.0"]
    assert rows[0][-1] == "p (one-sided)"
    assert len(rows) == 1 + 6


def test_a_perfect_model_has_no_confusions_and_no_gallery(inputs: Inputs) -> None:
    frame = inputs.predictions["pretrained"]
    frame["predicted"] = frame["class"]
    assert verdict_sentences(inputs)[1] == "The pretrained net makes no errors."
    mine = inputs.metrics["errors"]["pretrained"]
    mine["errors"] = mine["within_systems"]["errors"] = mine["within_systems"]["none_found"] = 0
    for cause in mine["causes"].values():
        cause["errors"] = 0
    assert why_sentence(inputs, "pretrained") == "The pretrained net makes no errors."
    assert why_errors(inputs, "pretrained") == []
    of_other = inputs.confusions["model"] != "pretrained"
    faultless = replace(
        inputs,
        errors=inputs.errors.iloc[:0],
        heat=inputs.heat[:0],
        confusions=inputs.confusions[of_other],
        confused_causes=inputs.confused_causes.query("model != 'pretrained'"),
    )
    html = render(faultless, VIEWS)
    assert "called skin_2, CNN from scratch" in html
    assert "called skin_2, pretrained net" not in html
    assert 'id="gallery"' not in html
    assert "Most confident errors" not in html


def test_phantom_note_and_atlas_rows_only_where_they_belong(tmp_path: Path, html: str) -> None:
    assert "What the phantom can and cannot show" in html
    make_results(tmp_path, ["1", "None"], source="../images")
    other = run_report(tmp_path).read_text()
    assert "phantom can" not in other
    rows = [row[0] for row in ParsedPage(other).table("Both models")]
    assert not any("tissues" in row or "systems" in row for row in rows)
    assert [row[0] for row in ParsedPage(other).table("Recall")[1:]] == ["1", "None"]


def test_what_the_drawing_allows_stands_beside_what_was_reached(
    inputs: Inputs, page: ParsedPage
) -> None:
    rows = page.table("Test images classified correctly")
    assert [row[0] for row in rows[1:]] == [" / ".join(pair) for pair in sorted(PAIRS.items())]
    skin = inputs.tested("pretrained").query("`class` in ('skin_1', 'skin_2')")
    right = (skin["class"] == skin["predicted"]).mean()
    assert rows[3][1:3] == ["60", "81.2%"]
    assert rows[3][5] == f"{right:.1%}"
    low, high = (float(end.rstrip("%")) / 100 for end in rows[3][6].split(" to "))
    assert low < right < high < best_accuracy({"skin_1": 1, "skin_2": 1})


def test_causes_are_one_bar_that_holds_every_error(inputs: Inputs) -> None:
    parts = why_errors(inputs, "pretrained")
    errors = inputs.errors[inputs.errors["model"] == "pretrained"]
    assert sum(part.number for part in parts) == len(errors)
    assert len({part.colour for part in parts}) == len(parts)
    assert parts[0].name == "within one organ system, no measured cause"
    named = {part.name: part.number for part in parts}
    assert named["blur"] == (errors["cause"] == "blur").sum()


def test_params_are_shown_as_text(html: str) -> None:
    assert "source: &lt;phantom&gt; &amp; more" in html


def test_the_summary_of_the_paper_is_a_section_without_its_links(
    page: ParsedPage, html: str
) -> None:
    section = html[html.index('<section id="paper"') : html.index('<section id="reproduce"')]
    assert '<h2 id="paper-title">Moen et al. 2019 on one page</h2>' in section
    assert "<h3>What it says</h3>" in section
    assert "doi 10.1038/s41592-019-0403-1," in section
    assert "<a " not in section
    rows = page.table("What carries over to this project")
    assert rows[0] == ["in the review", "here"]
    assert ["residual links", "the network from scratch:tissue/training/scratch.py"] in rows


def test_markdown_is_text_where_it_is_not_markup() -> None:
    title, body = render_markdown("# A <b>\n\n<script>x</script> [here](https://x.org) & *so*\n")
    assert title == "A <b>"
    assert body == "<p>&lt;script&gt;x&lt;/script&gt; here &amp; <em>so</em></p>\n"


def test_map_is_the_same_at_every_call() -> None:
    assert map_item() == map_item()
    assert "</script" not in library()
