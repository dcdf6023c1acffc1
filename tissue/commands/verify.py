"""Check a run: `python -m tissue verify [folder or URL of a clone]`.

Without a place, compares a fresh run with the committed one; `make verify` runs every stage anew
before. Reads dvc.lock and `metrics/` here and at a Git revision, HEAD unless --base names another.
All outputs have to be the same bytes. If one is not, the first stage that differs is named, with
the processor that it ran on, as `processors.txt` says, and that of this machine. Between two
architectures, such as x86-64 and ARM, the last bits of a training differ: then the metrics under
`compare.tolerance` in params.yaml have to agree within their tolerances, up or down.

With a place, derives what a clone claims from its predictions, in seconds and without images,
models or TensorFlow: digests of all outputs that lie there against dvc.lock, then every number,
interval and test of both models and of their comparison, the confusions, calibration and counts of
causes. A URL is cloned by Git, and the predictions are pulled from its DVC remote. No code of the
clone is run, no link in it is followed, and of its DVC configuration only the address is taken.

The exit status is 1 if something does not agree; for a fresh run also if code, parameters or
sources differ from the committed one, because it is then another run, or if anything was changed
after it.
"""

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tissue.common.errors import InputError, is_disk_full
from tissue.common.names import one_line
from tissue.config.command import blaming, command, parser_of
from tissue.config.loading import load_params
from tissue.config.processor import FILE, architecture, parse_processors, this_processor
from tissue.experiments.dvc import call
from tissue.experiments.lock import (
    LOCK,
    StageChange,
    changed_stages,
    foreign_inputs,
    lock_at,
    lock_here,
)
from tissue.experiments.revisions import all_metrics, changed_since_run, check_gates

UNKNOWN = "an unknown processor"
SHOWN, LONGEST = 100, 300  # differences, and letters of a line
FOREIGN = (
    "tables and metrics as `split` and `evaluate` write them",
    "Those of this clone do not belong together: it claims nothing that can be checked.",
)


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
    there, this = processors_at(base), this_processor()
    if different:
        return _different(changes, different[0], base, there, tolerance)
    outputs = [out["path"] for stage in here.values() for out in stage.get("outs", [])]
    if missing := sorted(path for path in outputs if not Path(path).exists()):
        # A clone that ran nothing has the same dvc.lock, too.
        return f"nothing to verify, since there is no {missing[0]}: run `make verify`", False
    ran_on = "; ".join(sorted(set(there.values()))) or UNKNOWN
    return (
        f"all outputs of {len(changes)} stages are the same bytes as at {base}, where they ran on "
        f"{ran_on}; this is {this}"
    ), True


def _different(
    changes: list[StageChange],
    first: StageChange,
    base: str,
    there: Mapping[str, str],
    tolerance: Mapping[str, float],
) -> tuple[str, bool]:
    """Describe a run with other bytes, `first` in a stage that ran on a processor of `there`."""
    written, this = there.get(first.stage, UNKNOWN), this_processor()
    same = [change.stage for change in changes if not change.outputs]
    lines = [
        f"the first stage that differs from {base} is {first.stage}: {', '.join(first.outputs)}",
        f"at {base} it ran on {written}; here on {this}",
        f"the same bytes: {', '.join(same) or 'no stage'}",
    ]
    if written == UNKNOWN or architecture(written) == architecture(this):
        lines.append("expected the same bytes, as on every processor of one architecture")
        return "\n".join(lines), False
    checks = check_gates(all_metrics(base), tolerance)
    beyond = [check for check in checks if not check.agrees]
    lines += [f"beyond its tolerance: {one.key}, {one.old} and now {one.new}" for one in beyond]
    if not beyond:
        lines.append(f"all {len(tolerance)} metrics with a tolerance agree within it")
    return "\n".join(lines), not beyond


def processors_at(base: str) -> dict[str, str]:
    """Return the processor that each stage ran on, empty if none was noted at a revision."""
    try:
        return parse_processors(call("git", "show", f"{base}:./{FILE}"))
    except InputError:
        return {}


def _listed(title: str, paths: Mapping[str, list[str]]) -> str:
    lines = (f"  {stage}: {', '.join(names)}" for stage, names in paths.items())
    return "\n".join([title, *lines])


def claims(place: str) -> tuple[str, bool]:
    """Return what of a clone's claims agrees and what does not, and whether all of it does."""
    from tissue.experiments.claims import compare_digests
    from tissue.experiments.clones import check_files, clone_of
    from tissue.metrics.derived import NEEDED, READ, TABLES, derive

    tracked = [Path(LOCK), Path("params.yaml"), *READ]
    with clone_of(place) as (clone, is_ours):
        check_files(clone, tracked, [])
        with contextlib.chdir(clone):
            lock = lock_here()
        if is_ours and not all((clone / path).exists() for path in NEEDED):
            _pull(place, clone, lock)
        check_files(clone, tracked, TABLES)
        with contextlib.chdir(clone), blaming(*FOREIGN):
            digests = compare_digests(lock, Path(), [*TABLES, *READ])
            numbers = derive(load_params(), Path())
    differ = [*digests.differ, *numbers.differ]
    lines = [
        f"{len(differ)} of the claims DIFFER, see below"
        if differ
        else "all that is claimed and could be compared agrees",
        f"{len(digests.agree)} outputs have the digests of {LOCK}",
        *(f"derived again from the predictions, {line}" for line in numbers.agree),
        "not derived, since these take features: metrics/split.json, tsne.json and audit.json",
    ]
    lines += [f"DIFFERENT: {line}" for line in differ[:SHOWN]]
    if len(differ) > SHOWN:
        lines.append(f"DIFFERENT: {len(differ) - SHOWN} more")
    # Names and values are the clone's own: none of them may look like a line of this answer.
    return "\n".join(one_line(line[:LONGEST]) for line in lines), not differ


def _pull(place: str, clone: Path, lock: Mapping[str, Any]) -> None:
    """Pull what the numbers of a clone are derived from, from the remote that it names.

    Raises:
        InputError: if there is none, or it does not have them as they should be.
    """
    from tissue.commands import pull
    from tissue.experiments.clones import repository_for
    from tissue.metrics.derived import NEEDED, PREDICTIONS, SPLIT

    with repository_for(clone, lock, (PREDICTIONS, SPLIT)) as folder, contextlib.chdir(folder):
        try:
            pull.run([path.as_posix() for path in NEEDED], remote=None)
        except InputError:
            raise
        except Exception as error:  # each kind of remote has errors of its own
            if is_disk_full(error):
                raise
            raise InputError(
                f"{place}: expected a DVC remote with the predictions. Received: "
                f"{type(error).__name__}: {error}. Clone it, run `make pull` there, and give the "
                "folder."
            ) from None


def main(arguments: list[str] | None = None) -> None:
    """Run the command with these arguments, or those of the process."""
    parser = parser_of("verify", __doc__)
    parser.add_argument("place", nargs="?", help="folder or URL of a clone whose claims to check")
    parser.add_argument("--base", default="HEAD", help="Git revision with the run (HEAD)")
    options = parser.parse_args(arguments)
    with command("verify"):
        if options.place:
            description, reproduced = claims(options.place)
        else:
            description, reproduced = run(load_params().compare.tolerance, base=options.base)
        print(f"verify: {description}")
    if not reproduced:
        sys.exit(1)
