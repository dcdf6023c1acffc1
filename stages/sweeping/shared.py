"""What other machines need to run experiments: a commit, its data, and the way to both."""

import json
import re
from configparser import ConfigParser
from pathlib import Path
from typing import NamedTuple

from stages.cli.commands import call
from stages.cli.running import InputError

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
