"""Whether what a stage started by hand reads is what the stages before it left."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tissue.common.errors import InputError

TEMPORARY = Path(".dvc/tmp")
IN_DVC = "DVC_STAGE"  # a variable that DVC sets for the stages that it runs


def is_by_hand() -> bool:
    """Return whether a person started the stage in a repository, not DVC, which has checked all."""
    return IN_DVC not in os.environ and TEMPORARY.parent.is_dir()


def note_run(stage: str) -> None:
    """Note that a stage has now written its outputs without DVC."""
    (TEMPORARY / f"{stage}.by-hand").touch()


def check_inputs(stage: str) -> bool:
    """Compare what a stage reads with the sizes and digests in dvc.lock.

    DVC remembers the digests of files that have not changed since it last saw them. What a stage
    before this one wrote by hand is in no dvc.lock, and is taken as long as nobody touched it.

    Returns:
        Whether there was a dvc.lock to compare with.

    Raises:
        InputError: naming what differs.
    """
    if not Path("dvc.lock").is_file():
        return False
    # DVC takes a second to import, and is only needed for stages that are started by hand.
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.scm import SCMError

    try:
        with Repo() as repo:
            changed = [out for out in _read_by(stage, repo) if _is_changed(out)]
    except SCMError:  # a copy without Git, as on the nodes of a cluster, where DVC does not work
        return False
    except (DvcException, OSError) as error:
        raise InputError(
            f"expected dvc.yaml and dvc.lock to say what it reads. Received: {error}. Repair them, "
            "as with `git restore dvc.lock`."
        ) from None
    if changed:
        names = " ".join(sorted(out.def_path for out in changed))
        makers = " ".join(dict.fromkeys(out.stage.name for out in changed))
        raise InputError(
            f"expected the inputs that dvc.lock describes. Received: {names} with other content: "
            f"damaged, or of another run. Run `dvc checkout --force {names}` to have them back, or "
            f"`dvc repro {makers}` to make them anew."
        )
    return True


def _read_by(stage: str, repo: Any) -> Iterator[Any]:
    """Yield the outputs of other stages that a stage depends on and that dvc.lock describes."""
    deps = [Path(dep.fs_path) for dep in repo.stage.load_one(name=stage).deps]
    for out in repo.index.outs:
        path = Path(out.fs_path)
        if out.hash_info and any(path.is_relative_to(d) or d.is_relative_to(path) for d in deps):
            yield out


def _is_changed(out: Any) -> bool:
    # What is missing as a whole is reported where it is read.
    return out.exists and out.changed_checksum() and not _is_made_by_hand(out)


def _is_made_by_hand(out: Any) -> bool:
    note, path = TEMPORARY / f"{out.stage.name}.by-hand", Path(out.fs_path)
    if not note.is_file():
        return False
    files = [path, *path.rglob("*")] if path.is_dir() else [path]
    return max(file.stat().st_mtime_ns for file in files) <= note.stat().st_mtime_ns
