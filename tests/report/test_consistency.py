"""Results that no dvc.lock describes: those of one run, or refused by the file that is not."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from stages import evaluate, report
from tissue.common.errors import InputError
from tissue.common.files import write_json, write_table
from tissue.config.command import run_command
from tissue.config.loading import load_params
from tissue.data.index import read_index
from tissue.report.consistency import check_results

PREDICTIONS, PLOTS = "data/predictions", "plots"


@pytest.fixture(scope="module")
def finished(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a run, without a dvc.lock, each of which a test damages and puts back."""
    there = tmp_path_factory.mktemp("finished")
    for name in ("data", "metrics", "plots"):
        shutil.copytree(tiny / name, there / name)
    shutil.copy2(tiny / "params.yaml", there)
    return there


def check(root: Path) -> None:
    check_results(load_params(root / "params.yaml"), root)


def test_results_of_one_run_agree(finished: Path) -> None:
    check(finished)


def without_last(path: Path) -> None:
    write_table(read_index(path).iloc[:-1], path)


def empty(path: Path) -> None:
    write_table(read_index(path).iloc[:0], path)


def without(key: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        values = json.loads(path.read_text())
        del values[key]
        write_json(values, path)

    return change


def other_ids(path: Path) -> None:
    table = read_index(path)
    write_table(table.assign(id="x" + table["id"]), path)


def flatter(path: Path) -> None:
    """Probabilities that sum to less than 1, with the same answers."""
    table = read_index(path)
    shares = [name for name in table if name.startswith("p_")]
    write_table(table.assign(**{name: table[name] * 0.9 for name in shares}), path)


def with_a_frequent_confusion(path: Path) -> None:
    row = ["scratch", "colon", "lung", "blur", 5, 5, 0.1, 0.9, 0, 0, 0, 0]
    write_table(pd.DataFrame([row], columns=list(read_index(path))), path)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def with_a_changed_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        (f"{PREDICTIONS}/scratch.csv", flatter, r"scratch\.csv: 144 probabilities that do not sum"),
        ("data/split/val.csv", other_ids, r"one row for each of the 144 images"),
        (f"{PREDICTIONS}/suspects.csv", empty, r"metrics/errors\.json, suspects: it says"),
        (f"{PREDICTIONS}/suspects.csv", other_ids, r"suspects\.csv, images of data/split"),
        (f"{PREDICTIONS}/confused_causes.csv", with_a_frequent_confusion, r"confused_causes\.csv"),
        ("metrics/split.json", without("images"), r"metrics/split\.json: it says \{'images': None"),
        ("metrics/tsne.json", without("classes"), r"metrics/tsne\.json, classes"),
        ("metrics/audit.json", without("accuracy"), r"metrics/audit\.json, accuracy"),
        (f"{PLOTS}/tsne.csv", without_last, r"metrics/tsne\.json, images: it says 120"),
        (f"{PLOTS}/audit.csv", without_last, r"plots/audit\.csv gives"),
        (f"{PLOTS}/ranking_pretrained.csv", without_last, r"plots/ranking_pretrained\.csv"),
        (f"{PLOTS}/scratch_history.csv", without_last, r"epochs: it says 2, params\.yaml gives 3"),
        ("data/models/scratch.keras", cut, r"data/models/scratch\.keras: expected it as a stage"),
        ("data/models/scratch.keras", with_a_changed_byte, r"data/models/scratch\.keras: "),
    ],
)
def test_what_does_not_agree_is_named(
    name: str, damage: Callable[[Path], None], message: str, finished: Path
) -> None:
    path = finished / name
    kept = path.read_bytes()
    try:
        damage(path)
        assert path.read_bytes() != kept
        with pytest.raises(InputError, match=message):
            check(finished)
    finally:
        path.write_bytes(kept)


def by_hand(stage: ModuleType, name: str) -> str:
    """Start a stage without a dvc.lock, and return what ends it; its long work does not begin."""
    with pytest.raises(SystemExit) as end:
        run_command(pytest.fail, name=name, doc=stage.__doc__, check=stage.check)
    return str(end.value)


def test_stages_ask_where_no_digest_does(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Path(shutil.copytree(finished, tmp_path / "copy"))
    monkeypatch.chdir(copy)
    monkeypatch.setattr(sys, "argv", ["stage"])
    monkeypatch.delenv("DVC_STAGE", raising=False)
    without_last(copy / "plots/tsne.csv")
    assert "report: expected results of one run" in by_hand(report, "report")
    manifest = copy / "data/raw/manifest.csv"
    rows = read_index(manifest)
    write_table(rows.iloc[:-1], manifest)
    assert "data/raw/manifest.csv: expected a row for train/" in by_hand(evaluate, "evaluate")
    write_table(rows, manifest)
    without("backbone")(copy / "data/embed/network.json")
    assert "network.json: expected it as a stage" in by_hand(evaluate, "evaluate")
    monkeypatch.setenv("DVC_STAGE", "report")  # which has compared them
    run_command(lambda: None, name="report", doc="", check=pytest.fail)
