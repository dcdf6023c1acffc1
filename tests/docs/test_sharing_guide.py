"""docs/sharing.md, command by command: folder, SSH server and bucket, and what may go wrong."""

import filecmp
import getpass
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.sources import test_buckets
from tests.conftest import commit, run, update_params
from tests.guides import blocks, execute

home, port, server = test_buckets.home, test_buckets.port, test_buckets.server
GUIDE = blocks("sharing.md")
PUSH, GET, SOME = GUIDE["Hand over"]
OFFER, TAKE, PUSH_RUNS, PULL_RUNS = GUIDE["Results of other parameters"]
UP_TO_DATE = "Data and pipelines are up to date."
SECRET = "not-for-git"
KINDS = [
    "A folder",
    pytest.param("A server with SSH", marks=test_buckets.needs_ssh),
    pytest.param("A bucket", marks=test_buckets.needs_s3),
]


def given(kind: str, request: pytest.FixtureRequest, folder: Path) -> dict[str, str]:
    """What stands on this machine for the places that the guide names."""
    if kind == "A folder":
        return {"/mnt/lab/dvc": str(folder / "remote")}
    if kind == "A server with SSH":
        port, home = request.getfixturevalue("port"), request.getfixturevalue("home")
        request.getfixturevalue("monkeypatch").setenv("HOME", str(home))
        place = f"{getpass.getuser()}@127.0.0.1:{port}{folder}/remote"
        return {"me@server.example.org/srv/dvc": place}
    bucket(server := request.getfixturevalue("server"))
    return {"https://s3.example.org": server, "$KEY_ID": "tester", "$SECRET": SECRET}


def bucket(server: str) -> None:
    import boto3

    secrets = {"aws_access_key_id": "tester", "aws_secret_access_key": SECRET}
    boto3.client("s3", endpoint_url=server, region_name="us-east-1", **secrets).create_bucket(
        Bucket="lab-tissue"
    )


def start(quick: Path, folder: Path, setting_up: str, places: dict[str, str]) -> tuple[Path, Path]:
    """A repository that has the data and a remote, and a clone of it without data."""
    mine, yours, hub = folder / "mine", folder / "yours", folder / "hub.git"
    shutil.copytree(quick, mine, symlinks=True)
    run("git", "init", "--quiet", "--bare", "--initial-branch=main", str(hub), cwd=folder)
    run("git", "remote", "add", "origin", str(hub), cwd=mine)
    run("git", "push", "--quiet", "--set-upstream", "origin", "main", cwd=mine)
    execute(setting_up, mine, places)
    run("git", "clone", "--quiet", str(hub), str(yours), cwd=folder)
    local = mine / ".dvc/config.local"
    if local.is_file():
        shutil.copy2(local, yours / ".dvc/config.local")
    return mine, yours


@pytest.mark.parametrize("kind", KINDS)
def test_clone_pull_and_nothing_runs(
    kind: str, quick: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    places = given(kind, request, tmp_path)
    mine, yours = start(quick, tmp_path, GUIDE[kind][0], places)
    execute(PUSH, mine)
    said = execute(GET, yours)
    assert UP_TO_DATE in said
    assert "Running stage" not in said
    assert (yours / "data/split/train.npy").read_bytes() == (
        quick / "data/split/train.npy"
    ).read_bytes()
    assert run("git", "status", "--porcelain", cwd=yours) == ""
    assert run("git", "grep", SECRET, "--", ".dvc", "params.yaml", cwd=mine, expect=1) == ""
    if kind == "A bucket":
        assert SECRET in (mine / ".dvc/config.local").read_text()
        run("git", "check-ignore", ".dvc/config.local", cwd=mine)


def folder_pair(quick: Path, tmp_path: Path) -> tuple[Path, Path]:
    return start(quick, tmp_path, GUIDE["A folder"][0], {"/mnt/lab/dvc": f"{tmp_path}/remote"})


def test_results_of_a_changed_parameter_are_pulled_and_not_computed(
    quick: Path, tmp_path: Path
) -> None:
    mine, yours = folder_pair(quick, tmp_path)
    execute(PUSH, mine)
    assert "Running stage 'tsne'" in execute(OFFER, mine)
    execute(GET, yours)
    assert "Running stage" not in execute(TAKE, yours)
    assert "perplexity: 7" in (yours / "params.yaml").read_text()


def test_results_without_a_commit_are_pulled_and_not_computed(quick: Path, tmp_path: Path) -> None:
    mine, yours = folder_pair(quick, tmp_path)
    execute(PUSH, mine)
    execute(GET, yours)
    change = {"fetch": {"phantom": {"size": 97}}, "pretrained": {"views": 1}}
    update_params(mine / "params.yaml", change)
    run("dvc", "repro", cwd=mine)
    said = execute(PUSH_RUNS, mine)
    assert "files pushed" in said
    assert "metrics and plots of runs pushed" in said
    # Git has not carried the new dvc.lock: only the run-cache knows the results.
    update_params(yours / "params.yaml", change)
    said = execute(PULL_RUNS, yours)
    assert "Running stage" not in said
    for name in ("fetch", "embed", "train_pretrained", "evaluate", "report"):
        assert f"Stage '{name}' is cached - skipping run" in said
    assert (yours / "dvc.lock").read_bytes() == (mine / "dvc.lock").read_bytes()
    for folder in ("metrics", "plots"):
        assert not filecmp.dircmp(mine / folder, yours / folder).diff_files


def test_nowhere_to_push_to_is_told(quick: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(quick, clone, symlinks=True)
    said = run("python", "-m", "tissue", "push", cwd=clone, expect=1)
    assert "no remote specified" in said
    assert "Traceback" not in said
    (tmp_path / "file").touch()
    run("dvc", "remote", "add", "--default", "storage", str(tmp_path / "file/remote"), cwd=clone)
    said = run("python", "-m", "tissue", "push", cwd=clone, expect=255)
    assert str(tmp_path / "file/remote") in said
    assert "Traceback" not in said


def test_without_the_lock_nothing_runs_either(quick: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(quick, clone, symlinks=True)
    before = (clone / "dvc.lock").read_bytes()
    (clone / "dvc.lock").unlink()
    assert "Running stage" not in run("dvc", "repro", cwd=clone)
    assert (clone / "dvc.lock").read_bytes() == before


def test_a_part_of_the_data(quick: Path, tmp_path: Path) -> None:
    mine, yours = folder_pair(quick, tmp_path)
    execute(PUSH, mine)
    run("git", "pull", "--quiet", cwd=yours)
    execute(SOME, yours)
    assert sorted(path.name for path in (yours / "data").iterdir()) == ["models", "predictions"]


def test_a_damaged_file_in_the_remote_is_noticed_and_can_be_replaced(
    quick: Path, tmp_path: Path
) -> None:
    mine, yours = folder_pair(quick, tmp_path)
    execute(PUSH, mine)
    content = (mine / "data/split/train.npy").read_bytes()
    stored = [path for path in (tmp_path / "remote").rglob("*") if path.is_file()]
    (damaged,) = [path for path in stored if path.read_bytes() == content]
    damaged.chmod(0o644)
    damaged.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    run("git", "pull", "--quiet", cwd=yours)
    said = run("dvc", "pull", cwd=yours, expect=1)
    assert "failed to pull data from the cloud" in said
    assert "data/split" in said
    which, again = GUIDE["When a file in the remote is damaged"]
    assert "/".join(damaged.parts[-2:]) in execute(which, yours)
    damaged.unlink()
    lock = YAML(typ="safe", pure=True).load(mine / "dvc.lock")
    (listed,) = [out for out in lock["stages"]["split"]["outs"] if out["path"] == "data/split"]
    (tmp_path / "remote/files/md5" / listed["md5"][:2] / listed["md5"][2:]).unlink()
    execute(again, mine)
    assert UP_TO_DATE in execute(GET, yours)


@contextmanager
def gate(target: tuple[str, int]) -> Iterator[tuple[int, dict[str, int]]]:
    """A port that leads to a server until so many bytes have passed; then all its lines are cut."""
    left = {"bytes": 1 << 60}
    listening = socket.create_server(("127.0.0.1", 0))
    ends: list[socket.socket] = []

    def carry(one: socket.socket, other: socket.socket) -> None:
        try:
            while left["bytes"] > 0 and (data := one.recv(16384)):
                left["bytes"] -= len(data)
                if left["bytes"] > 0:
                    other.sendall(data)
        except OSError:
            pass  # the other direction was cut
        finally:
            # Lines on which nothing moves as well: who waits there would wait for ever.
            for end in (one, other) if left["bytes"] > 0 else tuple(ends):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            if left["bytes"] <= 0:
                client.close()
                continue
            onward = socket.create_connection(target)
            ends.extend((client, onward))
            for way in ((client, onward), (onward, client)):
                threading.Thread(target=carry, args=way, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield listening.getsockname()[1], left
    listening.close()
    for end in ends:
        end.close()


def fails(*command: str, cwd: Path) -> None:
    """Run a command that has to say an error; which status it ends with depends on the library."""
    said = execute(f"! {' '.join(command)}", cwd)
    assert "ERROR" in said


@test_buckets.needs_s3
def test_a_remote_that_dies_in_the_middle_loses_nothing(
    quick: Path, tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    host, _, port = server.removeprefix("http://").partition(":")
    bucket(server)
    with gate((host, int(port))) as (entrance, left):
        places = {
            "https://s3.example.org": f"http://127.0.0.1:{entrance}",
            "s3://lab-tissue/dvc": "s3://lab-tissue/dying",
            "$KEY_ID": "tester",
            "$SECRET": SECRET,
        }
        mine, yours = start(quick, tmp_path, GUIDE["A bucket"][0], places)
        left["bytes"] = 300_000
        fails("dvc", "push", cwd=mine)
        assert left["bytes"] <= 0
        assert "Running stage" not in run("dvc", "repro", cwd=mine)
        left["bytes"] = 1 << 60
        execute(PUSH, mine)
        run("git", "pull", "--quiet", cwd=yours)
        left["bytes"] = 300_000
        fails("dvc", "pull", cwd=yours)
        assert left["bytes"] <= 0
        left["bytes"] = 1 << 60
        said = execute(GET, yours)
    assert UP_TO_DATE in said
    assert "Running stage" not in said


def test_a_conflict_in_the_lock_runs_only_what_nobody_has_run(quick: Path, tmp_path: Path) -> None:
    mine, yours = folder_pair(quick, tmp_path)
    execute(PUSH, mine)
    execute(GET, yours)
    changes = {mine: {"tsne": {"perplexity": 7}}, yours: {"evaluate": {"bootstrap": 200}}}
    for clone, change in changes.items():
        update_params(clone / "params.yaml", change)
        run("dvc", "repro", cwd=clone)
        commit(clone, "another parameter")
    run("dvc", "push", cwd=yours)
    run("git", "push", "--quiet", "origin", "main:yours", cwd=yours)
    run("git", "fetch", "--quiet", cwd=mine)
    said = run("git", "merge", "origin/yours", cwd=mine, expect=1)
    assert "CONFLICT (content): Merge conflict in dvc.lock" in said
    said = execute(GUIDE["When dvc.lock conflicts in a merge"][0], mine)
    # Of the merged parameters nobody has run the report; the rest was run on either side.
    ran = [line for line in said.splitlines() if line.startswith("Running")]
    assert ran == ["Running stage 'report':"]
    assert run("git", "status", "--porcelain", cwd=mine) == ""
    assert UP_TO_DATE in run("dvc", "status", cwd=mine)


def test_every_block_of_the_guide_is_executed_here() -> None:
    used = {"A folder", "A server with SSH", "A bucket", "Hand over", "Results of other parameters"}
    used |= {"When dvc.lock conflicts in a merge", "When a file in the remote is damaged"}
    assert set(GUIDE) == used
    assert sum(map(len, GUIDE.values())) == 13
