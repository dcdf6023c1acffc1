"""Experiments on a Ray cluster: each in a clean clone, from which it goes to the Git remote."""

import json
import re
import socket
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from configparser import ConfigParser
from functools import partial
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
# Pulls what the stages that run read, and not what only earlier ones did, such as the raw images.
OPTIONS = ("--pull", "--allow-missing")


class Commit(NamedTuple):
    """A commit, and the URL of a repository that it can be cloned from."""

    url: str
    sha: str


class Order(NamedTuple):
    """An experiment to run: its name, its parameters, and a description."""

    name: str
    point: Point
    about: str


def shared_commit() -> Commit:
    """Return the commit that is checked out, after checking that other machines can get it.

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
    # `dvc config` would include the settings of this machine.
    config = ConfigParser(interpolation=None)
    config.read(CONFIG)
    name = config.get("core", "remote", fallback="")
    url = config.get(f"'remote \"{name}\"'", "url", fallback=None)
    if not url:
        raise InputError(
            f"expected a default DVC remote, with its URL, in {CONFIG}, where clones find it. "
            f"Received: {f'{name} without a URL' if name else 'none'}. "
            f"Run `dvc remote add --default <name> <url>` and commit {CONFIG}: docs/sharing.md"
        )
    if not re.match(r"/|\w+:", url):
        raise InputError(
            f"expected a DVC remote that a clone in another folder reaches, in {CONFIG}. "
            f"Received: {name} with the relative path {url}. Set the absolute one."
        )
    return name


def _check_data(remote: str) -> None:
    options = ("--remote", remote, "--with-deps", "--json")
    states = json.loads(call("dvc", "status", "--cloud", *options, "evaluate"))
    absent = sorted(path for path, state in states.items() if state in ("new", "missing"))
    if absent:
        raise InputError(
            f"expected the data of this commit in the DVC remote {remote}. Received: "
            f"{len(absent)} files and folders that are not there, such as {absent[0]}. Run `dvc "
            "push`."
        )


def run_in_clone(order: Order, *, commit: Commit) -> Outcome:
    """Run an experiment in a new clone of a commit and push it, or return the error."""
    try:
        # Processes that DVC leaves behind may still write there.
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            return _run_in(Path(folder), order, commit)
    except (InputError, OSError) as error:
        return InputError(f"on {socket.gethostname()} (docs/scale.md lists what it needs): {error}")


def _run_in(folder: Path, order: Order, commit: Commit) -> Outcome:
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
    options = (*OPTIONS, "--name", order.name)
    experiment = run_experiment(order.point, *options, cwd=clone, env=variables)
    # By force: a machine may have died after it had pushed.
    call("dvc", "exp", "push", "--force", REMOTE, order.name, cwd=clone, env=variables)
    return experiment


def run_on_cluster(grid: Sequence[Point]) -> Iterator[tuple[Point, Outcome]]:
    """Run one experiment per point of a grid, and yield each when it is done.

    Afterwards they are in the Git remote and in this repository, their results in the DVC remote.

    Raises:
        InputError: if other machines cannot get what they need, or there is no cluster.
    """
    import_ray()
    params = load_params()
    task = partial(run_in_clone, commit=shared_commit())
    sweep = uuid.uuid4().hex[:6]  # other sweeps have other names
    orders = [
        Order(f"sweep-{sweep}-{number}", point, f"the experiment {describe_point(point)}")
        for number, point in enumerate(grid, 1)
    ]
    done = run_on_ray(task, orders, address=params.engine.address, threads=params.threads)
    for order, outcome in done:
        try:
            if not isinstance(outcome, InputError):
                # Metrics are in Git; models of experiments that no one wants are left out.
                call("dvc", "exp", "pull", "--no-cache", REMOTE, outcome.name)
            yield order.point, outcome
        except InputError as error:
            yield order.point, error
