"""The processor that each stage ran on: `processors.txt` beside dvc.lock, which holds digests.

Processors of one architecture are given the same instructions, so that bytes do not depend on them
(`tissue.common.runtime`). Where they do, this file says on which they were made. It is in Git, and
no output and no dependency of a stage, so that it changes no digest.
"""

import platform
import re
from pathlib import Path

from tissue.common.files import write_text

FILE = "processors.txt"
CPU = Path("/proc/cpuinfo")  # of Linux
WIDEST = {"avx512f": "AVX-512", "avx2": "AVX2"}  # instructions that sums depend on


def this_processor() -> str:
    """Return what this one is, as in `x86_64, AMD EPYC, AVX-512`: first its architecture."""
    machine = platform.machine().lower()
    parts = ["x86_64" if machine == "amd64" else machine]
    described = CPU.read_text(encoding="utf-8", errors="replace") if CPU.is_file() else ""
    name = re.search(r"^model name\s*:\s*(.+)$", described, re.MULTILINE)
    parts.append(name[1] if name else platform.processor())
    flags = re.search(r"^flags\s*:\s*(.+)$", described, re.MULTILINE)
    known = [title for flag, title in WIDEST.items() if flags and flag in flags[1].split()]
    return ", ".join(filter(None, [*parts, *known[:1]]))


def architecture(processor: str) -> str:
    """Return the first part of what `this_processor` returns."""
    return processor.partition(",")[0]


def note_processor(stage: str) -> None:
    """Write into `processors.txt` that a stage has run here; its other lines stay as they are."""
    path = Path(FILE)
    noted = parse_processors(path.read_text(encoding="utf-8")) if path.is_file() else {}
    noted[stage] = this_processor()
    write_text("".join(f"{name}: {where}\n" for name, where in sorted(noted.items())), path)


def parse_processors(text: str) -> dict[str, str]:
    """Return the processor of each stage; lines of another form, as after a merge, are ignored."""
    pairs = (line.partition(": ") for line in text.splitlines())
    return {stage: where for stage, colon, where in pairs if colon}
