"""Draw training and test in two dimensions and measure their overlap: `python -m stages.tsne`.

Reads `data/embed` and `data/split`. Writes `plots/tsne.csv`, the maps of training, test and both
as PNG, the same from raw pixels for comparison, and `metrics/tsne.json`.

One joint t-SNE of training and test features, initialised by PCA (Kobak and Berens 2019,
s41467-019-13056-x): maps of each alone could not be laid over each other. Distances and sizes of
groups in such a map mean little; the numbers beside it are measured in the space of the features.
About 20 s on the default, two cores.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.cli.running import InputError, run_command
from stages.dataset.files import write_json, write_table
from stages.dataset.index import read_array, read_index, read_part, rows_of
from stages.params.loading import load_params
from stages.params.schema import Tsne

THUMBNAIL = 28


def run(
    settings: Tsne,
    *,
    seed: int,
    split: Path = Path("data/split"),
    embed: Path = Path("data/embed"),
    metrics: Path = Path("metrics"),
    plots: Path = Path("plots"),
) -> None:
    """Map features and pixels of training and test part, and measure their overlap.

    Raises:
        ValueError: if there are too few images for the perplexity.
    """
    # scikit-learn takes a second to import; a wrong parameter has been reported before.
    from threadpoolctl import threadpool_limits

    from stages.metrics.overlap import neighbour_mixing
    from stages.metrics.projection import principal_components, tsne

    index = _joint_index(split)
    if settings.perplexity >= len(index):
        raise InputError(
            f"tsne.perplexity: expected less than the {len(index)} images of training and test. "
            f"Received: {settings.perplexity}. Lower it in params.yaml."
        )
    spaces = {"features": _features(index, embed), "pixels": _pixels(index, split)}
    measured = {}
    # One thread: between many short sums several wait for each other longer than they work.
    with threadpool_limits(1):
        for name, values in spaces.items():
            points = principal_components(values, seed=seed)
            prefix = "" if name == "features" else f"{name}_"
            index[[f"{prefix}x", f"{prefix}y"]] = tsne(
                points, perplexity=settings.perplexity, seed=seed
            )
            measured[name] = neighbour_mixing(
                points, index,
                neighbours=settings.neighbours, random_splits=settings.random_splits, seed=seed,
            )  # fmt: skip
    columns = ["id", "split", "class", "x", "y", "pixels_x", "pixels_y"]
    write_table(index[columns], plots / "tsne.csv")
    _draw(index, plots)
    write_json({"neighbours": settings.neighbours, "mixing": measured}, metrics / "tsne.json")
    mixing = measured["features"]
    print(
        f"tsne: mixing of test with training {mixing['real']:.2f}; with random splits "
        f"{mixing['random_low']:.2f} to {mixing['random_high']:.2f}, p = {mixing['p_value']:.3f}"
    )


def _joint_index(split: Path) -> pd.DataFrame:
    tables = [read_index(split / f"{part}.csv").assign(split=part) for part in ("train", "test")]
    return pd.concat(tables, ignore_index=True)


def _features(index: pd.DataFrame, embed: Path) -> NDArray[np.float32]:
    parts = []
    for part, rows in index.groupby("split", sort=False):
        ids = read_index(embed / f"{part}.csv")
        features = read_array(embed / f"{part}.npy")
        parts.append(features[rows_of(rows["id"], ids, what=f"{embed}/{part}")].mean(axis=1))
    features = np.concatenate(parts)
    # A feature that hardly varies says nothing; the small number keeps it from being blown up.
    return (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-3)


def _pixels(index: pd.DataFrame, split: Path) -> NDArray[np.float32]:
    thumbnails = []
    for part in ("train", "test"):
        images = read_part(split, part).images
        step = max(1, images.shape[1] // THUMBNAIL)
        kept = images.shape[1] // step * step
        for image in images:
            blocks = np.asarray(image[:kept, :kept], np.float32)
            blocks = blocks.reshape(kept // step, step, kept // step, step, 3)
            thumbnails.append(blocks.mean(axis=(1, 3)).ravel())
    return np.array(thumbnails)


def _draw(index: pd.DataFrame, plots: Path) -> None:
    from stages.figures.saving import save_png
    from stages.figures.scatter import scatter_figure

    for part in ("train", "test"):
        figure = scatter_figure(index, title=f"t-SNE of features, {part}", splits=(part,))
        save_png(figure, plots / f"tsne_{part}.png")
    figure = scatter_figure(index, title="t-SNE of features, training and test")
    save_png(figure, plots / "tsne_joint.png")
    pixels = index.assign(x=index["pixels_x"], y=index["pixels_y"])
    figure = scatter_figure(pixels, title="t-SNE of raw pixels, training and test")
    save_png(figure, plots / "tsne_pixels.png")


def main() -> None:
    """Run the stage with the parameters of params.yaml."""
    params = load_params()
    run(params.tsne, seed=params.seed)


if __name__ == "__main__":
    run_command(main, name="tsne", doc=__doc__)
