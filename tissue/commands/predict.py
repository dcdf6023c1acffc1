"""Name the organ of pictures: `python -m tissue predict <picture, folder or archive> ...`.

Prints the three most probable classes of each picture with their probabilities, and adds them to a
CSV as soon as they are known. It answers as the pipeline does, from `data/models/*.onnx` alone:
docs/predicting.md. Patterns such as `'slides/**/*.png'` are understood, and archives are read where
they are. With `--by-folder`, all pictures of a folder get one answer.

A picture is refused with a reason, and gets no class, if it shows nearly no tissue, if it lies
farther from all classes than 95 % of the training images lie from those of other donors, or if it
cannot be decoded. One whose file tells another physical scale than training had is answered with a
warning. The exit status is 1 if none could be decoded or a source cannot be read, and
else 0. With `--watch` it answers what arrives in a folder until it is ended.

About 8 pictures a second on two cores, after 2 s; with `--gradcam`, TensorFlow is loaded.
"""

import argparse
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tissue.common.errors import InputError
from tissue.common.names import MODELS
from tissue.config.command import check_output_file, check_output_folder, command, parser_of
from tissue.config.loading import load_params
from tissue.config.schema import Params
from tissue.prediction.answers import answer_json, answer_line, append_answers, check_answers
from tissue.prediction.inputs import arrivals, cases_of, list_pictures, read_picture_batches
from tissue.prediction.predictor import Predictor, load_predictor
from tissue.sources.archives import Member


def run(
    params: Params,
    sources: Sequence[str],
    *,
    model: str,
    watch: bool = False,
    gradcam: Path | None = None,
    by_folder: bool = False,
    data: Path = Path("data"),
) -> Iterator[list[dict[str, Any]]]:
    """Classify every picture of all sources, and yield one row per picture, batch by batch.

    Args:
        params: `threads`, `fetch.mpp`, and the limits of pictures and archives.
        sources: pictures, folders, archives, or patterns of them.
        model: scratch or pretrained.
        watch: whether the source is a folder whose later arrivals are answered, too.
        gradcam: the folder for heat maps, or None.
        by_folder: whether the pictures of a folder are one case, with one row.
        data: the folder with models.

    Raises:
        InputError: if a source, the model or what it needs is missing or does not fit.
    """
    with ExitStack() as closing:
        limits = params.fetch.limits
        if watch:
            groups = arrivals(_folder_of(sources), limits=limits)
        else:
            groups = iter([list_pictures(sources, limits=limits, closing=closing)])
        predictor = load_predictor(params, model=model, gradcam=gradcam, data=data)
        params = predictor.reading_params(params)
        if watch:
            print(f"watching {sources[0]}; Ctrl-C ends it", file=sys.stderr)
        for members in groups:
            if by_folder:
                yield from _answer_cases(predictor, cases_of(members, sources[0]), params)
            else:
                yield from _answer_pictures(predictor, members, params)


def _answer_pictures(
    predictor: Predictor, members: Sequence[Member], params: Params
) -> Iterator[list[dict[str, Any]]]:
    with tqdm(total=len(members), desc="predict", unit="image", disable=None) as progress:
        for batch in read_picture_batches(members, params):
            yield predictor.answer(batch)
            progress.update(len(batch))
            batch.clear()  # before the next pictures are read


def _answer_cases(
    predictor: Predictor, cases: Iterator[tuple[str, list[Member]]], params: Params
) -> Iterator[list[dict[str, Any]]]:
    for name, members in tqdm(cases, desc="predict", unit="case", disable=None):
        batches = read_picture_batches(members, params)
        yield [predictor.answer_case(name, chain.from_iterable(batches))]


def _folder_of(sources: Sequence[str]) -> Path:
    if len(sources) != 1 or not Path(sources[0]).is_dir():
        raise InputError(
            f"--watch: expected one folder. Received: {' '.join(sources)}. Name the folder in "
            "which pictures arrive."
        )
    return Path(sources[0])


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = parser_of("predict", __doc__)
    parser.add_argument(
        "source", nargs="+", help="picture, folder, .zip, .tar, .tar.gz archive, or a pattern"
    )
    parser.add_argument("--model", choices=MODELS, default="pretrained", help="(%(default)s)")
    parser.add_argument(
        "--output", type=Path, default="predictions.csv", metavar="FILE", help="CSV (%(default)s)"
    )
    parser.add_argument("--append", action="store_true", help="add to the CSV if there is one")
    parser.add_argument("--json", action="store_true", help="print one JSON object per picture")
    parser.add_argument("--watch", action="store_true", help="answer what arrives in a folder")
    parser.add_argument(
        "--by-folder", action="store_true", help="one answer for all pictures of a folder"
    )
    parser.add_argument(
        "--mpp", type=float, help="micrometres per pixel of pictures that do not tell (fetch.mpp)"
    )
    parser.add_argument(
        "--gradcam", type=Path, metavar="FOLDER", help="draw where the model looked, one PNG each"
    )
    return parser.parse_args(arguments)


def _check_targets(output: Path, *, append: bool, gradcam: Path | None) -> None:
    check_output_file("--output", output)
    check_answers(output, append=append)
    if gradcam:
        check_output_folder("--gradcam", gradcam)


def main(arguments: list[str] | None = None) -> None:
    """Run the command with these arguments, or those of the process."""
    options = _parse(arguments)
    answered = refused = unread = 0
    describe = answer_json if options.json else answer_line
    with command("predict"):
        _check_targets(options.output, append=options.append, gradcam=options.gradcam)
        if options.by_folder and (options.watch or options.gradcam):
            raise InputError(
                "--by-folder: expected to answer once for all pictures of a folder. Received: "
                f"{'--watch' if options.watch else '--gradcam'} as well, which answers each. Leave "
                "one of them out."
            )
        # `timeout` and schedulers send this; the answers so far are in the table.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        batches = run(
            load_params(changes={} if options.mpp is None else {"fetch.mpp": f"{options.mpp}"}),
            options.source, model=options.model, watch=options.watch, gradcam=options.gradcam,
            by_folder=options.by_folder,
        )  # fmt: skip
        new = not options.append
        for rows in batches:
            append_answers(rows, options.output, new=new)
            new = False
            refused += sum(bool(row["refused"]) for row in rows)
            unread += sum("distance" not in row for row in rows)
            answered += len(rows)
            for row in rows:
                tqdm.write(describe(row))
    report = f"predict: answered {answered - refused}, refused {refused}, in {options.output}"
    print(report, file=sys.stderr if options.json else sys.stdout)
    if unread == answered:
        sys.exit("predict: none of the pictures could be read")
