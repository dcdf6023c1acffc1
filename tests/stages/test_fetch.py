"""A fetch that is killed or finds the disk full leaves all of its output or none of it."""

import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import update_params
from tests.pipeline import ROOT
from tests.servers import Site, serving
from tests.source_examples import as_folder, as_zip, contents, fetched, picture, tree
from tissue.common.errors import InputError

COMMAND = [sys.executable, "-m", "stages.fetch"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}
PHANTOM = {"phantom": {"train_per_class": 4, "test_per_class": 2, "size": 160}}


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder to run fetch in."""
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    return tmp_path


def leftovers(work: Path) -> list[str]:
    return sorted(path.name for path in (work / "data").iterdir())


def children(pid: int) -> set[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children")
    return {int(child) for child in found.read_text().split()} if found.exists() else set()


def test_one_class_is_an_error(tmp_path: Path) -> None:
    source = as_folder({"liver/a.png": picture(1)}, tmp_path / "images")
    with pytest.raises(InputError, match=r"expected two classes or more\. Received: liver"):
        fetched(source, tmp_path)
    assert not (tmp_path / "data/raw").exists()


def test_source_in_the_output_of_fetch_is_refused(tmp_path: Path) -> None:
    source = as_folder(tree(), tmp_path / "data/raw")
    with pytest.raises(InputError, match=r"fetch\.source: expected images that lie elsewhere"):
        fetched(source, tmp_path)
    assert contents(source) == tree()


def test_killed_at_any_moment(work: Path) -> None:
    update_params(work / "params.yaml", {"fetch": PHANTOM})
    start = time.monotonic()
    subprocess.run(COMMAND, cwd=work, env=ENVIRONMENT, check=True)
    took = time.monotonic() - start
    expected = contents(work / "data/raw")
    draw = random.Random(3)
    for _ in range(3):
        process = subprocess.Popen(COMMAND, cwd=work, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
        time.sleep(draw.uniform(0.2, 0.9) * took)
        workers = children(process.pid)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert contents(work / "data/raw") == expected
        for _ in range(50):
            if not any(Path(f"/proc/{worker}/exe").exists() for worker in workers):
                break
            time.sleep(0.1)
        else:
            pytest.fail("drawing processes go on after their parent was killed")
    subprocess.run(COMMAND, cwd=work, env=ENVIRONMENT, check=True)
    assert contents(work / "data/raw") == expected
    assert leftovers(work) == ["raw"]


def run_with_file_limit(work: Path, limit: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        COMMAND, cwd=work, env=ENVIRONMENT, capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip


@pytest.mark.parametrize(("where", "before"), [("archive", "previous"), ("server", "none")])
def test_full_disk(where: str, before: str, work: Path) -> None:
    files = tree(per_class=40)
    archive = as_zip(files, work / "made/images.zip")
    with serving(Site({"/images.zip": archive.read_bytes()})) as site:
        if before == "previous":
            older = str(as_folder(tree(), work / "older"))
            update_params(work / "params.yaml", {"fetch": {"source": older}})
            subprocess.run(COMMAND, cwd=work, env=ENVIRONMENT, check=True)
        previous = contents(work / "data/raw")
        source = str(archive) if where == "archive" else f"{site.url}/images.zip"
        update_params(work / "params.yaml", {"fetch": {"source": source}})
        done = run_with_file_limit(work, 20_000)
        assert done.returncode == 1
        assert "expected space for what it writes" in done.stderr
        assert "Traceback" not in done.stderr
        assert contents(work / "data/raw") == previous
        assert leftovers(work) == (["raw"] if previous else [])
        subprocess.run(COMMAND, cwd=work, env=ENVIRONMENT, check=True)
    assert len(contents(work / "data/raw")) == 2
    assert leftovers(work) == ["raw"]


def test_full_file_system(work: Path) -> None:
    disk = work / "data"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("needs to mount a small file system")
    try:
        source = str(as_zip(tree(per_class=60), work / "made/images.zip"))
        update_params(work / "params.yaml", {"fetch": {"source": source}})
        done = subprocess.run(
            COMMAND, cwd=work, env=ENVIRONMENT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert "No space left on device" in done.stderr
        assert "Traceback" not in done.stderr
        assert leftovers(work) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)
