"""A week of use in minutes: `python -m benchmarks.week <clone> --runs 20`.

Three people work at once in clones of `<clone>`, a repository with a finished run, such as one of a
tiny phantom. They share one cache, one DVC remote and one Git server, all in a temporary folder. In
each of the runs one of them, drawn at random, tries random parameters with `dvc exp run`, while
another one at the same moment does one of these: take an experiment as the new state of the branch,
and push it to Git and to the remote; collect garbage in the cache; check out what another one has
pushed, with `python -m tissue pull`; or go back to an experiment of long ago.

Nobody repairs anything by hand: a command that fails is counted. At the end every commit that was
pushed is cloned anew with an empty cache, and its outputs have to come from the remote with the
digests that its dvc.lock holds. Prints a table. A run of the tiny phantom takes about 20 s.
"""

import argparse
import contextlib
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tissue.common.errors import InputError
from tissue.experiments.dvc import call, environment

PEOPLE = ("ada", "ben", "cleo")
# What is tried, with the values that are drawn from
CHOICES = {
    "tsne.perplexity": ["5", "8", "12", "15"],
    "advanced.evaluate.heat_maps": ["5", "20", "1000"],
    "advanced.audit.repeats": ["1", "2"],
    "evaluate.bootstrap": ["100", "150"],
    "scratch.epochs": ["2", "3", "4"],
    "lr": ["0.001", "1e-4", "0.01"],
}
ACTIONS = {"keep": 4, "gc": 2, "pull": 3, "back": 2}  # and how often


@dataclass
class Person:
    """Somebody's clone, the names of their experiments, and those of commits they pushed."""

    name: str
    home: Path
    experiments: list[str] = field(default_factory=list)
    pushed: list[str] = field(default_factory=list)

    def run(self, *command: str) -> str:
        """Run a command of Git or DVC in the clone."""
        return call(*command, cwd=self.home, env=environment(DVC_NO_ANALYTICS="1"))


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
        person.run("dvc", "checkout", "--quiet")
    people[0].run("dvc", "push", "--quiet")
    return people


def experiment(person: Person, number: int, rng: random.Random) -> None:
    """Run an experiment with two random parameters."""
    name = f"{person.name}-{number}"
    keys = rng.sample(sorted(CHOICES), 2)
    options = [word for key in keys for word in ("-S", f"{key}={rng.choice(CHOICES[key])}")]
    person.run("dvc", "exp", "run", "--quiet", "--name", name, *options)
    person.experiments.append(name)


def keep(person: Person, people: list[Person], rng: random.Random) -> None:
    """Commit the newest experiment, and push it."""
    if not person.experiments:
        return
    person.run("dvc", "exp", "apply", "--quiet", person.experiments[-1])
    person.run("git", "add", "--all")
    if person.run("git", "status", "--porcelain"):
        person.run("git", "commit", "--quiet", "--message", person.experiments[-1])
    person.run("dvc", "push", "--quiet")
    person.run("git", "push", "--quiet", "--force", "origin", person.name)
    person.pushed.append(person.run("git", "rev-parse", "HEAD").strip())


def gc(person: Person, people: list[Person], rng: random.Random) -> None:
    """Delete what no commit and no experiment of anybody uses: the cache is everybody's."""
    others = [str(one.home) for one in people if one is not person]
    person.run(
        "dvc", "gc", "--quiet", "--force", "--all-commits", "--all-experiments",
        "--projects", *others,
    )  # fmt: skip


def pull(person: Person, people: list[Person], rng: random.Random) -> None:
    """Look at what somebody pushed, and come back."""
    person.run("git", "fetch", "--quiet", "origin")
    if other := [commit for one in people if one is not person for commit in one.pushed]:
        person.run("git", "stash", "--quiet")
        person.run("git", "checkout", "--quiet", "--detach", rng.choice(other))
        call(sys.executable, "-m", "tissue", "pull", cwd=person.home)
        person.run("git", "checkout", "--quiet", person.name)
        person.run("dvc", "checkout", "--quiet", "--force")


def back(person: Person, people: list[Person], rng: random.Random) -> None:
    """Have the results of an earlier experiment again, and come back."""
    if person.experiments:
        person.run("dvc", "exp", "apply", "--quiet", rng.choice(person.experiments))
        person.run("git", "checkout", "--quiet", "--", ".")
        person.run("dvc", "checkout", "--quiet", "--force")


WORK = {"keep": keep, "gc": gc, "pull": pull, "back": back}


def spend(people: list[Person], runs: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Let people work; return what was done how often, and what failed."""
    rng, done, failed = random.Random(seed), Counter[str](), list[str]()

    def attempt(what: str, person: Person, *arguments: object) -> None:
        done[what] += 1
        try:
            {"experiment": experiment, **WORK}[what](person, *arguments)  # type: ignore[operator]
        except InputError as error:
            failed.append(f"{what} of {person.name}: {error}")
            print(failed[-1], flush=True)

    with ThreadPoolExecutor(2) as pool:
        for number in range(runs):
            one, other = rng.sample(people, 2)
            what = rng.choices(list(ACTIONS), list(ACTIONS.values()))[0]
            # Each thread draws from its own numbers.
            seeds = [random.Random(rng.random()) for _ in range(2)]
            both = [
                pool.submit(attempt, "experiment", one, number, seeds[0]),
                pool.submit(attempt, what, other, people, seeds[1]),
            ]
            for each in both:
                each.result()
    return done, failed


def lost(people: list[Person], folder: Path) -> list[str]:
    """Return the pushed commits whose outputs do not come from the remote into an empty cache."""
    missing = []
    for commit in dict.fromkeys(commit for person in people for commit in person.pushed):
        home = folder / "anew"
        call("git", "clone", "--quiet", str(folder / "server.git"), str(home))
        try:
            call("git", "checkout", "--quiet", commit, cwd=home)
            call("dvc", "remote", "add", "--local", "-d", "store", str(folder / "store"), cwd=home)
            call(sys.executable, "-m", "tissue", "pull", cwd=home)
        except InputError as error:
            missing.append(f"{commit[:8]}: {error}")
        shutil.rmtree(home)
    return missing


def unusable(people: list[Person]) -> list[str]:
    """Return the experiments whose outputs are not all in the shared cache."""
    broken = []
    for person in people:
        for name in person.experiments:
            try:
                person.run("dvc", "exp", "apply", "--quiet", name)
            except InputError as error:
                broken.append(f"{name}: {error}")
            person.run("git", "checkout", "--quiet", "--", ".")
    return broken


def main() -> None:
    """Spend a week and print what was done, and what failed or was lost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clone", type=Path)
    parser.add_argument("--runs", type=int, default=20, help="experiments (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="(%(default)s)")
    options = parser.parse_args()
    with contextlib.ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory()))
        people = settle(options.clone.absolute(), folder)
        begin = time.monotonic()
        done, failed = spend(people, options.runs, options.seed)
        minutes = (time.monotonic() - begin) / 60
        missing, broken = lost(people, folder), unusable(people)
        size = sum(path.stat().st_size for path in (folder / "cache").rglob("*") if path.is_file())
    print("| done | times | failed |\n|---|---:|---:|")
    for what, count in sorted(done.items()):
        print(f"| {what} | {count} | {sum(one.startswith(f'{what} ') for one in failed)} |")
    pushed = sum(len(set(person.pushed)) for person in people)
    print(f"| pushed commits pulled anew | {pushed} | {len(missing)} |")
    print(f"| experiments applied again | {done['experiment']} | {len(broken)} |")
    print(f"\n{minutes:.1f} minutes; the shared cache has {size / 1e6:.0f} MB")
    for problem in (*failed, *missing, *broken):
        print(problem)
    sys.exit(bool(failed or missing or broken))


if __name__ == "__main__":
    main()
