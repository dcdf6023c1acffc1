"""How stages and commands end: with a message and an exit status, or with a traceback for bugs."""

import errno
import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from pathlib import Path

import pytest
import tensorflow as tf
from tqdm import tqdm

from tests.conftest import run
from tests.pipeline import ORDER, ROOT
from tissue.__main__ import COMMANDS
from tissue.common.errors import InputError
from tissue.common.files import atomic_write, write_json
from tissue.common.runtime import quiet_import
from tissue.config.command import check_output_file, check_output_folder, command, run_command

# Runs stages and commands in one process, so that everything is imported only once; prints the exit
# status or message of each, and the slow packages that were imported.
RUN_ALL = """
import importlib, json, runpy, sys
names, commands, version = {names}, {commands}, {version}
if version:
    for name in set(names) - set(commands):
        importlib.import_module(f"stages.{{name}}")  # with packages that read the true version
    sys.version_info = version
ended = {{}}
for name in names:
    sys.argv = ["tissue", name] if name in commands else [name]
    module = "tissue" if name in commands else f"stages.{{name}}"
    try:
        runpy.run_module(module, run_name="__main__")
    except SystemExit as stop:
        ended[name] = stop.code
print(json.dumps([ended, sorted({{"tensorflow", "keras"}} & set(sys.modules))]))
"""


def run_all(
    names: Iterable[str], cwd: Path, version: tuple[int, ...] = ()
) -> tuple[dict[str, str], list[str]]:
    """Return how each stage or command ended, and the slow packages that were imported."""
    program = RUN_ALL.format(names=[*names], commands=[*COMMANDS], version=version)
    python = (sys.executable, "-W", "ignore", "-c", program)
    printed = run("env", f"PYTHONPATH={ROOT}", *python, cwd=cwd)
    return json.loads(printed.splitlines()[-1])


class TestAllModules:
    def test_a_wrong_parameter_is_reported_before_tensorflow_is_imported(
        self, tmp_path: Path
    ) -> None:
        text = (ROOT / "params.yaml").read_text().replace("\nlr: ", "\nlr: fast #")
        (tmp_path / "params.yaml").write_text(text)
        message = "params.yaml:\n  lr: expected a number. Received: 'fast'"
        ended, imported = run_all(ORDER, tmp_path)
        assert ended == {stage: f"{stage}: {message}" for stage in ORDER}
        assert imported == []
        assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]

    def test_a_python_without_tensorflow_is_reported_before_tensorflow_is_imported(
        self, tmp_path: Path
    ) -> None:
        ended, imported = run_all((*ORDER, *COMMANDS), tmp_path, version=(3, 14))
        message = (
            "expected Python 3.11 to 3.13, because TensorFlow 2.21 has no wheels for newer ones. "
            "Received: 3.14. Run `make clean all PYTHON=python3.13`."
        )
        assert ended == {name: f"{name}: {message}" for name in (*ORDER, *COMMANDS)}
        assert imported == []

    def test_a_stage_without_its_inputs_says_what_to_run(self, tmp_path: Path) -> None:
        for name in ("params.yaml", "pretrain"):
            (tmp_path / name).symlink_to(ROOT / name)
        stages = [stage for stage in ORDER if stage not in ("fetch", "report")]
        ended, _ = run_all(stages, tmp_path)
        assert list(ended) == stages
        for stage, message in ended.items():
            assert re.fullmatch(
                rf"{stage}: expected data/\S+, which a stage before this one writes\. "
                r".*`dvc repro`.*",
                message,
            )


class TestCommand:
    def test_wrong_input_is_a_message(self) -> None:
        with pytest.raises(SystemExit, match=r"^split: a file: expected more$"), command("split"):
            raise InputError("a file: expected more")

    def test_interruption(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as ended, command("split"):
            raise KeyboardInterrupt
        assert ended.value.code == 130
        assert capsys.readouterr().err == "split: interrupted\n"

    @pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENAMETOOLONG])
    def test_files_that_cannot_be_used_are_named(self, number: int) -> None:
        message = "split: expected to use data/x. Received: no. Change its permissions"
        with pytest.raises(SystemExit, match=message), command("split"):
            raise OSError(number, "no", "data/x")

    @pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOTCONN])
    def test_disks_that_fail(self, number: int) -> None:
        message = r"split: expected a disk that works\. Received: .*data/x.*Check the disk"
        with pytest.raises(SystemExit, match=message), command("split"):
            raise OSError(number, "no", "data/x")

    @pytest.mark.parametrize("error", [MemoryError(), BrokenProcessPool("ended abruptly")])
    def test_the_system_ends_a_process_or_has_no_memory(self, error: Exception) -> None:
        message = r"fetch: expected memory.* Received: (MemoryError|.*abruptly)\. End other"
        with pytest.raises(SystemExit, match=message), command("fetch"):
            raise error

    @pytest.mark.parametrize(
        ("kind", "received"),
        [
            (FileNotFoundError, "no such file"),
            (NotADirectoryError, "no"),
            (IsADirectoryError, "no"),
        ],
    )
    @pytest.mark.parametrize("where", ["", "absolute"])
    def test_outputs_that_are_missing_or_of_another_kind(
        self, kind: type[OSError], received: str, where: str
    ) -> None:
        path = Path("data/raw/images-000.zip")
        path = path.absolute() if where else path
        message = rf"split: expected \S*data/raw/images-000.zip.* Received: {received}\. "
        with pytest.raises(SystemExit, match=message), command("split"):
            raise kind(1, "no", str(path))

    @pytest.mark.parametrize(
        "name", ["/etc/nosuch", "data/.raw.partial/x", "nosuch", "stages/data/x"]
    )
    def test_bugs_keep_their_traceback(self, name: str) -> None:
        with pytest.raises(FileNotFoundError), command("split"):
            raise FileNotFoundError(2, "No such file or directory", name)
        with pytest.raises(KeyError), command("split"):
            raise KeyError("ours")

    def test_what_cannot_be_compared_is_blamed_before_the_code(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def main() -> None:
            write_json({"of another run": float("nan")}, tmp_path / "a.json")

        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["tsne"])
        monkeypatch.delenv("DVC_STAGE", raising=False)
        message = r"^tsne: expected inputs.*: ValueError: .* at tissue/common/files\.py:\d+\. Run"
        with pytest.raises(SystemExit, match=message):
            run_command(main, name="tsne", doc=None)
        with pytest.raises(ValueError, match="JSON compliant"):
            run_command(main, name="fetch", doc=None)  # which reads nothing of another stage
        monkeypatch.setenv("DVC_STAGE", "tsne")
        with pytest.raises(ValueError, match="JSON compliant"):
            run_command(main, name="tsne", doc=None)  # DVC has compared all that it reads

    def test_unknown_options_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "argv", ["fetch", "--nonsense"])
        with pytest.raises(SystemExit) as usage:
            run_command(lambda: pytest.fail("was run"), name="fetch", doc=None)
        assert usage.value.code == 2

    def test_letters_that_a_pipe_cannot_take(self) -> None:
        code = (
            "from tissue.config.command import command\n"
            "with command('split'):\n    print('M\\u00fcller \\U0001f9ec')"
        )
        for encoding, printed in (
            ("ascii", "M\\xfcller \\U0001f9ec"), ("cp1252", "M\xfcller \\U0001f9ec"),
        ):  # fmt: skip
            done = subprocess.run(
                [sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True,
                env=os.environ | {"PYTHONIOENCODING": encoding},
            )  # fmt: skip
            assert done.stdout.decode(encoding).strip() == printed

    @pytest.mark.parametrize(
        ("make", "said"),
        [
            (lambda path: path.write_text(""), "as a stage writes it"),
            (lambda path: path.symlink_to("nowhere"), "as a stage writes it"),
            (lambda path: path.symlink_to("data"), "symbolic links|[Ss]ymlink loop"),
        ],
    )
    def test_something_else_in_place_of_the_outputs(
        self, make: Callable[[Path], object], said: str, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        monkeypatch.chdir(tmp_path)
        make(Path("data"))
        with pytest.raises(SystemExit, match=rf"^split: expected .*{said}"), command("split"):
            write_json({}, Path("data/split/classes.json"))

    def test_a_file_in_place_of_a_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("data").mkdir()
        Path("data/raw").write_text("mine")
        message = "^fetch: expected data/raw as a stage writes it"
        with (
            pytest.raises(SystemExit, match=message), command("fetch"),
            atomic_write(Path("data/raw")) as partial,
        ):  # fmt: skip
            partial.mkdir()
        assert Path("data/raw").read_text() == "mine"

    def test_names_of_others_never_move_the_cursor(self, capsys: pytest.CaptureFixture) -> None:
        with command("predict"):
            print("\x1b[2J\u202eliver\u2028", "colon")
            tqdm.write("\x9b31m")
        assert capsys.readouterr().out == "\\x1b[2J\\u202eliver\\u2028 colon\n\\x9b31m\n"

    @pytest.mark.parametrize("name", ["", "doctor"])
    def test_nobody_reads_what_is_printed(self, name: str) -> None:
        arguments = [sys.executable, "-m", "tissue", *([name] if name else [])]
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                arguments, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False
            )
        assert done.returncode == 1
        assert "expected space for what it writes" in done.stderr
        assert "Traceback" not in done.stderr

    def test_no_folder_for_temporary_files(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*arguments: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(tempfile, "tempdir", None)
        monkeypatch.setattr(tempfile._os, "open", full)  # type: ignore[attr-defined]
        message = "^split: expected space for what it writes. Received: .*temporary directory"
        with pytest.raises(SystemExit, match=message), command("split"), quiet_import():
            pytest.fail("has no room for what is hidden")

    def test_no_space_for_tables_among_the_temporary_files(self) -> None:
        with closing(sqlite3.connect("")) as tables:
            tables.execute("PRAGMA max_page_count = 2")
            tables.execute("CREATE TABLE names (name TEXT)")
            message = "^split: expected space for what it writes. Received: .* is full"
            with pytest.raises(SystemExit, match=message), command("split"):
                tables.execute("INSERT INTO names VALUES (?)", ["x" * 100_000])

    def test_memory_of_a_gpu(self) -> None:
        error = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
        with pytest.raises(SystemExit, match=r"^split: expected memory.*OOM"), command("split"):
            raise error


class TestOutputs:
    def test_places_that_cannot_be_written_to(self, tmp_path: Path) -> None:
        check_output_file("--output", tmp_path / "new/folder/file.csv")
        check_output_folder("--out", tmp_path / "new/folder")
        (tmp_path / "file").touch()
        for check in (check_output_file, check_output_folder):
            with pytest.raises(InputError, match=r"--output: expected a place .*file is no folder"):
                check("--output", tmp_path / "file/more/target")
        with pytest.raises(InputError, match=r"--output: expected the name of a file.* a folder"):
            check_output_file("--output", tmp_path)
        with pytest.raises(InputError, match=r"--out: expected the name of a folder.* is a file"):
            check_output_folder("--out", tmp_path / "file")

    @pytest.mark.skipif(
        not hasattr(os, "setresuid") or os.geteuid() != 0, reason="root can act as another user"
    )
    def test_places_of_an_unprivileged_user(self, tmp_path: Path) -> None:
        """As in a container: folders that are given, below one that cannot be written to."""
        for name, mode in {
            "closed": 0o700, "read": 0o755, "read/given": 0o777, "read/sealed": 0o555,
            "read/hidden": 0o666,
        }.items():  # fmt: skip
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
                (check_output_file, "read/hidden/file.csv"),
                (check_output_folder, "closed/folder"),
                (check_output_file, "closed/folder/file.csv"),
            ):
                with pytest.raises(InputError, match="--out: expected a place to write to"):
                    check("--out", tmp_path / place)
        finally:
            os.setresuid(0, 0, 0)


HOLD = """
import sys
from pathlib import Path
from tissue.config.command import run_command

def work():
    print("at work", flush=True)
    sys.stdin.read()

sys.argv = ["split"]
run_command(work, name="split", doc="")
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that runs `split` in a repository."""
    (tmp_path / ".dvc").mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == b"at work\n"
        yield process
        process.kill()


class TestTwoRuns:
    """Who ends `dvc` alone leaves the stage running, and the next run must not write beside it."""

    def test_the_second_names_the_first(
        self, other: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["split"])
        with pytest.raises(SystemExit) as caught:
            run_command(lambda: pytest.fail("at work, too"), name="split", doc="")
        assert f"another one is at work, process {other.pid}. Wait for it" in str(caught.value.code)
        done: list[str] = []
        run_command(lambda: done.append("tsne"), name="tsne", doc="")  # another stage may work
        assert done == ["tsne"]

    def test_a_killed_one_leaves_no_lock(
        self, other: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other.kill()
        other.wait()
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["split"])
        done: list[str] = []
        for turn in ("first", "second"):
            run_command(lambda turn=turn: done.append(turn), name="split", doc="")
        assert done == ["first", "second"]
