"""A stage that is killed when it is about to write, as by a power failure."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

from tests.pipeline import environment

# How often each stage writes in one process: what takes its place, and the lines of a log.
WRITES = {
    "fetch": 1, "split": 12, "embed": 12, "train_scratch": 8, "train_pretrained": 8,
    "evaluate": 24, "tsne": 6, "audit": 3, "report": 1,
}  # fmt: skip
# Python runs this before anything else: a stage stops for ever when it is about to write.
STOP = """
import os, sys, time

left, sign = int(os.environ["STOP_AT"]), os.environ["STOP_SIGN"]

def watch(event, args):
    global left
    renamed = event == "os.rename" and "/." in f"/{args[0]}"
    logged = event == "open" and str(args[0]).endswith(".tsv") and "a" in str(args[1])
    if renamed or logged:
        left -= 1
        if not left:
            os.close(os.open(sign, os.O_CREAT))
            time.sleep(3600)

if any("stages." in word or "multiprocessing" in word for word in sys.orig_argv):
    sys.addaudithook(watch)
"""


def start(clone: Path, *command: str, **variables: str) -> subprocess.Popen[str]:
    """Start a command in a process group of its own."""
    return subprocess.Popen(
        command,
        cwd=clone,
        env=environment(PYTHONUNBUFFERED="1", **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def kill_at_a_write(stage: str, cwd: Path, scratch: Path, *command: str) -> None:
    """Kill a command that runs a stage, at one of the writes of it, which differs by run."""
    scratch.mkdir()
    sign, at = scratch / "sign", random.Random().randint(1, WRITES[stage])
    (scratch / "sitecustomize.py").write_text(STOP)
    variables = {"PYTHONPATH": str(scratch), "STOP_AT": str(at), "STOP_SIGN": str(sign)}
    process = start(cwd, *command, **variables)
    while not sign.exists() and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    said, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL, f"was done before write {at}: {said}"
