"""How stages and commands run: `--help`, exit statuses, and messages in place of tracebacks."""

import argparse
import io
import os
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Any, TextIO, cast

from filelock import FileLock, Timeout

from tissue.common.errors import InputError
from tissue.common.names import printable
from tissue.common.secrets import redact
from tissue.config.failures import describe
from tissue.config.inputs import IN_DVC, check_inputs, is_by_hand, note_run
from tissue.config.loading import load_params
from tissue.config.processor import note_processor
from tissue.config.schema import Params

CODE = Path(__file__).parents[2]
UNCOMPARED = (
    "inputs as the stages before it wrote them, which no dvc.lock describes here",
    "Run `dvc repro`, which makes and compares them; if this comes again, it is a bug, which this "
    "line helps to find.",
)
FIRST = "fetch"  # the stage that reads nothing of another one


def check_python(name: str) -> None:
    """End a stage or command, before its slow imports, if Python is too new for TensorFlow."""
    if sys.version_info >= (3, 14):
        version = ".".join(map(str, sys.version_info[:2]))
        sys.exit(
            f"{name}: expected Python 3.11 to 3.13, because TensorFlow 2.21 has no wheels for "
            f"newer ones. Received: {version}. Run `make clean all PYTHON=python3.13`."
        )


def run_command(
    main: Callable[[], None],
    *,
    name: str,
    doc: str | None,
    check: Callable[[Params], None] | None = None,
) -> None:
    """Run the main function of a stage, which takes no arguments; errors end it as in `command`.

    `check` comes first where no dvc.lock tells what the inputs are: it compares them.
    """
    check_python(name)
    parser = parser_of(name, doc, epilog="Parameters are read from params.yaml.")
    parser.prog = f"python -m stages.{name}"
    parser.parse_args()
    with command(name), _only_run(name):
        by_hand = is_by_hand()
        compared = check_inputs(name) if by_hand else IN_DVC in os.environ
        with nullcontext() if compared or name == FIRST else blaming(*UNCOMPARED):
            if check and not compared:
                check(load_params())
            main()
        if by_hand:
            note_run(name)
        elif IN_DVC in os.environ:
            note_processor(name)


@contextmanager
def blaming(expected: str, do: str) -> Iterator[None]:
    """Blame inputs that nothing has compared for what would else be a bug.

    Args:
        expected: what the inputs should be.
        do: what to do about it.

    Raises:
        InputError: in place of any error but those that `command` describes.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, InputError) or describe(error):
            raise
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if Path(frame.filename).is_relative_to(CODE)]
        place = f"{Path(ours[-1].filename).relative_to(CODE).as_posix()}:{ours[-1].lineno}"
        received = textwrap.shorten(f"{type(error).__name__}: {error}", 300)
        raise InputError(f"expected {expected}. Received: {received}, at {place}. {do}") from None


@contextmanager
def _only_run(name: str) -> Iterator[None]:
    """Keep a second run of a stage out of this repository as long as the first one works.

    Whoever ends `dvc` alone leaves its stage running. The system frees the lock with its process.
    """
    folder = Path(".dvc/tmp")
    if not folder.parent.is_dir():
        yield
        return
    folder.mkdir(exist_ok=True)
    owner, lock = folder / f"{name}.pid", FileLock(folder / f"{name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        process = owner.read_text(encoding="utf-8") if owner.is_file() else "unknown"
        raise InputError(
            f"expected to be the only run of {name} in {Path.cwd()}. Received: another one is at "
            f"work, process {process}. Wait for it, or end it with `kill {process}`."
        ) from None
    try:
        owner.write_text(str(os.getpid()), encoding="utf-8", newline="\n")
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def parser_of(name: str, doc: str | None, epilog: str | None = None) -> argparse.ArgumentParser:
    """Return a parser for the command line of a module, whose `--help` is its docstring."""
    return argparse.ArgumentParser(
        prog=f"python -m tissue {name}",
        description=doc,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


@contextmanager
def command(name: str) -> Iterator[None]:
    """Turn errors that are no bugs into a message and an exit status.

    The status is 1 after an `InputError`, on a full disk, one that fails or a full memory, and for
    files that cannot be used or that an earlier stage has not written; 130 after an interruption;
    and 141, without a message, when the reader of the output has closed it, as `head` does. Other
    errors keep their traceback.
    """
    _escape_foreign_letters()
    try:
        # Names of files and classes are those of others, wherever they are printed.
        with redirect_stdout(cast("TextIO", _Printable(sys.stdout))):
            yield
            sys.stdout.flush()  # else a full disk or a closed pipe would be noticed after the end
    except InputError as error:
        # Messages are in logs, and a server may have put a signed address into its answer.
        sys.exit(printable(redact(f"{name}: {error}")))
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # Otherwise Python would report the closed pipe once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)  # as shells report SIGPIPE, which Windows does not have
    except Exception as error:
        if (message := describe(error)) is None:
            raise
        sys.exit(printable(redact(f"{name}: {message}")))


class _Printable:
    """A stream that writes texts as `printable` returns them."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text."""
        return self._stream.write(printable(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _escape_foreign_letters() -> None:
    """Print letters that a terminal or a pipe cannot take, as on Windows, as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def check_output_file(option: str, target: Path) -> None:
    """Raise an `InputError` if an option names a file that cannot be written."""
    if os.access(target, os.F_OK) and target.is_dir():
        raise InputError(
            f"{option}: expected the name of a file. Received: {target}, which is a folder. "
            "Give the name of a file in it."
        )
    _check_writable(option, target, target.absolute().parent)


def check_output_folder(option: str, target: Path) -> None:
    """Raise an `InputError` if an option names a folder that no file can be written to."""
    if os.access(target, os.F_OK) and not target.is_dir():
        raise InputError(
            f"{option}: expected the name of a folder. Received: {target}, which is a file. "
            "Give another name."
        )
    _check_writable(option, target, target.absolute())


def _check_writable(option: str, target: Path, folder: Path) -> None:
    # Missing folders will be made in the nearest one that exists.
    nearest = next(path for path in (folder, *folder.parents) if os.access(path, os.F_OK))
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(
            f"{option}: expected a place to write to. Received: {target}, but {nearest} is no "
            "folder that can be written to. Name another place."
        )
