"""Two runs that download the same source to one cache: the second waits for the first."""

import subprocess
import sys
from pathlib import Path

from tests.pipeline import ROOT, environment
from tests.servers import Site, serving

PROGRAM = """
import sys
from pathlib import Path
from tissue.sources.cache import DownloadCache
from tissue.sources.web import download, open_session

target = DownloadCache(Path("cache"), "source").file("a.bin")
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
