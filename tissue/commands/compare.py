"""Compare the workspace with a Git revision: `python -m tissue compare --base main`.

Prints Markdown: parameters and metrics before and after; for the test images that both have, paired
differences with intervals by donor and McNemar's exact test, so that noise can be told from a gain;
and the images that changed sides. With `--gate` the exit status is 1 when a metric has fallen by
more than its tolerance under `compare.tolerance` in params.yaml, or when code or parameters were
changed after the run.

Reads `metrics/`, `data/predictions` and `data/split/test.csv` here and, at the revision, metrics
from Git and predictions from DVC's cache or a remote; without the latter there are no paired tests,
and the report says so. No stage depends on it. About 5 s on the default.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tissue.common.errors import InputError
from tissue.common.files import atomic_write
from tissue.common.names import MODELS
from tissue.config.command import check_output_file, command, parser_of
from tissue.config.loading import load_params
from tissue.config.schema import Params
from tissue.data.index import read_index
from tissue.experiments import markdown, revisions
from tissue.experiments.gates import check_gates
from tissue.experiments.pairing import Paired, crossings, pair_predictions, paired_metrics
from tissue.metrics.intervals import Sampling


def run(params: Params, *, base: str, pictures: list[str]) -> tuple[str, list[str]]:
    """Return the comparison as Markdown, and what a gate has to stop, in words.

    Args:
        params: of the workspace: tolerances, number of resamples and seed.
        base: the Git revision to compare with.
        pictures: two addresses below which `plots/` lies, before and after, or none.
    """
    metrics = revisions.all_metrics(base)
    checks = check_gates(metrics, params.compare.tolerance)
    changed = revisions.changed_since_run()
    paired, images, notes = _on_the_same_images(params, base, changed)
    stale = sorted(changed)
    sections = {
        "State": markdown.state_section(stale),
        "Gate": markdown.gate_section(checks, metrics, stale),
        "Parameters": markdown.params_section(revisions.changed_params(base)),
        "Metrics": f"{markdown.metrics_section(metrics, paired, checks)}\n\n{notes}",
        "Images that changed sides": images,
        "Confusion matrices": markdown.pictures_section(*pictures) if pictures else "",
    }
    body = [f"## {title}\n\n{text}\n" for title, text in sections.items() if text]
    failed = [
        f"{one.key} fell by more than compare.tolerance allows" for one in checks if not one.passed
    ]
    if stale:
        failed.append(f"the results are not of this code: run `dvc repro` ({', '.join(stale)})")
    return "\n".join([f"# Compared with {base}\n", *body]), failed


def _on_the_same_images(
    params: Params, base: str, changed: Mapping[str, list[str]]
) -> tuple[dict[str, Paired], str, str]:
    """Paired differences by metric, the images that changed sides, and what they rest on."""
    for folder in (revisions.PREDICTIONS, "data/split"):
        if any(path.startswith(folder) for paths in changed.values() for path in paths):
            why = f"{folder} is not that of dvc.lock: run `dvc pull` or `dvc repro`"
            return {}, "", f"No paired test: {why}."
    with tempfile.TemporaryDirectory() as scratch:
        here = revisions.predictions_here()
        there = here if here.missing else revisions.predictions_at(base, Path(scratch))
    if there.missing:
        return {}, "", f"No paired test: {there.missing}."
    table = Path("data/split/test.csv")
    if not table.is_file():
        return {}, "", f"No paired test: there is no {table}: run `dvc pull {table}`."
    index = read_index(table)
    pairs = {
        name: pair_predictions(there.tables[name], here.tables[name], index) for name in MODELS
    }
    if pairs[MODELS[0]].old.empty:
        return (
            {},
            "",
            f"No paired test: the test sets of {base} and of the workspace share no image.",
        )
    sampling = Sampling(params.evaluate.bootstrap, params.seed)
    paired = {
        f"{model}.test.{key}": value
        for model in MODELS
        for key, value in paired_metrics(pairs[model], sampling=sampling).items()
    }
    crossed = {model: crossings(pairs[model]) for model in MODELS}
    said = markdown.basis(pairs[MODELS[0]])
    if not revisions.same_images(base):
        said += f" **Other images than in {base}**: one name need not be one picture."
    return paired, markdown.crossings_section(crossed), said


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
        "--pictures", nargs=2, default=[], metavar="URL", help="where plots/ lies, before and after"
    )
    return parser.parse_args(arguments)


def _check_output(output: Path) -> None:
    check_output_file("--output", output)
    if output.exists() and not (output.is_file() and output.suffix.lower() == ".md"):
        raise InputError(
            f"--output: expected a new file, or one that ends in .md. Received: {output}, which is "
            "there and would be lost. Give another name."
        )


def main(arguments: list[str] | None = None) -> None:
    """Compare as the command line says."""
    options = _parse(arguments)
    with command("compare"):
        if not options.base:
            raise InputError(
                "--base: expected a Git revision. Received: none. Name one, or leave "
                "--base out for main."
            )
        if options.output:
            _check_output(options.output)
        report, failed = run(load_params(), base=options.base, pictures=options.pictures)
        if options.output:
            with atomic_write(options.output) as partial:
                partial.write_text(report, encoding="utf-8")
        else:
            print(report, end="")
    if options.gate and failed:
        sys.exit("compare: " + "\ncompare: ".join(failed))
