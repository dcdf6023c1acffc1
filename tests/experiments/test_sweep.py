"""The sweep: how stages are timed, its table, and a run of two experiments with stand-ins."""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import commit, run
from tests.pipeline import ROOT
from tests.standins import environment_for_make
from tissue.commands import sweep
from tissue.experiments import runs
from tissue.experiments.columns import METRIC, as_text, readable
from tissue.experiments.grid import Point
from tissue.experiments.runs import Experiment, experiment_rows, sweep_table, time_stages
from tissue.figures.costs import CACHED, cost_figure

PRINTED = [
    (0.0, "Stage 'fetch' didn't change, skipping"),
    (1.0, "Running stage 'embed':"),
    (1.1, "> python -m stages.embed"),
    (7.0, "Stage 'train_scratch' is cached - skipping run"),
    (9.0, "Running stage 'train_pretrained':"),
    (12.0, "Running stage 'evaluate':"),
    (20.5, "Ran experiment(s): able-tern"),
]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("lr=0.001,-1", r"lr: expected a number greater than 0\. Received: -1"),
        (
            "scratch.progressive=[0.5],[2]",
            r"advanced\.scratch\.progressive: expected a number less than or",
        ),
        (
            "pretrained.penalty=[1",
            r"advanced\.pretrained\.penalty: expected YAML\. Received: .* \[1 ",
        ),
    ],
)
def test_values_are_checked_before_the_first_experiment(
    argument: str, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sweep, "run", pytest.fail)
    with pytest.raises(SystemExit, match=message):
        sweep.main([argument, "--out", str(tmp_path / "out")])


def test_code_that_changes_during_a_sweep_ends_it(
    quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = tmp_path / "clone"
    run("git", "clone", "--quiet", str(quick), str(clone), cwd=tmp_path)
    monkeypatch.chdir(clone)
    ran = []
    monkeypatch.setattr(runs, "run_experiment", lambda point, *_: ran.append(point))
    outcomes = runs.run_here([{"lr": "1"}, {"lr": "2"}, {"lr": "3"}])
    next(outcomes)
    next(outcomes)
    with (clone / "params.yaml").open("a") as file:
        file.write("# mine\n")
    _, outcome = next(outcomes)
    assert ran == [{"lr": "1"}, {"lr": "2"}]
    assert "expected the code and parameters that the sweep began with" in str(outcome)


def metrics(accuracy: float) -> dict:
    right = accuracy - 0.1
    interval = {"accuracy_low": right - 0.1, "accuracy_high": right + 0.1}
    test = {"accuracy": right, **interval, "macro_f1": 0.5, "ece": 0.1}
    values = {"val": {"accuracy": accuracy}, "test": test, "parameters": 7}
    return {"scratch": values, "pretrained": values}


def test_stages_are_timed_until_dvc_goes_on() -> None:
    seconds, printed = time_stages(PRINTED)
    assert seconds == {"embed": 6.0, "train_pretrained": 3.0, "evaluate": 8.5}
    assert len(printed) == len(PRINTED)


def test_rows_are_ordered_by_validation_and_cost_what_ran() -> None:
    rows = []
    for lr, accuracy, seconds in (
        ("1", 0.6, {"train_scratch": 4.0, "embed": 2.0, "train_pretrained": 1.0}),
        ("2", 0.8, {"train_pretrained": 3.0}),
    ):
        rows += experiment_rows(
            {"lr": lr}, Experiment(f"e{lr}", seconds), metrics(accuracy), fine_tuned=True
        )
    table = sweep_table(rows)
    assert list(table["experiment"]) == ["e2", "e1", "e2", "e1"]
    assert list(table["model"]) == ["pretrained"] * 2 + ["scratch"] * 2
    assert list(table["seconds"].fillna(-1)) == [3.0, 3.0, -1, 4.0]
    expected = ["train_pretrained", "embed train_pretrained", "", "train_scratch"]
    assert list(table["ran"]) == expected
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
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def backwards(grid: list[Point]) -> Iterator[tuple[Point, Experiment]]:
        for point in reversed(grid):
            yield point, Experiment(f"e{point['scratch.views']}", {"train_scratch": 1.0})

    monkeypatch.setattr(sweep, "read_metrics", lambda name: metrics(0.6))
    monkeypatch.setitem(sweep.ENGINES, "local", backwards)
    assert sweep.run([{"scratch.views": value} for value in "248"], tmp_path) == []
    assert list(pd.read_csv(tmp_path / "sweep.csv")["experiment"]) == ["e2", "e4", "e8"]


def test_two_experiments(quick: Path, tmp_path: Path) -> None:
    """Alone protects a whole sweep through `make`, with a key in its short form; one run fails."""
    clone = shutil.copytree(quick, tmp_path / "clone", symlinks=True)
    with (clone / "stages/train_scratch.py").open("a") as stage:
        stage.write("assert lr != 7, 'it diverged'\n")
    commit(clone, "a stage that fails")
    command = ("make", "sweep", environment_for_make(tmp_path))
    printed = run(*command, "GRID=lr=0.0001,7 pretrained.penalty=0.02", cwd=clone, expect=2)
    assert "sweep: lr=7 advanced.pretrained.penalty=0.02: the experiment failed" in printed
    assert "it diverged" in printed
    table = pd.read_csv(clone / "sweep/sweep.csv")
    assert list(table["lr"]) == [0.0001] * 2
    assert list(table["advanced.pretrained.penalty"]) == [0.02] * 2
    assert list(table["model"]) == ["pretrained", "scratch"]
    # Those of the working folder are 0.9.
    assert list(table["val_accuracy"]) == [0.797, 0.8]
    assert (table["seconds"] > 0).all()
    assert (clone / "sweep/sweep.png").read_bytes().startswith(b"\x89PNG")
    assert run("git", "status", "--porcelain", cwd=clone) == ""
    listed = run("dvc", "exp", "list", "--all-commits", "--name-only", cwd=clone)
    assert set(table["experiment"]) <= set(listed.split())


SHOWN = (
    "Experiment,rev,typ,Created,scratch.test,scratch.val,pretrained.ece,lr,seed,tissue/common,"
    "advanced.pretrained.penalty\n"
    ",main,baseline,2026-01-31T12:34:56,0.5,0.7,0.1234,0.001,17,0123abc,\n"
    "tall-oak,abc1234,branch_base,2026-01-31T12:35:56,0.6,0.7,,1e-05,17,4567def,0.3\n"
)


def test_columns_are_what_differs() -> None:
    table = readable(pd.read_csv(io.StringIO(SHOWN), dtype=str, keep_default_na=False))
    assert list(table) == ["scratch.test", "pretrained.ece", "lr", "advanced.pretrained.penalty"]
    assert table.loc["main"].tolist() == ["0.500", "0.123", "0.001", "-"]
    assert table.loc["  tall-oak"].tolist() == ["0.600", "-", "1e-05", "0.3"]


@pytest.mark.parametrize("rows", [[1], [1, 1]])
def test_rows_that_are_equal_have_metrics(rows: list[int]) -> None:
    """As those of the working folder and of the last commit, before the first experiment."""
    lines = SHOWN.splitlines(keepends=True)
    text = "".join(lines[row] for row in [0, *rows])
    table = readable(pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False))
    assert list(table) == ["scratch.test", "scratch.val", "pretrained.ece"]


def test_a_table_of_experiments_fits_a_terminal_and_a_file_has_all(
    quick: Path, tmp_path: Path
) -> None:
    """All metrics and nine parameters differ: DVC's own table has over 300 letters in a line."""
    table = pd.read_csv(
        io.StringIO(run("dvc", "exp", "show", "--csv", cwd=quick)), dtype=str, keep_default_na=False
    )
    other = table.tail(1).copy()
    other[["Experiment", "typ"]] = "tall-oak", "branch_base"
    metrics = [name for name in table if METRIC.fullmatch(name)]
    assert len(metrics) == 12
    other[metrics] = "0.1234"
    keys = [name for name in table if name.startswith(("advanced.scratch.", "tsne", "lr"))]
    other[keys], other["fetch.source"] = "7", "/very/long" * 20
    text = as_text(readable(pd.concat([table.tail(1), other])), 120)
    assert len(keys) > 8
    assert text.count("tall-oak") > 1
    assert max(map(len, text.splitlines())) <= 120
    first = text.split("tall-oak")[0]
    assert all(first.count(f" {name} ") == 2 for name in ("train", "val", "test", "nll", "ece"))
    make = ("make", "compare", f"CSV={tmp_path}/all.csv", environment_for_make(tmp_path))
    assert "scratch" in run(*make, cwd=quick)
    written = pd.read_csv(tmp_path / "all.csv", dtype=str, keep_default_na=False)
    assert {*metrics, "advanced.scratch.dropout"} < set(written)
    assert not any("/" in name for name in written)
