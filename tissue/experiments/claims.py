"""Compare the outputs that lie in a clone with the digests of its dvc.lock."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tissue.common.files import file_digest
from tissue.experiments.lock import DIGESTS, LOCK
from tissue.metrics.derived import Claims


def compare_digests(lock: Mapping[str, Any], root: Path) -> Claims:
    """Compare the outputs that lie in `root` with the digests of dvc.lock."""
    agree, differ = [], []
    for stage in lock.values():
        for out in stage.get("outs", []):
            path = root / out["path"]
            digest = next((out[name] for name in DIGESTS if name in out), "")
            if path.exists():
                received = folder_digest(path) if path.is_dir() else file_digest(path, "md5")
                # A folder of which only some files were pulled is compared by `pull`.
                if received == digest:
                    agree.append(out["path"])
                elif not path.is_dir() or _count(path) >= out.get("nfiles", 0):
                    differ.append(f"{out['path']}: {LOCK} has {digest}, it is {received}")
    return Claims(agree, differ)


def folder_digest(folder: Path) -> str:
    """Return the digest that DVC gives a folder: of the list of its files and their digests."""
    names = sorted(path.relative_to(folder).as_posix() for path in _files(folder))
    listed = [{"md5": file_digest(folder / name, "md5"), "relpath": name} for name in names]
    text = json.dumps(listed, sort_keys=True)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() + ".dir"


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _count(folder: Path) -> int:
    return sum(1 for _ in _files(folder))
