"""`verify` of a clone: what it claims is derived again from its predictions alone."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import commit, run
from tests.invoke import invoke
from tests.pipeline import environment
from tissue.common.files import write_json, write_table
from tissue.experiments.claims import folder_digest

WITHOUT_TENSORFLOW = """
import sys
from tissue.commands.verify import main
main(sys.argv[1:])
assert not {"tensorflow", "keras"} & set(sys.modules)
"""


@pytest.fixture
def clone(tiny: Path, tmp_path: Path) -> Path:
    """A copy of what `verify` reads, without images, models and the cache."""
    there = tmp_path / "clone"
    for name in ("metrics", "plots", "data/predictions"):
        shutil.copytree(tiny / name, there / name)
    (there / "data/split").mkdir()
    for path in (tiny / "data/split").glob("*.[cj]*"):
        shutil.copy2(path, there / "data/split")
    for name in ("dvc.lock", "params.yaml"):
        shutil.copy2(tiny / name, there)
    return there


def set_value(path: Path, keys: str, value: object) -> None:
    """Write a number into a file of metrics."""
    values = json.loads(path.read_text())
    inner, *names = values, *keys.split(".")
    for name in names[:-1]:
        inner = inner[name]
    inner[names[-1]] = value
    write_json(values, path)


def test_all_of_it_agrees_without_images_models_or_tensorflow(clone: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW, str(clone)],
        env=environment(), capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "DIFFERENT" not in done.stdout
    assert done.stdout.startswith("verify: all that is claimed and could be compared agrees\n")
    assert "metrics/comparison.json: 11 numbers" in done.stdout


@pytest.mark.parametrize(
    ("name", "keys", "value"),
    [
        ("scratch", "test.accuracy", 0.99),
        ("pretrained", "test.accuracy_low", 0.9),
        ("pretrained", "val.accuracy", 1.5),
        ("comparison", "test.p_value", 0.0123),
        ("scratch", "test.ece_p_value", 0.9999),
        ("scratch", "test.new", 1.0),
    ],
)
def test_a_number_that_the_predictions_do_not_give(
    clone: Path, name: str, keys: str, value: float
) -> None:
    set_value(clone / f"metrics/{name}.json", keys, value)
    printed = invoke("verify", str(clone), cwd=clone.parent, expect=1)
    assert f"DIFFERENT: metrics/{name}.json, {keys}: it says {value}, the predictions" in printed
    assert f"DIFFERENT: metrics/{name}.json: dvc.lock has" in printed


def test_predictions_that_were_changed(clone: Path) -> None:
    """As if the accuracy had been made up, and the table of predictions with it."""
    path = clone / "data/predictions/scratch.csv"
    table = pd.read_csv(path, keep_default_na=False)
    table["predicted"] = table["class"]
    write_table(table, path)
    printed = invoke("verify", str(clone), cwd=clone.parent, expect=1)
    assert re.match(r"verify: \d+ of the claims DIFFER, see below\n", printed)
    assert "DIFFERENT: data/predictions: dvc.lock has" in printed
    assert "DIFFERENT: metrics/scratch.json, test.accuracy: it says" in printed
    assert "DIFFERENT: plots/confusions.csv" in printed
    assert "DIFFERENT: data/predictions/errors.csv: not the errors of scratch.csv" in printed


def test_rows_that_are_not_those_of_the_images(clone: Path) -> None:
    path = clone / "data/predictions/scratch.csv"
    write_table(pd.read_csv(path, keep_default_na=False).iloc[1:], path)
    printed = invoke("verify", str(clone), cwd=clone.parent, expect=1)
    assert "expected one row for each of the" in printed


def test_a_count_of_causes(clone: Path) -> None:
    errors = json.loads((clone / "metrics/errors.json").read_text())
    cause, found = next(iter(errors["scratch"]["causes"].items()))
    number = found["errors"] + 1
    set_value(clone / "metrics/errors.json", f"scratch.causes.{cause}.errors", number)
    printed = invoke("verify", str(clone), cwd=clone.parent, expect=1)
    assert f"scratch.causes.{cause}.errors: it says {number}, errors.csv gives" in printed


def test_a_url_is_cloned_and_its_predictions_are_pulled(tiny: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(tiny, mine, symlinks=True)
    remote = ("remote", "add", "--quiet", "--default", "storage", str(tmp_path / "remote"))
    run("dvc", *remote, cwd=mine)
    run("dvc", "push", "--quiet", "data/predictions", "data/split", cwd=mine)
    commit(mine, "a remote")
    printed = invoke("verify", f"file://{mine}", cwd=tmp_path)
    assert "metrics/comparison.json: 11 numbers" in printed
    run("dvc", "remote", "remove", "storage", cwd=mine)
    commit(mine, "no remote")
    assert "expected a DVC remote" in invoke("verify", f"file://{mine}", cwd=tmp_path, expect=1)


def hostile(root: Path) -> dict[str, Callable[[], object]]:
    """What somebody may put into a clone, by a word that the answer has to have."""
    scratch, lock = root / "metrics/scratch.json", root / "dvc.lock"
    classes, split = root / "data/split/classes.json", "path: metrics/split.json"

    def link(path: Path, target: str) -> None:
        path.unlink()
        path.symlink_to(target)

    def put(text: str, path: Path = scratch) -> None:
        path.write_text(text)

    def lead(path: str) -> None:
        put(lock.read_text().replace(split, f"path: {path}"), lock)

    errors = root / "metrics/errors.json"
    return {
        "scratch.json: expected a file of the clone. Received: a link": lambda: link(scratch, "/"),
        "params.yaml: expected a file of the clone. Received: a link": lambda: link(
            root / "params.yaml", "/etc/passwd"
        ),
        "classes.json: expected a file. Received: a pipe": lambda: link(classes, "/dev/zero"),
        "/dev/zero: dvc.lock has": lambda: lead("/dev/zero"),
        "../..: dvc.lock has": lambda: lead("../.."),
        "dvc.lock: expected what `dvc repro` writes": lambda: put("stages: {a: }", lock),
        "dvc.lock: expected YAML": lambda: put("stages: " + "[" * 900, lock),
        "dvc.lock: expected at most": lambda: put("a" * 2_000_000, lock),
        "metrics/scratch.json: no output in dvc.lock": lambda: put("stages: {}", lock),
        "scratch.json: expected it as a stage wrote it": lambda: put("[" * 99_999),
        "a list instead of a dict": lambda: put("[]"),
        "test.accuracy: it says nan": lambda: set_value_raw(scratch, "NaN"),
        "test.accuracy: it says 1000": lambda: set_value_raw(scratch, "1" + "0" * 400),
        "\\\\x1b[2J": lambda: set_value_raw(scratch, '1, "\\u001b[2J\\nverify: agree": 1'),
        "DIFFERENT: 9": lambda: set_value_raw(
            scratch, "1" + "".join(f', "k{number}": 1' for number in range(1000))
        ),
        "do not belong together": lambda: put("{}", errors),
        "Those of this clone": lambda: put("a,b\n1,2\n", root / "data/predictions/errors.csv"),
        "expected tables and metrics": lambda: put(
            json.dumps(json.loads(classes.read_text())[:1] * 12), classes
        ),
    }


def set_value_raw(path: Path, written: str) -> None:
    """Write JSON that no stage writes in place of the accuracy on the test set."""
    values = json.loads(path.read_text())
    values["test"]["accuracy"] = "HERE"
    path.write_text(json.dumps(values).replace('"HERE"', written))


def test_a_hostile_clone(clone: Path, tmp_path: Path) -> None:
    """No traceback, nothing endless, and nothing of it reaches the terminal as it is."""
    for number, word in enumerate(hostile(clone)):
        copy = tmp_path / f"{number}"
        shutil.copytree(clone, copy)
        hostile(copy)[word]()
        printed = invoke("verify", str(copy), cwd=tmp_path, expect=1)
        assert word.replace("\\\\", "\\") in printed, word
        assert "\x1b" not in printed
        assert len(printed) < 50_000


def test_nothing_of_a_hostile_configuration_is_used(tiny: Path, tmp_path: Path) -> None:
    """The `configpath` of S3 names a file that names a program, and `cache.dir` a folder."""
    mine, victim = tmp_path / "mine", tmp_path / "victim"
    shutil.copytree(tiny, mine, symlinks=True)
    victim.mkdir()
    (mine / "aws").write_text(f"[default]\ncredential_process = touch {victim}/ran\n")
    (mine / ".dvc/config").write_text(
        f"[core]\nremote = s\nsite_cache_dir = {victim}/a\n[cache]\ndir = {victim}/b\n"
        "['remote \"s\"']\nurl = s3://bucket/x\nendpointurl = http://127.0.0.1:9\n"
        "configpath = ../aws\n"
    )
    (mine / "x.dvc").write_text(f"outs:\n- {{md5: {'0' * 32}, path: {victim}/c}}\n")
    commit(mine, "hostile")
    assert "expected a DVC remote" in invoke("verify", f"file://{mine}", cwd=tmp_path, expect=1)
    shutil.rmtree(mine / ".dvc")
    (mine / ".dvc").symlink_to(victim)
    commit(mine, "a link")
    assert "no remote there" in invoke("verify", f"file://{mine}", cwd=tmp_path, expect=1)
    assert not list(victim.iterdir())


def test_no_clone(tmp_path: Path) -> None:
    assert "no dvc.lock in it" in invoke("verify", str(tmp_path), cwd=tmp_path, expect=1)
    printed = invoke("verify", f"file://{tmp_path}/none", cwd=tmp_path, expect=1)
    assert "expected `git clone" in printed


def test_predictions_that_are_not_there(clone: Path) -> None:
    shutil.rmtree(clone / "data/predictions")
    assert "Run `make pull` there" in invoke("verify", str(clone), cwd=clone.parent, expect=1)


def test_the_digest_of_a_folder_is_that_of_dvc(quick: Path) -> None:
    assert folder_digest(quick / "data/predictions") in (quick / "dvc.lock").read_text()
