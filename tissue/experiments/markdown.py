"""The comparison as GitHub-flavoured Markdown, and as text for a terminal."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tissue.experiments.pairing import Difference, Flip, Pairs
from tissue.experiments.revisions import Change, Check

LONGEST = 80  # letters of a name or value
IMAGES_SHOWN = 15  # of each model and direction
METRICS_SHOWN = 250  # besides those with a tolerance or a paired test
FIGURES = ("confusion_scratch", "confusion_pretrained")
FOLDED = "more metrics? that differs?"  # of which a terminal is only told the number
SAME_DATA = ("split.source", "split.classes", "split.images.test")
MINUS = "\N{MINUS SIGN}"
METRIC_COLUMNS = (
    "Metric", "Before", "After", "Change", "Relative", "Same images (95 %)", "p", "Reading",
)  # fmt: skip


def code(text: Any) -> str:
    """Return text as inline code, so that nothing in it is Markdown, HTML, a link or a mention."""
    plain = re.sub(r"[\s`]+", " ", str(text)).strip()
    if len(plain) > LONGEST:  # names of images differ at their end, classes at their start
        plain = f"{plain[: LONGEST // 2]} ... {plain[-LONGEST // 2 :]}"
    plain = plain.replace("|", "\\|")
    return f"`{plain}`" if plain else ""


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, texts: int = 1) -> str:
    """Return a table whose first `texts` columns are aligned left and the others right."""
    marks = [":--" if column < texts else "--:" for column in range(len(head))]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, marks, *rows])


def _details(summary: str, content: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{content}\n\n</details>"


def signed(value: float, digits: int = 4, unit: str = "") -> str:
    """Write a difference with its sign, which is a real minus sign."""
    text = f"{value:+,}" if isinstance(value, int) else f"{value:+.{digits}f}"
    return f"{text}{unit}".replace("-", MINUS)


def _value(value: Any) -> str:
    if isinstance(value, int | float):
        text = f"{value:.4g}" if isinstance(value, float) else f"{value:,}"
        return text.replace("-", MINUS)
    return "none" if value is None else code(value)


def gate_section(checks: Sequence[Check], metrics: Sequence[Change], stale: Sequence[str]) -> str:
    """Return the verdict, what it does not cover, and one line per metric with a tolerance.

    `stale` are the stages whose results are not of this code.
    """
    failed = sum(not check.passed for check in checks)
    verdict = (
        f"**Failed**: {failed} of {len(checks)} metrics fell by more than their tolerance."
        if failed
        else f"**Passed**: none of {len(checks)} metrics fell by more than its tolerance."
    )
    if stale:
        verdict = f"**Not judged**, since the results are not of this code. {verdict}"
    other = ", ".join(
        f"{code(one.key)} {code(one.old)} and now {code(one.new)}"
        for one in metrics
        if one.key in SAME_DATA and one.old not in (None, one.new)
    )
    if other:
        verdict += f" **The data differ** ({other}), so that a change need not be the model's."
    rows = [
        [
            code(check.key),
            "new" if check.old is None else f"{check.old:.4f}",
            f"{check.new:.4f}",
            f"{check.tolerance:g}",
            "passed" if check.passed else "**failed**",
        ]
        for check in checks
    ]
    return f"{verdict}\n\n" + markdown_table(
        ["Metric", "Before", "After", "May fall by", "Gate"], rows
    )


def state_section(stale: Sequence[str]) -> str:
    """Return a warning if the results are not of the code and parameters beside them."""
    if not stale:
        return ""
    return (
        f"**These results are not of this code**: {', '.join(map(code, stale))} changed after the "
        "run that dvc.lock describes. Run `dvc repro` and commit dvc.lock, metrics and plots."
    )


def params_section(changes: Sequence[Change]) -> str:
    """Return parameters before and after."""
    if not changes:
        return "No parameter differs."
    rows = [
        [code(key), *("none" if value is None else code(value) for value in values)]
        for key, *values in changes
    ]
    return markdown_table(["Parameter", "Before", "After"], rows)


def metrics_section(
    changes: Sequence[Change], paired: Mapping[str, Difference], checks: Sequence[Check]
) -> str:
    """Return the metrics that differ, those with a paired difference or a tolerance first.

    The latter are shown even where they are the same.
    """
    gated = {check.key for check in checks}

    def leads(change: Change) -> bool:
        if change.key in gated:
            return True
        of_base = change.key.endswith("test.accuracy") and change.old is not None
        return ".recall." not in change.key and (change.key in paired or of_base)

    bounds = ("_low", "_high")  # a class may end in these, too
    shown = [
        one
        for one in changes
        if ".recall." in one.key
        or not (one.key.endswith(bounds) or ".recall_low." in one.key or ".recall_high." in one.key)
    ]
    leading = [one for one in shown if leads(one)]
    others = [one for one in shown if one not in leading and one.old != one.new]
    sections = [_metric_table(leading, paired)] if leading else []
    if others:
        number = len(others)
        title = f"{number} more {'metric that differs' if number == 1 else 'metrics that differ'}"
        table = _metric_table(others[:METRICS_SHOWN], paired)
        if number > METRICS_SHOWN:
            table += f"\n\nand {number - METRICS_SHOWN} more."
        sections.append(_details(title, table))
    same = len(shown) - len(leading) - len(others)
    if same:
        sections.append(f"{same} {'metric is' if same == 1 else 'metrics are'} the same.")
    return "\n\n".join(sections)


def _metric_table(changes: Sequence[Change], paired: Mapping[str, Difference]) -> str:
    rows = []
    for key, old, new in changes:
        change = relative = ""
        if isinstance(old, int | float) and isinstance(new, int | float):
            change = signed(new - old)
            # Of a difference or a p-value, which may be nearly 0, a relative change means nothing.
            if old and ".test." in key and not key.startswith("comparison."):
                relative = signed(float(100 * (new - old) / abs(old)), 1, " %")
        difference = _paired(paired[key]) if key in paired else ("", "", "")
        rows.append([code(key), _value(old), _value(new), change, relative, *difference])
    return markdown_table(METRIC_COLUMNS, rows)


def _paired(found: Difference) -> tuple[str, str, str]:
    interval = f"{signed(found.low)} to {signed(found.high)}"
    p = "<0.001" if found.p_value < 0.001 else f"{found.p_value:.3f}"
    reading = found.verdict if found.verdict in ("noise", "same") else f"**{found.verdict}**"
    return f"{signed(found.value)} ({interval})", p, reading


def basis(pairs: Pairs) -> str:
    """Return what the paired differences rest on."""
    donors = len(np.unique(pairs.clusters.donors))
    text = (
        f"{len(pairs.old)} test images of {donors} groups (donors, where they are "
        "known) are in both. p is that of exchanging both runs at random, group by group; a gain "
        "or loss needs p < 0.05 and an interval without zero. Of twenty rows "
        "without a true difference, one will look like one."
    )
    if pairs.only_old or pairs.only_new:
        text += (
            f" **The test sets differ**: {pairs.only_old} images only before, {pairs.only_new} only"
            " after. Before and After are on different images, the paired columns on the same."
        )
    if pairs.relabelled:
        text += f" {pairs.relabelled} images have another label than before."
    return text


def flips_section(flips: Mapping[str, tuple[list[Flip], list[Flip]]]) -> str:
    """Return the images that changed sides: for each model and direction, the first ones."""
    sections = []
    for model, both in flips.items():
        for images, direction in zip(both, ("right to wrong", "wrong to right"), strict=True):
            title = f"{model}: {len(images)} from {direction}"
            if not images:
                sections.append(f"{title}.")
                continue
            rows = [[code(value) for value in image] for image in images[:IMAGES_SHOWN]]
            content = markdown_table(["Image", "Class", "Before", "After"], rows, texts=4)
            if more := len(images) - len(rows):
                content += f"\n\nand {more} more."
            sections.append(_details(title, content))
    return "\n\n".join(sections)


def figures_section(before: str, after: str) -> str:
    """Return the confusion matrices side by side, from two URLs of the repository's files."""
    rows = [
        [
            f"![{name}, {when}]({url.rstrip('/')}/plots/{name}.png)"
            for when, url in (("before", before), ("after", after))
        ]
        for name in FIGURES
    ]
    return markdown_table(["Before", "After"], rows, texts=2)


def plain(report: str) -> str:
    """Return a report for a terminal: aligned columns, and no marks of Markdown or HTML.

    Hundreds of folded metrics would push all else off the screen, so their table is left out.
    """
    folded = rf"<details><summary>(\d+ {FOLDED})</summary>.*?</details>"
    report = re.sub(folded, r"\1: --output writes them to a file.", report, flags=re.DOTALL)
    text = re.sub(r"</?(details|summary)>|\*\*", "", re.sub("<summary>", "\n", report))
    text = re.sub(r"(?<!`)`([^`]*)`", r"\1", text)
    lines: list[str] = []
    table: list[list[str]] = []
    for line in [*text.split("\n"), ""]:
        if line.startswith("| "):
            table.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
            continue
        lines += _aligned(table)
        table = []
        lines.append(line.replace("## ", "").replace("# ", ""))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    head, marks, *body = [[cell.replace("\\|", "|") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if mark.startswith(":") else cell.rjust(width)
            for cell, width, mark in zip(row, widths, marks, strict=True)
        ).rstrip()
        for row in (head, *body)
    ]
