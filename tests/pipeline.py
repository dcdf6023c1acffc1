"""What dvc.yaml declares and what the code uses, for tests of one against the other."""

import ast
import os
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
PARAMS: dict[str, Any] = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")
PIPELINE: dict[str, Any] = YAML(typ="safe", pure=True).load(
    (ROOT / "dvc.yaml")
    .read_text()
    .replace("${fetch.watch}", PARAMS["fetch"]["watch"])
    .replace("${fetch.hpa.genes}", PARAMS["fetch"]["hpa"]["genes"])
)
STAGES: dict[str, dict[str, Any]] = PIPELINE["stages"]
CONFIG = "tissue/config"
ORDER = tuple(STAGES)  # as they run


def environment(**more: str) -> dict[str, str]:
    """Variables for commands: those of the tests, with the Python of the tests first."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    return os.environ | {"PATH": path, "DVC_NO_ANALYTICS": "1"} | more


def outputs(stage: str) -> list[str]:
    """Paths of all outputs, metrics and plots of a stage."""
    entries = [
        entry for key in ("outs", "metrics", "plots") for entry in STAGES[stage].get(key, [])
    ]
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def local_imports(module: Path, seen: set[Path] | None = None) -> set[Path]:
    """Return the module and all modules of this project that it imports, directly or not."""
    seen = set() if seen is None else seen
    if module in seen:
        return seen
    seen.add(module)
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            path = ROOT / (name.replace(".", "/") + ".py")
            if path.is_file():
                local_imports(path, seen)
    return seen


def rooms_of(stage: str) -> set[str]:
    """Return the rooms of the library, such as `tissue/data`, whose code a stage runs.

    Without `tissue/config`: the values that it reads are declared as parameters.
    """
    folders = {
        path.parent.relative_to(ROOT).as_posix()
        for path in local_imports(ROOT / f"stages/{stage}.py")
    }
    return {folder for folder in folders if folder.startswith("tissue/")} - {CONFIG}
