"""Stages ended at random moments, two at once: `python -m tests.attacks.kill <clone>`.

`<clone>` holds a finished run, such as that of `dvc repro` with a tiny phantom. At each of the
random moments, DVC has forgotten a stage and runs it again, in two processes that were started at
once. All processes of both are ended by SIGKILL, or DVC alone is by SIGTERM while its stage works
on, as when a terminal is closed or a scheduler's time is over. After each, `dvc repro` has to end
with the bytes, and the dvc.lock, of the finished run, and nothing may be left beside them.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.conftest import run
from tests.killing import start
from tests.pipeline import ORDER
from tests.stages.test_killed import assert_as_before, clone_of, forget

MOMENTS = 20


def duration(clone: Path, stage: str) -> float:
    """Return the seconds that DVC takes to run a stage."""
    begin = time.monotonic()
    run("dvc", "repro", "--force", "--no-run-cache", "--single-item", stage, cwd=clone)
    return time.monotonic() - begin


def wait_for_stages(clone: Path) -> None:
    """Wait until no stage holds its lock: one that DVC has left works to its end."""
    while any((clone / ".dvc/tmp").glob("*.pid")):
        alive = [pid for pid in (clone / ".dvc/tmp").glob("*.pid") if _is_alive(pid)]
        if not alive:
            return
        time.sleep(0.2)


def _is_alive(note: Path) -> bool:
    try:
        return Path("/proc", note.read_text()).exists()
    except FileNotFoundError:
        return False


def attack(tiny: Path, stage: str, moment: float, *, kill: bool) -> None:
    """End two runs of a stage after so many seconds.

    Raises:
        AssertionError: if anything is lost.
    """
    with tempfile.TemporaryDirectory() as folder:
        clone = clone_of(tiny, Path(folder))
        forget(clone, stage)
        runs = [start(clone, "dvc", "repro", "--single-item", stage) for _ in range(2)]
        time.sleep(moment)
        for process in runs:
            if process.poll() is None:
                if kill:
                    os.killpg(process.pid, signal.SIGKILL)
                else:
                    process.send_signal(signal.SIGTERM)
        for process in runs:
            process.communicate()
        wait_for_stages(clone)
        run("dvc", "repro", cwd=clone)
        assert_as_before(clone, tiny)
        # DVC keeps its own leftovers below .dvc; ours are removed by the next run.
        shutil.rmtree(clone)


def main() -> None:
    """End stages in turn at random moments, and print a line for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("clone", type=Path)
    parser.add_argument("--moments", type=int, default=MOMENTS)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    rng, wrong = random.Random(chosen.seed), 0
    order = [*ORDER] * (chosen.moments // len(ORDER) + 1)
    with tempfile.TemporaryDirectory() as folder:
        timed = clone_of(chosen.clone.absolute(), Path(folder))
        seconds = {stage: duration(timed, stage) for stage in ORDER[: chosen.moments]}
    for number, stage in enumerate(order[: chosen.moments]):
        moment, kill = rng.uniform(0.5, seconds[stage]), number % 2 == 0
        how = "SIGKILL" if kill else "SIGTERM"
        try:
            attack(chosen.clone.absolute(), stage, moment, kill=kill)
            outcome = "right"
        except AssertionError as error:
            wrong += 1
            outcome = str(error)[-1500:]
        print(f"{stage} {how} after {moment:.1f} of {seconds[stage]:.1f} s: {outcome}", flush=True)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
