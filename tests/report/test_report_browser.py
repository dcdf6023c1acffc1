"""The page in a real browser: opened, pointed at, filtered and printed."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.report_examples import CLASSES, make_results, run_report
from tissue.report.reading import Inputs, read_inputs

SECTIONS = (
    "verdict", "data", "training", "results", "overlap", "confusions", "errors", "confidence",
    "audit", "paper", "reproduce",
)  # fmt: skip
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


@pytest.fixture(scope="module")
def path(results: Path) -> Path:
    return run_report(results)


@contextmanager
def opened(browser: Browser, path: Path, **context: Any) -> Iterator[Page]:
    """Open a page that may neither complain nor request anything but itself and its own data."""
    page = browser.new_context(**context).new_page()
    complaints: list[str] = []
    requests: set[str] = set()
    page.on(
        "console",
        lambda said: said.type in ("error", "warning") and complaints.append(said.text),
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.add(request.url))
    page.goto(path.as_uri())
    yield page
    page.context.close()
    assert complaints == []
    assert {url for url in requests if not url.startswith(("data:", "blob:"))} == {path.as_uri()}


@pytest.fixture(scope="module")
def shared(browser: Browser, path: Path) -> Iterator[Page]:
    with opened(browser, path, viewport={"width": 1400, "height": 1000}) as page:
        yield page


RESET = """() => {
  document.getElementById("detail").close();
  document.querySelectorAll("select").forEach((one) => {
    one.selectedIndex = 0;
    one.dispatchEvent(new Event("change"));
  });
}"""


@pytest.fixture
def page(shared: Page) -> Page:
    """Return the page as it was opened, without loading it for each test."""
    shared.evaluate(RESET)
    return shared


def open_map(page: Page) -> None:
    page.evaluate("document.querySelectorAll('.fold').forEach((one) => { one.open = true; })")
    page.evaluate("document.getElementById('map').scrollIntoView({behavior: 'instant'})")
    page.wait_for_selector("#map[data-ready]")


def test_every_section_is_there(page: Page) -> None:
    for name in SECTIONS:
        assert page.locator(f"section#{name} h2").is_visible()
        assert page.locator(f"nav a[href='#{name}']").count() == 1


def test_the_answers_are_on_the_first_screen(browser: Browser, path: Path) -> None:
    with opened(browser, path, viewport={"width": 1400, "height": 900}) as page:
        for selector in (".intervals", ".accuracies", ".matrix.small", ".why", "figure.small img"):
            for one in page.locator(selector).all():
                box = one.bounding_box()
                assert box is not None
                assert box["y"] + box["height"] <= 900, selector
        assert "points (95% interval" in page.inner_text(".accuracies")
        assert page.locator("figure.small img").count() == 2


@pytest.mark.parametrize("width", [1400, 400])
def test_page_never_scrolls_sideways(width: int, browser: Browser, path: Path) -> None:
    with opened(browser, path, viewport={"width": width, "height": 850}) as page:
        open_map(page)
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate("document.documentElement.scrollWidth") == width


# Axe leaves out texts of one character, as many numbers of a matrix are, and asks less of large
# text: here each text needs the contrast of small text.
STRICT = """;axe.configure({checks: [{id: "color-contrast", options: {
  ignoreLength: true, contrastRatio: {normal: {expected: 4.5}, large: {expected: 4.5}},
}}]});"""
# It cannot judge text on a gradient, nor in front of other text: here the shadow at the edge of a
# table lies below all of it, and nothing behind an open dialog.
DECIDABLE = """
.scroll { background: var(--rule) !important; }
body:has(dialog[open]) main { visibility: hidden; }
"""
OPTIONS: dict[str, list[str]] = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"],
    "resultTypes": ["violations", "incomplete"],
}


def barriers(page: Page) -> list[str]:
    """What axe finds, or cannot decide, in the page as it is now: scheme, rule, target, HTML."""
    found = []
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        result = Axe(AXE_SCRIPT + STRICT).run(page, options=OPTIONS).response
        found += [
            f"{scheme}: {rule['id']} ({rule['help']}) at {node['target']}: {node['html'][:200]}"
            for kind in OPTIONS["resultTypes"]
            for rule in result[kind]
            for node in rule["nodes"]
            # Bokeh's sign for tools that found no room, here all of them did.
            if ".bk-tool-overflow" not in str(node["target"])
        ]
    return found


@pytest.mark.parametrize("width", [1400, 400])
def test_no_barriers(width: int, browser: Browser, path: Path) -> None:
    """Only this test finds barriers for users with disabilities; axe takes most of its time."""
    size = {"width": width, "height": 1600}
    with opened(browser, path, viewport=size, reduced_motion="reduce") as page:
        page.add_style_tag(content=DECIDABLE)
        assert barriers(page) == []
        open_map(page)
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        chosen = ".matrix.whole" if width > 600 else ".confusion-list"
        page.locator(f"{chosen}:not([hidden]) button").first.click()
        page.select_option("#error-cause", "blur")
        page.click("#map-next")
        assert barriers(page) == []
        page.locator("#cell-images .tile").first.click()
        assert barriers(page) == []
        page.keyboard.press("Escape")
        page.evaluate("document.documentElement.classList.remove('js')")  # as without a script
        assert barriers(page) == []


def test_barriers_are_found(browser: Browser, path: Path) -> None:
    with opened(browser, path) as page:
        page.evaluate("document.querySelector('#training img').removeAttribute('alt')")
        pale = "#cell-title, .matrix td.wrong button { color: #999; }"
        page.add_style_tag(content=DECIDABLE + pale)
        found = "\n".join(barriers(page))
    assert "image-alt" in found
    assert "color-contrast" in found
    assert "#cell-title" in found
    assert 'aria-label="1 ' in found  # a number of one digit


def test_a_link_of_the_contents_leads_to_its_section(browser: Browser, path: Path) -> None:
    size = {"width": 400, "height": 850}
    with opened(browser, path, viewport=size, reduced_motion="reduce") as page:
        page.click("nav a[href='#overlap']")
        top = page.evaluate("document.getElementById('overlap').getBoundingClientRect().top")
    assert 0 <= top < 100


SENTENCES = """() => {
  document.querySelectorAll("details").forEach((one) => { one.open = true; });
  const texts = [...document.querySelectorAll("p, li, figcaption, summary, h2, h3, h4")];
  return [...texts.map((one) => one.innerText), ...errors.map((one) => one.sentence)];
}"""


def test_sentences_have_fewer_than_25_words(browser: Browser, path: Path) -> None:
    with opened(browser, path) as page:
        texts = page.evaluate(SENTENCES)
    sentences = [one for text in texts for one in re.split(r"(?<=[.!?])\s+(?=[A-Z0-9])", text)]
    assert len(sentences) > 300
    assert [one for one in sentences if len(one.split()) >= 25] == []


def test_a_phone_shows_lists_instead_of_matrices(browser: Browser, path: Path) -> None:
    with opened(browser, path, viewport={"width": 400, "height": 850}) as page:
        assert page.evaluate("document.documentElement.scrollHeight") < 12_000
        assert not page.locator(".matrix:visible").count()
        number = page.locator(".confusion-list:visible button").first
        listed = int(number.inner_text())
        number.click()
        assert page.inner_text("#cell-title").startswith(f"{listed} images of ")
        page.locator(".confused summary").first.click()
        first = page.locator(".confused .scroll").first
        first.evaluate("box => { box.scrollLeft = 200; }")
        left = "box => box.querySelector('tbody th').getBoundingClientRect().left"
        assert first.evaluate(left) == first.evaluate("box => box.getBoundingClientRect().left")


def test_a_card_shows_three_errors_with_heat(page: Page, results: Path) -> None:
    inputs = read_inputs(results)
    wrong = inputs.confusions.query("model == 'pretrained'")
    assert page.locator(".confused").count() == (inputs.confusions["count"] >= 5).sum()
    first = page.locator(".confused").first
    worst = wrong[wrong["count"] == wrong["count"].max()]
    assert first.locator("summary").inner_text() in {
        f"{row.count_} {row.actual} of {page_donors(inputs, row)} donors, called {row.predicted}"
        for row in worst.rename(columns={"count": "count_"}).itertuples()
    }
    assert first.locator(".examples li").count() == 3
    assert first.locator(".overlay .heat").count() == 3


def page_donors(inputs: Inputs, row: Any) -> int:
    tested = inputs.tested("pretrained")
    found = tested[(tested["class"] == row.actual) & (tested["predicted"] == row.predicted)]
    donors = inputs.index["test"].set_index("id")["group"]
    return int(donors.loc[found["id"]].nunique())


def test_a_cell_shows_its_images(page: Page, results: Path) -> None:
    tested = read_inputs(results).tested("pretrained")
    chosen = tested[(tested["class"] == "skin_1") & (tested["predicted"] == "skin_2")]
    label = f"{len(chosen)} skin_1 classified as skin_2"
    page.select_option("#matrix-model", "pretrained")
    page.get_by_role("button", name=label, exact=True).click()
    tiles = page.locator("#cell-images .tile img")
    alts = {tiles.nth(i).get_attribute("alt") for i in range(tiles.count())}
    assert alts == {f"skin_1, test image {name}" for name in chosen["id"]}
    assert page.inner_text("#cell-title").startswith(f"{len(chosen)} images of skin_1")
    assert tiles.first.evaluate("image => image.decode().then(() => image.naturalWidth)") == 224
    tiles.first.click()
    assert "Why the pretrained net was wrong" in page.inner_text("dialog[open]")
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0


def test_arrow_keys_walk_through_a_matrix(page: Page) -> None:
    cells = page.locator(".matrix.whole:not([hidden]) td button")
    stops = cells.evaluate_all("all => all.filter(one => one.tabIndex === 0).length")
    assert stops == 1
    cells.first.focus()
    page.keyboard.press("ArrowRight")
    focused = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert focused == cells.nth(1).get_attribute("aria-label")
    page.keyboard.press("Enter")
    assert page.locator("#cell-images .tile").count() > 0


# Where, on the screen, the map shows an image.
POSITION = """i => {
  const view = [...Bokeh.index].find((one) => one.model.type === "Figure");
  const {x, y} = view.el.getBoundingClientRect();
  const {x_scale, y_scale} = view.frame;
  return {x: x + x_scale.compute(images.x[i]), y: y + y_scale.compute(images.y[i])};
}"""


def test_a_point_of_the_map_shows_its_image(page: Page, results: Path) -> None:
    open_map(page)
    page.locator("#map-plot").scroll_into_view_if_needed()
    ids = page.evaluate("images.id")
    aimed = ids.index(read_inputs(results).tested("pretrained")["id"].iloc[40])
    point = page.evaluate(POSITION, aimed)
    page.mouse.move(point["x"] - 3, point["y"])
    page.mouse.move(point["x"], point["y"])
    page.wait_for_selector("#map-image img")
    alt = page.locator("#map-image img").get_attribute("alt")
    # Points overlap: what is shown need not be the one aimed at, but lies under the pointer, and on
    # top: those of training, of which there are more, lie below.
    shown = page.evaluate("images.id.map((_, i) => describe(i))").index(alt)
    assert page.evaluate(f"images.split[{shown}]") == "test"
    found = page.evaluate(POSITION, shown)
    assert abs(found["x"] - point["x"]) <= 9
    assert abs(found["y"] - point["y"]) <= 9
    page.mouse.click(point["x"], point["y"])
    page.mouse.move(5, 5)
    assert page.locator("#map-open").is_enabled()
    assert page.locator("#map-image img").get_attribute("alt") == alt


def test_buttons_go_through_the_map(page: Page) -> None:
    open_map(page)
    page.select_option("#map-class", label="lung")
    page.select_option("#map-split", "test")
    page.locator("#map-next").focus()
    seen = set()
    for _ in range(30):
        page.keyboard.press("Enter")
        seen.add(page.locator("#map-image img").get_attribute("alt"))
    assert len(seen) == 30
    assert all(str(alt).startswith("lung, test image") for alt in seen)
    page.click("#map-open")
    assert page.locator("dialog[open] h3").inner_text() == "lung"


def test_filters_of_the_map_count_what_they_leave(page: Page, results: Path) -> None:
    inputs = read_inputs(results)
    tested = inputs.tested("scratch")
    wrong = tested[(tested["class"] == "liver") & (tested["predicted"] != "liver")]
    open_map(page)
    every = f"{len(inputs.points)} of {len(inputs.points)} images"
    assert page.inner_text("#map-count") == every
    page.select_option("#map-class", label="liver")
    page.select_option("#map-split", "test")
    page.select_option("#map-model", "scratch")
    page.select_option("#map-answer", "wrong")
    assert page.inner_text("#map-count").startswith(f"{len(wrong)} of ")


def test_filters_of_the_gallery(page: Page, results: Path) -> None:
    errors = read_inputs(results).errors
    chosen = errors[(errors["model"] == "scratch") & (errors["cause"] == "blur")]
    page.select_option("#error-model", "scratch")
    page.select_option("#error-cause", "blur")
    assert page.inner_text("#error-count").startswith(f"{len(chosen)} of {len(errors)} ")
    while page.locator("#error-more").is_visible():
        page.click("#error-more")
    tiles = page.locator("#error-tiles .tile")
    assert tiles.count() == len(chosen)
    assert tiles.first.inner_text().endswith(": blur")
    tiles.first.click()
    detail = page.locator("dialog[open] .explanation").last
    assert detail.locator(".near li").count() == 5
    assert detail.locator(".overlay .heat").count() == 2
    assert detail.inner_text().count("Blur.") == 1
    page.keyboard.press("Escape")


def test_galleries_grow_only_when_asked(page: Page) -> None:
    assert page.locator("#error-tiles li").count() == 12
    page.click("#error-more")
    assert page.locator("#error-tiles li").count() == 24
    inside = "document.activeElement.closest('li') === $('error-tiles').children[12]"
    assert page.evaluate(inside)


def test_without_a_script_the_pictures_remain(browser: Browser, path: Path) -> None:
    with opened(browser, path, java_script_enabled=False) as page:
        joint = page.locator("figure", has_text="Training and test images together")
        assert joint.locator("img").is_visible()
        assert page.locator(".matrix.whole[data-model=pretrained]").is_visible()
        assert page.locator(".confused table").first.is_visible()
        assert page.get_by_text("Most confident errors").is_visible()
        assert not page.locator("#gallery").is_visible()
        assert not page.locator("#map").is_visible()


def test_it_prints(page: Page) -> None:
    printed = page.pdf(format="A4")
    assert printed.startswith(b"%PDF")
    assert 5 < printed.count(b"/Type /Page\n") < 40
    page.emulate_media(media="print")
    assert not page.locator("#gallery").is_visible()
    assert page.get_by_text("Most confident errors").is_visible()
    page.emulate_media(media="screen")


def test_two_thousand_test_images(browser: Browser, tmp_path: Path) -> None:
    """Only this test bounds the size of the page for a large test set."""
    make_results(tmp_path, CLASSES, per_class={"train": 300, "val": 20, "test": 167}, side=64)
    path = run_report(tmp_path)
    assert path.stat().st_size < 16e6
    with opened(browser, path) as page:
        assert page.locator("#error-tiles li").count() == 12
        open_map(page)
        assert page.inner_text("#map-count") == "5,604 of 5,604 images"
