"""A week of use in minutes: `python -m benchmarks.week <clone> --runs 20`.

Three people work at once in clones of `<clone>`, a repository with a finished run, such as one of a
tiny phantom. They share one cache, one DVC remote and one Git server, all in a temporary folder. In
each of the runs one of them, drawn at random, tries random parameters with `dvc exp run`, while
another one at the same moment does one of these: take an experiment as the new state of the branch,
and push it to Git and to the remote; collect garbage in the cache; check out what another one has
pushed, with `python -m tissue pull`; or go back to an experiment of long ago.

Nobody repairs anything by hand: a command that fails is counted. One that DVC refuses because
another one is at work is given again, as it was, some seconds later, and counted by itself; so is
`dvc gc` where it has not ended after 15 minutes, when it is killed. At the end every digest in the
dvc.lock of every commit that was pushed is looked up in the remote, and that of every experiment in
the shared cache, and the content found there is digested. Of both, some are also had again by the
commands of a user: pulled into an empty cache, and applied. Prints a table.

With `--stand-ins`, the stages of `<clone>` copy what it holds already, so that hundreds of runs
take minutes, nearly all of it the time of Git and DVC; the stages themselves take about 20 s a run.
"""

import argparse
import contextlib
import random
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.week_clones import SAMPLE, Person, all_lost, apply_again, pull_anew, settle
from tissue.common.errors import InputError
from tissue.experiments.dvc import LATE, call

# What is tried, with the range of each; the learning rate and the penalty by their exponents
INTEGERS = {
    "tsne.perplexity": (5, 20),
    "advanced.evaluate.heat_maps": (5, 20),
    "advanced.audit.repeats": (1, 2),
    "evaluate.bootstrap": (100, 150),
    "scratch.epochs": (2, 4),
}
EXPONENTS = {"lr": (-4.0, -2.0), "advanced.pretrained.penalty": (-3.0, 0.0)}
ACTIONS = {"keep": 4, "gc": 2, "pull": 3, "back": 2}  # and how often
# `gc` and commands in the clones that it spares refuse to work at the same time.
BUSY, TRIES, WAIT = "Unable to acquire lock", 100, 3.0  # seconds
GC_MINUTES = 15  # which is then killed: it may hang, see benchmarks/results/week.md
AGAIN = {BUSY: "again after waiting for another one", LATE: "again after it was killed"}


def experiment(person: Person, number: int, rng: random.Random) -> None:
    """Run an experiment with two random parameters."""
    name = f"{person.name}-{number}"
    options = list[str]()
    for key in rng.sample([*INTEGERS, *EXPONENTS], 2):
        if key in INTEGERS:
            value = f"{rng.randint(*INTEGERS[key])}"
        else:
            value = f"{10 ** rng.uniform(*EXPONENTS[key]):.5f}"
        options += ["-S", f"{key}={value}"]
    # It may be there already: DVC is refused a lock also after it has kept the experiment.
    again = ["--force"] if name in person.run("dvc", "exp", "list", "--name-only").split() else []
    person.run("dvc", "exp", "run", "--name", name, *again, *options)
    person.experiments.append(name)


def keep(person: Person, people: list[Person], rng: random.Random) -> None:
    """Commit the newest experiment, and push it."""
    if not person.experiments:
        return
    person.run("dvc", "exp", "apply", person.experiments[-1])
    person.run("git", "add", "--all")
    if person.run("git", "status", "--porcelain"):
        person.run("git", "commit", "--quiet", "--message", person.experiments[-1])
    person.run("dvc", "push")
    person.run("git", "push", "--quiet", "--force", "origin", person.name)
    person.pushed.append(person.run("git", "rev-parse", "HEAD").strip())


def gc(person: Person, people: list[Person], rng: random.Random) -> None:
    """Delete what no commit and no experiment of anybody uses: the cache is everybody's."""
    others = [str(one.home) for one in people if one is not person]
    person.run(
        "dvc", "gc", "--force", "--all-commits", "--all-experiments",
        "--projects", *others, seconds=60 * GC_MINUTES,
    )  # fmt: skip


def pull(person: Person, people: list[Person], rng: random.Random) -> None:
    """Look at what somebody pushed, and come back."""
    person.run("git", "fetch", "--quiet", "origin")
    if other := [commit for one in people if one is not person for commit in one.pushed]:
        person.run("git", "stash", "--quiet")
        person.run("git", "checkout", "--quiet", "--detach", rng.choice(other))
        call(sys.executable, "-m", "tissue", "pull", cwd=person.home)
        person.run("git", "checkout", "--quiet", person.name)
        person.run("dvc", "checkout", "--force")


def back(person: Person, people: list[Person], rng: random.Random) -> None:
    """Have the results of an earlier experiment again, and come back."""
    if person.experiments:
        person.run("dvc", "exp", "apply", rng.choice(person.experiments))
        person.run("git", "checkout", "--quiet", "--", ".")
        person.run("dvc", "checkout", "--force")


WORK = {"keep": keep, "gc": gc, "pull": pull, "back": back}


def spend(
    people: list[Person], *, runs: int, minutes: float, seed: int
) -> tuple[Counter[str], list[str]]:
    """Let people work, begin nothing after so many minutes; return what was done, what failed."""
    end = time.monotonic() + 60 * minutes
    rng, done, failed = random.Random(seed), Counter[str](), list[str]()

    def attempt(what: str, person: Person, with_what: object, drawn: float) -> None:
        done[what] += 1
        work: Any = {"experiment": experiment, **WORK}[what]
        for tries in range(TRIES):
            try:
                work(person, with_what, random.Random(drawn))  # again the same
                return
            except InputError as error:
                why = next((AGAIN[text] for text in AGAIN if text in str(error)), None)
                if why is None or tries == TRIES - 1:
                    failed.append(f"{what} of {person.name}: {error}")
                    print(failed[-1], flush=True)
                    return
                done[f"{what}, {why}"] += 1
                time.sleep(WAIT)

    with ThreadPoolExecutor(2) as pool:
        for number in range(runs):
            if time.monotonic() > end:
                break
            one, other = rng.sample(people, 2)
            what = rng.choices(list(ACTIONS), list(ACTIONS.values()))[0]
            seeds = [rng.random() for _ in range(2)]  # each thread draws from its own numbers
            both = [
                pool.submit(attempt, "experiment", one, number, seeds[0]),
                pool.submit(attempt, what, other, people, seeds[1]),
            ]
            for each in both:
                each.result()
    return done, failed


def main() -> None:
    """Spend a week and print what was done, and what failed or was lost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clone", type=Path)
    parser.add_argument("--runs", type=int, default=20, help="experiments (%(default)s)")
    parser.add_argument("--minutes", type=float, default=600, help="at most (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="(%(default)s)")
    parser.add_argument("--stand-ins", action="store_true", help="stages that copy results")
    options = parser.parse_args()
    clone, rng = options.clone.absolute(), random.Random(options.seed)
    with contextlib.ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory()))
        if options.stand_ins:
            from tests.standins import quick_clone

            clone = quick_clone(clone, folder / "project")
        people = settle(clone, folder)
        begin = time.monotonic()
        limits = {"runs": options.runs, "minutes": options.minutes}
        done, failed = spend(people, **limits, seed=options.seed)
        minutes = (time.monotonic() - begin) / 60
        of_commits, of_experiments = all_lost(people, folder)
        not_pulled, not_applied = pull_anew(people, folder, rng), apply_again(people, rng)
        size = sum(path.stat().st_size for path in (folder / "cache").rglob("*") if path.is_file())
    pushed = sum(len(set(person.pushed)) for person in people)
    rows = [
        *((what, count, [one for one in failed if one.startswith(f"{what} of")])
          for what, count in sorted(done.items())),
        ("pushed commits, all digests looked up in the remote", pushed, of_commits),
        ("of these pulled into an empty cache", min(SAMPLE, pushed), not_pulled),
        ("experiments, all digests looked up in the cache", done["experiment"], of_experiments),
        ("of these applied again", min(SAMPLE, done["experiment"]), not_applied),
    ]  # fmt: skip
    print("| done | times | failed or lost |\n|---|---:|---:|")
    for what, count, problems in rows:
        print(f"| {what} | {count} | {len(problems)} |")
    print(f"\n{minutes:.1f} minutes; the shared cache has {size / 1e6:.0f} MB")
    problems = [problem for *_, each in rows for problem in each]
    print("\n".join(problems))
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
