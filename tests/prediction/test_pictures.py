"""The pictures that `predict` is given: which files they are, and that `split` decodes them so."""

import os
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.hostile import ARCHIVES, OUT, good, picture
from tests.pipeline import ROOT
from tissue.common.errors import InputError
from tissue.config.loading import load_params
from tissue.prediction import inputs
from tissue.prediction.inputs import arrivals, cases_of, list_pictures, read_picture_batches

PARAMS = load_params(ROOT / "params.yaml")


def listed(source: Path) -> list[str]:
    with ExitStack() as closing:
        found = list_pictures([str(source)], limits=PARAMS.fetch.limits, closing=closing)
        return [member.name for member in found]


def write(files: dict[str, bytes], folder: Path) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def archive(files: dict[str, bytes], path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as made:
        for name, content in files.items():
            made.writestr(name, content)
    return path


def test_picture_folder_archive_and_folder_of_archives(tmp_path: Path) -> None:
    folder = write(good() | {"notes.txt": b"x", ".hidden.jpg": b"x"}, tmp_path / "a")
    names = ["liver/0.jpg", "skin/0.jpg"]
    assert listed(folder) == names
    assert listed(folder / names[0]) == ["0.jpg"]
    assert listed(archive(good(), tmp_path / "b.zip")) == names
    (tmp_path / "c").mkdir()
    (tmp_path / "b.zip").rename(tmp_path / "c/b.zip")
    (tmp_path / "c/.old").mkdir()
    archive(good(), tmp_path / "c/.old/b.zip")
    assert listed(tmp_path / "c") == [f"b.zip/{name}" for name in names]
    write({"overview.jpg": picture()}, tmp_path / "c")
    with pytest.raises(InputError, match=r"Received: both, e\.g\. b\.zip\."):
        listed(tmp_path / "c")


@pytest.mark.parametrize("name", ["x\x1b[31m", "=1+1", "+cmd|x", "a\u202eb"])
def test_names_of_folders_that_no_table_should_hold(name: str, tmp_path: Path) -> None:
    """They begin the ids of several sources, and are the ids of cases."""
    folder = write(good(), tmp_path / name)
    with ExitStack() as closing:
        found = list_pictures([str(folder)], limits=PARAMS.fetch.limits, closing=closing)
        flat = [one._replace(name=Path(one.name).name) for one in found]
        with pytest.raises(InputError, match="expected names"):
            list(cases_of(flat, str(folder)))
        if not name.startswith(("=", "+")):  # behind the folders that lead to it
            with pytest.raises(InputError, match="expected names"):
                list_pictures(
                    [str(folder), str(tmp_path)], limits=PARAMS.fetch.limits, closing=closing
                )


def test_pictures_need_no_class(tmp_path: Path) -> None:
    flat = {"a.png": picture(kind="PNG"), "b/c/d/e.jpg": picture()}
    assert listed(write(flat, tmp_path)) == ["a.png", "b/c/d/e.jpg"]


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        listed(tmp_path / "nosuch.jpg")
    with pytest.raises(InputError, match=r"expected pictures .* Received: 1 other"):
        listed(write({"a.txt": b"x"}, tmp_path / "folder"))


@pytest.mark.parametrize("name", [name for name, case in ARCHIVES.items() if OUT in case.error])
def test_archives_that_lead_out_are_not_read(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=ARCHIVES[name].error):
        listed(ARCHIVES[name].make(tmp_path))


def test_what_arrives_is_read_once_it_is_whole(tmp_path: Path) -> None:
    write({"a.png": picture(kind="PNG")}, tmp_path)
    steps: Iterator[dict[str, bytes]] = iter([
        {}, {"sub/b.jpg": picture()[:100], "notes.txt": b"x"}, {"sub/b.jpg": picture()}, {},
        {"a.png": picture(1, kind="PNG")}, {},
    ])  # fmt: skip
    polled = 0

    def poll() -> None:
        nonlocal polled
        polled += 1
        write(next(steps), tmp_path)

    arrived = arrivals(tmp_path, limits=PARAMS.fetch.limits, poll=poll)
    found = [([member.name for member in next(arrived)], polled) for _ in range(3)]
    assert found == [(["a.png"], 1), (["sub/b.jpg"], 4), (["a.png"], 6)]


def test_names_that_no_table_can_hold_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write({"a.png": picture(kind="PNG")}, tmp_path)
    for name in (b"not \xff text.png", b"new\nline.png", b"back\rto the start.png", b"=1.png"):
        Path(os.fsdecode(bytes(tmp_path) + b"/" + name)).write_bytes(picture(kind="PNG"))
    arrived = arrivals(tmp_path, limits=PARAMS.fetch.limits, poll=lambda: None)
    assert [member.name for member in next(arrived)] == ["a.png"]
    said = capsys.readouterr().err
    assert said.count("left out: ") == said.count("Received: ") == 4
    assert "\r" not in said
    (tmp_path / "b.png").write_bytes(picture(kind="PNG"))
    assert [member.name for member in next(arrived)] == ["b.png"]
    assert capsys.readouterr().err == ""  # once each


def test_a_damaged_picture_is_reported_and_the_others_are_read(tmp_path: Path) -> None:
    folder = write(good() | {"bad.jpg": picture()[:300]}, tmp_path)
    with ExitStack() as closing:
        members = list_pictures([str(folder)], limits=PARAMS.fetch.limits, closing=closing)
        (batch,) = read_picture_batches(members, PARAMS)
    assert [bool(one.problem) for one in batch] == [True, False, False]
    assert batch[1].pixels.shape[2] == 3


def test_large_pictures_are_not_all_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch ends where its bytes reach the limit; each picture is in one batch, in order."""
    names = [f"{number}.jpg" for number in range(9)]
    folder = write(dict.fromkeys(names, picture()), tmp_path)
    one = read_sizes(folder)[0] // len(names)
    monkeypatch.setattr(inputs, "BATCH_BYTES", one)
    assert read_sizes(folder) == [PARAMS.threads * one] * 4 + [one]
    monkeypatch.setattr(inputs, "BATCH_BYTES", 5 * one)
    assert read_sizes(folder) == [6 * one, 3 * one]
    monkeypatch.setattr(inputs, "LARGE", 0)  # one at a time
    assert read_sizes(folder) == [6 * one, 3 * one]


def read_sizes(folder: Path) -> list[int]:
    """The bytes of each batch of the pictures of a folder."""
    with ExitStack() as closing:
        members = list_pictures([str(folder)], limits=PARAMS.fetch.limits, closing=closing)
        batches = list(read_picture_batches(members, PARAMS))
    assert [one.id for batch in batches for one in batch] == [one.name for one in members]
    assert not any(one.problem for batch in batches for one in batch)
    return [sum(len(one.content) + one.pixels.nbytes for one in batch) for batch in batches]
