import hashlib
import json
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from tests.conftest import commit, run, update_params
from tests.killing import kill_at_a_write
from tests.pipeline import CONFIG, ORDER, PARAMS, PIPELINE, ROOT, STAGES, outputs, rooms_of
from tissue.data.shards import Shards, read_array

CODE = re.compile("(stages|tissue)/")
SHARD_SIZE = 20
# What differs with it: arrays, which are compared on their own, and files that name parameters.
OTHERWISE = ("data/split", "data/embed", "data/models/pretrained.md", "plots/report.html")
# The stages that a changed parameter runs again; the report shows params.yaml, so it always runs.
BOTH_TRAININGS = {"train_scratch", "train_pretrained", "evaluate", "report"}
PRETRAINED = {"train_pretrained", "evaluate", "report"}
FROM_EMBED = {"embed", "train_pretrained", "evaluate", "tsne", "audit", "report"}
FROM_SPLIT = set(ORDER) - {"fetch"}
RERUNS: dict[str, tuple[Any, set[str]]] = {
    "seed": (18, set(ORDER)),
    "lr": (1e-5, BOTH_TRAININGS),
    "batch_size": (16, BOTH_TRAININGS),
    "class_weights": ("balanced", BOTH_TRAININGS),
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
    "pretrained.penalty": (0.5, PRETRAINED),
    "pretrained.fine_tune_epochs": (1, PRETRAINED),
    "evaluate.bootstrap": (200, {"evaluate", "report"}),
    "evaluate.heat_maps": (10, {"evaluate", "report"}),
    "tsne.perplexity": (12, {"tsne", "report"}),
    "tsne.max_images": (100, {"tsne", "report"}),
    "audit.repeats": (2, {"audit", "report"}),
    "compare.tolerance": ({"pretrained.test.accuracy": 0.1}, {"report"}),
}


def test_every_script_is_a_stage_with_a_command_a_sentence_and_a_row_in_the_readme() -> None:
    scripts = {path.stem for path in (ROOT / "stages").glob("*.py")} - {"__init__"}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    problems = [
        f"dvc.yaml: add the stage {name} of stages/{name}.py" for name in scripts - set(ORDER)
    ]
    for name, stage in STAGES.items():
        if name not in scripts:
            problems.append(f"stages/{name}.py: expected the script of a stage in dvc.yaml")
        if stage["cmd"] != f"python -m stages.{name}":
            problems.append(f"dvc.yaml: the cmd of {name} should be python -m stages.{name}")
        if not stage.get("desc"):
            problems.append(f"dvc.yaml: {name} needs a desc")
        if f"(stages/{name}.py)" not in readme:
            problems.append(f"README.md: add a row for {name} to the table of stages")
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("stage", ORDER)
def test_a_stage_depends_on_its_script_and_on_the_rooms_that_it_imports(stage: str) -> None:
    declared = set(STAGES[stage]["deps"])
    used = rooms_of(stage) | {f"stages/{stage}.py"}
    code = {path for path in declared if path.startswith(("stages/", "tissue/"))}
    code -= {PARAMS["fetch"]["watch"]}
    problems = [f"dvc.yaml: add '- {path}' to the deps of {stage}" for path in sorted(used - code)]
    problems += [
        f"dvc.yaml: delete '- {path}' from the deps of {stage}, which does not import it"
        for path in sorted(code - used)
    ]
    assert not problems, "\n".join(problems)


def test_the_pipeline_is_taken_in_at_a_glance() -> None:
    lines = (ROOT / "dvc.yaml").read_text(encoding="utf-8").splitlines()
    code = [dep for stage in STAGES.values() for dep in stage["deps"] if CODE.match(dep)]
    assert len(lines) < 215
    assert len(code) <= 6.5 * len(STAGES), "dvc.yaml: list rooms, not files, and fewer code deps"


def change_undeclared(values: dict[str, Any], declared: Sequence[str], above: str = "") -> None:
    """Give another valid value to each number that a stage does not declare as a parameter."""
    for name, value in values.items():
        key = f"{above}{name}"
        if key in declared:
            continue
        if isinstance(value, dict):
            change_undeclared(value, declared, f"{key}.")
        elif isinstance(value, int):
            values[name] = not value if isinstance(value, bool) else value + 1
        elif isinstance(value, float):
            values[name] = 0.9 * value


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


def test_stages_need_only_what_they_declare_and_neither_shards_nor_a_kill_change_a_result(
    tiny: Path, tmp_path: Path
) -> None:
    """Run each stage in a folder that holds only its deps, with other values for all parameters
    that it does not declare, on arrays in several files, after a run that was killed: the results
    are those of `tiny`.

    Only this test proves that DVC knows everything that a result depends on.
    """
    results = tmp_path / "results"
    yaml = YAML()
    for stage in ORDER:
        deps, here = STAGES[stage]["deps"], tmp_path / stage
        for path in (*deps, "params.yaml", CONFIG):
            copy([path], results if (results / path).exists() else tiny, here)
        update_params(here / "params.yaml", {"split": {"shard_size": SHARD_SIZE}})
        if "params.yaml" not in deps:
            values = yaml.load(here / "params.yaml")
            change_undeclared(values, STAGES[stage].get("params", []))
            yaml.dump(values, here / "params.yaml")
        command = ("python", "-m", f"stages.{stage}")
        kill_at_a_write(stage, here, tmp_path / f"kill_{stage}", *command)
        run(*command, cwd=here)
        made = outputs(stage)
        declared = {*digests(here, [*deps, *made, CONFIG]), "params.yaml"}
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
    for name in reversed(key.split(".")):
        value = {name: value}
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
    assert "scratch.test" in run("dvc", "metrics", "diff", "--all", cwd=clone)
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
