"""Clones of others, which are read and never trusted: nothing in them is run, no link followed.

A configuration of DVC can name programs (the `configpath` of S3 leads to a file that may), files of
this machine and folders to write to. So what a clone claims is pulled in a repository of our own,
which has of the clone only digests and the address of its remote.
"""

import contextlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dvc.config import Config, ConfigError

from tissue.common.errors import InputError
from tissue.common.files import SMALL, read_small, write_text
from tissue.experiments.dvc import call, environment
from tissue.experiments.lock import LOCK

CONFIG = Path(".dvc/config")
SECONDS = 600  # that Git may take
MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")
TABLE = 500_000_000  # bytes of a table; one row for each of a million images takes less
# What may be said of a remote beside its address. Tokens would go to another `endpointurl`.
OPTIONS = {"s3": ("endpointurl", "region"), "ssh": ("user", "port"), "azure": ("account_name",)}
# Links become files with the name of their target, nobody is asked for a password, and the filter
# of large files is not run.
PLAIN = ("-c", "core.symlinks=false")
QUIET = {"GIT_TERMINAL_PROMPT": "0", "GIT_LFS_SKIP_SMUDGE": "1"}


@contextlib.contextmanager
def clone_of(place: str) -> Iterator[tuple[Path, bool]]:
    """Yield the folder of a clone, and whether it is a temporary one, made of a URL.

    Raises:
        InputError: if there is no clone, or Git cannot get one.
    """
    if "://" not in place and not place.startswith("git@"):
        if not (Path(place) / LOCK).is_file():
            raise InputError(
                f"{place}: expected a clone of this project. Received: no {LOCK} in it. Give its "
                "folder or its URL."
            )
        yield Path(place), False
        return
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        arguments = ("clone", *PLAIN, "--quiet", "--depth", "1", "--", place, str(clone))
        call("git", *arguments, env=environment(**QUIET), seconds=SECONDS)
        yield clone, True


def check_files(root: Path, tracked: Sequence[Path], data: Sequence[Path]) -> None:
    """Check that what will be read of a clone are files that reading comes to the end of.

    Args:
        root: the folder of the clone.
        tracked: files of Git, none of which may be a link: one could lead to what nobody else may
            read, and a message would quote it.
        data: files or folders of DVC, which may be links to its cache.

    Raises:
        InputError: naming what is a link, a pipe, a device, or too large.
    """
    for name in tracked:
        parts = [root / one for one in (name, *name.parents) if one != Path()]
        if any(part.is_symlink() for part in parts):
            raise InputError(f"{name}: expected a file of the clone. Received: a link.")
    for name in (*tracked, *data):
        path = root / name
        most = SMALL * 10 if name in tracked else TABLE
        if path.exists() and not path.is_dir():
            if not path.is_file():
                raise InputError(f"{name}: expected a file. Received: a pipe or a device.")
            if path.stat().st_size > most:
                raise InputError(f"{name}: expected at most {most:,} bytes. Received: more.")


@contextlib.contextmanager
def repository_for(clone: Path, lock: Mapping[str, Any], outputs: Sequence[Path]) -> Iterator[Path]:
    """Yield an empty DVC repository with outputs of a clone and its remote; keep what is pulled.

    Args:
        clone: where the files go in the end.
        lock: the stages of its dvc.lock.
        outputs: folders that its stages write.

    Raises:
        InputError: if it names no remote, or has no digest of an output.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_text(_config(_remote_of(clone)), root / CONFIG)
        known = {out["path"]: out for stage in lock.values() for out in stage.get("outs", [])}
        for path in outputs:
            out = known.get(path.as_posix(), {})
            if not MD5.fullmatch(out.get("md5", "")):
                raise InputError(f"{LOCK}: expected the digest of {path}. Received: none.")
            kept = {key: out[key] for key in ("md5", "size", "nfiles") if key in out}
            entry = {"outs": [kept | {"hash": "md5", "path": path.name}]}
            write_text(json.dumps(entry), root / f"{path}.dvc")
        yield root
        for path in outputs:
            target = clone / path
            for place in (target.parent, target):
                if place.is_file():  # what Git made of a link
                    place.unlink()
            shutil.rmtree(target, ignore_errors=True)
            target.parent.mkdir(exist_ok=True)
            shutil.move(root / path, target)


def _remote_of(clone: Path) -> dict[str, str]:
    """Return the address of the default remote of a clone, and the options that are harmless."""
    try:
        read_small(clone / CONFIG, most=SMALL // 10)
        config = Config.load_file(os.fspath(clone / CONFIG))
        remote = config["remote"][config["core"]["remote"]]
        url = str(remote["url"])
    except (OSError, ConfigError, LookupError, TypeError, AttributeError) as error:
        raise InputError(
            f"{CONFIG}: expected a DVC remote with the predictions. Received: no remote there "
            f"({type(error).__name__}). Clone it, run `make pull` there, and give the folder."
        ) from None
    kept = OPTIONS.get(urlsplit(url).scheme, ())
    found = {"url": url} | {key: str(remote[key]) for key in kept if key in remote}
    if any("\n" in value or '"' in value for value in found.values()):
        raise InputError(f"{CONFIG}: expected an address. Received: {url!r}.")
    if "://" not in url and not Path(url).is_absolute():
        found["url"] = os.fspath((clone / CONFIG.parent / url).resolve())
    return found


def _config(remote: Mapping[str, str]) -> str:
    lines = ["[core]", "no_scm = true", "analytics = false", "remote = clone"]
    lines += ["['remote \"clone\"']", *(f'{key} = "{value}"' for key, value in remote.items())]
    return "\n".join(lines) + "\n"
