"""Stages without room where nobody looks: `python -m tests.attacks.no_room <clone>`.

`<clone>` holds a finished run, such as that of `dvc repro` with a tiny phantom. One place at a time
is full or cannot be written to: shared memory, the home folder with the caches of matplotlib, Keras
and joblib, and the folder in which DVC and the stages keep their locks. Each stage has to work, or
to say what it expected. Mounting takes root on Linux; nothing is mounted outside of the stage.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.pipeline import ORDER, ROOT

HOME = Path("home")
PLACES = {"shared memory": Path("/dev/shm"), "home": HOME, "locks": Path(".dvc/tmp")}
FULL = "mount -t tmpfs -o size=4k none {place} && dd if=/dev/zero of={place}/x bs=4k count=1"
CLOSED = "mount -t tmpfs -o ro none {place}"
CACHES = ("MPLCONFIGDIR", "XDG_CACHE_HOME", "KERAS_HOME", "JOBLIB_TEMP_FOLDER")


def attack(work: Path, stage: str, place: Path, how: str) -> str:
    """Run a stage with a place that is full or closed; return what it ended with."""
    variables = {name: value for name, value in os.environ.items() if name not in CACHES}
    variables |= {"HOME": str(work / HOME), "PYTHONPATH": str(ROOT), "DVC_STAGE": stage}
    mounted = f"({how.format(place=place)}) 2>/dev/null"
    command = f"{mounted} && exec {sys.executable} -m stages.{stage}"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", command],
        cwd=work, env=variables, text=True, capture_output=True, check=False,
    )  # fmt: skip
    printed = done.stdout + done.stderr
    if "Traceback" in printed or done.returncode not in (0, 1):
        return f"WRONG, status {done.returncode}: {printed[-1500:]}"
    last = printed.strip().splitlines()[-1]
    return "works" if not done.returncode else last


def main() -> None:
    """Attack each stage, and print a line for each place."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("clone", type=Path)
    parser.add_argument("--only", nargs="+", choices=ORDER, default=ORDER)
    chosen = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder) / "clone"
        # The code is that of this repository.
        code = shutil.ignore_patterns("tissue", "stages")
        shutil.copytree(chosen.clone, work, symlinks=True, ignore=code)
        (work / HOME).mkdir()
        for stage in chosen.only:
            for name, place in PLACES.items():
                for title, how in {"full": FULL, "closed": CLOSED}.items():
                    ended = attack(work, stage, place, how)
                    wrong += ended.startswith("WRONG")
                    print(f"{stage}, {name} {title}: {ended}", flush=True)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
