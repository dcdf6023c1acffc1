"""A sweep on a Ray cluster: four experiments while a node dies, and what is refused before.

The commands are those of docs/scale.md.
"""

import importlib.util
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pandas as pd
import psutil
import pytest

from stages.cli.running import InputError
from stages.sweeping.cluster import Order, Runner, run_on_cluster
from stages.sweeping.shared import Commit, shared_commit
from tests.clusters import Cluster, Node, cluster
from tests.conftest import commit, run, update_params
from tests.guides import blocks, execute

STAGE = "stages/train_scratch.py"
# Of a stage, so that experiments are under way until the test says so.
WAIT = """
import time
while Path({hold!r}).exists():
    time.sleep(0.1)
"""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(3, tmp_path_factory.mktemp("nodes")) as started:
        yield started


@pytest.fixture
def clone(quick: Path, tmp_path: Path) -> Path:
    """A clone with stand-ins as stages, and beside it a repository that is not its remote yet."""
    run("git", "init", "--quiet", "--bare", "--initial-branch=main", "hub.git", cwd=tmp_path)
    return shutil.copytree(quick, tmp_path / "clone", symlinks=True)


def share(clone: Path) -> None:
    """Bring a commit, and the data that it names, to remotes beside the clone."""
    run("git", "remote", "add", "origin", "../hub.git", cwd=clone)
    folder = str(clone.with_name("remote"))
    run("dvc", "remote", "add", "--default", "storage", folder, cwd=clone)
    commit(clone, "share")
    run("dvc", "push", cwd=clone)
    run("git", "push", "--quiet", "origin", "main", cwd=clone)


def works(node: Node) -> bool:
    """Whether an experiment trains on a node."""
    for process in psutil.Process(node.process.pid).children(recursive=True):
        with suppress(psutil.Error):  # of one that has just ended
            if "stages.train_scratch" in process.cmdline():
                return True
    return False


@pytest.mark.skipif(
    not importlib.util.find_spec("ray"), reason="needs ray: pip install -r requirements-ray.txt"
)
def test_node_killed_in_the_middle(nodes: Cluster, clone: Path, tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    with (clone / STAGE).open("a") as stage:
        stage.write(WAIT.format(hold=str(hold)))
    update_params(clone / "params.yaml", {"engine": {"kind": "ray", "address": nodes.address}})
    share(clone)
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv/installed").touch()
    start, take = blocks("scale.md")["A sweep over many machines"]
    command = start.replace("make sweep", f"make sweep VENV={tmp_path}/venv")
    sweep = nodes.run("bash", "-c", command, cwd=clone)
    while not all(works(node) for node in nodes.nodes):
        assert sweep.poll() is None, sweep.communicate()[0]
        time.sleep(0.1)
    nodes.nodes[2].kill()
    hold.unlink()
    printed, _ = sweep.communicate()
    assert sweep.returncode == 0, printed

    table = pd.read_csv(clone / "sweep/sweep.csv")
    assert list(table["model"]) == ["pretrained"] * 4 + ["scratch"] * 4
    # What the stand-ins make of the learning rate, as for a sweep on one machine.
    assert list(table["val_accuracy"]) == [0.8, 0.8, 0.7, 0.6] * 2
    assert list(table["lr"]) == [0.01, 0.0001, 0.1, 1] * 2
    assert set(table["ran"]) == {"train_pretrained", "train_scratch"}
    assert (clone / "sweep/sweep.png").exists()
    listed = set(run("dvc", "exp", "list", "--name-only", cwd=clone).split())
    assert listed == set(table["experiment"])
    assert len(listed) == 4
    assert run("git", "status", "--porcelain", cwd=clone) == ""

    # Data comes with the experiment that is wanted.
    execute(take, clone, {"sweep-3fa2c1-2": table["experiment"][0]})
    assert (clone / "data/models/scratch.keras").read_bytes().endswith(b"0.01")


def test_what_others_could_not_get_at_is_refused(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(clone)

    def git(*command: str) -> Callable[[], object]:
        return lambda: run("git", *command, cwd=clone)

    def remote(*words: str) -> Callable[[], object]:
        return lambda: run("dvc", "remote", "add", "--force", "--default", *words, cwd=clone)

    def push() -> None:
        commit(clone, "more")
        run("git", "push", "--quiet", "origin", "main", cwd=clone)

    steps: list[tuple[Callable[[], object], str]] = [
        (lambda: None, r"Git remote origin.*`git remote add origin <url>`"),
        (git("remote", "add", "origin", "../hub.git"), "not pushed. Run `git push`"),
        (git("push", "--quiet", "origin", "main"), r"default DVC remote.*Received: none"),
        (remote("--local", "storage", "here"), r"default DVC remote.*Received: none"),
        ((clone / ".dvc/config.local").unlink, "default DVC remote"),
        (remote("storage", "../remote"), r"clean working tree.*' M .dvc/config'. Commit"),
        (push, r"Received: storage with the relative path ../../remote"),
        (lambda: [remote("storage", str(clone.with_name("remote")))(), push()], "Run `dvc push`"),
    ]
    for step, told in steps:
        step()
        with pytest.raises(InputError, match=told):
            shared_commit()
    run("dvc", "push", cwd=clone)
    sha = run("git", "rev-parse", "HEAD", cwd=clone).strip()
    assert shared_commit() == Commit(str(clone.with_name("hub.git")), sha)


def test_ray_is_asked_for_before_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"expected the package ray.*requirements-ray"):
        list(run_on_cluster([{"lr": "0.1"}]))


def test_a_machine_that_cannot_clone_is_named(tmp_path: Path) -> None:
    nowhere = Runner(Commit(str(tmp_path / "nowhere"), "0" * 40))
    failed = nowhere(Order("sweep-1", {"lr": "0.1"}, "the experiment lr=0.1"))
    assert isinstance(failed, InputError)
    assert str(failed).startswith("on ")
    assert "expected `git clone` to work. Received the status 128" in str(failed)
