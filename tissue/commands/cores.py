"""Cut the cores out of a slide of a tissue microarray: `python -m tissue cores <slide>`.

Finds the cores, numbers them by row and column (A1 is the first at the top left), and writes to a
folder
- overlay.png: what was found. Blue: a core; brown: a torn one; dashes: a missing one;
- cores.csv: a row for each place, with centre and diameter in pixels of the slide;
- images: a picture of each core, with the glass in place of its neighbours.

`--map` names a CSV with the columns row, column, class and, if known, donor. Then the folder is a
source for `fetch`, whose settings are printed.

Look at overlay.png. To correct it, change cores.csv: x, y and diameter move a circle, a tissue of 0
means that there is no core, rows may be added. Then run it again with `--cores <folder>/cores.csv`.
Needs requirements/slides.txt.
"""

import argparse
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from tissue.common.errors import InputError
from tissue.common.files import atomic_write
from tissue.config.command import check_output_folder, command, parser_of
from tissue.config.fetch import Fetch
from tissue.config.loading import load_params
from tissue.figures.cores import draw_cores
from tissue.slides.core_tables import (
    Place,
    check_map,
    core_name,
    read_cores,
    read_map,
    write_cores,
)
from tissue.slides.cores import WHOLE, Core, find_cores
from tissue.slides.opening import Slide, open_slide
from tissue.slides.tiles import cut_core, tissue_mask

OVERVIEW = 2000  # pixels of its longer side


class Given(NamedTuple):
    """Tables of the user: a map of the array, and corrected cores; either may be None."""

    map: Path | None
    cores: Path | None


def run(settings: Fetch, path: Path, given: Given, output: Path) -> list[Core]:
    """Find or read the cores of a slide, and write the folder; return all places.

    Args:
        settings: `slides.mpp` and `mpp` are used.
        path: the slide.
        given: tables of the user.
        output: the folder, which is replaced.

    Raises:
        InputError: if the slide cannot be read, no grid is found, or a table does not fit.
    """
    known = read_map(given.map) if given.map else {}
    cores = read_cores(given.cores) if given.cores else []
    with open_slide(path, settings.mpp) as slide:
        span = max(1.0, max(slide.width, slide.height) / OVERVIEW)
        overview = slide.overview(span)
        if not cores:
            try:
                found = find_cores(tissue_mask(overview))
            except InputError as error:
                raise InputError(f"{path}: {error}") from None
            cores = [_on_slide(core, slide, span) for core in found]
        if given.map:
            check_map(known, cores, given.map)
        with atomic_write(output) as partial:
            partial.mkdir()
            shown = [_on_overview(core, slide, span) for core in cores]
            draw_cores(overview, shown, known, partial / "overlay.png")
            images = _cut_all(slide, cores, overview, settings.slides.mpp, partial / "images")
            write_cores(cores, partial / "cores.csv", images=images, known=known)
    return cores


def _on_slide(core: Core, slide: Slide, span: float) -> Core:
    # The middle of the first pixel of the overview is half a pixel from its edge.
    x, y = slide.left + (core.x + 0.5) * span, slide.top + (core.y + 0.5) * span
    return core._replace(x=x, y=y, diameter=core.diameter * span)


def _on_overview(core: Core, slide: Slide, span: float) -> Core:
    x, y = (core.x - slide.left) / span - 0.5, (core.y - slide.top) / span - 0.5
    return core._replace(x=x, y=y, diameter=core.diameter / span)


def _cut_all(
    slide: Slide, cores: Sequence[Core], overview: NDArray[np.uint8], mpp: float, folder: Path
) -> dict[Place, str]:
    folder.mkdir()
    names = dict[Place, str]()
    # What a spreadsheet or a folder may not begin with or hold is left out.
    stem = re.sub(r"[^\w.]+", "_", slide.path.stem).strip("._") or "slide"
    for core in tqdm([one for one in cores if one.tissue > 0], "cores", disable=None):
        name = f"{stem}_{core_name(core.row, core.column)}.jpg"
        (folder / name).write_bytes(cut_core(slide, core, overview, mpp=mpp))
        names[core.row, core.column] = name
    return names


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = parser_of("cores", __doc__)
    parser.add_argument("slide", type=Path, help="of a tissue microarray")
    parser.add_argument("--map", type=Path, metavar="CSV", help="row, column, class, donor")
    parser.add_argument("--cores", type=Path, metavar="CSV", help="cores.csv, corrected")
    parser.add_argument("--mpp", type=float, help="micrometres per pixel (fetch.slides.mpp)")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="(<slide>_cores)")
    return parser.parse_args(arguments)


def _check_output(output: Path, corrected: Path | None) -> None:
    check_output_folder("--output", output)
    if (
        output.exists()
        and any(output.iterdir())
        and not (corrected and (output / "cores.csv").exists())
    ):
        raise InputError(
            f"--output: expected a new folder. Received: {output}, which is not empty, and would "
            f"be replaced. Name another one, or give its table by --cores {output / 'cores.csv'}."
        )


def main(arguments: list[str] | None = None) -> None:
    """Run the command with these arguments, or those of the process."""
    options = _parse(arguments)
    with command("cores"):
        output = options.output or options.slide.with_name(f"{options.slide.stem}_cores")
        _check_output(output, options.cores)
        settings = load_params(
            changes={} if options.mpp is None else {"fetch.slides.mpp": f"{options.mpp}"}
        ).fetch
        given = Given(options.map, options.cores)
        cores = run(settings, options.slide, given, output)
    print(_summary(cores, output))
    if options.map:
        table = f"{{table: {output}/cores.csv, image: image, label: class, group: donor}}"
        print(
            f"  dvc exp run -S fetch.source={shlex.quote(str(output / 'images'))} "
            f"-S {shlex.quote(f'fetch.labels={table}')}"
        )


def _summary(cores: Sequence[Core], output: Path) -> str:
    rows, columns = (1 + max(core[axis] for core in cores) for axis in (0, 1))
    present = [core for core in cores if core.tissue > 0]
    torn = sum(core.tissue < WHOLE for core in present)
    return (
        f"cores: {rows} rows and {columns} columns with {len(present)} cores, of which {torn} are "
        f"torn; {len(cores) - len(present)} are missing. Check {output / 'overlay.png'}"
    )
