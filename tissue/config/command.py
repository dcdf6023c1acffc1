"""How stages and commands run: `--help`, exit statuses, and messages in place of tracebacks."""

import argparse
import errno
import io
import os
import sqlite3
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from pathlib import Path

from filelock import FileLock, Timeout

from tissue.common.errors import InputError, is_disk_full
from tissue.common.names import printable
from tissue.common.secrets import redact
from tissue.config.inputs import IN_DVC, check_inputs, is_by_hand, note_run
from tissue.config.processor import note_processor

CODE = Path(__file__).parents[2]
SPACE = (
    "expected space for what it writes. Received: {}. Free some and run it again; no file was left "
    "half-written."
)
FIRST = "fetch"  # the stage that reads nothing of another one
# Of disks and network drives, by their names, since not every system has all
FAILING = {
    getattr(errno, name)
    for name in ("EIO", "ESTALE", "ENODEV", "ENXIO", "EREMOTEIO", "ENOTCONN", "EHOSTDOWN")
    if hasattr(errno, name)
}


def check_python(name: str) -> None:
    """End a stage or command, before its slow imports, if Python is too new for TensorFlow."""
    if sys.version_info >= (3, 14):
        version = ".".join(map(str, sys.version_info[:2]))
        sys.exit(
            f"{name}: expected Python 3.11 to 3.13, because TensorFlow 2.21 has no wheels for "
            f"newer ones. Received: {version}. Run `make clean all PYTHON=python3.13`."
        )


def run_command(
    main: Callable[[], None], *, name: str, doc: str | None, check: Callable[[], None] | None = None
) -> None:
    """Run the main function of a stage, which takes no arguments; errors end it as in `command`.

    `check` compares its inputs with each other before, where no dvc.lock has told what they are.
    """
    check_python(name)
    parser = parser_of(name, doc, epilog="Parameters are read from params.yaml.")
    parser.prog = f"python -m stages.{name}"
    parser.parse_args()
    with command(name), _only_run(name):
        by_hand = is_by_hand()
        compared = check_inputs(name) if by_hand else IN_DVC in os.environ
        with nullcontext() if compared or name == FIRST else _uncompared():
            if check and not compared:
                check()
            main()
        if by_hand:
            note_run(name)
        elif IN_DVC in os.environ:
            note_processor(name)


@contextmanager
def _uncompared() -> Iterator[None]:
    """Blame the inputs of a stage for what would else be a bug, if nothing has compared them.

    Raises:
        InputError: in place of any error but those that `command` describes.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, InputError) or _describe(error):
            raise
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if Path(frame.filename).is_relative_to(CODE)]
        place = f"{Path(ours[-1].filename).relative_to(CODE).as_posix()}:{ours[-1].lineno}"
        received = textwrap.shorten(f"{type(error).__name__}: {error}", 300)
        raise InputError(
            "expected inputs as the stages before it wrote them, which no dvc.lock describes here. "
            f"Received: {received}, at {place}. Run `dvc repro`, which makes and compares them; if "
            "this comes again, it is a bug, which this line helps to find."
        ) from None


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
        yield
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
        if (message := _describe(error)) is None:
            raise
        sys.exit(printable(redact(f"{name}: {message}")))


def _escape_foreign_letters() -> None:
    """Print letters that a terminal or a pipe cannot take, as on Windows, as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _describe(error: Exception) -> str | None:
    """Return the message for an error of the system, or None if it is a bug."""
    if isinstance(error, OSError):
        return _describe_system(error)
    if isinstance(error, sqlite3.OperationalError):  # of tables among the temporary files
        return SPACE.format(error)
    # The memory that is short may have ended another process of this stage.
    short = isinstance(error, MemoryError | BrokenProcessPool)
    if short or type(error).__name__ == "ResourceExhaustedError":  # TensorFlow's
        received = textwrap.shorten(f"{type(error).__name__}: {error}".rstrip(": "), 300)
        return (
            f"expected memory, and its processes, until it is done. Received: {received}. End "
            "other programs, or take a larger machine, and run it again."
        )
    return None


def _describe_system(error: OSError) -> str | None:
    if isinstance(error, FileNotFoundError) and _is_output(error.filename):
        return (
            f"expected {error.filename}, which a stage before this one writes. "
            "Received: no such file. Run `dvc repro`, or `make pull` for what others have made."
        )
    if isinstance(error, PermissionError) or error.errno in (errno.EROFS, errno.ENAMETOOLONG):
        return (
            f"expected to use {error.filename or 'what it needs'}. Received: "
            f"{error.strerror or error}. Change its permissions, or give another place."
        )
    if isinstance(error, IsADirectoryError | NotADirectoryError) and _is_output(error.filename):
        return (
            f"expected {error.filename} as a stage writes it. Received: {error.strerror}. Move it "
            "away, and run `dvc repro`."
        )
    if error.errno in FAILING:
        return (
            f"expected a disk that works. Received: {error}. Check the disk or the network drive, "
            "and run it again; no file was left half-written."
        )
    if is_disk_full(error) or _is_without_temporary(error):
        return SPACE.format(error)
    return None


def _is_without_temporary(error: OSError) -> bool:
    # `tempfile` tries several folders, and says of none why it cannot be written to.
    return isinstance(error, FileNotFoundError) and "temporary directory" in str(error)


def _is_output(name: str | None) -> bool:
    # A stage writes to hidden files first. Processes are given absolute paths.
    path = Path(name or "")
    parts = (path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path).parts
    return parts[:1] == ("data",) and not any(part.startswith(".") for part in parts)


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
