"""`split`, `embed` and a sweep on a Ray cluster whose nodes die one after the other."""

import importlib.util
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from benchmarks.split import make_small
from stages import embed, split
from tests.clusters import KEYS, Cluster, Node, cluster
from tests.conftest import copy_project, run, update_params
from tests.guides import blocks, execute
from tests.mutations import WEEKLY
from tests.pipeline import ROOT, outputs
from tests.sources.test_buckets import needs_s3
from tests.stages.test_pipeline import digests
from tests.standins import environment_for_make, share, shared_clone
from tissue.chunks.running import ROWS
from tissue.config.loading import load_params

pytestmark = pytest.mark.skipif(
    not importlib.util.find_spec("ray"), reason="needs ray: pip install -r requirements/ray.txt"
)
COUNT, SIDE = 660, 32  # eleven chunks, so that a node dies while others are left
SETTINGS = {
    "image_size": SIDE,
    "split": {"crops": {"count": 1}},
    "pretrained": {"views": 2, "stainings": 1},
}
# What runs, and what its nodes share; in CI weekly each on both.
CASES: list[Any] = [("split", "folder"), pytest.param("embed", "bucket", marks=needs_s3)]
if WEEKLY:
    CASES += [("embed", "folder"), pytest.param("split", "bucket", marks=needs_s3)]
# Keeps the experiments of a stage running until the test deletes the file.
WAIT = """
import time
while Path({hold!r}).exists():
    time.sleep(0.1)
"""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two nodes, and one for each case to kill."""
    with cluster(2 + len(CASES), tmp_path_factory.mktemp("nodes")) as started:
        yield started


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with what `fetch` writes, and what `split` and `embed` write on one machine."""
    clone = copy_project(tmp_path_factory.mktemp("project") / "clone")
    update_params(clone / "params.yaml", SETTINGS)
    make_small(clone / "data/raw", COUNT, side=SIDE)
    params = load_params(clone / "params.yaml")
    split.run(params, clone)
    embed.run(params, clone)
    return clone


@pytest.fixture
def bucket(nodes: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A bucket that all nodes reach."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="0.0.0.0", port=0, verbose=False)
    server.start()
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    url = f"http://{nodes.host}:{server.get_host_and_port()[1]}"
    made = boto3.resource("s3", endpoint_url=url, region_name="us-east-1").Bucket("chunks")
    made.create()
    yield made
    server.stop()


def fresh_clone(project: Path, to: Path, stage: str, address: str, bucket: Any) -> Path:
    """A copy of the project without what a stage wrote, which a cluster is to write."""
    ignored = [Path(path).name for path in outputs(stage)]
    shutil.copytree(project, to, symlinks=True, ignore=shutil.ignore_patterns(*ignored))
    engine: dict[str, Any] = {"kind": "ray", "address": address}
    if bucket:
        url = bucket.meta.client.meta.endpoint_url
        engine |= {"storage": "s3://chunks/here", "storage_options": {"endpoint_url": url}}
    update_params(to / "params.yaml", {"engine": engine})
    return to


def chunks_done(clone: Path, stage: str, bucket: Any) -> list[str]:
    """Names of the chunks of a stage that are done."""
    if not bucket:
        return [path.name for path in clone.glob(f"data/.{stage}.chunks/*/[!.]*")]
    time.sleep(0.2)  # to list a bucket is work
    keys = [found.key for found in bucket.objects.all()]
    return [key for key in keys if key.endswith(".npy") and "/inputs/" not in key]


@pytest.mark.parametrize(("stage", "shared"), CASES)
def test_a_node_killed_in_the_middle_changes_no_byte(
    stage: str,
    shared: str,
    nodes: Cluster,
    project: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """The only test that results are those of one machine although machines of a cluster die, and
    that inputs and results pass through a storage, from the inside of Ray.
    """
    bucket = request.getfixturevalue("bucket") if shared == "bucket" else None
    clone = fresh_clone(project, tmp_path / "clone", stage, nodes.address, bucket)
    process = nodes.run("python", "-m", f"stages.{stage}", cwd=clone)
    while not (done := chunks_done(clone, stage, bucket)):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    if bucket:
        assert any("/inputs/" in found.key for found in bucket.objects.all())
    nodes.nodes.pop().kill()
    assert len(done) < COUNT // ROWS
    printed, _ = process.communicate()
    assert process.returncode == 0, printed
    assert not list(clone.glob("data/.*.chunks"))
    assert not bucket or not list(bucket.objects.all())
    made = outputs(stage)
    assert digests(clone, made) == digests(project, made)


def test_machines_with_too_few_cores(nodes: Cluster) -> None:
    program = (
        "from tissue.chunks.cluster import run_on_ray;"
        f"list(run_on_ray(print, [1], address={nodes.address!r}, threads=3))"
    )
    printed, _ = nodes.run("python", "-c", program, cwd=ROOT).communicate()
    assert re.search(r"InputError: .*expected a machine with 3 cores \(threads\)", printed)


def works(node: Node) -> bool:
    """Whether an experiment is training on a node."""
    for process in psutil.Process(node.process.pid).children(recursive=True):
        with suppress(psutil.Error):  # of one that has just ended
            if "stages.train_scratch" in process.cmdline():
                return True
    return False


def test_a_sweep_when_a_node_is_killed(nodes: Cluster, quick: Path, tmp_path: Path) -> None:
    """The only test that runs a sweep on a cluster, with the commands of docs/scale.md."""
    clone = shared_clone(quick, tmp_path)
    hold = tmp_path / "hold"
    hold.touch()
    with (clone / "stages/train_scratch.py").open("a") as stage:
        stage.write(WAIT.format(hold=str(hold)))
    update_params(clone / "params.yaml", {"engine": {"kind": "ray", "address": nodes.address}})
    share(clone)
    start, take = blocks("scale.md")["A sweep over many machines"]
    command = start.replace("make sweep", f"make sweep {environment_for_make(tmp_path)}")
    sweep = nodes.run("bash", "-c", command, cwd=clone)
    while not all(works(node) for node in nodes.nodes[:2]):
        assert sweep.poll() is None, sweep.communicate()[0]
        time.sleep(0.1)
    nodes.nodes[1].kill()
    hold.unlink()
    printed, _ = sweep.communicate()
    assert sweep.returncode == 0, printed

    table = pd.read_csv(clone / "sweep/sweep.csv")
    assert list(table["model"]) == ["scratch"] * 4  # without fine-tuning the other has no rate
    # The stand-ins derive these from the learning rate.
    assert list(table["val_accuracy"]) == [0.8, 0.8, 0.7, 0.6]
    assert list(table["lr"]) == [0.01, 0.0001, 0.1, 1]
    assert set(table["ran"]) == {"train_scratch"}
    assert (clone / "sweep/sweep.png").exists()
    listed = set(run("dvc", "exp", "list", "--name-only", cwd=clone).split())
    assert listed == set(table["experiment"])
    assert len(listed) == 4
    assert run("git", "status", "--porcelain", cwd=clone) == ""

    # The data of an experiment is pulled when it is wanted.
    execute(take, clone, {"sweep-3fa2c1-2": table["experiment"][0]})
    assert "kind: ray" in (clone / "params.yaml").read_text()
    assert (clone / "data/models/scratch.keras").read_bytes().endswith(b"0.01")
