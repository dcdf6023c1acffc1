"""`python -m tissue`: the list of commands, and that help needs neither TensorFlow nor Keras."""

import json
from importlib import import_module

import pytest

from tests.conftest import run
from tests.pipeline import ROOT
from tissue.__main__ import COMMANDS

# In one process, in which most of what the commands import is imported once.
HELP = """
import contextlib, io, json, sys
from tissue.__main__ import COMMANDS, main
printed = {}
for command in COMMANDS:
    sys.argv[1:] = [command, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        try:
            main()
        except SystemExit as end:
            assert not end.code
    slow = {"tensorflow", "keras"} & set(sys.modules)
    assert not slow, f"{command} imports {slow}"
    printed[command] = said.getvalue()
print(json.dumps(printed))
"""


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_the_commands_are_listed(arguments: tuple[str, ...]) -> None:
    printed = run("python", "-m", "tissue", *arguments, cwd=ROOT)
    assert printed.startswith("usage: python -m tissue <command>")
    for command, text in COMMANDS.items():
        assert f"  {command:10}{text}\n" in printed


def test_the_commands_are_those_of_the_folder() -> None:
    assert set(COMMANDS) == {path.stem for path in (ROOT / "tissue/commands").glob("*.py")}


def test_an_unknown_command() -> None:
    printed = run("python", "-m", "tissue", "predicted", cwd=ROOT, expect=1)
    assert "  predict   name the organ" in printed
    assert printed.endswith("tissue: expected one of these commands. Received: predicted.\n")


def test_help_is_the_docstring_and_imports_no_tensorflow() -> None:
    printed = json.loads(run("python", "-c", HELP, cwd=ROOT))
    assert printed.keys() == COMMANDS.keys()
    for command, text in printed.items():
        assert text.startswith(f"usage: python -m tissue {command} [-h]")
        assert (import_module(f"tissue.commands.{command}").__doc__ or "").strip() in text
