"""How a stage runs as a command: `--help`, and errors that are told and not dumped."""

import argparse
import errno
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

NOT_TO_BE_USED = (errno.EROFS, errno.ENAMETOOLONG)


class InputError(ValueError):
    """Something given by the user is wrong; the message says what was expected and what to do."""


def is_disk_full(error: BaseException) -> bool:
    """Whether a file could not be written for lack of space, or grew past a limit on its size."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def process_pool(workers: int) -> ProcessPoolExecutor:
    """Return a pool whose processes are started anew and end with this one.

    Forked ones would hold a copy of all that this process holds, and must not have its threads.
    """
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_exit_with_parent)


def _exit_with_parent() -> None:
    # They do not notice that their parent was killed, and would wait for ever.
    parent = multiprocessing.parent_process()
    assert parent is not None, "called in a process of a pool"

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def run_command(main: Callable[[], None], *, name: str, doc: str | None) -> None:
    """Run the main function of a module without arguments.

    Errors end it as in `command`.
    """
    parser_of(name, doc, epilog="Parameters are read from params.yaml.").parse_args()
    with command(name):
        main()


def parser_of(name: str, doc: str | None, epilog: str | None = None) -> argparse.ArgumentParser:
    """Return a parser for the command line of a module, whose `--help` is its docstring."""
    return argparse.ArgumentParser(
        prog=f"python -m stages.{name}",
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


@contextmanager
def quiet_import() -> Iterator[None]:
    """Hold back what native libraries print to standard error while they are imported.

    TensorFlow tells six lines about processors and missing graphics cards whatever its log level,
    and they would hide the messages of the stages. After an error they are shown.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
