"""The commands in the documents: fenced blocks marked `sh`, by the heading they stand under."""

import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.pipeline import ROOT, environment


def blocks(document: str) -> dict[str, list[str]]:
    """Blocks of commands by heading, in order."""
    found: dict[str, list[str]] = {}
    heading = ""
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    for match in re.finditer(
        r"^#+ (?P<head>[^\n]+)$|^```sh\n(?P<block>.*?)^```$", text, re.M | re.S
    ):
        if match["head"]:
            heading = match["head"]
        else:
            found.setdefault(heading, []).append(match["block"])
    return found


def execute(block: str, cwd: Path, given: Mapping[str, str] | None = None, status: int = 0) -> str:
    """Run a block as it stands, but for names that are given, and return what it printed."""
    for name, value in (given or {}).items():
        block = block.replace(name, value)
    command = ["bash", "-e", "-o", "pipefail", "-c", block]
    # Not to a pipe, which the worker of a queue would keep open after the commands have ended.
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(
            command, cwd=cwd, env=environment(PIP_NO_INDEX="1"),
            stdout=output, stderr=output, check=False,
        )  # fmt: skip
        output.seek(0)
        printed = output.read()
    assert done.returncode == status, f"{block}\n{printed}"
    return printed
