"""Stages on processors that seem to be others: `python -m tests.attacks.processors <clone>`.

`<clone>` holds a finished run, such as that of `dvc repro` with a tiny phantom. Stages run anew in
a copy of it, with variables that ask libraries for other instructions and for other numbers of
threads, and on one core. All outputs have to be the bytes of that run each time.

What no variable hides from a library, this cannot imitate: onnxruntime looks at the processor
itself.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.attacks.full_disk import digests
from tests.pipeline import ROOT

STAGES = ("split", "embed", "train_pretrained", "evaluate", "tsne")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
WIDEST = {
    "OPENBLAS_CORETYPE": "SkylakeX",
    "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16",
    "NPY_DISABLE_CPU_FEATURES": "",
    "TF_ENABLE_ONEDNN_OPTS": "0",
}
NARROW = {  # of libraries that this project leaves as they are
    "OPENCV_CPU_DISABLE": "AVX512_COMMON,AVX512_SKX,AVX512_CNL,AVX512_CLX,AVX512_ICL",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ,-AVX512CD",
}
VARIANTS: dict[str, tuple[list[str], dict[str, str]]] = {
    "a user asks for AVX-512 and 4 threads": ([], WIDEST | dict.fromkeys(THREADS, "4")),
    "OpenCV and the C library without AVX-512, one core, 1 thread asked for": (
        ["taskset", "--cpu-list", "0"],
        NARROW | dict.fromkeys(THREADS, "1"),
    ),
}


def run_stages(work: Path, stages: list[str], start: list[str], variables: dict[str, str]) -> None:
    """Run stages by hand in a folder."""
    for stage in stages:
        command = [*start, sys.executable, "-m", f"stages.{stage}"]
        environment = os.environ | variables | {"PYTHONPATH": str(ROOT)}
        subprocess.run(command, cwd=work, env=environment, check=True, capture_output=True)


def main() -> None:
    """Print for each variant how many outputs are the same bytes, and name the others."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("clone", type=Path)
    parser.add_argument("--only", nargs="+", choices=STAGES, default=list(STAGES))
    chosen = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for name in ("data", "metrics", "plots"):
            shutil.copytree(chosen.clone / name, work / name)
        for name in ("params.yaml", "genes.txt"):
            shutil.copy2(chosen.clone / name, work)
        first = digests(work)
        for name, (start, variables) in VARIANTS.items():
            run_stages(work, chosen.only, start, variables)
            now = digests(work)
            other = sorted(path for path in {*first, *now} if first.get(path) != now.get(path))
            wrong += len(other)
            print(f"{name}: {len(first) - len(other)} the same, others: {other}", flush=True)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
