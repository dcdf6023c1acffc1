"""The pipeline with stand-ins for its stages, for tests of what DVC does with it.

A stand-in copies what the real stage wrote in the clone of the fixture `tiny`, in no time. That of
`evaluate` makes the accuracies depend on the learning rate, so that experiments differ.
"""

import shutil
from pathlib import Path

from tests.conftest import commit, run
from tests.pipeline import ORDER, outputs

SCRIPT = '''\
"""Stands for the stage {stage} of {tiny}."""

import json
import math
import shutil
from pathlib import Path

if {stage!r} in ("train_scratch", "train_pretrained", "evaluate"):
    # Not by the others, for which it would take most of their time.
    from tissue.config.loading import load_params

    params = load_params()
for path in {outputs}:
    source, target = Path({tiny!r}, path), Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    (shutil.copytree if source.is_dir() else shutil.copy2)(source, target)
    if path.endswith(".keras"):
        # Other parameters, another model.
        target.write_bytes(target.read_bytes() + str(params.lr).encode())
if {stage!r} == "evaluate":
    for model in ("scratch", "pretrained"):
        path = Path(f"metrics/{{model}}.json")
        metrics = json.loads(path.read_text())
        for part in ("val", "test"):
            metrics[part]["accuracy"] = round(0.9 - 0.1 * abs(math.log10(params.lr) + 3), 4)
        path.write_text(json.dumps(metrics, indent=2, sort_keys=True) + "\\n")
'''


def quick_clone(tiny: Path, to: Path) -> Path:
    """A repository with its own cache in which the stand-ins have run."""
    run("git", "clone", "--quiet", str(tiny), str(to), cwd=tiny)
    run("git", "remote", "remove", "origin", cwd=to)
    for key, value in {"user.name": "Tester", "user.email": "tester@example.org"}.items():
        run("git", "config", key, value, cwd=to)
    for stage in ORDER:
        made = outputs(stage)
        script = SCRIPT.format(stage=stage, tiny=str(tiny), outputs=made)
        (to / f"stages/{stage}.py").write_text(script, encoding="utf-8")
    for path in ("plots", "metrics"):
        shutil.rmtree(to / path)
    run("dvc", "repro", cwd=to)
    commit(to, "baseline")
    return to
