"""How commands of Git and DVC are run: with the Python that runs this, whatever PATH says."""

import os
import subprocess
import sys
from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path

from tissue.common.errors import InputError

DVC = (sys.executable, "-m", "dvc")
TAIL = 15  # lines shown of a command that failed


def environment(**more: str) -> dict[str, str]:
    """Return variables for DVC, whose stages call `python`: that of this process comes first."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    return os.environ | {"PATH": path} | more


def call(*command: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run a command and return what it printed to standard output.

    Args:
        command: `git` or `dvc` and what follows.
        cwd: the folder it runs in, if not this one.
        env: its variables, if not those of `environment`.

    Raises:
        InputError: if it fails, with the end of what it said.
    """
    program = DVC if command[0] == "dvc" else command[:1]
    done = subprocess.run(
        [*program, *command[1:]],
        cwd=cwd,
        env=environment() if env is None else env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        # Not its options, as a URL may hold a secret.
        name = " ".join(takewhile(lambda word: not word.startswith("-"), command))
        said = "\n".join((done.stdout + done.stderr).splitlines()[-TAIL:])
        raise InputError(
            f"expected `{name}` to work. Received the status {done.returncode}:\n{said}\n"
            "See what it says; what each machine needs is in docs/scale.md."
        )
    return done.stdout
