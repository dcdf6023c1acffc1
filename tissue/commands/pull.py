"""Get the outputs that others pushed, and check them: `python -m tissue pull [path ...]`.

Does what `dvc pull` does, and trusts the remote with nothing. DVC 3.67.1 does not compare the list
of what is in a folder with its digest in dvc.lock, so that who can write to the remote can have
`dvc pull` write files outside of the repository, or leave some out. Here each list is checked
before any file is fetched, files are checked whether or not the remote is set to `verify`, and what
lies in the folder is compared once more at the end.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from dvc.exceptions import CheckoutError, DvcException
from dvc.repo import Repo

from tissue.common.errors import InputError
from tissue.common.files import DAMAGED
from tissue.config.command import command, parser_of
from tissue.experiments.dvc import hide_secrets
from tissue.experiments.lock import LOCK

ENTRY_BYTES = 10_000  # of a list, at most, for each file that dvc.lock counts
UNKNOWN_FILES = 10_000  # where dvc.lock, as of an old DVC, does not count them
MD5 = re.compile(r"[0-9a-f]{32}")
OUTSIDE = re.compile(r"[\\:\0]|^$|^\.{0,2}$")  # of a part of a path


class Output(NamedTuple):
    """An output in DVC's cache: its path, digest, number of files, and the remote it has alone.

    The number is 0 for one file, and where dvc.lock does not give it.
    """

    path: str
    digest: str
    files: int
    remote: str | None = None

    @property
    def is_folder(self) -> bool:
        """Whether the digest is that of a list of files."""
        return self.digest.endswith(".dir")


def outputs(repo: Repo, targets: list[str]) -> list[Output]:
    """Return the outputs in the cache that lie in targets or hold one; all, if there are none."""
    entries = [
        Output(out.def_path, out.hash_info.value, out.meta.nfiles or 0, out.remote)
        for out in repo.index.outs
        if out.use_cache and out.hash_info
    ]
    wanted = [Path(target) for target in targets] or [Path()]
    return [
        entry
        for entry in entries
        if any(
            Path(entry.path).is_relative_to(one) or one.is_relative_to(entry.path) for one in wanted
        )
    ]


def check_list(repo: Repo, output: Output, remote: str | None) -> dict[str, str]:
    """Return the digests of the files of a folder by path, and leave its list in the cache.

    A list in the cache that is not the one of dvc.lock is replaced by that of the remote. Returns
    nothing if neither has one; DVC then reports what is missing.

    Raises:
        InputError: if the list of the remote is another one, or names files elsewhere.
    """
    local = repo.cache.local
    found = ""
    for store in (local, repo.cloud.get_remote_odb(output.remote or remote, "pull")):
        try:
            with store.fs.open(store.oid_to_path(output.digest), "rb") as file:
                text = file.read(ENTRY_BYTES * (output.files or UNKNOWN_FILES))
        except FileNotFoundError:
            continue
        found = hashlib.md5(text, usedforsecurity=False).hexdigest()
        if found == output.digest.removesuffix(".dir"):
            if store is not local:
                # DVC takes the list that it finds in the cache, and asks the remote for no other.
                local.add_bytes(output.digest, text)
            return _read_list(text, output)
        if store is local:
            local.fs.remove(local.oid_to_path(output.digest))
    if not found:
        return {}
    digest = output.digest
    raise InputError(
        f"{output.path}: expected the list of its files with the digest that {LOCK} holds, "
        f"{digest}. Received: one with {found}, in the remote, so somebody changed it there or it "
        f"is damaged. Nothing was pulled. Delete files/md5/{digest[:2]}/{digest[2:]} in the remote "
        "and run `dvc push` where the data is."
    )


def _read_list(text: bytes, output: Output) -> dict[str, str]:
    try:
        return dict(_entries(json.loads(text), output))
    except InputError:
        raise
    except (*DAMAGED, AttributeError) as error:
        raise InputError(
            f"{output.path}: expected a list of files, as DVC writes it. Received: another content "
            f"({type(error).__name__}), in the list that {LOCK} names. Nothing was pulled. Ask who "
            f"committed {LOCK}."
        ) from None


def _entries(listed: list[dict[str, Any]], output: Output) -> Iterator[tuple[str, str]]:
    for entry in listed:
        name, digest = entry["relpath"], entry["md5"]
        if any(map(OUTSIDE.search, name.split("/"))) or not MD5.fullmatch(digest):
            raise InputError(
                f"{output.path}: expected files in this folder. Received: {name!r} with the digest "
                f"{digest!r}, in the list that {LOCK} names. Nothing was pulled. Ask who committed "
                f"{LOCK}."
            )
        yield name, digest


def check_files(output: Output, listed: dict[str, str], targets: list[str]) -> int:
    """Compare the files of an output with their digests; return how many there are.

    Raises:
        InputError: if one is missing, differs, or is not in the list.
    """
    path = Path(output.path)
    expected = {path / name: digest for name, digest in listed.items()} or {path: output.digest}
    within = [Path(target) for target in targets if Path(target).is_relative_to(path)]
    if within and path not in within:
        expected = {
            file: digest
            for file, digest in expected.items()
            if any(file.is_relative_to(one) for one in within)
        }
    elif listed:
        expected |= {file: "" for file in path.rglob("*") if file.is_file()} | expected
    for file, digest in expected.items():
        received = "no such file"
        if file.is_file():
            with file.open("rb") as stream:
                received = hashlib.file_digest(stream, "md5").hexdigest()
        if received != digest:
            raise InputError(
                f"{file}: expected the digest {digest or 'of no such file'}, which {LOCK} leads "
                f"to. Received: {received}. Run `dvc checkout --force {output.path}`, and if this "
                "comes again `dvc cache dir` names the folder whose copy is damaged."
            )
    return len(expected)


def run(targets: list[str], *, remote: str | None) -> str:
    """Pull and check the outputs that targets name; return what was done.

    Raises:
        InputError: see `check_list` and `check_files`.
        DvcException: if DVC cannot pull; each kind of remote has further errors of its own.
    """
    hide_secrets()
    with Repo() as repo:
        verified = {name: {"verify": True} for name in repo.config["remote"]}
    with Repo(config={"remote": verified}) as repo:
        wanted = outputs(repo, targets)
        folders = {one: check_list(repo, one, remote) for one in wanted if one.is_folder}
        repo.pull(targets or None, remote=remote)
    count = sum(
        check_files(one, folders.get(one, {}), targets) for one in wanted if Path(one.path).exists()
    )
    return f"{count} files of {len(wanted)} outputs are those that {LOCK} names"


def main(arguments: list[str] | None = None) -> None:
    """Run the command with these arguments, or those of the process."""
    parser = parser_of("pull", __doc__)
    parser.add_argument("paths", nargs="*", help="outputs, or files in them; all, if none is named")
    parser.add_argument("--remote", help="its name, if not the default one")
    options = parser.parse_args(arguments)
    with command("pull"):
        try:
            print(f"pull: {run(options.paths, remote=options.remote)}")
        except CheckoutError as error:
            raise InputError(
                f"expected all files that {LOCK} leads to. Received: {error}\nOne is missing or "
                "damaged in the remote: docs/sharing.md says how to repair it."
            ) from None
        except DvcException as error:
            raise InputError(str(error)) from None
        except (InputError, OSError):
            raise
        except Exception as error:  # noqa: BLE001  each kind of remote has errors of its own
            raise InputError(
                f"expected the remote to answer. Received: {type(error).__name__}: {error}. Check "
                "its address, and your credentials: docs/sharing.md."
            ) from None
