"""The pipeline with stand-ins for its stages, for tests of what DVC does with it.

A stand-in copies what the real stage wrote in the clone of the fixture `tiny`, in no time. The
accuracies depend on the learning rate and, a little, on the penalty of the head, so experiments
differ. With a penalty above 1 the pretrained model answers the same class for all images.
"""

import shutil
from pathlib import Path

from tests.conftest import commit, run
from tests.pipeline import ORDER, outputs

SCRIPT = '''\
"""Stands for the stage {stage} of {tiny}."""

import csv
import json
import math
import re
import shutil
from pathlib import Path

# Not by `load_params`, whose imports would take most of the time.
text = Path("params.yaml").read_text()
lr, penalty = (re.search(rf"^ *{{key}}: *([-.\\de]*)", text, re.M)[1] for key in ("lr", "penalty"))
lr, penalty = float(lr), float(penalty or 0.01)  # null, and the nothing that DVC makes of it
for path in {outputs}:
    source, target = Path({tiny!r}, path), Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    (shutil.copytree if source.is_dir() else shutil.copy2)(source, target)
    if path.endswith(".keras"):
        # Other parameters, another model.
        settings = f"{{lr}}" if "scratch" in path else f"{{penalty}} {{lr}}"
        target.write_bytes(target.read_bytes() + settings.encode())
if {stage!r} == "evaluate":
    accuracy = {{"scratch": 0.9 - 0.1 * abs(math.log10(lr) + 3)}}
    accuracy["pretrained"] = accuracy["scratch"] - 0.01 * abs(math.log10(penalty) + 2)
    if penalty > 1:
        with open("data/predictions/pretrained.csv", newline="") as file:
            head, *rows = csv.reader(file)
        for row in rows:
            row[head.index("predicted")] = rows[0][head.index("class")]
        with open("data/predictions/pretrained.csv", "w", newline="") as file:
            csv.writer(file, lineterminator="\\n").writerows([head, *rows])
        accuracy["pretrained"] = 1 / 12
    headline = json.loads(Path("metrics.json").read_text())
    for model, value in accuracy.items():
        path = Path(f"metrics/{{model}}.json")
        metrics = json.loads(path.read_text())
        for split in ("val", "test"):
            metrics[split]["accuracy"] = headline[model][split] = round(value, 4)
        path.write_text(json.dumps(metrics, indent=2, sort_keys=True) + "\\n")
    Path("metrics.json").write_text(json.dumps(headline))
'''


def quick_clone(tiny: Path, to: Path) -> Path:
    """A repository with its own cache in which the stand-ins have run."""
    run("git", "clone", "--quiet", str(tiny), str(to), cwd=tiny)
    run("git", "remote", "remove", "origin", cwd=to)
    for key, value in {"user.name": "Tester", "user.email": "tester@example.org"}.items():
        run("git", "config", key, value, cwd=to)
    for stage in ORDER:
        script = SCRIPT.format(stage=stage, tiny=str(tiny), outputs=outputs(stage))
        (to / f"stages/{stage}.py").write_text(script, encoding="utf-8")
    for path in ("plots", "metrics"):
        shutil.rmtree(to / path)
    run("dvc", "repro", cwd=to)
    commit(to, "baseline")
    return to


def shared_clone(quick: Path, folder: Path) -> Path:
    """A copy of `quick`, and beside it an empty repository that is not its remote yet."""
    run("git", "init", "--quiet", "--bare", "--initial-branch=main", "hub.git", cwd=folder)
    return shutil.copytree(quick, folder / "clone", symlinks=True)


def share(clone: Path) -> None:
    """Push a commit, and the data that it names, to remotes beside the clone."""
    run("git", "remote", "add", "origin", "../hub.git", cwd=clone)
    folder = str(clone.with_name("remote"))
    run("dvc", "remote", "add", "--default", "storage", folder, cwd=clone)
    commit(clone, "share")
    run("dvc", "push", cwd=clone)
    run("git", "push", "--quiet", "origin", "main", cwd=clone)


def environment_for_make(folder: Path) -> str:
    """An argument for `make` that names an environment which is set up."""
    (folder / "venv").mkdir()
    (folder / "venv/installed").touch()
    return f"VENV={folder}/venv"
