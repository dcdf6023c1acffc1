"""How a stage runs as a command: `--help`, and errors that are told and not dumped."""

import argparse
import errno
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tissue.common.errors import InputError, is_disk_full

NOT_TO_BE_USED = (errno.EROFS, errno.ENAMETOOLONG)


def run_command(main: Callable[[], None], *, name: str, doc: str | None) -> None:
    """Run the main function of a module without arguments.

    Errors end it as in `command`.
    """
    parser = parser_of(name, doc, epilog="Parameters are read from params.yaml.")
    parser.prog = f"python -m stages.{name}"
    parser.parse_args()
    with command(name):
        main()


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
    """Do what a command does.

    An `InputError`, a full disk, a file that may not be read or written, or a lack of what another
    stage writes ends it with a message and exit status 1, an interruption with 130, and a reader
    that has gone, as `head` does, with 141 and no message. Any other error is ours and keeps its
    traceback.
    """
    # Both are read when TensorFlow and Keras are imported; the former's start-up notices would
    # hide the messages of the stage.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    try:
        yield
    except InputError as error:
        sys.exit(f"{name}: {error}")
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # Who read what is printed has gone, as `head` does; Python would complain once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and _is_of_a_stage(error.filename):
            sys.exit(
                f"{name}: expected {error.filename}, which a stage before this one writes. "
                "Received: no such file. Run `dvc repro`, or `dvc pull` for what others have made."
            )
        if isinstance(error, PermissionError) or error.errno in NOT_TO_BE_USED:
            sys.exit(
                f"{name}: expected to use {error.filename or 'what it needs'}. Received: "
                f"{error.strerror or error}. Change its permissions, or give another place."
            )
        if not is_disk_full(error):
            raise
        sys.exit(
            f"{name}: expected space for what it writes. Received: {error}. Free some and run it "
            "again; no file was left half-written."
        )


def _is_of_a_stage(name: str | None) -> bool:
    # Hidden is what a stage has not finished.
    parts = Path(name or "").parts
    return parts[:1] == ("data",) and not any(part.startswith(".") for part in parts)


def check_output_file(option: str, target: Path) -> None:
    """Raise an `InputError` if no file can be written where an option says."""
    try:
        if target.is_dir():
            raise InputError(
                f"{option}: expected the name of a file. Received: {target}, which is a folder. "
                "Give the name of a file in it."
            )
        _check_place(option, target, among=target.absolute().parents)
    except PermissionError as error:
        raise _closed(option, target, error) from None


def check_output_folder(option: str, target: Path) -> None:
    """Raise an `InputError` if no file can be written into the folder that an option names."""
    try:
        if target.exists() and not target.is_dir():
            raise InputError(
                f"{option}: expected the name of a folder. Received: {target}, which is a file. "
                "Give another name."
            )
        place = target.absolute()
        _check_place(option, target, among=(place, *place.parents))
    except PermissionError as error:
        raise _closed(option, target, error) from None


def _check_place(option: str, target: Path, *, among: Iterable[Path]) -> None:
    there = next(path for path in among if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise InputError(
            f"{option}: expected a place to write to. Received: {target}, but {there} is no folder "
            "that can be written to. Name another place."
        )


def _closed(option: str, target: Path, error: PermissionError) -> InputError:
    return InputError(
        f"{option}: expected a place to write to. Received: {target}, but {error.filename} cannot "
        "be looked at. Name another place."
    )
