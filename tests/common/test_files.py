"""Files and folders that appear complete or not at all, and the format of CSV and JSON."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tissue.common.errors import InputError
from tissue.common.files import atomic_write, read_json, reading, write_json, write_table


def listing(folder: Path) -> list[str]:
    """Names of everything below a folder, including hidden files."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def write(path: Path, content: str, *, kind: str = "folder") -> None:
    """Write a file, or a folder with one file."""
    if kind == "folder":
        path.mkdir()
        path /= "inside"
    path.write_text(content)


class TestAtomicWrite:
    def test_a_file_appears_at_the_end(self, tmp_path: Path) -> None:
        path = tmp_path / "new/folder/a.txt"
        for content in ("first", "second"):
            with atomic_write(path) as partial:
                partial.write_text(content)
                assert not path.exists() if content == "first" else path.read_text() == "first"
                assert partial.parent == path.parent  # the same disk, so that it can be moved
            assert path.read_text() == content
        assert listing(path.parent) == ["a.txt"]

    def test_two_processes_that_write_one_file_at_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As two `predict --gradcam` into one folder do."""
        path = tmp_path / "a.png"
        with atomic_write(path, shared=True) as mine:
            mine.write_text("mine")
            monkeypatch.setattr(os, "getpid", lambda: 0)
            with atomic_write(path, shared=True) as other:
                other.write_text("other")
            assert path.read_text() == "other"
            monkeypatch.undo()
        assert path.read_text() == "mine"
        assert listing(tmp_path) == ["a.png"]

    def test_a_folder_replaces_a_folder_and_all_that_was_in_it(self, tmp_path: Path) -> None:
        path = tmp_path / "out"
        write(path, "old")
        (path / "gone").write_text("x")
        with atomic_write(path) as partial:
            write(partial, "new")
            assert (path / "inside").read_text() == "old"
        assert listing(tmp_path) == ["out", "out/inside"]
        assert (path / "inside").read_text() == "new"

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
    @pytest.mark.parametrize("kind", ["file", "folder"])
    @pytest.mark.parametrize("existing", [True, False])
    def test_after_an_error_nothing_has_changed(
        self, existing: bool, kind: str, error: type[BaseException], tmp_path: Path
    ) -> None:
        path = tmp_path / "out"
        if existing:
            write(path, "old")

        def fail() -> None:
            with atomic_write(path) as partial:
                write(partial, "half", kind=kind)
                raise error

        with pytest.raises(error):
            fail()
        assert listing(tmp_path) == (["out", "out/inside"] if existing else [])
        assert not existing or (path / "inside").read_text() == "old"

    @pytest.mark.parametrize("kind", ["file", "folder"])
    def test_nothing_written_is_an_error_and_loses_nothing(self, kind: str, tmp_path: Path) -> None:
        write(tmp_path / "out", "old", kind=kind)
        before = listing(tmp_path)
        with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "out"):
            pass
        assert listing(tmp_path) == before

    def test_a_file_never_replaces_a_folder(self, tmp_path: Path) -> None:
        write(tmp_path / "out", "old")
        with pytest.raises(IsADirectoryError):
            write_table(pd.DataFrame({"a": [1]}), tmp_path / "out")
        with pytest.raises(IsADirectoryError):
            write_json({"a": 1}, tmp_path / "out")
        assert listing(tmp_path) == ["out", "out/inside"]

    @pytest.mark.parametrize("kind", ["file", "folder"])
    def test_leftovers_of_a_killed_run_are_removed(self, kind: str, tmp_path: Path) -> None:
        path = tmp_path / "out"
        for name in (".out.partial", ".out.previous"):
            write(tmp_path / name, "killed", kind=kind)
        with atomic_write(path) as partial:
            assert not partial.exists()
            write(partial, "new")
        assert listing(tmp_path) == ["out", "out/inside"]
        assert (path / "inside").read_text() == "new"

    def test_a_run_killed_between_the_two_moves_is_undone(self, tmp_path: Path) -> None:
        write(tmp_path / ".out.previous", "old")
        with pytest.raises(ValueError, match="no"), atomic_write(tmp_path / "out"):
            raise ValueError("no")
        assert listing(tmp_path) == ["out", "out/inside"]
        assert (tmp_path / "out/inside").read_text() == "old"


class TestFormats:
    def test_json_is_sorted_and_rounded(self, tmp_path: Path) -> None:
        path = tmp_path / "a.json"
        write_json({"b": {"d": 0.123456, "c": 1}, "a": np.float64(2 / 3)}, path)
        assert path.read_text() == (
            '{\n  "a": 0.6667,\n  "b": {\n    "c": 1,\n    "d": 0.1235\n  }\n}\n'
        )

    @pytest.mark.parametrize("number", [float("nan"), float("inf"), -np.inf, np.float64("nan")])
    def test_json_refuses_numbers_that_are_not_finite(self, number: float, tmp_path: Path) -> None:
        path = tmp_path / "a.json"
        write_json({"old": 1}, path)
        with pytest.raises(ValueError, match="not JSON compliant"):
            write_json({"a": {"b": number}}, path)
        assert json.loads(path.read_text()) == {"old": 1}
        assert listing(tmp_path) == ["a.json"]

    def test_tables_have_fixed_digits_and_line_ends(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        table = pd.DataFrame({"id": ["b", "a"], "x": [1 / 3, 1e-7], "n": [1, 2], "s": ["", "é,"]})
        write_table(table, path)
        assert path.read_bytes() == 'id,x,n,s\nb,0.333333,1,\na,1e-07,2,"é,"\n'.encode()


class TestReading:
    @pytest.mark.parametrize(
        "content", [b"", b"\xff\xfe", b"{", b"[1, 2]", b"NaN", b'{"a": ' * 3000, b"1" * 5000]
    )
    def test_a_damaged_file_is_named_with_what_to_do(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "a.json").write_bytes(content)
        with pytest.raises(InputError, match=r"a\.json: expected it as a stage wrote .*dvc repro"):
            read_json(tmp_path / "a.json")

    def test_errors_of_the_system_and_of_the_user_stay_what_they_are(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            read_json(tmp_path / "gone.json")
        with pytest.raises(OSError, match="full"), reading(tmp_path):
            raise OSError(errno.ENOSPC, "full")
        with pytest.raises(InputError, match="outside"), reading(tmp_path):
            raise OSError(errno.EINVAL, "outside")
        with pytest.raises(InputError, match="mine"), reading(tmp_path):
            raise InputError("mine")
