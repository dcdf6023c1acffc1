"""Compare a fresh run with the committed one: `python -m tissue verify`, or `make verify`.

Reads dvc.lock and `metrics/` as they are here and at the revision, which is HEAD unless --base says
otherwise. On the same machine all outputs are the same bytes. On another processor the last bits of
a training differ: then the first stage that made something else is named, and the metrics under
`compare.tolerance` in params.yaml have to agree within their tolerances, in either direction.

The exit status is 1 if they do not, or if code, parameters or sources differ from the committed
run, which is then another run and no reproduction of it, or if anything was changed after the run.
`make verify` first runs every stage anew.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tissue.common.errors import InputError
from tissue.config.command import command, parser_of
from tissue.config.loading import load_params
from tissue.experiments.gates import beyond, first_difference, foreign_inputs, outcomes
from tissue.experiments.revisions import all_metrics, changed_since_run

LOCK = "dvc.lock"


def run(tolerance: dict[str, float], *, base: str) -> tuple[str, bool]:
    """Return what is the same and what is not, and whether the run counts as reproduced."""
    here = _lock_here()
    found = outcomes(_lock_at(base), here)
    foreign = foreign_inputs(found)
    if foreign:
        lines = [f"  {stage}: {', '.join(paths)}" for stage, paths in foreign.items()]
        return "\n".join([f"another run than that of {base}, with other inputs:", *lines]), False
    changed = changed_since_run()
    if changed:
        lines = [f"  {stage}: {', '.join(paths)}" for stage, paths in changed.items()]
        return "\n".join(
            [f"changed since the run that {LOCK} tells of, run `dvc repro`:", *lines]
        ), False
    first = first_difference(found)
    if first is None and (missing := _missing(here)):
        # A clone that ran nothing has the same dvc.lock, too.
        return f"nothing to verify, since there is no {missing[0]}: run `make verify`", False
    if first is None:
        return f"all outputs of {len(found)} stages are the same bytes as at {base}", True
    same = [one.stage for one in found if not one.outputs]
    lines = [
        f"the first stage that differs from {base} is {first.stage}: {', '.join(first.outputs)}",
        f"the same bytes: {', '.join(same) or 'no stage'}",
    ]
    wrong = beyond(all_metrics(base), tolerance)
    lines += [f"beyond its tolerance: {one.key}, {one.old} and now {one.new}" for one in wrong]
    if not wrong:
        lines.append(f"all {len(tolerance)} metrics with a tolerance agree within it")
    return "\n".join(lines), not wrong


def _lock_at(base: str) -> Any:
    command = ["git", "show", f"{base}:./{LOCK}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(
            f"{LOCK} at {base}: expected a committed run. Received: {done.stderr.strip()}"
        )
    return _read(done.stdout)


def _lock_here() -> Any:
    try:
        return _read(Path(LOCK).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{LOCK}: expected the run to verify. Received: no such file. Run `dvc repro`."
        ) from None


def _missing(lock: Any) -> list[str]:
    """Outputs that the run should have left here."""
    stages = lock.get("stages", {}).values()
    outputs = [out["path"] for stage in stages for out in stage.get("outs", [])]
    return sorted(path for path in outputs if not Path(path).exists())


def _read(text: str) -> Any:
    try:
        return YAML(typ="safe", pure=True).load(text) or {}
    except YAMLError as error:
        raise InputError(
            f"{LOCK}: expected YAML, as `dvc repro` writes it. Received: {error}. After a merge, "
            f"take one side, as with `git checkout --ours {LOCK}`, and run `dvc repro`."
        ) from None


def main(arguments: list[str] | None = None) -> None:
    """Verify as the command line says."""
    parser = parser_of("verify", __doc__)
    parser.add_argument("--base", default="HEAD", help="Git revision with the run (HEAD)")
    options = parser.parse_args(arguments)
    with command("verify"):
        said, reproduced = run(load_params().compare.tolerance, base=options.base)
    print(f"verify: {said}")
    if not reproduced:
        sys.exit(1)
