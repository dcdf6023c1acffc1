"""Commands of `python -m tissue` run in this process, which has imported everything already."""

import contextlib
import io
import signal
from importlib import import_module
from pathlib import Path


def invoke(command: str, *arguments: str, cwd: Path, expect: int = 0) -> str:
    """Run a command in a folder and return what it printed."""
    printed = io.StringIO()
    handler = signal.getsignal(signal.SIGTERM)
    status: object = 0
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
    ):
        try:
            import_module(f"tissue.commands.{command}").main([*arguments])
        except SystemExit as end:
            status = end.code
            if isinstance(end.code, str):
                status = 1
                print(end.code)
        finally:
            signal.signal(signal.SIGTERM, handler)
    assert status == expect, printed.getvalue()
    return printed.getvalue()
