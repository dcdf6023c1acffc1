"""The page in a real browser: opened, pointed at, filtered and printed."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from stages import report
from tests.report_examples import CLASSES, make_results
from tissue.report.reading import read_inputs

SECTIONS = (
    "verdict", "data", "training", "results", "recall", "confusions", "errors", "confidence",
    "overlap", "reproduce",
)  # fmt: skip
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} on PATH, and CHROMIUM is not set")
    with sync_playwright() as driver:
        # Chromium refuses its sandbox to root, who runs tests in containers.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        running = driver.chromium.launch(executable_path=path, args=arguments)
        yield running
        running.close()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("browser")
    make_results(root, CLASSES)
    report.run(root, out=root / "report.html")
    return root


class Watched:
    """A page, with what it complained of and what it asked for."""

    def __init__(self, browser: Browser, path: Path, **context: Any) -> None:
        self.page: Page = browser.new_context(**context).new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on(
            "console",
            lambda said: said.type in ("error", "warning") and self.complaints.append(said.text),
        )
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())

    def check_quiet(self, path: Path) -> None:
        """No complaint, and nothing asked for but the page and what it holds itself."""
        assert self.complaints == []
        asked = {url for url in self.requests if not url.startswith(("data:", "blob:"))}
        assert asked == {path.as_uri()}


@pytest.fixture
def watched(browser: Browser, results: Path) -> Iterator[Watched]:
    one = Watched(browser, results / "report.html", viewport={"width": 1400, "height": 1000})
    yield one
    one.check_quiet(results / "report.html")
    one.page.context.close()


def open_map(page: Page) -> None:
    page.evaluate("document.getElementById('map').scrollIntoView({behavior: 'instant'})")
    page.wait_for_selector("#map[data-ready]")


def test_every_section_is_there(watched: Watched) -> None:
    for name in SECTIONS:
        assert watched.page.locator(f"section#{name} h2").is_visible()
        assert watched.page.locator(f"nav a[href='#{name}']").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 400])
def test_page_never_scrolls_sideways(
    width: int, scheme: Any, browser: Browser, results: Path
) -> None:
    path = results / "report.html"
    one = Watched(browser, path, viewport={"width": width, "height": 850}, color_scheme=scheme)
    open_map(one.page)
    assert one.page.evaluate("document.documentElement.scrollWidth") == width
    one.check_quiet(path)
    one.page.context.close()


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
LEVELS = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}


def barriers(page: Page) -> list[str]:
    """What axe finds, or cannot decide, in the page as it is now: rule, target, HTML."""
    found = Axe(AXE_SCRIPT + STRICT).run(page, options=LEVELS).response
    return [
        f"{rule['id']} ({rule['help']}) at {node['target']}: {node['html'][:200]}"
        for kind in ("violations", "incomplete")
        for rule in found[kind]
        for node in rule["nodes"]
        # Bokeh's sign for tools that found no room, here all of them did.
        if ".bk-tool-overflow" not in str(node["target"])
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 400])
def test_no_barriers(width: int, scheme: Any, browser: Browser, results: Path) -> None:
    path = results / "report.html"
    size = {"width": width, "height": 1600}
    one = Watched(browser, path, viewport=size, color_scheme=scheme, reduced_motion="reduce")
    page = one.page
    page.add_style_tag(content=DECIDABLE)
    assert barriers(page) == []
    open_map(page)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.locator(".matrix:not([hidden]) td.wrong button").first.click()
    page.select_option("#error-cause", "blur")
    page.click("#map-next")
    assert barriers(page) == []
    page.locator("#cell-images .tile").first.click()
    assert barriers(page) == []
    page.keyboard.press("Escape")
    page.evaluate("document.documentElement.classList.remove('js')")  # as without a script
    assert barriers(page) == []
    page.context.close()


def test_barriers_are_found(watched: Watched) -> None:
    picture = "document.querySelector('#training img')"
    watched.page.evaluate(f"{picture}.removeAttribute('alt')")
    pale = "#cell-title, .matrix td.wrong button { color: #999; }"
    watched.page.add_style_tag(content=DECIDABLE + pale)
    found = "\n".join(barriers(watched.page))
    assert "image-alt" in found
    assert "color-contrast" in found
    assert "#cell-title" in found
    assert 'aria-label="1 ' in found  # a number of one digit


def test_a_link_of_the_contents_lands_at_its_section(browser: Browser, results: Path) -> None:
    path = results / "report.html"
    size = {"width": 400, "height": 850}
    one = Watched(browser, path, viewport=size, reduced_motion="reduce")
    one.page.click("nav a[href='#overlap']")
    one.page.wait_for_selector("#map[data-ready]")
    top = one.page.evaluate("document.getElementById('overlap').getBoundingClientRect().top")
    assert 0 <= top < 100
    one.page.context.close()


def test_a_cell_shows_its_images(watched: Watched, results: Path) -> None:
    tested = read_inputs(results).tested("pretrained")
    chosen = tested[(tested["class"] == "skin_1") & (tested["predicted"] == "skin_2")]
    label = f"{len(chosen)} skin_1 taken for skin_2"
    watched.page.select_option("#matrix-model", "pretrained")
    watched.page.get_by_role("button", name=label, exact=True).click()
    tiles = watched.page.locator("#cell-images .tile img")
    alts = {tiles.nth(i).get_attribute("alt") for i in range(tiles.count())}
    assert alts == {f"skin_1, test image {name}" for name in chosen["id"]}
    assert watched.page.inner_text("#cell-title").startswith(f"{len(chosen)} images of skin_1")
    assert tiles.first.evaluate("image => image.decode().then(() => image.naturalWidth)") == 96
    tiles.first.click()
    assert "Why the pretrained net was wrong" in watched.page.inner_text("dialog[open]")
    watched.page.keyboard.press("Escape")
    assert watched.page.locator("dialog[open]").count() == 0


def test_arrow_keys_walk_through_a_matrix(watched: Watched) -> None:
    cells = watched.page.locator(".matrix:not([hidden]) td button")
    stops = cells.evaluate_all("all => all.filter(one => one.tabIndex === 0).length")
    assert stops == 1
    cells.first.focus()
    watched.page.keyboard.press("ArrowRight")
    focused = watched.page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert focused == cells.nth(1).get_attribute("aria-label")
    watched.page.keyboard.press("Enter")
    assert watched.page.locator("#cell-images .tile").count() > 0


# Where, on the screen, the map shows an image.
PLACE = """i => {
  const view = [...Bokeh.index].find((one) => one.model.type === "Figure");
  const {x, y} = view.el.getBoundingClientRect();
  const {x_scale, y_scale} = view.frame;
  return {x: x + x_scale.compute(images.x[i]), y: y + y_scale.compute(images.y[i])};
}"""


def test_a_point_of_the_map_shows_its_image(watched: Watched, results: Path) -> None:
    page = watched.page
    open_map(page)
    page.locator("#map-plot").scroll_into_view_if_needed()
    ids = page.evaluate("images.id")
    aimed = ids.index(read_inputs(results).tested("pretrained")["id"].iloc[40])
    place = page.evaluate(PLACE, aimed)
    page.mouse.move(place["x"] - 3, place["y"])
    page.mouse.move(place["x"], place["y"])
    page.wait_for_selector("#map-image img")
    alt = page.locator("#map-image img").get_attribute("alt")
    # Points overlap: what is shown need not be the one aimed at, but lies under the pointer, and on
    # top: those of training, of which there are more, lie below.
    shown = page.evaluate("images.id.map((_, i) => describe(i))").index(alt)
    assert page.evaluate(f"images.part[{shown}]") == "test"
    found = page.evaluate(PLACE, shown)
    assert abs(found["x"] - place["x"]) <= 9
    assert abs(found["y"] - place["y"]) <= 9
    page.mouse.click(place["x"], place["y"])
    page.mouse.move(5, 5)
    assert page.locator("#map-open").is_enabled()
    assert page.locator("#map-image img").get_attribute("alt") == alt


def test_buttons_go_through_the_map(watched: Watched) -> None:
    open_map(watched.page)
    watched.page.select_option("#map-class", label="lung")
    watched.page.select_option("#map-part", "test")
    watched.page.locator("#map-next").focus()
    seen = set()
    for _ in range(30):
        watched.page.keyboard.press("Enter")
        seen.add(watched.page.locator("#map-image img").get_attribute("alt"))
    assert len(seen) == 30
    assert all(str(alt).startswith("lung, test image") for alt in seen)
    watched.page.click("#map-open")
    assert watched.page.locator("dialog[open] h3").inner_text() == "lung"


def test_filters_of_the_map_count_what_they_leave(watched: Watched, results: Path) -> None:
    inputs = read_inputs(results)
    tested = inputs.tested("scratch")
    wrong = tested[(tested["class"] == "liver") & (tested["predicted"] != "liver")]
    open_map(watched.page)
    every = f"{len(inputs.points)} of {len(inputs.points)} images"
    assert watched.page.inner_text("#map-count") == every
    watched.page.select_option("#map-class", label="liver")
    watched.page.select_option("#map-part", "test")
    watched.page.select_option("#map-model", "scratch")
    watched.page.select_option("#map-answer", "wrong")
    assert watched.page.inner_text("#map-count").startswith(f"{len(wrong)} of ")


def test_filters_of_the_gallery(watched: Watched, results: Path) -> None:
    errors = read_inputs(results).errors
    chosen = errors[(errors["model"] == "scratch") & (errors["cause"] == "blur")]
    watched.page.select_option("#error-model", "scratch")
    watched.page.select_option("#error-cause", "blur")
    assert watched.page.inner_text("#error-count").startswith(f"{len(chosen)} of {len(errors)} ")
    while watched.page.locator("#error-more").is_visible():
        watched.page.click("#error-more")
    cards = watched.page.locator(".card")
    assert cards.count() == len(chosen)
    assert cards.first.locator(".near li").count() == 5
    assert cards.first.locator(".overlay .heat").count() == 2
    assert cards.first.inner_text().count("Blur.") == 1


def test_galleries_grow_only_when_asked(watched: Watched) -> None:
    assert watched.page.locator(".card").count() == 12
    watched.page.click("#error-more")
    assert watched.page.locator(".card").count() == 24
    inside = "document.activeElement.closest('.card') === document.querySelectorAll('.card')[12]"
    assert watched.page.evaluate(inside)


def test_without_a_script_the_pictures_remain(browser: Browser, results: Path) -> None:
    one = Watched(browser, results / "report.html", java_script_enabled=False)
    for name in ("Confusion matrix, pretrained net", "Training and test images together"):
        assert one.page.locator("figure", has_text=name).locator("img").is_visible()
    assert one.page.get_by_text("The surest errors").is_visible()
    assert not one.page.locator("#gallery").is_visible()
    assert not one.page.locator("#map").is_visible()
    one.check_quiet(results / "report.html")
    one.page.context.close()


def test_it_prints(watched: Watched) -> None:
    printed = watched.page.pdf(format="A4")
    assert printed.startswith(b"%PDF")
    assert 5 < printed.count(b"/Type /Page\n") < 40
    watched.page.emulate_media(media="print")
    assert not watched.page.locator("#gallery").is_visible()
    assert watched.page.get_by_text("The surest errors").is_visible()


def test_two_thousand_test_images(browser: Browser, tmp_path: Path) -> None:
    make_results(tmp_path, CLASSES, per_class={"train": 300, "val": 20, "test": 167}, side=64)
    path = tmp_path / "report.html"
    report.run(tmp_path, out=path)
    assert path.stat().st_size < 16e6
    one = Watched(browser, path)
    assert one.page.locator(".card").count() == 12
    open_map(one.page)
    assert one.page.inner_text("#map-count") == "5,604 of 5,604 images"
    one.check_quiet(path)
    one.page.context.close()
