"""Name the organ of pictures: `python -m tissue predict <picture, folder or archive>`.

Prints the three most probable classes of each picture with their calibrated probabilities, and
writes all of it as CSV. A picture is decoded, turned and averaged exactly as in the pipeline. When
it is interrupted, the answers that it has go into `<output>.partial.csv`.

Refused with a reason, without a class, is what shows nearly no tissue, what lies further from the
training images than 99 % of these lie from those of other donors, and what cannot be decoded. The
exit status is 1 if none could be decoded or the source cannot be read, and else 0, whatever was
refused. Archives are read where they are, never unpacked.

Reads params.yaml, the model, the features of the training images in `data/embed` and two tables of
`data/split`. About 10 pictures a second on two cores, after 10 s.
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
from tissue.prediction.inputs import list_pictures, read_picture_batches
from tissue.prediction.predictor import answer_line, answers_table

NEEDED = (
    "split/classes.json", "split/train.csv", "split/images.json", "embed/train.npy",
    "embed/train.csv", "embed/network.json",
)  # fmt: skip


def run(
    params: Params,
    source: Path,
    *,
    model: str,
    gradcam: Path | None = None,
    data: Path = Path("data"),
) -> Iterator[dict[str, Any]]:
    """Answer every picture of `source`, print it, and give a row for each.

    Raises:
        ValueError: if the source, the model or what it needs is missing or does not fit.
    """
    _check_needed([data / name for name in (f"models/{model}.keras", *NEEDED)])
    with ExitStack() as closing:
        members = list_pictures(source, limits=params.fetch.limits, closing=closing)
        # TensorFlow takes seconds to import; what is missing has been reported before.
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
        # Of features all: those of many images are several files.
        wanted = {(p.parent if p.parent.name == "embed" else p).as_posix() for p in missing}
        raise InputError(
            "expected a trained model and what it was trained on. Received: no "
            f"{missing[0].as_posix()}. Run `dvc pull {' '.join(sorted(wanted))}`, or `dvc repro` "
            "to make them."
        )


def _check_targets(output: Path, gradcam: Path | None) -> None:
    check_output_file("--output", output)
    # What is replaced shall be a table, and not the picture whose name came after the option.
    if output.suffix.lower() != ".csv":
        raise InputError(
            f"--output: expected a name that ends in .csv. Received: {output}. Give another name, "
            f"such as {output.with_name('predictions.csv')}."
        )
    if gradcam:
        check_output_folder("--gradcam", gradcam)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = parser_of("predict", __doc__)
    parser.add_argument("source", type=Path, help="picture, folder, or .zip, .tar, .tar.gz archive")
    parser.add_argument("--model", choices=MODELS, default="pretrained", help="(%(default)s)")
    parser.add_argument(
        "--output", type=Path, default="predictions.csv", metavar="FILE", help="CSV (%(default)s)"
    )
    parser.add_argument(
        "--gradcam", type=Path, metavar="FOLDER", help="draw where the model looked, a PNG each"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Predict as the command line says."""
    options = _parse(arguments)
    with command("predict"):
        _check_targets(options.output, options.gradcam)
        asked = {"model": options.model, "gradcam": options.gradcam}
        rows: list[dict[str, Any]] = []
        # As of `timeout` or a scheduler: what has been answered is kept.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        try:
            rows.extend(run(load_params(), options.source, **asked))
        except BaseException:
            # Hours may have gone into the answers that are there.
            if rows:
                partial = options.output.with_suffix(".partial.csv")
                write_table(answers_table(rows), partial)
                told = f"predict: stopped after {len(rows)} pictures; {partial} holds the answers"
                print(told, file=sys.stderr)
            raise
        write_table(answers_table(rows), options.output)
    refused = sum(bool(row["refused"]) for row in rows)
    print(f"predict: answered {len(rows) - refused}, refused {refused}; {options.output}")
    if all("distance" not in row for row in rows):
        sys.exit(f"predict: {options.source}: none of the pictures could be read")
