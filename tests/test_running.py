"""How a command ends: with a message, an exit status, and no traceback for what is not ours."""

import re
import sys
from pathlib import Path

import pytest

from stages.cli.running import InputError, check_place, command
from tests.conftest import run
from tests.pipeline import ORDER, ROOT


def test_wrong_input_and_interruption(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^split: a file: expected more$"), command("split"):
        raise InputError("a file: expected more")
    with pytest.raises(SystemExit) as ended, command("split"):
        raise KeyboardInterrupt
    assert ended.value.code == 130
    assert capsys.readouterr().err == "split: interrupted\n"


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


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    check_place("--output", tmp_path / "new/folder/file.csv")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"--output: expected a place .*file is no folder"):
        check_place("--output", tmp_path / "file/more/file.csv")
