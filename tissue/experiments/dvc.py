"""Run Git and DVC, the latter with the Python of this process, whatever PATH says."""

import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path

from tissue.common.errors import InputError
from tissue.common.secrets import redact

LOGGERS = ("dvc", "dvc_objects", "dvc_data")
DVC = (sys.executable, "-m", "dvc")
LATE = "to end within"  # in the message on a command that was killed
TAIL = 15  # lines shown of a command that failed


def environment(**more: str) -> dict[str, str]:
    """Return variables for DVC, whose stages call `python`: that of this process comes first."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    return os.environ | {"PATH": path} | more


def call(
    *command: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    seconds: float | None = None,
) -> str:
    """Run `git ...` or `dvc ...` and return its standard output.

    It runs in this folder with the variables of `environment`, unless others are given.

    Raises:
        InputError: if it fails, with the error or the last lines that it printed; or if it has not
            ended after so many seconds, when it is killed.
    """
    program = DVC if command[0] == "dvc" else command[:1]
    # Options are left out: a URL among them may hold a secret.
    name = " ".join(takewhile(lambda word: not word.startswith("-"), command))
    try:
        done = subprocess.run(
            [*program, *command[1:]],
            cwd=cwd,
            env=environment() if env is None else env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise InputError(
            f"expected `{name}` {LATE} {seconds:g} s. Received: no end, so it was killed. Run it "
            "again."
        ) from None
    if done.returncode:
        raise InputError(
            f"expected `{name}` to work. Received the status {done.returncode}: "
            f"{_reason(done.stdout + done.stderr)}\nCorrect what it names and run this again."
        )
    return done.stdout


def _reason(printed: str) -> str:
    """Return the errors that a command printed, or its last lines, without secrets of a remote.

    `compare` writes them into a report that others read.
    """
    lines = printed.splitlines()
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return redact("\n".join(errors or lines[-TAIL:]))


class _Redacted(logging.Formatter):
    """Formats records as another formatter does, and hides the secrets in them."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record."""
        return redact(self._inner.format(record))


def hide_secrets() -> None:
    """Hide what is secret in the address of a remote from what DVC logs in this process."""
    import dvc.logger  # noqa: F401  adds the handlers

    for handler in [one for name in LOGGERS for one in logging.getLogger(name).handlers]:
        if handler.formatter and not isinstance(handler.formatter, _Redacted):
            handler.setFormatter(_Redacted(handler.formatter))
