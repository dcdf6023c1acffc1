"""Experiments on a Ray cluster: each in a clean clone, from which it goes to the Git remote."""

import json
import re
import socket
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tissue.chunks.cluster import import_ray, run_on_ray
from tissue.common.errors import InputError
from tissue.config.loading import load_params
from tissue.experiments.dvc import call, environment
from tissue.experiments.grid import Point, describe_point
from tissue.experiments.runs import Outcome, run_experiment

REMOTE = "origin"  # that of Git
CONFIG = ".dvc/config"


class Commit(NamedTuple):
    """A commit, and the URL of the repository that it can be cloned from."""

    url: str
    sha: str


def shared_commit() -> Commit:
    """Return the commit that is checked out, once it is known that other machines can have it.

    Raises:
        InputError: if something is not committed or not pushed, by Git or DVC.
    """
    changed = call("git", "status", "--porcelain").splitlines()
    if changed:
        raise InputError(
            "expected a clean working tree, as the other machines see what is committed. "
            f"Received: {len(changed)} changes, such as {changed[0]!r}. Commit or stash them."
        )
    if REMOTE not in call("git", "remote").split():
        raise InputError(
            f"expected the Git remote {REMOTE}, which the other machines clone. Received: none of "
            f"that name. Add one: `git remote add {REMOTE} <url>`."
        )
    call("git", "fetch", "--quiet", REMOTE)
    if not call("git", "branch", "--remotes", "--contains", "HEAD", "--list", f"{REMOTE}/*"):
        raise InputError(
            f"expected a commit that is in the Git remote {REMOTE}. Received: one that was not "
            "pushed. Run `git push`."
        )
    _check_data(_default_remote())
    url = call("git", "remote", "get-url", REMOTE).strip()
    # A path may be relative to this folder.
    url = str(Path(url).resolve()) if Path(url).exists() else url
    return Commit(url, call("git", "rev-parse", "HEAD").strip())


def _default_remote() -> str:
    # `dvc config` would add what only this machine says.
    config = ConfigParser(interpolation=None)
    config.read(CONFIG)
    name = config.get("core", "remote", fallback=None)
    url = config.get(f"'remote \"{name}\"'", "url", fallback=None)
    if not url:
        raise InputError(
            f"expected a default DVC remote, with its URL, in {CONFIG}, where clones find it. "
            f"Received: {'none' if name is None else f'{name} without a URL'}. "
            f"Run `dvc remote add --default <name> <url>` and commit {CONFIG}: docs/sharing.md"
        )
    if not re.match(r"/|\w+:", url):
        raise InputError(
            f"expected a DVC remote that a clone in another folder reaches, in {CONFIG}. "
            f"Received: {name} with the relative path {url}. Set the absolute one."
        )
    return str(name)


def _check_data(remote: str) -> None:
    printed = call(
        "dvc", "status", "--cloud", "--remote", remote, "--with-deps", "--json", "evaluate"
    )
    absent = sorted(path for path, is_ in json.loads(printed).items() if is_ in ("new", "missing"))
    if absent:
        raise InputError(
            f"expected the data of this commit in the DVC remote {remote}. Received: "
            f"{len(absent)} files and folders that are not there, such as {absent[0]}. Run `dvc "
            "push`."
        )


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
        Order(f"sweep-{sweep}-{number}", point, f"the experiment {describe_point(point)}")
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
