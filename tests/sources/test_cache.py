"""The cache of downloads: two runs at once, files without end, servers that hold the line."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline import ROOT, environment
from tests.servers import Site, serving
from tissue.common.errors import InputError
from tissue.sources import cache, web
from tissue.sources.cache import DownloadCache

PROGRAM = """
import sys
from pathlib import Path
from tissue.sources.cache import DownloadCache
from tissue.sources.web import download, open_session

target = DownloadCache(Path("cache"), "source", most=10**9).file("a.bin")
with open_session() as session:
    assert download(session, sys.argv[1], target)
assert target.path.read_bytes() == b"x" * 3_000_000
"""


def test_five_at_once_download_a_file_once(tmp_path: Path) -> None:
    site = Site({"/a.bin": b"x" * 3_000_000})
    with serving(site):
        command = [sys.executable, "-c", PROGRAM, f"{site.url}/a.bin"]
        runs = [
            subprocess.Popen(
                command, cwd=tmp_path, env=environment(PYTHONPATH=str(ROOT)),
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )
            for _ in range(5)
        ]  # fmt: skip
        printed = [run.communicate(timeout=120)[0] for run in runs]
    assert [run.returncode for run in runs] == [0] * 5, printed
    assert site.sent == ["/a.bin"]


def endless() -> Iterator[bytes]:
    while True:
        yield b"x" * 1000


@pytest.mark.parametrize("size", [None, 10**12])
def test_a_file_without_end(tmp_path: Path, size: int | None) -> None:
    target = DownloadCache(tmp_path, "source", most=10_000).file("a.zip")
    target.restart("")
    with pytest.raises(InputError, match=r"a.zip: expected at most 10000 bytes \(advanced.fetch"):
        target.write(endless(), version="", size=size)
    assert not any(path.stat().st_size > 10_000 for path in tmp_path.rglob("*"))


def test_a_server_that_sends_a_byte_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "WINDOW", 0.3)
    monkeypatch.setattr(cache, "BACK_OFF", 0.01)
    site = Site({"/a": b"x" * 2000}, faults={"/a": ["drip"] * 9})
    with serving(site), web.open_session() as session:
        target = DownloadCache(tmp_path, "source", most=10_000).file("a")
        with pytest.raises(InputError, match=r"Received: [0-9]+ bytes in [01] s. What has arrived"):
            web.download(session, f"{site.url}/a", target)
        assert len(site.requests) == cache.ATTEMPTS
        site.faults.clear()
        assert web.download(session, f"{site.url}/a", target)
    assert target.path.read_bytes() == b"x" * 2000
