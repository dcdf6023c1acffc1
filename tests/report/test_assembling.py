"""The page: made from invented but consistent numbers, complete, self-contained and readable."""

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages import report
from tests.report_examples import CLASSES, MIXING, PAIRS, TSNE, make_results
from tissue.common.errors import InputError
from tissue.common.names import MODELS
from tissue.report.assembling import render
from tissue.report.error_tables import coverage_sentence
from tissue.report.formatting import percentage_points
from tissue.report.map import library, map_item
from tissue.report.reading import MADE_BY, PICTURES, read_inputs
from tissue.report.records import as_json, omitted_sentence, records, thumbnail_side
from tissue.report.sentences import (
    confused_pairs,
    confusion_sentence,
    overlap_verdict,
    verdict_sentences,
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
    # BokehJS names addresses in its notices; the browser is told to load none of them.
    assert not re.search(r"https?://|url\(|@import|<iframe", html.replace(library(), ""))
    (policy,) = [a for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert (policy["content"] or "").startswith("default-src 'none'; img-src data: blob:;")
    assert not any(one.get("src") for one in page.all("script"))
    targets = {attributes.get("id") for _, attributes in page.tags}
    assert {one[1:] for one in addresses if one.startswith("#")} <= targets


def test_every_image_is_on_the_page_once(results: Path, html: str) -> None:
    inputs = read_inputs(results)
    known = records(inputs)
    images = known["images"]
    assert len(images["id"]) == len(set(images["id"])) == len(set(images["picture"]))
    assert sorted(
        i for i, part in zip(images["id"], images["part"], strict=True) if part == "test"
    ) == sorted(inputs.index["test"]["id"])
    assert all(html.count(picture) == 1 for picture in images["picture"][::97])
    wrong = sum(
        int((inputs.tested(m)["class"] != inputs.tested(m)["predicted"]).sum()) for m in MODELS
    )
    assert len(known["errors"]) == wrong == len(inputs.errors)
    error, row = known["errors"][7], inputs.errors.iloc[7]
    assert images["id"][error["image"]] == row["id"]
    assert [images["id"][i] for i in error["near"]] == [row[f"neighbour_{k}"] for k in range(1, 6)]
    # Fewer than five training images.
    fewer = replace(inputs, errors=inputs.errors.assign(neighbour_4="", neighbour_5=""))
    near = [images["id"][i] for i in records(fewer)["errors"][7]["near"]]
    assert near == [row[f"neighbour_{k}"] for k in range(1, 4)]


def test_errors_are_counted_by_cause(results: Path, page: Page) -> None:
    inputs = read_inputs(results)
    rows = {row[0]: row[1:] for row in page.table("What explains the errors")}
    blurred = inputs.errors[inputs.errors["cause"] == "blur"]["model"].value_counts()
    assert [rows["blur"][0], rows["blur"][3]] == [str(blurred[model]) for model in MODELS]
    assert (
        sum(int(row[0]) for row in list(rows.values())[1:])
        == (inputs.errors["model"] == "scratch").sum()
    )
    assert rows["confusable pair"][2] == "n/a"
    surest = page.table("The surest errors")[1]
    assert surest[0] in set(inputs.errors["id"])
    assert page.table("Labels worth a second look")[1][0] == inputs.suspects["id"].iloc[0]


def test_what_is_gained_by_leaving_images_to_a_human(results: Path) -> None:
    inputs = read_inputs(results)
    curve = inputs.risk_coverage["pretrained"]
    kept = curve[curve["coverage"] >= 0.8].iloc[0]
    sentence = coverage_sentence(inputs)
    assert sentence.startswith("If the pretrained net answers only the 80.0% of test images")
    assert f"{kept['error']:.1%} of its answers are wrong instead of" in sentence
    assert sentence.endswith(f"{curve.iloc[-1]['error']:.1%}.")


def test_of_many_errors_those_with_a_heat_map_are_shown(results: Path) -> None:
    inputs = read_inputs(results)
    assert omitted_sentence(inputs, records(inputs)) == ""
    some = inputs.errors.index[::9]
    few = replace(
        inputs,
        errors=inputs.errors.loc[some].reset_index(drop=True),
        heat=inputs.heat[some],
        points=inputs.points.head(50),
    )
    known = records(few)
    ids = [known["images"]["id"][error["image"]] for error in known["errors"]]
    assert ids == inputs.errors.loc[some, "id"].tolist()
    assert len(known["images"]["id"]) <= 50 + 6 * len(some)
    told = omitted_sentence(few, known)
    assert told.startswith("Of 360 test images the page shows ")
    assert f"of {len(inputs.errors)} errors {len(some)}: " in told
    assert told in render(few)
    assert "of each model and class the surest" not in render(inputs)


def test_a_heat_map_is_asked_for_each_error(results: Path) -> None:
    inputs = read_inputs(results)
    with pytest.raises(ValueError, match="a Grad-CAM map for each error") as caught:
        records(replace(inputs, heat=inputs.heat[:-1]))
    assert f"{len(inputs.errors)} errors and {len(inputs.errors) - 1} maps" in str(caught.value)


def test_heat_maps_are_of_errors_that_are_there(results: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(results, tmp_path / "results")
    shown = pd.read_csv(copy / "data/predictions/gradcam.csv")
    shown.loc[3, "id"] = "test/liver/nowhere.jpg"
    shown.to_csv(copy / "data/predictions/gradcam.csv", index=False)
    with pytest.raises(InputError, match=r"expected images and models of errors\.csv") as caught:
        read_inputs(copy)
    assert f"{len(shown)}, of which {len(shown) - 1} are there" in str(caught.value)


def test_thumbnails_shrink_where_there_are_many() -> None:
    sides = [thumbnail_side(images) for images in (10, 1_080, 3_000, 6_000, 100_000)]
    assert sides == [96, 96, 64, 48, 32]


def test_json_cannot_end_its_script() -> None:
    text = as_json({"class": "</script><!--"})
    assert "<" not in text
    assert json.loads(text) == {"class": "</script><!--"}


def test_map_is_the_same_at_every_call() -> None:
    assert map_item() == map_item()
    assert "</script" not in library()


def test_pictures_are_described_and_tables_have_headings(page: Page) -> None:
    pictures = page.all("img")
    # Histories, reliability, and risk against coverage are drawn here.
    assert len(pictures) == len(PICTURES) + len(MODELS) + 2
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
    # The fullest cell of a confusion matrix, with the number on it.
    mixes = [int(mix) / 100 for mix in re.findall(r"--mix: (\d+)%", css)]
    for scheme, mix in zip(schemes, mixes, strict=True):
        for tone in ("scratch", "pretrained"):
            cell = mixed(scheme[tone], scheme["panel"], mix)
            low, high = sorted((luminance(cell), luminance(scheme["ink"])))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (tone, cell)


def mixed(one: str, other: str, share: float) -> str:
    """As CSS's color-mix in sRGB."""
    pairs = [(int(one[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(share * a + (1 - share) * b):02x}" for a, b in pairs)


def test_results_table_holds_the_metrics(results: Path, page: Page) -> None:
    metrics = read_inputs(results).metrics
    rows = {row[0]: row[1:] for row in page.table("Both models")}
    test = metrics["pretrained"]["test"]
    assert rows["Accuracy, test (n = 360)"][2:] == [
        f"{test['accuracy']:.1%}",
        f"{test['accuracy_low']:.1%} to {test['accuracy_high']:.1%}",
    ]
    spread = metrics["errors"]["pretrained"]["accuracy"]["systems"]
    assert rows["Accuracy over 8 organ systems"][2:] == [
        "93.1%",
        f"{spread['low']:.1%} to {spread['high']:.1%}",
    ]
    assert rows["Parameters"] == ["412,340", "", "412,340", ""]
    recall = {row[0]: row for row in page.table("Recall")}
    assert recall["skin_1"][3] == f"{test['recall']['skin_1']:.1%}"
    assert page.table("Rejected images")[1] == ["truncated file", "train/liver/x.jpg", "1"]


def test_confusion_numbers_add_up(results: Path, page: Page) -> None:
    for name in ("CNN from scratch", "pretrained net"):
        rows = page.table(f"{name}: a row for each class")[1:]
        assert [sum(map(int, row[1:-1])) for row in rows] == [30] * 12
        assert [row[-1] for row in rows] == [
            f"{int(row[1 + i]) / 30:.0%}" for i, row in enumerate(rows)
        ]
    pairs = confused_pairs(read_inputs(results).tested("pretrained"))
    assert {frozenset(pair[:2]) for pair in pairs[:3]} == {frozenset(p) for p in PAIRS.items()}


def test_verdict_says_what_was_measured(results: Path) -> None:
    inputs = read_inputs(results)
    accuracy, confusions, overlap = verdict_sentences(inputs)
    assert accuracy.startswith("The pretrained net names the right class for ")
    assert "% (95% interval " in accuracy
    assert ") of 360 test images, the CNN from scratch for " in accuracy
    assert "more than chance" in accuracy
    assert "; McNemar, p\N{NO-BREAK SPACE}<\N{NO-BREAK SPACE}0.001) is more than" in accuracy
    assert "skin_1 with skin_2" in confusions
    assert "no more than a random split" in overlap
    paired = inputs.metrics["comparison"]["test"]
    for change in ({"p_value": 0.41}, {"difference_low": -0.01}):
        before = dict(paired)
        paired.update(change)
        assert verdict_sentences(inputs)[0].endswith(" could be chance.")
        paired.update(before)
    paired.update(difference_low=0.228, difference_high=0.328)
    assert "(95% interval +22.8 to +32.8; McNemar" in verdict_sentences(inputs)[0]


@pytest.mark.parametrize(
    ("actual", "predicted", "expected"),
    [
        ("bcd", "acd", "The one error of the net is a with b."),
        ("abc", "bca", "The 3 errors of the net are each of another pair of classes."),
        ("aba", "bab", "The 3 errors of the net are led by a with b (3): together 100.0% of them."),
    ],
)
def test_few_errors_are_told_as_they_are(actual: str, predicted: str, expected: str) -> None:
    tested = pd.DataFrame({"class": list(actual), "predicted": list(predicted)})
    assert confusion_sentence(tested, "net") == expected


def test_a_difference_of_nothing_has_no_sign_of_its_own() -> None:
    assert percentage_points(-0.0) == percentage_points(-0.0003) == percentage_points(0.0) == "+0.0"
    assert percentage_points(-0.014) == "\N{MINUS SIGN}1.4"


def test_a_perfect_model_is_told_as_one(results: Path) -> None:
    inputs = read_inputs(results)
    frame = inputs.predictions["pretrained"]
    frame["predicted"] = frame["class"]
    assert verdict_sentences(inputs)[1] == "The pretrained net makes no error on them."
    of_other = inputs.confusions["model"] != "pretrained"
    faultless = replace(
        inputs,
        errors=inputs.errors.iloc[:0],
        heat=inputs.heat[:0],
        confusions=inputs.confusions[of_other],
    )
    html = render(faultless)
    assert "Largest confusions, CNN from scratch" in html
    assert "Largest confusions, pretrained net" not in html
    assert 'id="gallery"' not in html
    assert "The surest errors" not in html


def test_overlap_verdict_tells_apart_from_close(page: Page) -> None:
    def told(share: float, p: float, shared: int = 0, rule: str = "donor") -> str:
        deep = {**MIXING, "real": share, "p_value": p}
        tsne = {**TSNE, "mixing": {"features": deep}}
        sentence = overlap_verdict(tsne, {"groups": {"shared": shared}, "group_rule": rule})
        return sentence.replace("\N{NO-BREAK SPACE}", " ")

    assert told(0.98, 0.31).startswith(
        "The test images differ from training by no more than a random split; counted over"
    )
    assert told(0.98, 0.31).endswith("p = 0.93); no group of images is shared between the parts.")
    assert told(0.40, 0.005).startswith("The test images differ from training by more than")
    assert told(1.10, 1.0, 7).startswith("The test images lie closer to training")
    assert "7 groups of images are shared" in told(1.10, 1.0, 7)
    assert "p = " not in told(1.10, 1.0)  # it is of lying apart
    assert "Donors are not known" not in told(0.98, 0.31)
    assert "Donors are not known" in told(0.98, 0.31, rule="near-duplicate cluster")
    rows = page.table("How far the test images lie")
    assert rows[1][0].startswith("Mixing of nearest neighbours")
    assert rows[1][1:] == ["0.98", "1.00", "0.94 to 1.06", "0.31"]
    assert rows[0][-1] == "p (farther apart)"
    assert len(rows) == 1 + 6


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
    assert [percentage_points(0.236), percentage_points(-0.01)] == ["+23.6", "\N{MINUS SIGN}1.0"]
