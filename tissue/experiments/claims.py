"""Compare the outputs that lie in a clone with the digests of its dvc.lock."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from tissue.common.files import file_digest
from tissue.experiments.lock import DIGESTS, LOCK
from tissue.metrics.derived import Claims


def compare_digests(lock: Mapping[str, Any], root: Path, used: Sequence[Path]) -> Claims:
    """Compare the outputs that lie in `root` with the digests of dvc.lock.

    The files that are `used` have to be among them.
    """
    agree, differ = [], []
    outs = [out for stage in lock.values() for out in stage.get("outs", [])]
    for out in outs:
        received, digest = (
            _received(out, root),
            next((out[one] for one in DIGESTS if one in out), ""),
        )
        if received and received == digest:
            agree.append(out["path"])
        elif received:
            differ.append(f"{out['path']}: {LOCK} has {digest}, it is {received}")
    named = [Path(out["path"]) for out in outs]
    differ += [
        f"{path}: no output in {LOCK}"
        for path in used
        if not any(path.is_relative_to(one) for one in named)
    ]
    return Claims(agree, differ)


def _received(out: Mapping[str, Any], root: Path) -> str:
    """Return the digest of an output, or what it is; nothing where it, or a part of it, is not.

    Of what has another size or number of files than dvc.lock says no byte is read.
    """
    path, size = root / out["path"], out.get("size")
    if Path(out["path"]).is_absolute() or ".." in Path(out["path"]).parts:
        return "outside of the clone"
    if path.is_file():
        same = size in (None, path.stat().st_size)
        return file_digest(path, "md5") if same else f"of {path.stat().st_size} bytes, not {size}"
    if not path.is_dir():
        return "no file" if path.exists() else ""
    count = out.get("nfiles") or 0
    files = list(islice(_files(path), count + 1))
    if len(files) < count:  # a folder of which only some files were pulled is compared by `pull`
        return ""
    received = sum(file.stat().st_size for file in files)
    if len(files) > count or size not in (None, received):
        return f"of {len(files)} files and {received} bytes, not {count} and {size}"
    return folder_digest(path)


def folder_digest(folder: Path) -> str:
    """Return the digest that DVC gives a folder: of the list of its files and their digests."""
    names = sorted(path.relative_to(folder).as_posix() for path in _files(folder))
    listed = [{"md5": file_digest(folder / name, "md5"), "relpath": name} for name in names]
    text = json.dumps(listed, sort_keys=True)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() + ".dir"


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())
