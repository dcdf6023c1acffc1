"""The grid of a sweep: keys as they stand in params.yaml, and what is refused."""

from pathlib import Path

import pytest

from tests.pipeline import ROOT
from tissue.common.errors import InputError
from tissue.experiments.grid import changed_models, describe_point, parse_grid


@pytest.fixture(autouse=True)
def _root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_every_combination() -> None:
    found = parse_grid(["lr=0.001,3e-3", "pretrained.views=2,8"])
    assert list(map(describe_point, found)) == [
        "lr=0.001 pretrained.views=2",
        "lr=0.001 pretrained.views=8",
        "lr=3e-3 pretrained.views=2",
        "lr=3e-3 pretrained.views=8",
    ]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("pretrained.penalty", "advanced.pretrained.penalty"),
        ("advanced.pretrained.penalty", "advanced.pretrained.penalty"),
        ("split.crops.zoom", "advanced.split.crops.zoom"),
        ("pretrained.views", "pretrained.views"),
        ("advanced.pretrained.views", "pretrained.views"),
        ("lr", "lr"),
    ],
)
def test_keys_are_named_as_in_the_file_which_dvc_needs(key: str, expected: str) -> None:
    assert parse_grid([f"{key}=1"]) == [{expected: "1"}]


def test_a_key_that_was_moved_out_of_advanced(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    text = (ROOT / "params.yaml").read_text()
    text = text.replace("    dropout: 0.3\n", "").replace(
        "\nscratch:\n", "\nscratch:\n  dropout: 0.3\n"
    )
    path.write_text(text)
    assert parse_grid(["advanced.scratch.dropout=0.1"], path) == [{"scratch.dropout": "0.1"}]


@pytest.mark.parametrize(
    "argument",
    [
        "lr", "lr=", "lr=1,,2", "lr=1,1", "lr=0.001,1e-3", "nosuch=1", "lr.deep=1", "advanced=1",
        "pretrained.nosuch=1", "pretrained=1", "advanced.split.crops=1", "tsne.perplexity=20,30",
        "tsne.neighbours=5", "advanced.tsne.neighbours=5", "engine.kind=ray",
    ],
)  # fmt: skip
def test_what_is_no_grid(argument: str) -> None:
    with pytest.raises(InputError, match="Received: '"):
        parse_grid([argument])


def test_values_that_are_lists() -> None:
    found = parse_grid(["scratch.progressive=[0.57,0.79],[],[0.5]", "lr=1"])
    values = [point["advanced.scratch.progressive"] for point in found]
    assert values == ["[0.57,0.79]", "[]", "[0.5]"]


@pytest.mark.parametrize("second", ["pretrained.penalty=2", "advanced.pretrained.penalty=2"])
def test_a_parameter_twice(second: str) -> None:
    with pytest.raises(InputError, match="each once"):
        parse_grid(["pretrained.penalty=1", second])


@pytest.mark.parametrize("fine_tuned", [False, True])
def test_models_that_a_parameter_changes(fine_tuned: bool) -> None:
    both = ["pretrained", "scratch"]
    for keys, expected in (
        (["advanced.scratch.width", "scratch.epochs"], ["scratch"]),
        (["advanced.pretrained.penalty", "pretrained.views"], ["pretrained"]),
        (["advanced.pretrained.penalty", "lr"], both),
        (["advanced.split.crops.zoom"], both),
        (["class_weights", "lr"], both),
        # A head on a frozen backbone is not trained by steps.
        (["lr"], both if fine_tuned else ["scratch"]),
        (["pretrained.views", "batch_size"], both),
    ):
        assert changed_models(keys, fine_tuned=fine_tuned) == expected
