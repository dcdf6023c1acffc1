"""How a command ends: with a message, an exit status, and no traceback for what is not ours."""

import errno
import os
import re
import sys
from pathlib import Path

import pytest

from tests.conftest import run
from tests.pipeline import ORDER, ROOT
from tissue.common.errors import InputError
from tissue.config.command import check_output_file, check_output_folder, command


def test_wrong_input_and_interruption(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^split: a file: expected more$"), command("split"):
        raise InputError("a file: expected more")
    with pytest.raises(SystemExit) as ended, command("split"):
        raise KeyboardInterrupt
    assert ended.value.code == 130
    assert capsys.readouterr().err == "split: interrupted\n"


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENAMETOOLONG])
def test_files_that_may_not_be_used_are_named(number: int) -> None:
    said = "split: expected to use data/x. Received: no. Change its permissions"
    with pytest.raises(SystemExit, match=said), command("split"):
        raise OSError(number, "no", "data/x")


@pytest.mark.parametrize("name", ["/etc/nosuch", "data/.raw.partial/x", "nosuch", "stages/data/x"])
def test_errors_of_ours_keep_their_traceback(name: str) -> None:
    with pytest.raises(FileNotFoundError), command("split"):
        raise FileNotFoundError(2, "No such file or directory", name)


@pytest.mark.parametrize("stage", [stage for stage in ORDER if stage not in ("fetch", "report")])
def test_a_stage_without_its_inputs_says_what_to_run(stage: str, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    for name in ("stages", "pretrain"):
        (tmp_path / name).symlink_to(ROOT / name)
    said = run(sys.executable, "-m", f"stages.{stage}", cwd=tmp_path, expect=1)
    assert re.fullmatch(
        rf"{stage}: expected data/\S+, which a stage before this one writes\. .*`dvc repro`.*\n",
        said,
    )


def test_targets_that_cannot_be_written_to(tmp_path: Path) -> None:
    check_output_file("--output", tmp_path / "new/folder/file.csv")
    check_output_folder("--out", tmp_path / "new/folder")
    (tmp_path / "file").touch()
    for check in (check_output_file, check_output_folder):
        with pytest.raises(InputError, match=r"--output: expected a place .*file is no folder"):
            check("--output", tmp_path / "file/more/target")
    with pytest.raises(InputError, match=r"--output: expected the name of a file.* is a folder"):
        check_output_file("--output", tmp_path)
    with pytest.raises(InputError, match=r"--out: expected the name of a folder.* is a file"):
        check_output_folder("--out", tmp_path / "file")


@pytest.mark.skipif(
    not hasattr(os, "setresuid") or os.geteuid() != 0,
    reason="taking another user's place needs root",
)
def test_targets_of_a_user_who_may_not_do_everything(tmp_path: Path) -> None:
    """As in a container: folders that are given, below one that cannot be written to."""
    for name, mode in {
        "closed": 0o700,
        "read": 0o755,
        "read/given": 0o777,
        "read/sealed": 0o555,
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(mode)
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o011)
    os.setresuid(65534, 65534, 0)
    try:
        check_output_folder("--out", tmp_path / "read/given")
        check_output_folder("--out", tmp_path / "read/given/new")
        for check, place in (
            (check_output_folder, "read/sealed"),
            (check_output_folder, "read/new"),
            (check_output_file, "read/file.csv"),
            (check_output_folder, "closed/folder"),
            (check_output_file, "closed/folder/file.csv"),
        ):
            with pytest.raises(InputError, match="--out: expected a place to write to"):
                check("--out", tmp_path / place)
    finally:
        os.setresuid(0, 0, 0)
