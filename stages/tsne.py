"""Map training and test set to two dimensions and measure their overlap: `python -m stages.tsne`.

Reads `data/embed` and `data/split`. Writes `plots/tsne.csv`, the maps of training, test and both
as PNG, the same from raw pixels for comparison, and `metrics/tsne.json`.

Training and test features share one t-SNE, initialised by PCA (Kobak and Berens 2019,
doi 10.1038/s41467-019-13056-x), since separate maps cannot be compared. Distances in such a map
mean little. Overlap is measured on 50 principal components: how mixed the neighbours are, how
well a classifier separates test from training, and their Frechet distance, overall and by class,
each compared with random splits by donor. About 15 s with the default settings.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from tissue.common.errors import InputError
from tissue.common.files import write_json, write_table
from tissue.config.command import run_command
from tissue.config.loading import load_params
from tissue.config.schema import Params
from tissue.data.features import joint_features, joint_index, joint_pixels

COLUMNS = ["id", "split", "class", "x", "y", "pixels_x", "pixels_y"]
COORDINATES = {"features": ["x", "y"], "pixels": ["pixels_x", "pixels_y"]}


def run(params: Params, root: Path = Path()) -> None:
    """Map features and pixels of training and test set, and measure their overlap.

    Args:
        params: `tsne` and `seed` are used.
        root: the folder that contains `data`, `metrics` and `plots`.

    Raises:
        InputError: if there are too few images for the perplexity.
    """
    settings, seed, split = params.tsne, params.seed, root / "data/split"
    index = joint_index(split, max_images=settings.max_images, seed=seed)
    _check_perplexity(settings.perplexity, len(index))
    # scikit-learn takes a second to import; wrong parameters are reported before.
    from threadpoolctl import threadpool_limits

    from tissue.metrics.overlap import measure_classes, measure_spaces
    from tissue.metrics.projection import fit_tsne, map_trustworthiness, principal_components

    spaces = {
        "features": joint_features(index, root / "data/embed"),
        "pixels": joint_pixels(index, split),
    }
    how = {**settings.model_dump(include={"neighbours", "random_splits"}), "seed": seed}
    trust = {}
    # One thread: in many short sums, several threads mostly wait for each other.
    with threadpool_limits(1):
        points = {name: principal_components(values) for name, values in spaces.items()}
        for name, values in spaces.items():
            coordinates = fit_tsne(points[name], perplexity=settings.perplexity, seed=seed)
            index[COORDINATES[name]] = coordinates
            trust[name] = map_trustworthiness(values, coordinates, neighbours=settings.neighbours)
        measured = measure_spaces(points, index, **how)
        measured["classes"] = measure_classes(points["features"], index, **how)
    measured |= {"images": len(index), "trustworthiness": trust}
    measured |= settings.model_dump(include={"neighbours", "random_splits"})
    write_table(index[COLUMNS], root / "plots/tsne.csv")
    write_json(measured, root / "metrics/tsne.json")
    _draw(index, root / "plots")
    print(f"tsne: {_sentence(measured)}")


def _check_perplexity(perplexity: float, images: int) -> None:
    if perplexity >= images:
        raise InputError(
            f"tsne.perplexity: expected less than the {images} images of training and test. "
            f"Received: {perplexity}. Lower it in params.yaml."
        )


def _sentence(measured: dict[str, Any]) -> str:
    from tissue.metrics.overlap import STATISTICS, overlap_direction, two_sided_p_value

    verdicts = {
        "apart": "the test images differ from training more than in random splits",
        "closer": "the test images are closer to training than in random splits",
        "same": "the test images are not shown to differ from training more than in random splits",
        "unknown": "no class has groups in training and test that could be exchanged",
    }
    text = "{} {real:.2f} (random splits {random_low:.2f} to {random_high:.2f})"
    compared = [text.format(name, **measured[name]["features"]) for name in STATISTICS]
    # Of either direction, as in the report
    features = {name: measured[name]["features"] for name in STATISTICS}
    return (
        f"{verdicts[overlap_direction(features)]}, p = {two_sided_p_value(features):.3f}: "
        f"{', '.join(compared)}"
    )


def _draw(index: pd.DataFrame, plots: Path) -> None:
    from tissue.figures.scatter import scatter_figure
    from tissue.figures.theme import save_png

    both, pixels = ("train", "test"), index.assign(x=index["pixels_x"], y=index["pixels_y"])
    for name, table, splits, title in (
        ("train", index, ("train",), "features, train"),
        ("test", index, ("test",), "features, test"),
        ("joint", index, both, "features, training and test"),
        ("pixels", pixels, both, "raw pixels, training and test"),
    ):
        figure = scatter_figure(table, title=f"t-SNE of {title}", splits=splits)
        save_png(figure, plots / f"tsne_{name}.png")


def main() -> None:
    """Run the stage with the parameters of params.yaml."""
    run(load_params())


if __name__ == "__main__":
    run_command(main, name="tsne", doc=__doc__)
