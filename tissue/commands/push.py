"""Push data and results, so that others need not run the same: `python -m tissue push`.

Does what `dvc push --run-cache` does, and also pushes the metrics and plots of all runs, which that
command leaves out because Git has them (DVC 3.67.1). In another clone, `dvc repro --pull` then
takes the results of this one instead of running stages, also where Git has not carried dvc.lock.
Data that is there already is not pushed again.
"""

import sys
from pathlib import Path

from dvc.cli import main as dvc
from dvc.exceptions import DvcException
from dvc.repo import Repo

from tissue.common.secrets import redact
from tissue.config.command import parser_of
from tissue.experiments.dvc import hide_secrets


def push_from_git() -> int:
    """Push the metrics and plots of all runs that Git tracks; return how many were not there yet.

    Raises:
        DvcException: if some could not be pushed.
    """
    pushed = 0
    with Repo() as repo:
        # Runs are in runs/<2 digits>/<digest of the inputs>/<digest of the outputs>.
        entries = Path(repo.stage_cache.cache_dir).glob("*/*/*")
        runs = [(entry.parent.name, entry.name) for entry in entries]
        in_git = [Path(out.def_path) for out in repo.index.outs if not out.use_cache]
        for objects in repo.stage_cache.get_used_objs(runs).values():
            wanted = {
                found
                for found in objects
                if repo.cache.local.exists(found.value)
                and any(Path(found.obj_name).is_relative_to(path) for path in in_git)
            }
            result = repo.cloud.push(wanted)
            if result.failed:
                raise DvcException(f"{len(result.failed)} metrics and plots could not be pushed")
            pushed += len(result.transferred)
    return pushed


def main(arguments: list[str] | None = None) -> None:
    """Run the command with these arguments, or those of the process."""
    parser_of("push", __doc__).parse_args(arguments)
    hide_secrets()
    # DVC's command line describes errors of every kind of remote.
    if status := dvc(["push", "--run-cache"]):
        sys.exit(status)
    try:
        print(f"push: {push_from_git()} metrics and plots of runs pushed")
    except DvcException as error:
        sys.exit(redact(f"push: {error}"))
