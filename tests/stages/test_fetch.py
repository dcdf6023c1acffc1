"""`fetch` as a command: killed, or with a full disk, it leaves all of its output or none of it."""

import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import update_params
from tests.pipeline import ROOT
from tests.servers import Site, serving
from tests.source_examples import as_folder, as_zip, contents, fetched, picture, tree
from tissue.common.errors import InputError

COMMAND = [sys.executable, "-m", "stages.fetch"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder to run fetch in."""
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    return tmp_path


def fetch(work: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        COMMAND, cwd=work, env=ENVIRONMENT, capture_output=True, text=True, check=False, **options
    )


def assert_disk_full(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 1
    assert "expected space for what it writes" in done.stderr
    assert "Traceback" not in done.stderr


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_one_class_is_an_error(tmp_path: Path) -> None:
    source = as_folder({"liver/a.png": picture(1)}, tmp_path / "images")
    with pytest.raises(InputError, match=r"expected two classes or more\. Received: liver"):
        fetched(source, tmp_path)
    assert not (tmp_path / "data/raw").exists()


def test_source_in_the_output_of_fetch_is_refused(tmp_path: Path) -> None:
    source = as_folder(tree(), tmp_path / "data/raw")
    with pytest.raises(InputError, match=r"fetch\.source: expected images that are elsewhere"):
        fetched(source, tmp_path)
    assert contents(source) == tree()


def test_unwatched_source_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fetched(as_folder(tree(), tmp_path / "images"), tmp_path)
    assert "DVC does not see changes there" in capsys.readouterr().out


def test_killed_at_any_moment(work: Path) -> None:
    """The output is the previous one after a kill, and the processes that draw have ended."""
    phantom = {"train_per_class": 4, "test_per_class": 2, "size": 160}
    update_params(work / "params.yaml", {"fetch": {"phantom": phantom}})
    start = time.monotonic()
    assert fetch(work).returncode == 0
    duration = time.monotonic() - start
    expected = contents(work / "data/raw")
    draw = random.Random(3)
    for _ in range(3):
        process = subprocess.Popen(COMMAND, cwd=work, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
        time.sleep(draw.uniform(0.2, 0.9) * duration)
        found = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        workers = found.read_text().split() if found.exists() else []
        process.kill()
        process.wait()
        assert contents(work / "data/raw") == expected
        deadline = time.monotonic() + 5
        while any(Path(f"/proc/{worker}/exe").exists() for worker in workers):
            assert time.monotonic() < deadline, "workers go on after their parent was killed"
            time.sleep(0.1)
    assert fetch(work).returncode == 0
    assert contents(work / "data/raw") == expected
    assert names(work / "data") == ["raw"]


@pytest.mark.parametrize(("origin", "before"), [("archive", "previous"), ("server", "none")])
def test_limit_on_file_sizes(origin: str, before: str, work: Path) -> None:
    archive = as_zip(tree(per_class=40), work / "made/images.zip")
    with serving(Site({"/images.zip": archive.read_bytes()})) as site:
        if before == "previous":
            older = str(as_folder(tree(), work / "older"))
            update_params(work / "params.yaml", {"fetch": {"source": older}})
            assert fetch(work).returncode == 0
        previous = contents(work / "data/raw")
        source = str(archive) if origin == "archive" else f"{site.url}/images.zip"
        update_params(work / "params.yaml", {"fetch": {"source": source}})
        limit = (resource.RLIMIT_FSIZE, (20_000, 20_000))
        assert_disk_full(fetch(work, preexec_fn=lambda: resource.setrlimit(*limit)))
        assert contents(work / "data/raw") == previous
        assert names(work / "data") == (["raw"] if previous else [])
        assert fetch(work).returncode == 0
    assert len(contents(work / "data/raw")) == 2
    assert names(work / "data") == ["raw"]


def test_full_file_system(work: Path) -> None:
    disk = work / "data"
    disk.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk))
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs to mount a small file system")
    try:
        source = str(as_zip(tree(per_class=60), work / "made/images.zip"))
        update_params(work / "params.yaml", {"fetch": {"source": source}})
        done = fetch(work)
        assert_disk_full(done)
        assert "No space left on device" in done.stderr
        assert names(disk) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)
