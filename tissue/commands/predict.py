"""Name the organ of pictures: `python -m tissue predict <picture, folder or archive>`.

Prints the three most probable classes of each picture with their probabilities, and
writes them as CSV. Pictures are decoded and their views averaged exactly as in the pipeline. When
the command is interrupted, the answers so far go into `<output>.partial.csv`.

A picture is refused with a reason, and gets no class, if it shows nearly no tissue, if it lies
farther from all classes than 95 % of the training images lie from those of other donors, or if it
cannot be decoded. The exit status is 1 if none could be decoded or the source cannot be read, and
else 0. Archives are read where they are and never unpacked.

Reads params.yaml, the model, the pretrained one in any case, and three small files that say how it
was made. About 10 pictures a second on two cores, after 10 s.
"""

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tissue.common.errors import InputError
from tissue.common.files import write_table
from tissue.common.names import MODELS
from tissue.common.runtime import quiet_import
from tissue.config.command import check_output_file, check_output_folder, command, parser_of
from tissue.config.loading import load_params
from tissue.config.schema import Params
from tissue.prediction.answers import answer_line, answers_table
from tissue.prediction.inputs import list_pictures, read_picture_batches

NEEDED = (
    "models/pretrained.keras", "split/classes.json", "split/images.json", "embed/network.json",
)  # fmt: skip


def run(
    params: Params,
    source: Path,
    *,
    model: str,
    gradcam: Path | None = None,
    data: Path = Path("data"),
) -> Iterator[dict[str, Any]]:
    """Classify every picture of a source, print the answers, and yield one row per picture.

    Args:
        params: those of the run that trained the model.
        source: a picture, folder or archive.
        model: scratch or pretrained.
        gradcam: the folder for heat maps, or None.
        data: the folder with models, embed and split; of these two only what `NEEDED` names.

    Raises:
        InputError: if the source, the model or what it needs is missing or does not fit.
    """
    _check_needed([data / name for name in (f"models/{model}.keras", *NEEDED)])
    with ExitStack() as closing:
        members = list_pictures(source, limits=params.fetch.limits, closing=closing)
        # TensorFlow takes seconds to import; missing files have been reported before.
        with quiet_import():
            from tissue.prediction.predictor import load_predictor

        predictor = load_predictor(params, model=model, gradcam=gradcam, data=data)
        with tqdm(total=len(members), desc="predict", unit="image", disable=None) as progress:
            for batch in read_picture_batches(members, params):
                for row in predictor.answer(batch):
                    progress.write(answer_line(row))
                    yield row
                progress.update(len(batch))


def _check_needed(paths: list[Path]) -> None:
    missing = [path for path in paths if not path.exists()]
    if missing:
        wanted = {path.as_posix() for path in missing}
        raise InputError(
            "expected a trained model and what it was trained on. Received: no "
            f"{missing[0].as_posix()}. Run `dvc pull {' '.join(sorted(wanted))}`, or `dvc repro` "
            "to make them."
        )


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = parser_of("predict", __doc__)
    parser.add_argument("source", type=Path, help="picture, folder, or .zip, .tar, .tar.gz archive")
    parser.add_argument("--model", choices=MODELS, default="pretrained", help="(%(default)s)")
    parser.add_argument(
        "--output", type=Path, default="predictions.csv", metavar="FILE", help="CSV (%(default)s)"
    )
    parser.add_argument(
        "--gradcam", type=Path, metavar="FOLDER", help="draw where the model looked, one PNG each"
    )
    return parser.parse_args(arguments)


def _check_targets(output: Path, gradcam: Path | None) -> None:
    check_output_file("--output", output)
    # Only a table may be overwritten, and not a picture whose name came after the option.
    if output.suffix.lower() != ".csv":
        raise InputError(
            f"--output: expected a name that ends in .csv. Received: {output}. Give another name, "
            f"such as {output.with_name('predictions.csv')}."
        )
    if gradcam:
        check_output_folder("--gradcam", gradcam)


def main(arguments: list[str] | None = None) -> None:
    """Run the command with these arguments, or those of the process."""
    options = _parse(arguments)
    with command("predict"):
        _check_targets(options.output, options.gradcam)
        # `timeout` and schedulers send this: the answers so far are kept.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        rows: list[dict[str, Any]] = []
        try:
            rows.extend(
                run(load_params(), options.source, model=options.model, gradcam=options.gradcam)
            )
        except BaseException:
            if rows:
                partial = options.output.with_suffix(".partial.csv")
                write_table(answers_table(rows), partial)
                kept = f"stopped after {len(rows)} pictures; {partial} holds the answers"
                print(f"predict: {kept}", file=sys.stderr)
            raise
        write_table(answers_table(rows), options.output)
    refused = sum(bool(row["refused"]) for row in rows)
    print(f"predict: answered {len(rows) - refused}, refused {refused}; {options.output}")
    if all("distance" not in row for row in rows):
        sys.exit(f"predict: {options.source}: none of the pictures could be read")
