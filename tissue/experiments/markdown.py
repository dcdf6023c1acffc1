"""The comparison as GitHub-flavoured Markdown, which reads well in a terminal, too."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tissue.common.names import MODELS
from tissue.experiments.gates import Check
from tissue.experiments.pairing import Crossing, Paired, Pairs
from tissue.experiments.revisions import Change

IMAGES_SHOWN = 15  # of each model and direction
PICTURES = ("confusion_scratch", "confusion_pretrained")
SAME_DATA = ("split.source", "split.classes", "split.images.test")
MINUS = "\N{MINUS SIGN}"


def code(text: Any) -> str:
    """A name as it stands: nothing in it is taken for Markdown, HTML, a link or a mention."""
    plain = re.sub(r"[\s`]+", " ", str(text)).replace("|", "\\|").strip()
    return f"`{plain}`" if plain else ""


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, texts: int = 1) -> str:
    """A table whose first `texts` columns are aligned left and the others right."""
    marks = [":--" if column < texts else "--:" for column in range(len(head))]
    lines = [head, marks, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def signed(value: float, digits: int = 4, unit: str = "") -> str:
    """A difference with its sign."""
    return f"{value:+.{digits}f}{unit}".replace("-", MINUS)


def gate_section(checks: Sequence[Check], metrics: Sequence[Change], stale: Sequence[str]) -> str:
    """One line for each metric that has a tolerance, and what the verdict cannot say.

    Args:
        checks: of the metrics with a tolerance.
        metrics: all of them, which tell whether the data are the same.
        stale: stages whose results are not of this code.
    """
    failed = [one for one in checks if not one.passed]
    verdict = (
        f"**Failed**: {len(failed)} of {len(checks)} metrics fell by more than their tolerance."
        if failed
        else f"**Passed**: none of {len(checks)} metrics fell by more than its tolerance."
    )
    rows = [
        [
            code(one.key),
            "new" if one.old is None else f"{one.old:.4f}",
            f"{one.new:.4f}",
            f"{one.tolerance:g}",
            "passed" if one.passed else "**failed**",
        ]
        for one in checks
    ]
    if stale:
        verdict = f"**Not judged**, since the results are not of this code. {verdict}"
    other = [one for one in metrics if one.key in SAME_DATA and one.old not in (None, one.new)]
    if other:
        differ = (f"{code(one.key)} {code(one.old)} and now {code(one.new)}" for one in other)
        told = ", ".join(differ)
        verdict += f" **The data differ** ({told}), so that a change need not be the model's."
    return f"{verdict}\n\n" + markdown_table(
        ["Metric", "Before", "After", "May fall by", "Gate"], rows
    )


def state_section(stale: Sequence[str]) -> str:
    """A warning if the results are not of the code and parameters beside them."""
    if not stale:
        return ""
    return (
        f"**These results are not of this code**: {', '.join(map(code, stale))} changed after the "
        "run that dvc.lock describes. Run `dvc repro` and commit dvc.lock, metrics and plots."
    )


def params_section(changes: Sequence[Change]) -> str:
    """Parameters before and after."""
    if not changes:
        return "No parameter differs."
    rows = [[code(one.key), _value(one.old), _value(one.new)] for one in changes]
    return markdown_table(["Parameter", "Before", "After"], rows)


def _value(value: Any) -> str:
    return "none" if value is None else code(value)


def metrics_section(
    changes: Sequence[Change], paired: Mapping[str, Paired], checks: Sequence[Check]
) -> str:
    """Metrics that differ, those with a paired difference or a tolerance first.

    Args:
        changes: all metrics.
        paired: paired differences by the name of the metric.
        checks: those with a tolerance, shown even where they are the same.
    """
    gated = {one.key for one in checks}
    bounds = ("_low", "_high")  # which a class may end in, too
    shown = [one for one in changes if ".recall." in one.key or not one.key.endswith(bounds)]
    leading = [one for one in shown if one.key in gated or _is_leading(one, paired)]
    others = [one for one in shown if one not in leading and one.old != one.new]
    same = len(shown) - len(leading) - len(others)
    parts = [_metric_table(leading, paired)] if leading else []
    if others:
        parts.append(
            f"<details><summary>{len(others)} more metrics that differ</summary>\n\n"
            f"{_metric_table(others, paired)}\n\n</details>"
        )
    parts.append(f"{same} metrics are the same.")
    return "\n\n".join(parts)


def _is_leading(change: Change, paired: Mapping[str, Paired]) -> bool:
    if ".recall." in change.key:
        return False
    return change.key in paired or (change.key.endswith("test.accuracy") and change.old is not None)


def _metric_table(changes: Sequence[Change], paired: Mapping[str, Paired]) -> str:
    head = ["Metric", "Before", "After", "Change", "Relative", "Same images (95 %)", "p", "Reading"]
    rows = []
    for one in changes:
        numbers = [one.old, one.new]
        cells = [_number(n) if isinstance(n, int | float) else _value(n) for n in numbers]
        rows.append([code(one.key), *cells, *_difference(one), *_paired(paired.get(one.key))])
    return markdown_table(head, rows)


def _number(value: float) -> str:
    return f"{value}" if isinstance(value, int) else f"{value:.4g}"


def _difference(change: Change) -> tuple[str, str]:
    old, new = change.old, change.new
    if not isinstance(old, int | float) or not isinstance(new, int | float):
        return "", ""
    return signed(new - old), signed(100 * (new - old) / abs(old), 1, " %") if old else ""


def _paired(found: Paired | None) -> tuple[str, str, str]:
    if found is None:
        return "", "", ""
    low, high = signed(found.low), signed(found.high)
    p = "<0.001" if found.p_value < 0.001 else f"{found.p_value:.3f}"
    reading = found.verdict if found.verdict in ("noise", "same") else f"**{found.verdict}**"
    return f"{signed(found.difference)} ({low} to {high})", p, reading


def basis(pairs: Pairs) -> str:
    """What the paired differences rest on."""
    said = (
        f"{len(pairs.old)} test images of {pairs.groups.nunique()} groups (donors, where they are "
        "known) are in both. Intervals resample groups; p is that of McNemar's exact test, for "
        "macro-F1 of a permutation test by group; a gain or loss needs both. Of twenty rows "
        "without a true difference, one will look like one."
    )
    if pairs.only_old or pairs.only_new:
        said += (
            f" **The test sets differ**: {pairs.only_old} images only before, {pairs.only_new} only"
            " after. Before and After are on different images, the paired columns on the same."
        )
    if pairs.relabelled:
        said += f" {pairs.relabelled} images have another label than before."
    return said


def crossings_section(found: Mapping[str, tuple[list[Crossing], list[Crossing]]]) -> str:
    """Images that changed sides, a capped list for each model and direction."""
    parts = []
    for model in MODELS:
        for images, way in zip(found[model], ("right to wrong", "wrong to right"), strict=True):
            title = f"{model}: {len(images)} from {way}"
            rows = [[code(value) for value in image] for image in images[:IMAGES_SHOWN]]
            if not rows:
                parts.append(f"{title}.")
                continue
            more = len(images) - len(rows)
            listed = markdown_table(["Image", "Class", "Before", "After"], rows, texts=4)
            listed += f"\n\nand {more} more." if more else ""
            parts.append(f"<details><summary>{title}</summary>\n\n{listed}\n\n</details>")
    return "\n\n".join(parts)


def pictures_section(before: str, after: str) -> str:
    """The confusion matrices side by side, from two addresses of the repository's files."""
    rows = [
        [f"![{name}, {when}]({at.rstrip('/')}/plots/{name}.png)" for when, at in places]
        for name in PICTURES
        for places in [(("before", before), ("after", after))]
    ]
    return markdown_table(["Before", "After"], rows, texts=2)
