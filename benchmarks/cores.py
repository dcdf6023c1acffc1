"""Are the cores of drawn microarrays found? `python -m benchmarks.cores`.

Draws 20 arrays of 8 rows and 10 columns of phantom cores for each row of the table, and compares
the places found with those drawn. A place is right if it has its row and column, is missing or not
as drawn, and its circle is within a quarter of a core's picture. Cores of the phantom are torn,
half-empty and pale by themselves; those called torn here lose a half in addition.

Expected: 99 % or more in the first row.
"""

import argparse
from typing import Any

from scipy.stats import bootstrap

from benchmarks.drawn_slides import count_right, draw_array
from tissue.common.errors import InputError
from tissue.slides.cores import find_cores
from tissue.slides.tiles import tissue_mask

ARRAYS = 20
SEED = 1000  # of the first one; those below were used while the method was written
HALF = 2  # pixels of the drawing in one of the overview
CASES: dict[str, dict[str, Any]] = {
    "10 % missing, 5 % torn, turned by 5 degrees": {},
    "... not turned": {"degrees": 0.0},
    "... by 10 degrees": {"degrees": 10.0},
    "... by -10 degrees": {"degrees": -10.0},
    "25 % missing": {"missing": 0.25},
    "30 % torn": {"torn": 0.3},
    "places shifted by 12 % of a picture, many touch": {"shift": 0.12},
    "4 rows and 5 columns": {"rows": 4, "columns": 5},
}


def measure(seed: int, case: dict[str, Any]) -> tuple[int, int]:
    """Return how many places of an array are right, and how many there are."""
    picture, truth = draw_array(seed, **case)
    overview = picture[::HALF, ::HALF]
    try:
        cores = find_cores(tissue_mask(overview))
    except InputError:
        return 0, len(truth)
    found = [(c.row, c.column, HALF * c.x, HALF * c.y, c.tissue > 0) for c in cores]
    return count_right(found, truth), len(truth)


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    print("| arrays | places | right | 95 % interval, by array | arrays all right |")
    print("|---|---|---|---|---|")
    for name, case in CASES.items():
        counts = [measure(SEED + number, case) for number in range(ARRAYS)]
        right, places = (sum(column) for column in zip(*counts, strict=True))
        shares = [one / of for one, of in counts]
        interval = f"{min(shares):.1%}"
        if len(set(shares)) > 1:
            low, high = bootstrap(
                (shares,), lambda x, axis: x.mean(axis), rng=0, method="percentile"
            ).confidence_interval
            interval = f"{low:.1%} to {high:.1%}"
        perfect = sum(one == of for one, of in counts)
        print(f"| {name} | {places} | {right / places:.2%} | {interval} | {perfect} of {ARRAYS} |")


if __name__ == "__main__":
    main()
