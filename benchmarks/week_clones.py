"""Clones with one cache, DVC remote and Git server, and whether anything of theirs is lost."""

import json
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from hashlib import md5
from pathlib import Path

from ruamel.yaml import YAML

from tissue.common.errors import InputError
from tissue.experiments.dvc import call, environment

PEOPLE = ("ada", "ben", "cleo")
SAMPLE = 15  # commits and experiments that are had again by commands, which take seconds each


@dataclass
class Person:
    """Somebody's clone, the names of their experiments, and those of commits they pushed."""

    name: str
    home: Path
    experiments: list[str] = field(default_factory=list)
    pushed: list[str] = field(default_factory=list)

    def run(self, *command: str, seconds: float | None = None) -> str:
        """Run a command of Git or DVC in the clone; it is killed after so many seconds."""
        variables = environment(DVC_NO_ANALYTICS="1")
        return call(*command, cwd=self.home, env=variables, seconds=seconds)


def settle(project: Path, folder: Path) -> list[Person]:
    """Make a Git server, a remote, a cache and the clones in a folder."""
    call("git", "clone", "--quiet", "--bare", str(project), str(folder / "server.git"))
    people = []
    for name in PEOPLE:
        home = folder / name
        call("git", "clone", "--quiet", str(folder / "server.git"), str(home))
        person = Person(name, home)
        for key, value in {"user.name": name, "user.email": f"{name}@example.org"}.items():
            person.run("git", "config", key, value)
        person.run("dvc", "config", "--local", "cache.dir", str(folder / "cache"))
        person.run("dvc", "config", "--local", "cache.type", "hardlink,copy")
        person.run("dvc", "remote", "add", "--local", "--default", "store", str(folder / "store"))
        person.run("git", "checkout", "--quiet", "-b", name)
        people.append(person)
    shutil.copytree(project / ".dvc/cache", folder / "cache")
    for person in people:
        person.run("dvc", "checkout")
    people[0].run("dvc", "push")
    return people


def lost(home: Path, revision: str, store: Path) -> list[str]:
    """Return what dvc.lock at a revision names, and neither Git nor a store has as it was."""
    wanted = dict[str, str]()
    for stage in YAML(typ="safe").load(_show(home, revision, "dvc.lock"))["stages"].values():
        wanted |= {out["path"]: out["md5"] for out in stage["outs"]}
    missing = list[str]()
    while wanted:
        name, digest = wanted.popitem()
        path = store / "files/md5" / digest[:2] / digest[2:]
        content = path.read_bytes() if path.is_file() else _show(home, revision, name)
        if content.startswith(b"tree "):  # a folder in Git
            continue
        if md5(content).hexdigest() != digest.removesuffix(".dir"):
            missing.append(f"{revision}: {name}")
        elif digest.endswith(".dir"):
            inside = json.loads(content)
            wanted |= {f"{name}/{one['relpath']}": one["md5"] for one in inside}
    return missing


def _show(home: Path, revision: str, name: str) -> bytes:
    """Return a file of a revision, empty if it is not in Git."""
    command = ("git", "show", f"{revision}:{name}")
    return subprocess.run(command, cwd=home, capture_output=True, check=False).stdout


def all_lost(people: list[Person], folder: Path) -> tuple[list[str], list[str]]:
    """Return what is lost of pushed commits in the remote, and of experiments in the cache."""
    of_commits, of_experiments = list[str](), list[str]()
    for person in people:
        for commit in dict.fromkeys(person.pushed):
            of_commits += lost(folder / "server.git", commit, folder / "store")
        refs = person.run("git", "for-each-ref", "--format=%(refname)", "refs/exps").split()
        named = {ref.rpartition("/")[2]: ref for ref in refs}
        for name in person.experiments:
            if name in named:
                of_experiments += lost(person.home, named[name], folder / "cache")
            else:
                of_experiments.append(f"{name}: no such experiment")
    return of_commits, of_experiments


def pull_anew(people: list[Person], folder: Path, rng: random.Random) -> list[str]:
    """Pull some of the pushed commits, each into an empty cache; return what failed."""
    failed = []
    commits = sorted({commit for person in people for commit in person.pushed})
    for commit in rng.sample(commits, min(SAMPLE, len(commits))):
        home = folder / "anew"
        call("git", "clone", "--quiet", str(folder / "server.git"), str(home))
        try:
            call("git", "checkout", "--quiet", commit, cwd=home)
            call("dvc", "remote", "add", "--local", "-d", "store", str(folder / "store"), cwd=home)
            call(sys.executable, "-m", "tissue", "pull", cwd=home)
        except InputError as error:
            failed.append(f"{commit[:8]}: {error}")
        shutil.rmtree(home)
    return failed


def apply_again(people: list[Person], rng: random.Random) -> list[str]:
    """Apply some of the experiments; return what failed."""
    failed = []
    made = [(person, name) for person in people for name in person.experiments]
    for person, name in rng.sample(made, min(SAMPLE, len(made))):
        try:
            person.run("dvc", "exp", "apply", name)
        except InputError as error:
            failed.append(f"{name}: {error}")
        person.run("git", "checkout", "--quiet", "--", ".")
    return failed
