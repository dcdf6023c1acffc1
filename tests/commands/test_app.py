"""The page of `app` in a real browser: the answers of `predict`, and nothing sent elsewhere."""

import importlib.util
import re
import socket
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import requests
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.invoke import invoke
from tissue.commands import app
from tissue.common.errors import InputError
from tissue.config.loading import load_params
from tissue.prediction.predictor import Predictor

needs_gradio = pytest.mark.skipif(
    not importlib.util.find_spec("gradio"),
    reason="needs gradio: pip install -r requirements/app.txt",
)


@pytest.fixture(scope="module")
def contacted() -> Iterator[set[Any]]:
    """The hosts that this process connects to from now on."""
    hosts, connect = set(), socket.socket.connect

    def noted(self: socket.socket, address: Any) -> None:
        hosts.add(address[0] if isinstance(address, tuple) else "")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", noted)
        patch.setenv("GRADIO_SHARE", "True")  # of a user whose other pages are public
        yield hosts


@pytest.fixture(scope="module")
def address(tiny: Path, contacted: set[Any]) -> Iterator[str]:
    params = load_params(tiny / "params.yaml")
    with app.opened(
        params, model="pretrained", port=None, browser=False, data=tiny / "data"
    ) as page:
        yield page.local_url


@pytest.fixture
def pictures(tiny: Path, tmp_path: Path) -> Path:
    """Test images of each class and two odd files, as an archive."""
    (raw,) = (tiny / "data/raw").glob("*.zip")
    names = pd.read_csv(tiny / "data/split/test.csv")["id"][::4]
    Image.new("RGB", (90, 60), "white").save(tmp_path / "white.png")
    with zipfile.ZipFile(raw) as images, zipfile.ZipFile(tmp_path / "all.zip", "w") as made:
        for name in names:
            made.writestr(name, images.read(name))
        made.write(tmp_path / "white.png", "white.png")
        made.writestr("broken.png", b"nothing")
    return tmp_path / "all.zip"


def drop(page: Page, address: str, *files: Path) -> None:
    page.goto(address)
    page.set_input_files("[data-testid=file-upload]", files)
    progress = page.get_by_label("Progress")
    expect(progress).to_have_value(re.compile("^answered"), timeout=60_000)


@needs_gradio
def test_it_answers_as_predict_does_and_says_why(
    browser: Browser, address: str, contacted: set[Any], tiny: Path, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "predicted.csv"
    printed = invoke("predict", str(pictures), "--output", str(out), cwd=tiny)
    page = browser.new_context().new_page()
    requests = set[str]()
    page.on("request", lambda request: requests.add(request.url))
    drop(page, address, pictures)
    rows = pd.read_csv(out, keep_default_na=False)
    answered = (rows["refused"] == "").sum()
    assert 0 < answered < len(rows) - 1
    progress = page.get_by_label("Progress").input_value()
    assert progress == f"answered {answered}, refused {len(rows) - answered}"
    with page.expect_download() as saved:
        page.get_by_text("Save the table as CSV").click()
    assert saved.value.path().read_bytes() == out.read_bytes()

    errors = pd.read_csv(tiny / "data/predictions/errors.csv").query("model == 'pretrained'")
    chosen = errors[errors["id"].isin(rows["id"][rows["refused"] == ""])].iloc[0]
    page.get_by_role("gridcell").filter(has_text=chosen["id"]).first.click()
    near = page.locator(".thumbnail-item img")
    near.nth(4).wait_for()
    line = page.get_by_label("Why", exact=True).input_value()
    assert line in printed.splitlines()
    assert line.startswith(chosen["id"])
    donors = zip(
        chosen["neighbour_classes"].split(), chosen["neighbour_groups"].split(), strict=True
    )
    expected = [
        f"{label}, donor {donor}: {chosen[f'neighbour_{rank}']}"
        for rank, (label, donor) in enumerate(donors, 1)
    ]
    assert [near.nth(i).get_attribute("alt") for i in range(near.count())] == expected
    heat = page.locator(".image-frame img")
    assert heat.evaluate("image => image.decode().then(() => image.naturalWidth)") > 300
    assert {url.split("/")[2] for url in requests if not url.startswith(("blob:", "data:"))} == {
        address.split("/")[2]
    }
    assert contacted <= {app.HOST, "localhost", ""}


@needs_gradio
def test_one_picture_explains_itself_and_other_files_are_refused(
    browser: Browser, address: str, pictures: Path, tmp_path: Path
) -> None:
    page = browser.new_context().new_page()
    drop(page, address, tmp_path / "white.png")
    page.locator(".thumbnail-item img").nth(4).wait_for()
    why = page.get_by_label("Why", exact=True)
    assert why.input_value().startswith("white.png: refused: nearly no tissue")
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "bad.zip").write_bytes(b"nothing")
    with zipfile.ZipFile(pictures) as archive:
        (tmp_path / "white.png").replace(tmp_path / "one.png")
        (tmp_path / "two.jpg").write_bytes(archive.read(archive.namelist()[0]))
    drop(
        page, address, *(tmp_path / name for name in ("notes.txt", "bad.zip", "two.jpg", "one.png"))
    )
    cells = page.get_by_role("gridcell").all_inner_texts()
    found = dict(zip(cells[::2], cells[1::2], strict=True))
    assert list(found) == ["notes.txt", "bad.zip", "two.jpg", "one.png"]
    assert found["notes.txt"].startswith("refused: notes.txt: expected pictures")
    assert found["bad.zip"].startswith("refused: bad.zip: expected")
    assert "%" in found["two.jpg"]
    assert why.input_value() == "Choose a row of the table."


@needs_gradio
def test_other_sites_and_files_outside(address: str, tiny: Path) -> None:
    """A name of another site that leads here, and paths that a request may name."""
    assert requests.get(address, timeout=10).ok
    assert requests.get(address, headers={"Host": "x.org"}, timeout=10).status_code == 400
    for path in (tiny / "params.yaml", "/etc/passwd"):
        assert requests.get(f"{address}gradio_api/file={path}", timeout=10).status_code == 403


@needs_gradio
def test_the_name_of_a_refused_file_is_no_formula(tmp_path: Path) -> None:
    from tissue.prediction.app import App

    (tmp_path / "=1+1\u202e.zip").write_bytes(b"nothing")
    nobody: Any = None
    page = App(load_params(), Predictor(nobody, nobody), tmp_path, nobody)
    ((one,),) = page.answer_uploads([str(tmp_path / "=1+1\u202e.zip")])
    assert one.row["id"] == "./=1+1\\u202e.zip"
    assert one.row["refused"].startswith("./=1+1\\u202e.zip: expected")


def test_without_gradio_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with (
        pytest.raises(InputError, match=r"expected Gradio.*requirements/app\.txt"),
        app.opened(load_params(), model="pretrained", port=None, browser=False),
    ):
        pass
