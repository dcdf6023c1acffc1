"""Compare a fresh run with the committed one: `python -m tissue verify`, or `make verify`.

Reads dvc.lock and `metrics/` here and at a Git revision, HEAD unless --base names another. On the
same machine all outputs have the same bytes. On another processor the last bits of a training
differ: then the first stage whose output differs is named, and the metrics under
`compare.tolerance` in params.yaml have to agree within their tolerances, up or down.

The exit status is 1 if they do not; if code, parameters or sources differ from the committed run,
because it is then another run; or if anything was changed after the run. `make verify` runs every
stage anew before.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from tissue.config.command import command, parser_of
from tissue.config.loading import load_params
from tissue.experiments.gates import check_gates
from tissue.experiments.lock import LOCK, changed_stages, foreign_inputs, lock_at, lock_here
from tissue.experiments.revisions import all_metrics, changed_since_run


def run(tolerance: Mapping[str, float], *, base: str) -> tuple[str, bool]:
    """Return a description of what agrees and what differs, and whether the run is reproduced."""
    here = lock_here()
    changes = changed_stages(lock_at(base), here)
    if foreign := foreign_inputs(changes):
        return _listed(f"another run than that of {base}, with other inputs:", foreign), False
    if changed := changed_since_run():
        title = f"changed since the run that {LOCK} describes, run `dvc repro`:"
        return _listed(title, changed), False
    different = [change for change in changes if change.outputs]
    if not different:
        outputs = [out["path"] for stage in here.values() for out in stage.get("outs", [])]
        missing = sorted(path for path in outputs if not Path(path).exists())
        if missing:  # a clone that ran nothing has the same dvc.lock, too
            return f"nothing to verify, since there is no {missing[0]}: run `make verify`", False
        return f"all outputs of {len(changes)} stages are the same bytes as at {base}", True
    first = different[0]
    same = [change.stage for change in changes if not change.outputs]
    lines = [
        f"the first stage that differs from {base} is {first.stage}: {', '.join(first.outputs)}",
        f"the same bytes: {', '.join(same) or 'no stage'}",
    ]
    checks = check_gates(all_metrics(base), tolerance)
    beyond = [check for check in checks if not check.agrees]
    lines += [f"beyond its tolerance: {one.key}, {one.old} and now {one.new}" for one in beyond]
    if not beyond:
        lines.append(f"all {len(tolerance)} metrics with a tolerance agree within it")
    return "\n".join(lines), not beyond


def _listed(title: str, paths: Mapping[str, list[str]]) -> str:
    lines = (f"  {stage}: {', '.join(names)}" for stage, names in paths.items())
    return "\n".join([title, *lines])


def main(arguments: list[str] | None = None) -> None:
    """Run the command with these arguments, or those of the process."""
    parser = parser_of("verify", __doc__)
    parser.add_argument("--base", default="HEAD", help="Git revision with the run (HEAD)")
    options = parser.parse_args(arguments)
    with command("verify"):
        description, reproduced = run(load_params().compare.tolerance, base=options.base)
    print(f"verify: {description}")
    if not reproduced:
        sys.exit(1)
