"""The commands beside the stages. `python -m tissue <command> --help` explains each of them."""

import sys
from importlib import import_module

from tissue.config.command import check_python, command

COMMANDS = {
    "predict": "name the organ of pictures with a trained model",
    "app": "open a page on this machine that answers what is dropped on it",
    "doctor": "say what is missing on this machine, and what to do",
    "page": "make a page that answers in a browser, with nothing sent anywhere",
    "compare": "compare parameters, metrics and predictions with another Git revision",
    "pull": "get what others pushed, and check all of it against dvc.lock",
    "push": "push data and results, so that others need not run the same parameters",
    "sweep": "run an experiment for every combination of parameter values",
    "cores": "cut the cores out of a slide of a tissue microarray",
    "donors": "ask the atlas which images are of one donor, and write a table for split.metadata",
    "verify": "check that a fresh run gave the committed results, or what a clone claims",
}


def main() -> None:
    """Run the command that the first argument names with the arguments after it."""
    name, *arguments = sys.argv[1:] or ["--help"]
    commands = "\n".join(f"  {command:10}{text}" for command, text in COMMANDS.items())
    usage = f"usage: python -m tissue <command> [--help] ...\n\n{__doc__}\n\n{commands}"
    if name in ("-h", "--help"):
        with command("tissue"):
            print(usage)
    elif name in COMMANDS:
        check_python(name)
        import_module(f"tissue.commands.{name}").main(arguments)
    else:
        sys.exit(f"{usage}\n\ntissue: expected one of these commands. Received: {name}.")


if __name__ == "__main__":
    main()
