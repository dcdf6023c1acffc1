"""How a stage runs as a command: `--help`, and errors that are told and not dumped."""

import argparse
import os
import sys
from collections.abc import Callable


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
