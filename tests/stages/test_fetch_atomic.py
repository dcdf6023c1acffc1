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
from tests.sources.test_sources import as_folder, as_zip, snapshot, tree

COMMAND = [sys.executable, "-m", "stages.fetch"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}
PHANTOM = {"phantom": {"train_per_class": 4, "test_per_class": 2, "size": 160}}


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder to run fetch in."""
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    return tmp_path


def content(folder: Path) -> dict[str, bytes]:
    return {name: value for name, (value, _) in snapshot(folder).items()}


def leftovers(work: Path) -> list[str]:
    return sorted(path.name for path in (work / "data").iterdir())


def children(pid: int) -> set[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children")
    return {int(child) for child in found.read_text().split()} if found.exists() else set()


def test_killed_at_any_moment(work: Path) -> None:
    update_params(work / "params.yaml", {"fetch": PHANTOM})
    start = time.monotonic()
    subprocess.run(COMMAND, cwd=work, env=ENVIRONMENT, check=True)
    took = time.monotonic() - start
    expected = content(work / "data/raw")
    draw = random.Random(3)
    for _ in range(3):
        process = subprocess.Popen(COMMAND, cwd=work, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
        time.sleep(draw.uniform(0.2, 0.9) * took)
        workers = children(process.pid)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert content(work / "data/raw") == expected
        for _ in range(50):
            if not any(Path(f"/proc/{worker}/exe").exists() for worker in workers):
                break
            time.sleep(0.1)
        else:
            pytest.fail("drawing processes go on after their parent was killed")
    subprocess.run(COMMAND, cwd=work, env=ENVIRONMENT, check=True)
    assert content(work / "data/raw") == expected
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
        previous = content(work / "data/raw")
        source = str(archive) if where == "archive" else f"{site.url}/images.zip"
        update_params(work / "params.yaml", {"fetch": {"source": source}})
        done = run_with_file_limit(work, 20_000)
        assert done.returncode == 1
        assert "expected space for what it writes" in done.stderr
        assert "Traceback" not in done.stderr
        assert content(work / "data/raw") == previous
        assert leftovers(work) == (["raw"] if previous else [])
        subprocess.run(COMMAND, cwd=work, env=ENVIRONMENT, check=True)
    assert len(content(work / "data/raw")) == 2
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
