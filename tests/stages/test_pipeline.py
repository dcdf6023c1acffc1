import hashlib
import importlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dvc.repo import Repo
from pydantic import BaseModel

from tests.conftest import commit, run, update_params
from tests.pipeline import ORDER, PIPELINE, ROOT, STAGES, code_of, outputs
from tissue.config.loading import load_params
from tissue.data.index import read_array
from tissue.data.shards import Shards

SHARD_SIZE = 20
# What differs with it: arrays, which are compared by themselves, and what names the parameters.
OTHERWISE = ("data/split", "data/embed", "data/models/pretrained.md", "plots/report.html")
# What is re-run when a parameter changes. The report shows params.yaml and always is.
BOTH_TRAININGS = {"train_scratch", "train_pretrained", "evaluate", "report"}
PRETRAINED = {"train_pretrained", "evaluate", "report"}
FROM_EMBED = {"embed", "train_pretrained", "evaluate", "tsne", "report"}
FROM_SPLIT = set(ORDER) - {"fetch"}
RERUNS: dict[str, tuple[Any, set[str]]] = {
    "seed": (18, set(ORDER)),
    "lr": (1e-5, BOTH_TRAININGS),
    "batch_size": (16, BOTH_TRAININGS),
    "image_size": (64, FROM_SPLIT),
    "threads": (1, set(ORDER) - {"fetch", "split"}),
    "fetch.source": ("images.zip", set(ORDER)),
    "fetch.watch": ("docs", set(ORDER)),
    "fetch.phantom.size": (128, set(ORDER)),
    "split.val_fraction": (0.25, FROM_SPLIT),
    "split.shard_size": (20, FROM_SPLIT),
    "split.metadata": ("donors.csv", FROM_SPLIT),
    "scratch.epochs": (4, {"train_scratch", "evaluate", "report"}),
    "scratch.views": (3, {"train_scratch", "evaluate", "report"}),
    "pretrained.backbone": ("mobilenet_v2", FROM_EMBED),
    "pretrained.weights": ("imagenet", FROM_EMBED),
    "pretrained.sha256": ("0" * 64, FROM_EMBED),
    "pretrained.onnx.tokens": ("mean", FROM_EMBED),
    "pretrained.views": (3, FROM_EMBED),
    "pretrained.stainings": (0, FROM_EMBED),
    "pretrained.epochs": (4, PRETRAINED),
    "pretrained.fine_tune_epochs": (1, PRETRAINED),
    "evaluate.bootstrap": (200, {"evaluate", "report"}),
    "evaluate.heat_maps": (10, {"evaluate", "report"}),
    "tsne.perplexity": (12, {"tsne", "report"}),
    "tsne.max_images": (100, {"tsne", "report"}),
    "compare.tolerance": ({"pretrained.test.accuracy": 0.1}, {"report"}),
}


def test_stages_are_named_as_promised() -> None:
    assert tuple(STAGES) == ORDER
    for name, stage in STAGES.items():
        assert stage["cmd"] == f"python -m stages.{name}"
        assert stage["desc"]


@pytest.mark.parametrize("stage", ORDER)
def test_code_a_stage_imports_is_what_it_depends_on(stage: str) -> None:
    declared = {path for path in STAGES[stage]["deps"] if path.endswith(".py")}
    assert declared == code_of(stage)


class Recorder:
    """Stands for the parameters and notes which of them are read."""

    def __init__(self, values: BaseModel, read: set[str], prefix: str = "") -> None:
        self.values, self.read, self.prefix = values, read, prefix

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.values, name)
        path = f"{self.prefix}{name}"
        self.read.add(path)
        return Recorder(value, self.read, f"{path}.") if isinstance(value, BaseModel) else value


@pytest.mark.parametrize("stage", ORDER)
def test_params_a_stage_reads_are_what_it_declares(
    stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module(f"stages.{stage}")
    read: set[str] = set()
    recorder = Recorder(load_params(ROOT / "params.yaml"), read)
    monkeypatch.setattr(module, "load_params", lambda: recorder, raising=False)
    monkeypatch.setattr(module, "run", lambda *args, **kwargs: None)
    # It looks whether files are there, and decides none of the bytes that are written.
    monkeypatch.setattr(module, "check_named_files", lambda params: None, raising=False)
    module.main()
    whole = {path for path in read if not any(other.startswith(f"{path}.") for other in read)}
    # Where a stage does its work decides none of the bytes that it writes, so no change of it
    # makes results old.
    assert whole - {"engine"} == set(STAGES[stage].get("params", []))


def digests(folder: Path, paths: list[str]) -> dict[str, str]:
    files = [
        file
        for path in paths
        for file in (
            [folder / path] if (folder / path).is_file() else sorted((folder / path).rglob("*"))
        )
        if file.is_file()
    ]
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }


def copy(paths: Iterable[str], source: Path, to: Path) -> None:
    for path in paths:
        (to / path).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (source / path).is_dir() else shutil.copy2)(source / path, to / path)


def test_stages_need_only_their_deps_and_many_shards_change_no_result(
    tiny: Path, tmp_path: Path
) -> None:
    """Each stage in a folder of its own, on arrays in several files: the results are `tiny`'s."""
    results = tmp_path / "results"
    for stage in ORDER:
        deps, here = STAGES[stage]["deps"], tmp_path / stage
        for path in (*deps, "params.yaml"):
            copy([path], results if (results / path).exists() else tiny, here)
        update_params(here / "params.yaml", {"split": {"shard_size": SHARD_SIZE}})
        run("python", "-m", f"stages.{stage}", cwd=here)
        made = outputs(stage)
        declared = {*digests(here, [*deps, *made]), "params.yaml"}
        written = {path.relative_to(here).as_posix() for path in here.rglob("*") if path.is_file()}
        assert {path for path in written if "__pycache__" not in path} == declared, stage
        copy(made, here, results)
        if stage in ("split", "embed"):
            assert_same_arrays(here / f"data/{stage}", tiny / f"data/{stage}")
        same = [path for path in made if path not in OTHERWISE]
        assert digests(here, same) == digests(tiny, same), stage


def assert_same_arrays(many: Path, one: Path) -> None:
    for path in one.glob("*.npy"):
        whole, shards = read_array(path), read_array(many / path.name)
        assert np.array_equal(whole, shards[:])
        assert len(list(many.glob(f"{path.stem}.*npy"))) == -(-len(whole) // SHARD_SIZE)
    assert isinstance(read_array(many / "train.npy"), Shards)


def test_everything_is_up_to_date_after_a_run(tiny: Path) -> None:
    assert "Data and pipelines are up to date." in run("dvc", "status", cwd=tiny)
    assert "Running stage" not in run("dvc", "repro", cwd=tiny)
    assert run("git", "status", "--porcelain", cwd=tiny) == ""


@pytest.mark.parametrize("key", RERUNS)
def test_a_changed_parameter_reruns_exactly_the_stages_it_concerns(
    key: str, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value, expected = RERUNS[key]
    before = (tiny / "params.yaml").read_bytes()
    for part in reversed(key.split(".")):
        value = {part: value}
    try:
        update_params(tiny / "params.yaml", value)
        monkeypatch.chdir(tiny)
        with Repo() as repo:  # `dvc status` itself takes a second
            changed = set(repo.status())
    finally:
        (tiny / "params.yaml").write_bytes(before)
    assert downstream(changed) == expected


def downstream(stages: set[str]) -> set[str]:
    reached = set(stages)
    for name in ORDER:
        made = [path for stage in reached for path in outputs(stage)]
        if any(
            dep == path or dep.startswith(f"{path}/")
            for dep in STAGES[name]["deps"]
            for path in made
        ):
            reached.add(name)
    return reached


def test_learning_rates_are_experiments_that_never_run_the_backbone(
    quick: Path, tmp_path: Path
) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(quick, clone, symlinks=True)
    printed = run("dvc", "exp", "run", "-S", "lr=1e-5", cwd=clone)
    ran = {name for name in ORDER if f"Running stage '{name}'" in printed}
    assert ran == BOTH_TRAININGS
    assert "lr" in run("dvc", "params", "diff", cwd=clone)
    assert "test.accuracy" in run("dvc", "metrics", "diff", "--all", cwd=clone)
    assert "index.html" in run("dvc", "plots", "show", cwd=clone)
    assert ",lr" in run("dvc", "exp", "show", "--only-changed", "--csv", cwd=clone)


def test_results_hold_what_is_promised(tiny: Path) -> None:
    split = json.loads((tiny / "metrics/split.json").read_text())
    assert split["images"]["train"] + split["images"]["val"] == 8 * 12
    assert split["images"]["test"] == 4 * 12
    assert split["groups"]["shared"] == split["rejected"] == 0
    for model in ("scratch", "pretrained"):
        metrics = json.loads((tiny / f"metrics/{model}.json").read_text())
        test = metrics["test"]
        assert test["n"] == 48
        assert test["accuracy_low"] <= test["accuracy"] <= test["accuracy_high"]
        assert len(test["recall"]) == 12
        assert metrics["parameters"] > 0
    drawn = {
        path for entry in PIPELINE["plots"] for settings in entry.values() for path in settings["y"]
    }
    assert all((tiny / path).is_file() for path in drawn)


def test_unreadable_images_and_metadata(tiny: Path, tmp_path: Path) -> None:
    """A source of folders with a broken file, split by a metadata file."""
    import zipfile

    source = tmp_path / "source"
    with zipfile.ZipFile(tiny / "data/raw/images-000.zip") as images:
        for name in images.namelist():
            if name.startswith("train/"):
                path = source / name.removeprefix("train/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(images.read(name))
    (source / "colon/broken.jpg").write_bytes(b"\xff\xd8\xff no more")
    clone = tmp_path / "clone"
    shutil.copytree(tiny, clone, symlinks=True)
    change = {"fetch": {"source": str(source)}, "split": {"min_per_class": 4}}
    update_params(clone / "params.yaml", change)
    run("dvc", "repro", "split", cwd=clone)
    split = json.loads((clone / "metrics/split.json").read_text())
    assert split["rejected"] == 1
    assert "colon/broken.jpg" in (clone / "data/split/rejected.csv").read_text()
    assert min(split["images"].values()) >= 12
    commit(clone, "own images")
