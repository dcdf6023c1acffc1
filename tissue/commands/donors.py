"""Ask the atlas for the donors of its images: `python -m tissue donors <folder or archive>`.

For images of the Human Protein Atlas under their own names, such as 4821_A_3_5.jpg, which tell the
slide and the position on it but not the donor. Reads the XML of one gene after the other, at most
two a second, until the `patientId` of every image is found, and writes a table of the columns path
and group for `split.metadata`. XML that has arrived is kept in `advanced.fetch.cache` and shared
with `fetch.source: hpa`, so that the command can be interrupted and run again.

An image that is not found has an empty group in the table; the command names it and its exit status
is 1. Without an argument the images are those of `data/raw`, which `fetch` has collected.

    python -m tissue donors ../my-images
    dvc exp run -S fetch.source=../my-images -S split.metadata=donors.csv
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pandas as pd

from tissue.common.errors import InputError
from tissue.common.files import write_table
from tissue.common.names import atlas_name
from tissue.config.command import check_output_file, command, parser_of
from tissue.config.fetch import Fetch
from tissue.config.loading import load_params
from tissue.data.index import read_index
from tissue.sources.atlas import find_donors
from tissue.sources.local import list_images

NAMED = 20  # images without a donor that the message names; the table has all of them


def run(settings: Fetch, sources: Sequence[Path]) -> tuple[pd.DataFrame, list[str]]:
    """Return the donor of each image, and why some have none.

    Args:
        settings: `hpa`, `cache`, `limits`, `class_level` and `labels` are used.
        sources: folders and archives, with the layout that `fetch` expects.

    Returns:
        A table with `path`, the id of the image, and `group`, its donor or an empty text; and a
        line for each image without a donor.

    Raises:
        InputError: if the images cannot be listed, none has a name of the atlas, or the atlas does
            not answer.
    """
    ids = _ids(settings, sources)
    names = {id_: atlas_name(id_) for id_ in ids}
    wanted = {name for name in names.values() if name}
    if not wanted:
        raise InputError(
            "expected images under the names that the atlas gives them, such as 4821_A_3_5.jpg. "
            f"Received: {len(ids)} others, e.g. {ids[0]}. Write the table for split.metadata "
            "by hand, or name other images."
        )
    found = find_donors(wanted, settings.hpa, cache=Path(settings.cache))
    groups, missing = [], []
    for id_, name in names.items():
        donors = sorted(found.get(name, ()))
        groups.append(donors[0] if len(donors) == 1 else "")
        if len(donors) != 1:
            missing.append(f"{id_}: {_reason(name, donors, settings)}")
    return pd.DataFrame({"path": ids, "group": groups}), missing


def _ids(settings: Fetch, sources: Sequence[Path]) -> list[str]:
    if (sources[0] / "manifest.csv").is_file():  # data/raw, which may hold nothing else
        return read_index(sources[0] / "manifest.csv", ["id"])["id"].tolist()
    with ExitStack() as closing:
        listing = list_images(
            sources, sha256={}, limits=settings.limits, closing=closing,
            class_level=settings.class_level, labels=settings.labels,
            outside_links=settings.outside_links,
        )  # fmt: skip
        return [image.id for image in listing]


def _reason(name: str, donors: list[str], settings: Fetch) -> str:
    if not name:
        return "no name of the atlas"
    several = f"of several donors in the atlas, {', '.join(donors)}"
    return several if donors else f"in no gene of {settings.hpa.genes}"


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = parser_of("donors", __doc__)
    parser.add_argument(
        "source", type=Path, nargs="*", default=[Path("data/raw")],
        help="folders or .zip, .tar, .tar.gz archives (data/raw)",
    )  # fmt: skip
    parser.add_argument(
        "--genes", metavar="FILE", help="text file with one Ensembl id per line (fetch.hpa.genes)"
    )
    parser.add_argument(
        "--output", type=Path, default="donors.csv", metavar="FILE", help="CSV (%(default)s)"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Run the command with these arguments, or those of the process."""
    options = _parse(arguments)
    with command("donors"):
        check_output_file("--output", options.output)
        if options.output.suffix.lower() != ".csv":
            raise InputError(
                "--output: expected a name that ends in .csv. Received: "
                f"{options.output}. Give another name."
            )
        settings = load_params().fetch
        if options.genes:
            hpa = settings.hpa.model_copy(update={"genes": options.genes})
            settings = settings.model_copy(update={"hpa": hpa})
        table, missing = run(settings, options.source)
        write_table(table, options.output)
    found = table.loc[table["group"] != "", "group"]
    print(
        f"donors: {len(found)} of {len(table)} images, of {found.nunique()} donors; "
        f"set split.metadata to {options.output}"
    )
    if missing:
        more = f"\n  and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        sys.exit(
            f"donors: expected a donor for every image. Received: none for {len(missing)}. Name "
            f"more genes by --genes and run it again, or fill the empty groups in {options.output} "
            "by hand:\n  " + "\n  ".join(missing[:NAMED]) + more
        )
