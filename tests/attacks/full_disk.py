"""Each stage and `predict` on a disk that fills up: `python -m tests.attacks.full_disk <clone>`.

`<clone>` holds a finished run, such as that of `dvc repro` with a tiny phantom. For each stage its
inputs and outputs are copied to a small file system in memory (tmpfs; mounting it takes root on
Linux), which is left with a little room, at ten sizes up to what the stage needs. The stage has to
work, or to say

    <stage>: expected space for what it writes. Received: ...

and the outputs of before are still whole. With `--temporary`, the folder of temporary files is the
one that is full.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.pipeline import ROOT
from tissue.common.files import file_digest

STAGES = (
    "fetch", "split", "embed", "train_scratch", "train_pretrained", "evaluate", "tsne", "audit",
    "report",
)  # fmt: skip
SIZES = 10
SENTENCE = "expected space for what it writes"


@contextmanager
def small_disk(size: int) -> Iterator[Path]:
    """Yield a file system of `size` bytes."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


def used(folder: Path) -> int:
    """Return the bytes of a folder, in blocks of 4 kB."""
    return sum(-(-path.stat().st_size // 4096) * 4096 + 4096 for path in folder.rglob("*"))


def digests(folder: Path) -> dict[str, str]:
    """Return the digests of files that are no leftovers."""
    return {
        str(path.relative_to(folder)): file_digest(path)
        for name in ("data", "metrics", "plots")
        for path in (folder / name).rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.parts)
    }


def attack(clone: Path, stage: str, room: int, *, temporary: bool) -> str:
    """Run a stage with so many bytes of room; return what happened, empty if that is right."""
    with small_disk(max(room, 4096) if temporary else used(clone) + room) as disk:
        work = disk
        if temporary:
            work = Path(tempfile.mkdtemp())
        for name in ("data", "metrics", "plots"):
            shutil.copytree(clone / name, work / name)
        for name in ("params.yaml", "genes.txt", "dvc.lock", "dvc.yaml"):
            shutil.copy2(clone / name, work)
        before = digests(work)
        variables = os.environ | {"PYTHONPATH": str(ROOT)}
        if temporary:
            variables["TMPDIR"] = str(disk)
        command = [sys.executable, "-m", f"stages.{stage}"]
        done = subprocess.run(
            command, cwd=work, env=variables, text=True, capture_output=True, check=False
        )
        printed = done.stdout + done.stderr
        after = digests(work)
        lost = [name for name in before if name not in after]
        if temporary:
            shutil.rmtree(work)
    if lost:
        return f"lost {', '.join(lost)}"
    if done.returncode == 0 or (done.returncode == 1 and SENTENCE in printed):
        return "" if "Traceback" not in printed else f"a traceback\n{printed}"
    return f"status {done.returncode}\n{printed[-2000:]}"


def main() -> None:
    """Attack each stage, and print a line for each size."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("clone", type=Path)
    parser.add_argument("--only", nargs="+", choices=STAGES, default=STAGES)
    parser.add_argument("--sizes", type=int, default=SIZES)
    parser.add_argument("--temporary", action="store_true", help="TMPDIR is full")
    chosen = parser.parse_args()
    failed = 0
    for stage in chosen.only:
        most = used(chosen.clone / "data")
        for number in range(chosen.sizes):
            room = most * number**2 // (chosen.sizes - 1 or 1) ** 2
            wrong = attack(chosen.clone, stage, room, temporary=chosen.temporary)
            failed += bool(wrong)
            print(f"{stage} {room >> 10} kB: {wrong or 'right'}", flush=True)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
