"""docs/sharing.md, command by command: folder, SSH server and bucket, and what may go wrong."""

import asyncio
import filecmp
import getpass
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.conftest import commit, run, update_params
from tests.guides import blocks, execute
from tests.sources import test_buckets

home, port, server = test_buckets.home, test_buckets.port, test_buckets.server
GUIDE = blocks("sharing.md")
PUSH, GET, SOME = GUIDE["Hand over"]
OFFER, TAKE, PUSH_RUNS, PULL_RUNS = GUIDE["Results of other parameters"]
UP_TO_DATE = "Data and pipelines are up to date."
SECRET = "not-for-git"


def start(quick: Path, folder: Path, set_up: str, names: dict[str, str]) -> tuple[Path, Path]:
    """A repository that has the data and a remote, and a clone of it without data."""
    mine, yours = folder / "mine", folder / "yours"
    shutil.copytree(quick, mine, symlinks=True)
    run("git", "init", "--quiet", "--bare", "--initial-branch=main", "hub.git", cwd=folder)
    run("git", "remote", "add", "origin", "../hub.git", cwd=mine)
    run("git", "push", "--quiet", "--set-upstream", "origin", "main", cwd=mine)
    execute(set_up, mine, names)
    clone(folder, "yours")
    if (mine / ".dvc/config.local").is_file():
        shutil.copy2(mine / ".dvc/config.local", yours / ".dvc/config.local")
    return mine, yours


def clone(folder: Path, name: str) -> Path:
    """A clone without data that finds its origin wherever the folder is copied to."""
    run("git", "clone", "--quiet", "hub.git", name, cwd=folder)
    run("git", "remote", "set-url", "origin", "../hub.git", cwd=folder / name)
    return folder / name


def hand_over(mine: Path, yours: Path) -> None:
    """Push here and pull there, where nothing may run."""
    execute(PUSH, mine)
    printed = execute(GET, yours)
    assert UP_TO_DATE in printed
    assert "Running stage" not in printed
    name = "data/split/train.npy"
    assert (yours / name).read_bytes() == (mine / name).read_bytes()
    assert run("git", "status", "--porcelain", cwd=yours) == ""
    assert run("git", "grep", SECRET, "--", ".dvc", "params.yaml", cwd=mine, expect=1) == ""


@pytest.fixture(scope="module")
def handed_over(quick: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a remote, `mine`, which has pushed to it, and `yours`, which has pulled."""
    folder = tmp_path_factory.mktemp("folder")
    hand_over(*start(quick, folder, GUIDE["A folder"][0], {"/mnt/lab/dvc": "../remote"}))
    return folder


@pytest.fixture
def pair(handed_over: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A copy of `mine` and `yours`, with their remotes beside them."""
    shutil.copytree(handed_over, tmp_path, symlinks=True, dirs_exist_ok=True)
    return tmp_path / "mine", tmp_path / "yours"


def test_a_folder(handed_over: Path) -> None:
    assert any((handed_over / "remote").rglob("*.dir"))


@test_buckets.needs_ssh
def test_a_server_with_ssh(
    quick: Path, tmp_path: Path, port: int, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(home))
    url = f"{getpass.getuser()}@127.0.0.1:{port}{tmp_path}/remote"
    names = {"me@server.example.org/srv/dvc": url}
    hand_over(*start(quick, tmp_path, GUIDE["A server with SSH"][0], names))


def make_bucket(server: str) -> None:
    import boto3

    secrets = {"aws_access_key_id": "tester", "aws_secret_access_key": SECRET}
    boto3.client("s3", endpoint_url=server, region_name="us-east-1", **secrets).create_bucket(
        Bucket="lab-tissue"
    )


def test_results_of_a_changed_parameter_are_pulled_and_not_computed(
    pair: tuple[Path, Path],
) -> None:
    mine, yours = pair
    assert "Running stage 'tsne'" in execute(OFFER, mine)
    assert "Running stage" not in execute(TAKE, yours)
    assert "perplexity: 7" in (yours / "params.yaml").read_text()


def test_results_without_a_commit_are_pulled_and_not_computed(pair: tuple[Path, Path]) -> None:
    mine, yours = pair
    views = {"scratch": {"views": 1}, "pretrained": {"views": 1}}
    change = {"fetch": {"phantom": {"size": 97}}, **views}
    update_params(mine / "params.yaml", change)
    run("dvc", "repro", cwd=mine)
    printed = execute(PUSH_RUNS, mine)
    assert "files pushed" in printed
    assert "metrics and plots of runs pushed" in printed
    # Git has not carried the new dvc.lock: only the run-cache knows the results.
    update_params(yours / "params.yaml", change)
    printed = execute(PULL_RUNS, yours)
    assert "Running stage" not in printed
    for name in ("fetch", "embed", "train_pretrained", "evaluate", "report"):
        assert f"Stage '{name}' is cached - skipping run" in printed
    assert (yours / "dvc.lock").read_bytes() == (mine / "dvc.lock").read_bytes()
    for folder in ("metrics", "plots"):
        assert not filecmp.dircmp(mine / folder, yours / folder).diff_files


def test_a_remote_that_is_missing_or_no_folder(quick: Path, tmp_path: Path) -> None:
    clone = shutil.copytree(quick, tmp_path / "clone", symlinks=True)
    printed = run("python", "-m", "tissue", "push", cwd=clone, expect=1)
    assert "no remote specified" in printed
    assert "Traceback" not in printed
    (tmp_path / "file").touch()
    run("dvc", "remote", "add", "--default", "storage", str(tmp_path / "file/remote"), cwd=clone)
    printed = run("python", "-m", "tissue", "push", cwd=clone, expect=255)
    assert str(tmp_path / "file/remote") in printed
    assert "Traceback" not in printed


def test_without_the_lock_nothing_runs_either(quick: Path, tmp_path: Path) -> None:
    clone = shutil.copytree(quick, tmp_path / "clone", symlinks=True)
    before = (clone / "dvc.lock").read_bytes()
    (clone / "dvc.lock").unlink()
    assert "Running stage" not in run("dvc", "repro", cwd=clone)
    assert (clone / "dvc.lock").read_bytes() == before


def test_some_of_the_data(pair: tuple[Path, Path]) -> None:
    other = clone(pair[0].parent, "other")
    execute(SOME, other)
    assert sorted(path.name for path in (other / "data").iterdir()) == ["models", "predictions"]


def test_a_damaged_file_in_the_remote_is_noticed_and_can_be_replaced(
    pair: tuple[Path, Path],
) -> None:
    mine, _ = pair
    other, remote = clone(mine.parent, "other"), mine.parent / "remote"
    content = (mine / "data/split/train.npy").read_bytes()
    stored = [path for path in remote.rglob("*") if path.is_file()]
    (damaged,) = [path for path in stored if path.read_bytes() == content]
    damaged.chmod(0o644)
    damaged.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    printed = run("dvc", "pull", cwd=other, expect=1)
    assert "failed to pull data from the cloud" in printed
    assert "data/split" in printed
    which, again = GUIDE["When a file in the remote is damaged"]
    assert "/".join(damaged.parts[-2:]) in execute(which, other)
    damaged.unlink()
    lock = YAML(typ="safe", pure=True).load(mine / "dvc.lock")
    (listed,) = [out for out in lock["stages"]["split"]["outs"] if out["path"] == "data/split"]
    (remote / "files/md5" / listed["md5"][:2] / listed["md5"][2:]).unlink()
    execute(again, mine)
    assert UP_TO_DATE in execute(GET, other)


@contextmanager
def gate(host: str, port: int) -> Iterator[tuple[int, dict[str, int]]]:
    """Yield a port that leads to a server, and how many bytes may pass before all is cut."""
    left = {"bytes": 1 << 60}
    writers: list[asyncio.StreamWriter] = []

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(16384):
            left["bytes"] -= len(data)
            if left["bytes"] <= 0:
                for each in writers:  # idle ones as well: their readers would wait for ever
                    each.transport.abort()
                return
            writer.write(data)
        writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, onward = await asyncio.open_connection(host, port)
        writers.extend((writer, onward))
        both = carry(reader, onward), carry(back, writer)
        await asyncio.gather(*both, return_exceptions=True)

    loop = asyncio.new_event_loop()
    listening = loop.run_until_complete(asyncio.start_server(connect, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield listening.sockets[0].getsockname()[1], left
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


@test_buckets.needs_s3
def test_a_bucket_that_dies_in_the_middle_loses_nothing(
    quick: Path, tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone protects the commands for S3, whose secrets stay out of Git, and that an interrupted
    push or pull is completed by the same command later.
    """
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    host, _, port = server.removeprefix("http://").partition(":")
    make_bucket(server)
    with gate(host, int(port)) as (entrance, left):
        names = {
            "https://s3.example.org": f"http://127.0.0.1:{entrance}",
            "$KEY_ID": "tester",
            "$SECRET": SECRET,
        }
        mine, yours = start(quick, tmp_path, GUIDE["A bucket"][0], names)
        assert SECRET in (mine / ".dvc/config.local").read_text()
        run("git", "check-ignore", ".dvc/config.local", cwd=mine)

        def cut_off(command: str, cwd: Path) -> None:
            left["bytes"] = 300_000
            # The status depends on the library that failed.
            assert "ERROR" in execute(f"! {command}", cwd)
            assert left["bytes"] <= 0
            left["bytes"] = 1 << 60

        cut_off("dvc push", mine)
        assert "Running stage" not in run("dvc", "repro", cwd=mine)
        execute(PUSH, mine)
        run("git", "pull", "--quiet", cwd=yours)
        cut_off("dvc pull", yours)
        hand_over(mine, yours)


def test_a_conflict_in_the_lock_runs_only_what_nobody_has_run(pair: tuple[Path, Path]) -> None:
    mine, yours = pair
    changes = {mine: {"tsne": {"perplexity": 7}}, yours: {"evaluate": {"bootstrap": 200}}}
    for side, change in changes.items():
        update_params(side / "params.yaml", change)
        run("dvc", "repro", cwd=side)
        commit(side, "another parameter")
    run("dvc", "push", cwd=yours)
    run("git", "push", "--quiet", "origin", "main:yours", cwd=yours)
    run("git", "fetch", "--quiet", cwd=mine)
    printed = run("git", "merge", "origin/yours", cwd=mine, expect=1)
    assert "CONFLICT (content): Merge conflict in dvc.lock" in printed
    printed = execute(GUIDE["When dvc.lock conflicts in a merge"][0], mine)
    # Of the merged parameters nobody has run the report; the rest was run on either side.
    ran = [line for line in printed.splitlines() if line.startswith("Running")]
    assert ran == ["Running stage 'report':"]
    assert run("git", "status", "--porcelain", cwd=mine) == ""
    assert UP_TO_DATE in run("dvc", "status", cwd=mine)


def test_every_block_of_the_guide_is_executed_here() -> None:
    used = {"A folder", "A server with SSH", "A bucket", "Hand over", "Results of other parameters"}
    used |= {"When dvc.lock conflicts in a merge", "When a file in the remote is damaged"}
    assert set(GUIDE) == used
    assert sum(map(len, GUIDE.values())) == 13
