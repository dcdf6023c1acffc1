"""The sweep: its grid, how stages are timed, and a run of two experiments with stand-ins."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import commit, run
from tests.pipeline import ROOT
from tissue.commands import sweep
from tissue.common.errors import InputError
from tissue.experiments import runs as experiments
from tissue.experiments.grid import Point, changed_models, parse_grid
from tissue.experiments.runs import Experiment, experiment_rows, sweep_table, time_stages
from tissue.figures.costs import CACHED, cost_figure


class TestGrid:
    def test_every_combination(self) -> None:
        found = parse_grid(["lr=0.001,3e-3", "pretrained.hidden=0,64"])
        assert [tuple(point.values()) for point in found] == [
            ("0.001", "0"),
            ("0.001", "64"),
            ("3e-3", "0"),
            ("3e-3", "64"),
        ]
        assert list(found[0]) == ["lr", "pretrained.hidden"]

    @pytest.mark.parametrize(
        "argument",
        [
            "lr", "lr=", "lr=1,,2", "lr=1,1", "lr=0.001,1e-3", "nosuch=1", "lr.deep=1",
            "pretrained.nosuch=1", "pretrained=1", "tsne.perplexity=20,30", "engine.kind=ray",
        ],
    )  # fmt: skip
    def test_what_is_no_grid(self, argument: str) -> None:
        with pytest.raises(InputError, match="Received: '"):
            parse_grid([argument])

    def test_values_that_are_lists(self) -> None:
        found = parse_grid(["scratch.progressive=[0.57,0.79],[],[0.5]", "lr=1"])
        assert [point["scratch.progressive"] for point in found] == ["[0.57,0.79]", "[]", "[0.5]"]

    def test_a_parameter_twice(self) -> None:
        with pytest.raises(InputError, match="each once"):
            parse_grid(["lr=1", "lr=2"])

    def test_models_that_a_parameter_changes(self) -> None:
        assert changed_models(["scratch.width"]) == ["scratch"]
        assert changed_models(["pretrained.l2", "pretrained.hidden"]) == ["pretrained"]
        assert changed_models(["pretrained.l2", "lr"]) == ["pretrained", "scratch"]


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("lr=0.001,-1", r"lr: expected greater than 0\. Received: -1"),
        ("scratch.progressive=[0.5],[2]", r"scratch\.progressive: expected less than 1\."),
        ("pretrained.hidden=[1", r"pretrained\.hidden: expected a value in YAML\. Received: \[1"),
    ],
)
def test_values_are_checked_before_the_first_experiment(
    argument: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sweep, "run", pytest.fail)
    with pytest.raises(SystemExit, match=said):
        sweep.main([argument, "--out", str(tmp_path / "out")])


SAID = [
    (0.0, "Stage 'fetch' didn't change, skipping"),
    (1.0, "Running stage 'embed':"),
    (1.1, "> python -m stages.embed"),
    (7.0, "Stage 'train_scratch' is cached - skipping run"),
    (9.0, "Running stage 'train_pretrained':"),
    (12.0, "Running stage 'evaluate':"),
    (20.5, "Ran experiment(s): able-tern"),
]


def test_code_that_changes_during_a_sweep_ends_it(
    quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = tmp_path / "clone"
    run("git", "clone", "--quiet", str(quick), str(clone), cwd=tmp_path)
    monkeypatch.chdir(clone)
    ran = []
    monkeypatch.setattr(experiments, "run_experiment", lambda point, *_: ran.append(point))
    outcomes = experiments.run_here([{"lr": "1"}, {"lr": "2"}, {"lr": "3"}])
    next(outcomes)
    next(outcomes)
    with (clone / "params.yaml").open("a") as file:
        file.write("# mine\n")
    _, outcome = next(outcomes)
    assert ran == [{"lr": "1"}, {"lr": "2"}]
    assert "expected the code and parameters that the sweep began with" in str(outcome)


class TestTable:
    def test_stages_are_timed_until_dvc_goes_on(self) -> None:
        seconds, printed = time_stages(SAID)
        assert seconds == {"embed": 6.0, "train_pretrained": 3.0, "evaluate": 8.5}
        assert len(printed) == len(SAID)

    def values(self, accuracy: float) -> dict:
        right = accuracy - 0.1
        interval = {"accuracy_low": right - 0.1, "accuracy_high": right + 0.1}
        test = {"accuracy": right, **interval, "macro_f1": 0.5, "ece": 0.1}
        return {"val": {"accuracy": accuracy}, "test": test, "parameters": 7}

    def test_rows_are_ordered_by_validation_and_cost_what_ran(self) -> None:
        rows = []
        for lr, accuracy, seconds in (
            ("1", 0.6, {"train_scratch": 4.0, "embed": 2.0, "train_pretrained": 1.0}),
            ("2", 0.8, {"train_pretrained": 3.0}),
        ):
            metrics = {
                f"metrics/{m}.json": self.values(accuracy) for m in ("scratch", "pretrained")
            }
            rows += experiment_rows({"lr": lr}, Experiment(f"e{lr}", seconds), metrics)
        table = sweep_table(rows)
        assert list(table["experiment"]) == ["e2", "e1", "e2", "e1"]
        assert list(table["model"]) == ["pretrained"] * 2 + ["scratch"] * 2
        assert list(table["seconds"].fillna(-1)) == [3.0, 3.0, -1, 4.0]
        assert list(table["ran"]) == [
            "train_pretrained",
            "embed train_pretrained",
            "",
            "train_scratch",
        ]
        left, right = cost_figure(table).axes
        ringed = [line for line in right.lines if line.get_markersize() == 11]
        assert [list(line.get_ydata()) for line in ringed] == [pytest.approx([0.7, 0.7])]
        # Of the best, pretrained alone was timed, and its features came from the cache.
        ringed = [line for line in left.lines if line.get_markersize() == 11]
        assert [list(line.get_xdata()) for line in ringed] == [[3.0]]
        hollow = [line for line in left.lines if line.get_label() == CACHED]
        assert [list(line.get_xdata()) for line in hollow] == [[3.0]]
        assert left.get_xlabel() == "seconds of training and embedding"

    def test_order_is_that_of_the_grid_whichever_was_done_first(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        def backwards(grid: list[Point]) -> Iterator[tuple[Point, Experiment]]:
            for point in reversed(grid):
                yield point, Experiment(f"e{point['scratch.width']}", {"train_scratch": 1.0})

        metrics = {"metrics/scratch.json": self.values(0.6)}
        monkeypatch.setattr(sweep, "read_metrics", lambda name: metrics)
        monkeypatch.setitem(sweep.ENGINES, "local", backwards)
        assert sweep.run(parse_grid(["scratch.width=4,8,16"]), tmp_path) == []
        assert list(pd.read_csv(tmp_path / "sweep.csv")["experiment"]) == ["e4", "e8", "e16"]


def test_two_experiments(quick: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(quick, clone, symlinks=True)
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv/installed").touch()
    with (clone / "stages/train_scratch.py").open("a") as stage:
        stage.write("assert params.lr != 7, 'it diverged'\n")
    commit(clone, "a stage that fails")
    command = (
        "make",
        "sweep",
        f"VENV={tmp_path}/venv",
        "GRID=lr=0.0001,7 pretrained.l2=0.1",
    )
    said = run(*command, cwd=clone, expect=2)
    assert "sweep: lr=7 pretrained.l2=0.1: the experiment failed" in said
    assert "it diverged" in said
    table = pd.read_csv(clone / "sweep/sweep.csv")
    assert list(table["lr"]) == [0.0001] * 2
    assert list(table["model"]) == ["pretrained", "scratch"]
    # That of the working folder is 0.9.
    assert list(table["val_accuracy"]) == [0.8] * 2
    assert (table["seconds"] > 0).all()
    assert (clone / "sweep/sweep.png").read_bytes().startswith(b"\x89PNG")
    assert run("git", "status", "--porcelain", cwd=clone) == ""
    listed = run("dvc", "exp", "list", "--all-commits", "--name-only", cwd=clone)
    assert set(table["experiment"]) <= set(listed.split())
