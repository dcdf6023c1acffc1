"""Which stages, inputs and outputs differ between two versions of dvc.lock."""

import copy
from typing import Any

import pytest

from tissue.common.errors import InputError
from tissue.experiments.dvc import call
from tissue.experiments.lock import changed_stages, foreign_inputs

STAGES: dict[str, Any] = {
    "split": {
        "cmd": "python -m stages.split",
        "deps": [{"path": "data/raw", "md5": "1"}, {"path": "stages/split.py", "md5": "2"}],
        "params": {"params.yaml": {"seed": 17}},
        "outs": [{"path": "data/split", "md5": "3"}],
    },
    "train": {
        "cmd": "python -m stages.train",
        "deps": [{"path": "data/split/train.npy", "md5": "4"}],
        "outs": [{"path": "data/models/a.keras", "md5": "5"}],
    },
}


def changed(kind: str, md5: str) -> dict[str, Any]:
    stages = copy.deepcopy(STAGES)
    stages["split"][kind][0]["md5"] = md5
    return stages


def test_the_same_run() -> None:
    found = changed_stages(STAGES, copy.deepcopy(STAGES))
    assert found == [("split", [], []), ("train", [], [])]
    assert foreign_inputs(found) == {}


def test_what_follows_from_the_first_difference_is_not_foreign() -> None:
    stages = changed("outs", "x")
    stages["train"]["deps"][0]["md5"] = "y"
    stages["train"]["outs"][0]["md5"] = "z"
    found = changed_stages(STAGES, stages)
    assert found[0] == ("split", [], ["data/split"])
    assert foreign_inputs(found) == {}


def test_other_code_parameters_and_commands_are_another_run() -> None:
    found = changed_stages(STAGES, changed("deps", "x"))
    assert foreign_inputs(found) == {"split": ["data/raw"]}
    stages = copy.deepcopy(STAGES)
    stages["split"]["params"]["params.yaml"]["seed"] = 18
    stages["train"]["cmd"] = "python train.py"
    expected = {"split": ["params.yaml: seed"], "train": ["cmd"]}
    assert foreign_inputs(changed_stages(STAGES, stages)) == expected


@pytest.mark.parametrize("name", ["md5", "etag", "checksum"])
def test_another_source_is_another_run_wherever_it_lies(name: str) -> None:
    old, new = copy.deepcopy(STAGES), copy.deepcopy(STAGES)
    for stages, value in ((old, "a"), (new, "b")):
        stages["split"]["deps"][0] = {"path": "https://lab/images.zip", name: value}
    assert foreign_inputs(changed_stages(old, new)) == {"split": ["https://lab/images.zip"]}


def test_a_stage_that_is_gone_differs() -> None:
    found = changed_stages(STAGES, {"split": STAGES["split"]})
    assert foreign_inputs(found)["train"] == ["data/split/train.npy", "cmd"]


def test_a_command_that_does_not_end_is_killed() -> None:
    with pytest.raises(InputError, match=r"`sleep 60` to end within 0\.1 s\. Received: no end"):
        call("sleep", "60", seconds=0.1)
