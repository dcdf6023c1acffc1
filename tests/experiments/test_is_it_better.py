"""The first sections of a comparison: is it better, and what changed."""

import pandas as pd

from tissue.experiments.answers import answer_section, inputs_section
from tissue.experiments.pairing import Difference, Pairs, pair_predictions

LABELS = ["a", "a", "a", "b"]


def _pairs(new: list[str]) -> Pairs:
    old = pd.DataFrame({"id": list("wxyz"), "class": LABELS, "predicted": ["a", "b", "b", "b"]})
    index = pd.DataFrame({"id": list("wxyz"), "group": list("wxyz")})
    return pair_predictions(old, old.assign(predicted=new), index)


def test_each_verdict_is_a_sentence_with_its_numbers() -> None:
    pairs = {"scratch": _pairs(["a", "a", "a", "b"])}
    found = {"scratch.test.accuracy": Difference(0.5, 0.1, 0.9, 0.0001)}
    text = answer_section(pairs, found)
    assert text.startswith(
        "- scratch: **better**. Accuracy 100.0 %, before 50.0 %: +50.0 points "
        "(95 % interval +10.0 to +90.0, p < 0.001).\n"
    )
    assert text.endswith("always answering the most frequent class would get 75.0 % right.")
    noise = {"scratch.test.accuracy": Difference(0.5, -0.1, 0.9, 0.2)}
    assert "- scratch: no difference is shown. Accuracy 100.0 %" in answer_section(pairs, noise)
    worse = {"scratch.test.accuracy": Difference(-0.5, -0.9, -0.1, 0.01)}
    assert "- scratch: **worse**." in answer_section(pairs, worse)


def test_the_same_answers_have_no_interval() -> None:
    pairs = {"scratch": _pairs(["a", "b", "b", "b"])}
    text = answer_section(pairs, {"scratch.test.accuracy": Difference(0.0, 0.0, 0.0, 1.0)})
    assert "as right or wrong as before. Accuracy 50.0 %, before 50.0 %.\n" in text


def test_without_pairs_it_is_not_known() -> None:
    assert answer_section({}, {}).startswith("Not known")


def test_changed_code_is_named_once_with_the_stages_that_read_it() -> None:
    def lock(common: str, lr: float) -> dict[str, object]:
        deps = [{"path": "tissue/common", "md5": common}, {"path": "metrics", "md5": common}]
        params = {"params.yaml": {"lr": lr}}
        return {name: {"cmd": name, "deps": deps, "params": params} for name in ("split", "embed")}

    assert (
        inputs_section(lock("1", 0.1), lock("1", 0.2)) == "No code and no source of data differs."
    )
    text = inputs_section(lock("1", 0.1), lock("2", 0.1))
    assert text.splitlines()[2:] == ["| `tissue/common` | `split`, `embed` |"]
