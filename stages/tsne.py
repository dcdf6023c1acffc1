"""Draw training and test in two dimensions and measure their overlap: `python -m stages.tsne`.

Reads `data/embed` and `data/split`. Writes `plots/tsne.csv`, the maps of training, test and both
as PNG, the same from raw pixels for comparison, and `metrics/tsne.json`.

One joint t-SNE of training and test features, initialised by PCA (Kobak and Berens 2019,
s41467-019-13056-x): maps of each alone could not be laid over each other. Distances and sizes of
groups in such a map mean little; the numbers beside it are measured on 50 principal components:
how mixed the neighbours are, whether a classifier tells test from training, and their Frechet
distance, overall and by class, each beside random splits by donor. About 15 s on the default.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from stages.cli.running import InputError, run_command
from stages.dataset.files import write_json, write_table
from stages.dataset.joint import joint_features, joint_index, joint_pixels
from stages.metrics.overlap import FIGURES
from stages.params.loading import load_params
from stages.params.schema import Tsne


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

    from stages.metrics.overlap import joint_p_value, overlap, overlap_of_classes
    from stages.metrics.projection import principal_components, trust, tsne

    index = joint_index(split, max_images=settings.max_images, seed=seed)
    if settings.perplexity >= len(index):
        raise InputError(
            f"tsne.perplexity: expected less than the {len(index)} images of training and test. "
            f"Received: {settings.perplexity}. Lower it in params.yaml."
        )
    spaces = {"features": joint_features(index, embed), "pixels": joint_pixels(index, split)}
    neighbours = settings.neighbours
    sampling = {
        "neighbours": neighbours, "random_splits": settings.random_splits, "seed": seed,
    }  # fmt: skip
    measured: dict[str, Any] = {name: {} for name in (*FIGURES, "trustworthiness", "p_value")}
    # One thread: between many short sums several wait for each other longer than they work.
    with threadpool_limits(1):
        for name, values in spaces.items():
            points = principal_components(values, seed=seed)
            places = tsne(points, perplexity=settings.perplexity, seed=seed)
            prefix = "" if name == "features" else f"{name}_"
            index[[f"{prefix}x", f"{prefix}y"]] = places
            measured["trustworthiness"][name] = trust(values, places, neighbours=neighbours)
            figures = overlap(points, index, **sampling)
            for figure, value in figures.items():
                measured[figure][name] = value
            measured["p_value"][name] = joint_p_value(figures)
            if name == "features":
                measured["classes"] = overlap_of_classes(points, index, **sampling)
    columns = ["id", "split", "class", "x", "y", "pixels_x", "pixels_y"]
    write_table(index[columns], plots / "tsne.csv")
    _draw(index, plots)
    write_json({"neighbours": neighbours, "images": len(index), **measured}, metrics / "tsne.json")
    print(f"tsne: {_sentence(measured)}")


def _sentence(measured: dict[str, Any]) -> str:
    told = ", ".join(
        f"{figure} {values['real']:.2f} (random splits {values['random_low']:.2f} to "
        f"{values['random_high']:.2f})"
        for figure, values in ((figure, measured[figure]["features"]) for figure in FIGURES)
    )
    p = measured["p_value"]["features"]
    return f"random splits lie as far apart as training and test do with p = {p:.3f}: {told}"


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
