"""Each stage on damaged inputs, started by hand: `python -m tests.attacks.damaged_files <clone>`.

`<clone>` holds a finished run, such as that of `dvc repro` with a tiny phantom. Each file that a
stage reads is damaged in several ways, one at a time. The stage has to end with a sentence, as in

    embed: expected ... Received: ...

never with a traceback, and not as if nothing were wrong. With `--without-lock` there is no
dvc.lock, whose digests show every damage: then only what a reader can see is expected to be
noticed, and what is not is counted. For each stage and way, the outcomes are printed as a table.
"""

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.pipeline import ORDER, outputs
from tissue.config.command import run_command

WAYS = ("missing", "empty", "truncated", "random", "other", "rows", "ids")


def without_rows(content: bytes, suffix: str) -> bytes:
    """Return a table, an array or an object without its last two rows or its first key."""
    if suffix == ".csv":
        lines = content.splitlines(keepends=True)
        return b"".join(lines[: max(1, len(lines) - 2)])
    if suffix == ".npy":
        out = io.BytesIO()
        np.save(out, np.load(io.BytesIO(content), allow_pickle=False)[:-2], allow_pickle=False)
        return out.getvalue()
    if suffix == ".json":
        value = json.loads(content)
        value = value[:-1] if isinstance(value, list) else dict(list(value.items())[1:])
        return json.dumps(value).encode()
    return content[:-100]


def other_ids(content: bytes, suffix: str) -> bytes:
    """Return a table whose first column is renamed, or an object with other keys."""
    if suffix == ".csv":
        table = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)
        if len(table):
            table.iloc[:, 0] = "x" + table.iloc[:, 0]
        return table.to_csv(index=False).encode()
    if suffix == ".json":
        value = json.loads(content)
        renamed = [f"x{name}" for name in value]
        return json.dumps(renamed if isinstance(value, list) else dict.fromkeys(renamed)).encode()
    return content[::-1]


def damage(path: Path, way: str, others: list[Path]) -> bytes | None:
    """Return the damaged content of a file, None for no file."""
    content = path.read_bytes()
    if way == "missing":
        return None
    if way == "empty":
        return b""
    if way == "truncated":
        return content[: len(content) // 2]
    if way == "random":
        return random.Random(path.name).randbytes(len(content))
    if way == "rows":
        return without_rows(content, path.suffix)
    if way == "ids":
        return other_ids(content, path.suffix)
    same = [one for one in others if one != path and one.suffix == path.suffix] or others
    return next((one.read_bytes() for one in same if one != path), b"other")


def inputs(stage: str, root: Path) -> list[Path]:
    """Return the files that a stage opens, and that other stages wrote, by a run of it."""
    outs = [root / path for path in outputs(stage)]
    opened: set[Path] = set()
    watched.append(opened)
    outcome, said = attempt(stage)
    watched.remove(opened)
    if stage == "split":  # other processes open the zip files
        opened.update((root / "data/raw").iterdir())
    assert outcome == "silent", f"the clone is damaged already: {said}"
    folders = [root / name for name in ("data", "metrics", "plots")]
    return sorted(
        path
        for path in opened
        if path.is_file()
        and any(path.is_relative_to(folder) for folder in folders)
        and not any(path.is_relative_to(out) for out in outs)
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
    )


watched: list[set[Path]] = []  # to which opened files are added


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """Note each file that is opened."""
    if event == "open" and watched and isinstance(arguments[0], str):
        watched[0].add(Path(arguments[0]).absolute())


def attempt(stage: str) -> tuple[str, str]:
    """Run a stage in this folder; return `sentence`, `traceback` or `silent`, and what it said."""
    sys.argv = [f"stages.{stage}"]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            module = import_module(f"stages.{stage}")
            check = getattr(module, "check", None)
            run_command(module.main, name=stage, doc=module.__doc__, check=check)
        except SystemExit as end:
            text = str(end.code)
            plain = text.startswith(f"{stage}: ") and "Received" in text
            return "sentence" if plain else "traceback", text
        except BaseException:  # noqa: BLE001  what it may not do
            return "traceback", traceback.format_exc()
    return "silent", printed.getvalue()[-200:]


def attack(clone: Path, stage: str, *, lock: bool) -> list[dict[str, Any]]:
    """Damage each input of a stage in each way; return a row for each."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder).resolve() / "clone"
        shutil.copytree(clone, work, symlinks=True)
        if not lock:
            (work / "dvc.lock").unlink()
        os.chdir(work)
        files = inputs(stage, work)
        for path in files:
            kept = path.read_bytes()
            for way in WAYS:
                damaged = damage(path, way, files)
                if damaged == kept:
                    continue
                if damaged is None:
                    path.unlink()
                else:
                    path.write_bytes(damaged)
                outcome, said = attempt(stage)
                path.write_bytes(kept)
                name = path.relative_to(work).as_posix()
                rows.append({"stage": stage, "file": name, "way": way, "outcome": outcome})
                if outcome != "sentence":
                    print(f"{stage} {name} {way}: {outcome}: {said.strip()[-700:]}", flush=True)
        os.chdir(clone)
    return rows


def main() -> None:
    """Attack each stage; the exit status is 1 after a traceback, or silence against a lock."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("clone", type=Path)
    parser.add_argument("--only", nargs="+", choices=ORDER[1:], default=ORDER[1:])
    parser.add_argument("--without-lock", action="store_true", help="as if there were no dvc.lock")
    parser.add_argument("--output", type=Path, help="CSV of all outcomes")
    chosen = parser.parse_args()
    sys.addaudithook(watch)
    os.environ.pop("DVC_STAGE", None)  # this is a run by hand, also below `dvc repro`
    clone = chosen.clone.absolute()
    rows = [
        row for stage in chosen.only for row in attack(clone, stage, lock=not chosen.without_lock)
    ]
    table = pd.DataFrame(rows)
    if chosen.output:
        table.to_csv(chosen.output, index=False)
    print(pd.crosstab(table["stage"], table["outcome"]).to_string())
    outcomes = Counter(table["outcome"])
    sys.exit(bool(outcomes["traceback"] or (outcomes["silent"] and not chosen.without_lock)))


if __name__ == "__main__":
    main()
