"""`python -m tissue`: the list of commands, and that help needs neither TensorFlow nor Keras."""

import subprocess
import sys
from importlib import import_module

import pytest

from tests.conftest import run
from tests.pipeline import ROOT
from tissue.__main__ import COMMANDS

HELP = """
import sys
from tissue.__main__ import main
sys.argv[1:] = [{command!r}, "--help"]
try:
    main()
finally:
    assert not {{"tensorflow", "keras"}} & set(sys.modules)
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


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_the_docstring_and_imports_no_tensorflow(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HELP.format(command=command)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: python -m tissue {command} [-h]")
    assert (import_module(f"tissue.commands.{command}").__doc__ or "").strip() in done.stdout
