"""How a stage runs as a command: `--help`, and errors that are told and not dumped."""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """Something given by the user is wrong; the message says what was expected and what to do."""


def run_command(main: Callable[[], None], *, name: str, doc: str | None) -> None:
    """Run the main function of a module without arguments.

    An `InputError` ends it with its message and exit status 1. Any other error is ours and keeps
    its traceback.
    """
    argparse.ArgumentParser(
        prog=f"python -m stages.{name}",
        description=doc,
        epilog="Parameters are read from params.yaml.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()
    # Both are read when TensorFlow and Keras are imported; the former's start-up notices would
    # hide the messages of the stage.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    try:
        main()
    except InputError as error:
        sys.exit(f"{name}: {error}")


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
