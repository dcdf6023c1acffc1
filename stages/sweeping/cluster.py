"""Experiments on a Ray cluster: each in a clean clone, from which it goes to the Git remote."""

import socket
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from stages.cli.commands import call, environment
from stages.cli.running import InputError
from stages.engine.cluster import import_ray, run_on_ray
from stages.params.loading import load_params
from stages.sweeping.experiments import Outcome, run_experiment
from stages.sweeping.grid import Point, in_words
from stages.sweeping.shared import REMOTE, Commit, shared_commit

# Pulls what the stages that run read, and not what only earlier ones did, such as the raw images.
OPTIONS = ("--pull", "--allow-missing")


class Order(NamedTuple):
    """An experiment to be run: its name, its parameters, and both in words."""

    name: str
    point: Point
    about: str


@dataclass(frozen=True)
class Runner:
    """Runs experiments of a commit; it is sent to machines and called there."""

    commit: Commit

    def __call__(self, order: Order) -> Outcome:
        """Run an experiment in a new clone and push it; what went wrong is returned."""
        # Processes that DVC leaves behind may still write there.
        try:
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                return _run_in(Path(folder), self.commit, order)
        except (InputError, OSError) as error:
            return InputError(f"on {socket.gethostname()}: {error}")


def _run_in(folder: Path, commit: Commit, order: Order) -> Outcome:
    variables = environment(
        # The experiment has this machine to itself, in a folder that no other reaches. As a
        # parameter it would come back with the experiment.
        ENGINE_KIND="local",
        GIT_TERMINAL_PROMPT="0",  # no one is there to answer
        DVC_SITE_CACHE_DIR=str(folder / "site"),  # or it would stay
    )
    clone = folder / "clone"
    call("git", "clone", "--quiet", "--no-checkout", commit.url, str(clone), env=variables)
    call("git", "checkout", "--quiet", "--detach", commit.sha, cwd=clone, env=variables)
    experiment = run_experiment(
        order.point, *OPTIONS, "--name", order.name, cwd=clone, env=variables
    )
    # By force: a machine may have died after it had pushed.
    call("dvc", "exp", "push", "--force", REMOTE, order.name, cwd=clone, env=variables)
    return experiment


def run_on_cluster(grid: Sequence[Point]) -> Iterator[tuple[Point, Outcome]]:
    """Run an experiment for each point of a grid, and give each as it is done.

    Afterwards they are in the Git remote and in this repository, their results in the DVC remote.

    Raises:
        InputError: if other machines could not get at what is needed, or there is no cluster.
    """
    import_ray()
    params = load_params()
    runner = Runner(shared_commit())
    sweep = uuid.uuid4().hex[:6]  # names must not be those of another sweep
    orders = [
        Order(f"sweep-{sweep}-{number}", point, f"the experiment {in_words(point)}")
        for number, point in enumerate(grid, 1)
    ]
    done = run_on_ray(runner, orders, address=params.engine.address, threads=params.threads)
    for order, outcome in done:
        yield order.point, _brought(outcome)


def _brought(outcome: Outcome) -> Outcome:
    if isinstance(outcome, InputError):
        return outcome
    try:
        # Metrics lie in Git: models of experiments that no one wants need not come.
        call("dvc", "exp", "pull", "--no-cache", REMOTE, outcome.name)
    except InputError as error:
        return error
    return outcome
