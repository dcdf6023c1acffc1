"""Compare the workspace with a Git revision: `python -m tissue compare --base main`.

Prints tables, or writes them as Markdown with `--output`: parameters and metrics before and after;
for the test images that both have, paired differences with intervals and sign flips by donor, which
tell a gain from noise; and the images that changed sides. With `--gate` the exit status is 1 if a
metric has fallen by more than its tolerance under `compare.tolerance` in params.yaml, or if code or
parameters were changed after the run.

Reads `metrics/`, `data/predictions` and `data/split/test.csv` here and, at the revision, metrics
from Git and predictions from DVC's cache or a remote; without these there are no paired tests, and
the report says so. No stage depends on it. About 5 s with the default data.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tissue.common.errors import InputError
from tissue.common.files import write_text
from tissue.common.names import MODELS
from tissue.config.command import check_output_file, command, parser_of
from tissue.config.loading import load_params
from tissue.config.schema import Params
from tissue.data.index import read_index
from tissue.experiments import answers, markdown, revisions
from tissue.experiments.lock import lock_at, lock_here
from tissue.experiments.pairing import Pairs, find_flips, pair_predictions, paired_metrics
from tissue.experiments.revisions import Check, NoPredictionsError, check_gates
from tissue.metrics.intervals import Sampling

LETTERS = 65_000  # of a report; a comment on GitHub may have 65,536
TEST_TABLE = Path("data/split/test.csv")


def run(params: Params, *, base: str, pictures: list[str]) -> tuple[str, list[str]]:
    """Return the comparison as Markdown, and the reasons why a gate fails.

    `pictures` are two URLs below which `plots/` is, before and after, or empty.
    """
    metrics = revisions.all_metrics(base)
    checks = check_gates(metrics, params.compare.tolerance)
    changed = revisions.changed_since_run()
    stale = sorted(changed)
    try:
        pairs = _pair(base, changed)
        notes = markdown.basis(pairs[MODELS[0]])
        if lock_at(base)["fetch"]["outs"] != lock_here()["fetch"]["outs"]:
            notes += f" **Other images than in {base}**: one name need not be one picture."
    except NoPredictionsError as reason:
        pairs, notes = {}, f"No paired test: {reason}."
    sampling = Sampling(params.evaluate.bootstrap, params.seed)
    paired = {
        f"{model}.test.{key}": value
        for model, both in pairs.items()
        for key, value in paired_metrics(both, sampling=sampling).items()
    }
    flips = {model: find_flips(both) for model, both in pairs.items()}
    sections = {
        "State": markdown.state_section(stale),
        "Is it better?": answers.answer_section(pairs, paired),
        "Gate": markdown.gate_section(checks, metrics, stale),
        "Parameters": markdown.params_section(revisions.changed_params(base)),
        "Code and data": _changed_inputs(base),
        "Metrics": f"{markdown.metrics_section(metrics, paired, checks)}\n\n{notes}",
        "Images that changed sides": markdown.flips_section(flips),
        "Confusion matrices": markdown.figures_section(*pictures) if pictures else "",
    }
    body = [f"## {title}\n\n{text}\n" for title, text in sections.items() if text]
    return "\n".join([f"# Compared with {base}\n", *body]), _reasons(checks, stale)


def shortened(report: str) -> str:
    """Return a report that a comment can hold: its last lines are left out if it is too long."""
    if len(report) <= LETTERS:
        return report
    kept = report[:LETTERS].rpartition("\n")[0]
    return f"{kept}\n\nThe rest is left out: it has {len(report) - len(kept):,} letters.\n"


def _changed_inputs(base: str) -> str:
    """Return the code and sources that changed, if there was a run at a revision."""
    try:
        before = lock_at(base)
    except InputError:
        return f"Not known, since {base} has no dvc.lock that can be read."
    return answers.inputs_section(before, lock_here())


def _reasons(checks: Sequence[Check], stale: Sequence[str]) -> list[str]:
    """Return why a gate fails."""
    failed = [
        f"{check.key} fell by more than compare.tolerance allows"
        for check in checks
        if not check.passed
    ]
    if stale:
        failed.append(f"the results are not of this code: run `dvc repro` ({', '.join(stale)})")
    return failed


def _pair(base: str, changed: Mapping[str, list[str]]) -> dict[str, Pairs]:
    """Pair the test predictions of each model here and at a revision."""
    for folder in (revisions.PREDICTIONS, "data/split"):
        if any(path.startswith(folder) for paths in changed.values() for path in paths):
            raise NoPredictionsError(
                f"{folder} is not that of dvc.lock: run `dvc pull` or `dvc repro`"
            )
    here = revisions.predictions_here()
    with tempfile.TemporaryDirectory() as scratch:
        there = revisions.predictions_at(base, Path(scratch))
    if not TEST_TABLE.is_file():
        raise NoPredictionsError(f"there is no {TEST_TABLE}: run `dvc pull {TEST_TABLE}`")
    index = read_index(TEST_TABLE)
    pairs = {model: pair_predictions(there[model], here[model], index) for model in MODELS}
    if pairs[MODELS[0]].old.empty:
        raise NoPredictionsError(f"the test sets of {base} and of the workspace share no image")
    return pairs


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = parser_of("compare", __doc__)
    parser.add_argument("--base", default="main", help="Git revision to compare with (main)")
    parser.add_argument(
        "--gate", action="store_true", help="exit 1 if a metric fell too far, or is of other code"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write there, not to the screen"
    )
    parser.add_argument(
        "--pictures", nargs=2, default=[], metavar="URL", help="where plots/ is, before and after"
    )
    return parser.parse_args(arguments)


def _check_options(base: str, output: Path | None) -> None:
    if not base:
        raise InputError(
            "--base: expected a Git revision. Received: none. Name one, or leave --base out for "
            "main."
        )
    if output:
        check_output_file("--output", output)
        if output.exists() and not (output.is_file() and output.suffix.lower() == ".md"):
            raise InputError(
                f"--output: expected a new file, or one that ends in .md. Received: {output}, "
                "which is there and would be lost. Give another name."
            )


def main(arguments: list[str] | None = None) -> None:
    """Run the command with these arguments, or those of the process."""
    options = _parse(arguments)
    with command("compare"):
        _check_options(options.base, options.output)
        report, failed = run(load_params(), base=options.base, pictures=options.pictures)
        if options.output:
            write_text(shortened(report), options.output)
        else:
            print(markdown.plain(report), end="")
    if options.gate and failed:
        sys.exit("compare: " + "\ncompare: ".join(failed))
