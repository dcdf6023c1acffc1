"""The gate and the Markdown of a comparison."""

import pytest

from tissue.commands.compare import shortened
from tissue.common.errors import InputError
from tissue.common.names import MODELS
from tissue.experiments import markdown
from tissue.experiments.pairing import Difference, Flip
from tissue.experiments.revisions import Change, check_gates


class TestGate:
    METRICS = (Change("m.test.accuracy", 0.7, 0.67), Change("m.test.new", None, 0.1))

    @pytest.mark.parametrize(("tolerance", "passed"), [(0.03, True), (0.029, False), (0.0, False)])
    def test_tolerance(self, tolerance: float, passed: bool) -> None:
        (found,) = check_gates(self.METRICS, {"m.test.accuracy": tolerance})
        assert found.passed is passed

    def test_a_rise_or_a_new_metric_passes(self) -> None:
        assert check_gates([Change("m.a", 0.1, 0.9)], {"m.a": 0.0})[0].passed
        assert check_gates(self.METRICS, {"m.test.new": 0.0})[0].passed

    @pytest.mark.parametrize(
        ("old", "new", "agrees"),
        [(0.7, 0.72, True), (0.7, 0.68, True), (0.7, 0.73, False), (0.7, 0.67, False),
         (None, 0.7, False)],
    )  # fmt: skip
    def test_metrics_agree_within_their_tolerance_up_and_down(
        self, old: float | None, new: float, agrees: bool
    ) -> None:
        (found,) = check_gates([Change("m.accuracy", old, new)], {"m.accuracy": 0.02})
        assert found.agrees is agrees

    @pytest.mark.parametrize("metric", [Change("n.accuracy", 0.7, None), Change("n.f1", 1, 1)])
    def test_a_metric_that_is_not_there_does_not_pass(self, metric: Change) -> None:
        with pytest.raises(InputError, match=r"Received: 'm\.accuracy'"):
            check_gates([metric], {"m.accuracy": 0.1})

    def test_a_name_that_is_nearly_right(self) -> None:
        text = r"Received: 'm\.test\.acuracy'\. Did you mean m\.test\.accuracy\? .*params\.yaml"
        with pytest.raises(InputError, match=text):
            check_gates(self.METRICS, {"m.test.acuracy": 0.1})


def test_names_cannot_break_out_of_a_table() -> None:
    assert markdown.code("a|b`@all\n<img src=x>") == "`a\\|b @all <img src=x>`"


def test_a_report_fits_into_a_comment() -> None:
    names = [f"{kind}{'|' * 200}{kind}" for kind in map(str, range(100))]
    metrics = [
        Change(f"{model}.{split}.{key}.{name}", 0.51234, 0.61234)
        for model in MODELS
        for split in ("val", "test")
        for key in ("recall", "recall_low", "recall_high")
        for name in names
    ]
    flips = {model: ([Flip(name, *names[:3]) for name in names],) * 2 for model in MODELS}
    metric_part = markdown.metrics_section(metrics, {}, [])
    assert "150 more" in metric_part
    whole = f"{metric_part}\n\n{markdown.flips_section(flips)}"
    short = shortened(whole)
    assert len(short) < 65_536
    assert short == whole or short.endswith(" letters.\n")
    cut = shortened("word\n" * 20_000)
    assert cut.endswith("word\n\nThe rest is left out: it has 35,001 letters.\n")
    assert len(cut) < 65_536
    assert shortened("short") == "short"


def test_changes_are_absolute_and_relative() -> None:
    paired = {"m.test.accuracy": Difference(0.1, 0.05, 0.15, 0.0001)}
    metrics = [Change("m.test.accuracy", 0.5, 0.6), Change("s.images", 3, 3)]
    text = markdown.metrics_section(metrics, paired, [])
    assert "| 0.5 | 0.6 | +0.1000 | +20.0 % | +0.1000 (+0.0500 to +0.1500) | <0.001 |" in text
    assert "**gain**" in text
    assert text.endswith("1 metric is the same.")


def test_classes_that_end_as_bounds_do_are_shown() -> None:
    keys = ("m.test.recall.dysplasia_high", "m.test.accuracy_high", "m.parameters")
    values = ((0.95, 0.1), (0.8, 0.7), (446061, 446073))
    metrics = [Change(key, *pair) for key, pair in zip(keys, values, strict=True)]
    text = markdown.metrics_section(metrics, {}, [])
    assert "| `m.test.recall.dysplasia_high` | 0.95 | 0.1 |" in text
    assert "| `m.parameters` | 446,061 | 446,073 |" in text
    assert "accuracy_high" not in text


def test_a_gate_says_what_it_does_not_cover() -> None:
    checks = check_gates([Change("a.test.accuracy", 0.8, 0.79)], {"a.test.accuracy": 0.03})
    same = [Change("split.source", "phantom", "phantom"), Change("split.classes", None, 12)]
    assert markdown.gate_section(checks, same, []).startswith("**Passed**: none of 1 metrics")
    assert markdown.gate_section(checks, same, ["tsne"]).startswith("**Not judged**, since")
    other = [*same, Change("split.images.test", 360, 16)]
    text = markdown.gate_section(checks, other, [])
    assert "**The data differ** (`split.images.test` `360` and now `16`), so that" in text


def test_a_terminal_shows_aligned_columns_and_no_marks() -> None:
    report = (
        "# Compared with `main`\n\n| Metric | After |\n| :-- | --: |\n| `a` | **0.5** |\n"
        "| `a longer \\| name` | 12 |\n\n<details><summary>more</summary>\n\nx\n\n</details>\n"
    )
    assert markdown.plain(report) == (
        "Compared with main\n\nMetric           After\na                  0.5\n"
        "a longer | name     12\n\nmore\n\nx\n"
    )


def test_a_terminal_is_told_the_number_of_folded_metrics_only() -> None:
    metrics = [Change("m.test.accuracy", 0.5, 0.6), Change("audit.low", 0.01, -0.03)]
    text = markdown.metrics_section(metrics, {}, [])
    assert "| `audit.low` | 0.01 | \N{MINUS SIGN}0.03 | \N{MINUS SIGN}0.0400 |  |" in text
    printed = markdown.plain(text)
    assert "1 more metric that differs: --output writes them to a file.\n" in printed
    assert "audit.low" not in printed
    assert "m.test.accuracy" in printed


def test_counts_change_by_whole_numbers() -> None:
    text = markdown.metrics_section([Change("split.images.test", 1000, 2100)], {}, [])
    assert "| 1,000 | 2,100 | +1,100 |  |" in text
