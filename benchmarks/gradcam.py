"""Do the heat maps show what the decision rests on? `python -m benchmarks.gradcam [split]`.

Reads `data/split`, `data/embed` and `data/models` and changes nothing there. Takes every third
image of a split (by default validation, so that the maps can be chosen by it) and both models,
explains the most probable class against the second, and then fills a fifth of the tissue with the
light of the empty slide: the hottest fifth, the coldest, and one at random. Prints how far the log
odds of the two classes fall, and in how many images the hot fifth matters more than either other,
with 95 % intervals by donor.

Then prints, of the errors in `data/predictions`, what a map of less than the whole decision would
show: in how many errors the first view alone gives another class than the averaged views, and in
how many the mean log odds over all views, of which the maps show the places, favour the true class;
by how much either branch moves these log odds, and in how many errors it favours the true class.

With maps that show nothing, the three fall alike and the shares are a half. Expected on the default
phantom: see benchmarks/results/gradcam.md. Half a minute of processor time.
"""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from benchmarks.why import markdown
from tissue.common.names import MODELS
from tissue.common.runtime import quiet_import
from tissue.config.loading import load_params
from tissue.data.features import read_features
from tissue.data.index import Dataset, locate_rows, read_split
from tissue.error_analysis.last_maps import tile_slices
from tissue.error_analysis.table import HEAT_SIDE
from tissue.metrics.intervals import mean_interval, share_interval

if TYPE_CHECKING:
    import keras

    from tissue.error_analysis.gradcam import Views

SPLIT, EMBED, MODEL_FOLDER = Path("data/split"), Path("data/embed"), Path("data/models")
SHARE = 0.2  # of the tissue that is filled
STEP = 3  # every third image
EMPTY = 12  # grey levels below the light of the slide from which a pixel is tissue
TISSUE = 0.3  # share of its pixels from which a cell is tissue
Heat = NDArray[np.floating]


class Seen(NamedTuple):
    """Images uint8 (N, S, S, 3) and their crops uint8 (N, C, S, S, 3), or None."""

    images: NDArray[np.uint8]
    crops: NDArray[np.uint8] | None


def slide_light(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the colour of the empty slide, uint8 (N, 3), of images (N, S, S, 3)."""
    return np.quantile(images, 0.99, axis=(1, 2)).astype(np.uint8)


def tissue_cells(images: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which cells of a map show tissue, bool (N, 28, 28)."""
    light = slide_light(images).mean(axis=1)[:, None, None]
    tissue = images.mean(axis=3) < light - EMPTY
    rows = np.arange(images.shape[1]) * HEAT_SIDE // images.shape[1]
    cells = rows[:, None] * HEAT_SIDE + rows[None]
    count = np.bincount(cells.ravel())
    shares = np.stack([np.bincount(cells.ravel(), one.ravel()) / count for one in tissue])
    return (shares > TISSUE).reshape(-1, HEAT_SIDE, HEAT_SIDE)


def choose_cells(heat: Heat, tissue: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the fifth of the tissue with the most heat, bool (N, 28, 28)."""
    chosen = np.zeros(heat.shape, bool)
    for row, (warmth, cells) in enumerate(zip(heat, tissue, strict=True)):
        (places,) = cells.ravel().nonzero()
        order = places[np.argsort(-warmth.ravel()[places], kind="stable")]
        chosen[row].ravel()[order[: max(1, round(SHARE * len(places)))]] = True
    return chosen


def occlude(seen: Seen, cells: NDArray[np.bool_], zoom: int) -> Seen:
    """Fill cells of the images, and of the crops that show them, with the light of the slide.

    Crops have to cover the image, as they do by default.
    """
    images, crops = seen.images.copy(), None if seen.crops is None else seen.crops.copy()
    side = images.shape[1]
    light = slide_light(images)
    for row, chosen in enumerate(cells):
        at = np.arange(side) * HEAT_SIDE // side
        images[row][chosen[np.ix_(at, at)]] = light[row]
        if crops is not None:
            for place, crop in enumerate(crops[row]):
                tile = chosen[tile_slices(place, zoom, HEAT_SIDE)]
                rows, columns = (np.arange(side) * count // side for count in tile.shape)
                crop[tile[np.ix_(rows, columns)]] = light[row]
    return Seen(images, crops)


def falls(
    network: "keras.Model", seen: Seen, *, views: "Views", seed: int
) -> dict[str, NDArray[np.float64]]:
    """Return how far the log odds (N,) fall without the hot, the cold and a random fifth."""
    from tissue.error_analysis.gradcam import explain_decisions
    from tissue.training.inference import predict_batch

    def probabilities(some: Seen) -> NDArray[np.float64]:
        each = predict_batch(network, *some, views=views.number)
        return each.mean(axis=1).astype(np.float64)

    before = probabilities(seen)
    pairs = np.argsort(-before, axis=1, kind="stable")[:, :2]

    def odds(shares: NDArray[np.float64]) -> NDArray[np.float64]:
        first, second = np.take_along_axis(np.log(shares + 1e-30), pairs, axis=1).T
        return first - second

    heat, _ = explain_decisions(network, *seen, pairs, views=views)
    signed = heat[:, 0].astype(float) - heat[:, 1]
    noise = np.random.default_rng(seed).normal(size=signed.shape)
    # As smooth as the maps are.
    maps = {"hot": signed, "cold": -signed, "random": gaussian_filter(noise, (0, 2, 2))}
    tissue = tissue_cells(seen.images)
    chosen = {name: choose_cells(warmth, tissue) for name, warmth in maps.items()}
    return {
        name: odds(before) - odds(probabilities(occlude(seen, cells, views.zoom)))
        for name, cells in chosen.items()
    }


def drawn_row(
    network: "keras.Model", errors: pd.DataFrame, test: Dataset, *, views: int
) -> list[str]:
    """Return the row of a model in the table of what less than the decision would show.

    `errors` are those of the model, with `whole` and `crops` as in `gradcam.csv`.
    """
    from tissue.training.inference import head_of, predict_batch, predict_features

    rows = locate_rows(errors["id"], test.index, what="data/split/test")
    if network.name == "scratch":
        each = predict_batch(network, np.asarray(test.images[rows]), None, views=views)
    else:
        features = np.asarray(read_features(errors["id"], "test", EMBED)[:])
        each = predict_features(head_of(network), features)
    averaged = each.mean(axis=1).argmax(axis=1)
    first = int((each[:, 0].argmax(axis=1) != averaged).sum())
    pairs = np.column_stack([averaged, test.labels[rows]])
    logs = np.log(each + 1e-30).mean(axis=1)
    predicted, actual = np.take_along_axis(logs, pairs, axis=1).T
    odds = int((predicted <= actual).sum())
    row = [network.name, str(len(errors)), str(first), str(odds)]
    for branch in ("whole", "crops"):
        moved = errors[branch].dropna()
        row.append(f"{moved.abs().mean():.2f}, {(moved < 0).sum()} errors" if len(moved) else "")
    return row


def table_row(name: str, found: dict[str, NDArray[np.float64]], donors: pd.Series) -> list[str]:
    """Return the mean falls, and the shares of images in which the hot fifth matters more."""
    row = [name, str(len(donors))]
    for fall in found.values():
        low, high = mean_interval(fall, donors)
        row.append(f"{fall.mean():+.2f} ({low:+.2f} to {high:+.2f})")
    for other in ("cold", "random"):
        more = (found["hot"] > found[other]).astype(float)
        low, high = share_interval(more, donors)
        row.append(f"{more.mean():.2f} ({low:.2f} to {high:.2f})")
    return row


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("split", nargs="?", default="val", choices=("val", "test"))
    options = parser.parse_args()
    os.environ["TF_CPP_MIN_LOG_LEVEL"], os.environ["KERAS_BACKEND"] = "3", "tensorflow"
    with quiet_import():
        from tissue.common.runtime import set_up
    from tissue.error_analysis.gradcam import views_of
    from tissue.training.saving import load_model

    params = load_params()
    set_up(seed=params.seed, threads=params.threads)
    every = read_split(SPLIT, options.split)
    rows = np.arange(0, len(every.images), STEP)
    crops = None if every.crops is None else np.asarray(every.crops[rows])
    index = every.index.iloc[rows].reset_index(drop=True)
    seen = Seen(np.asarray(every.images[rows]), crops)
    views = views_of(SPLIT, EMBED, scratch=params.scratch.views)
    head = ["", "n", "hot", "cold", "random", "hot > cold", "hot > random"]
    table = [head]
    networks = {name: load_model(MODEL_FOLDER / f"{name}.keras") for name in MODELS}
    for name, network in networks.items():
        found = falls(network, seen, views=views[name], seed=params.seed)
        table.append(table_row(name, found, index["group"]))
    print(markdown(table))
    test, folder = read_split(SPLIT, "test"), Path("data/predictions")
    errors = pd.read_csv(folder / "gradcam.csv")
    head = [
        "",
        "errors",
        "first view: another class",
        "all views: true class",
        "whole image",
        "crops",
    ]
    drawn = [
        drawn_row(network, errors[errors["model"] == name], test, views=views[name].number)
        for name, network in networks.items()
    ]
    print()
    print(markdown([head, *drawn]))


if __name__ == "__main__":
    main()
