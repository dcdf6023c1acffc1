"""Scores that tell foreign organs from known ones, compared: `python -m benchmarks.novelty`.

The known organs are those of `data/split` and `data/embed`; each image is scored by a fit without
its group (donor) and a fifth of the others. The foreign organs are drawn, see
`benchmarks.foreign_organs`, or read from a folder or archive, and scored by all these fits. Prints
for each score the area under the ROC curve and the share of foreign images beyond the score that
5 % of the known images exceed, with 95 % intervals by group; then what the limit in use, which
knows neither the foreign images nor the known ones that are judged, refuses.

The test images are left out; on a data set that no model is judged on, `--splits train val test`
uses all. A group of foreign images is what their names have before the last `_`. With the default,
about two minutes on two cores, most of it to embed the foreign images.
"""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_curve
from sklearn.model_selection import StratifiedGroupKFold
from threadpoolctl import threadpool_limits

from benchmarks.foreign_organs import draw_foreign
from benchmarks.novelty_scores import Score, fit_scores
from tissue.common.names import SPLITS
from tissue.common.runtime import quiet_import
from tissue.config.command import command
from tissue.config.loading import load_params
from tissue.config.schema import Params
from tissue.data.features import read_features
from tissue.data.index import read_index
from tissue.images.reading import read_image
from tissue.metrics.intervals import mean_interval, share_interval
from tissue.prediction.inputs import list_pictures
from tissue.training.novelty import fit_novelty

FOLDS, KNOWN_REFUSED, BATCH = 5, 0.05, 32
OURS = "discriminants and all features (in use)"
Points = NDArray[np.float64]


class Scored(NamedTuple):
    """Scores of known images (N,), and of foreign images by each fold's fit (folds, M)."""

    known: Points
    foreign: Points


class Images(NamedTuple):
    """Features float32 (N, views, D), labels (N,) and groups (N,) of images."""

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    groups: pd.Series


def read_known(data: Path, splits: Sequence[str]) -> Images:
    """Return the cached features of some splits below `data`, with labels and donors."""
    tables = [read_index(data / f"split/{name}.csv") for name in splits]
    features = [
        read_features(table["id"], name, data / "embed")[:]
        for name, table in zip(splits, tables, strict=True)
    ]
    table = pd.concat(tables, ignore_index=True)
    return Images(np.concatenate(features), table["label"].to_numpy(np.int64), table["group"])


def read_foreign(source: Path | None, params: Params) -> tuple[NDArray[np.float32], list[str]]:
    """Embed the images of a folder or archive, or drawn ones: features and ids."""
    with quiet_import():
        from tissue.backbones.embedding import embed_batch, load_embedder

    settings = params.pretrained
    network = load_embedder(settings, image_size=params.image_size, threads=params.threads)
    features, ids = list[NDArray[np.float32]](), list[str]()
    with ExitStack() as closing:
        if source is None:
            size = params.fetch.phantom.size
            contents = ((core.id, image) for core, image in draw_foreign(size, seed=params.seed))
        else:
            members = list_pictures([str(source)], limits=params.fetch.limits, closing=closing)
            contents = ((member.name, member.read()) for member in members)
        for batch in _batches(contents):
            ids += [name for name, _ in batch]
            read = [read_image(image, params.split, size=params.image_size) for _, image in batch]
            crops = np.stack([one.crops for one in read]) if params.split.crops.count else None
            whole = np.stack([one.image for one in read])
            features.append(embed_batch(network, whole, crops, views=settings.views))
    return np.concatenate(features), ids


def _batches(items: Iterator[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    batch = list[tuple[str, bytes]]()
    for item in items:
        batch.append(item)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def cross_validate(known: Images, foreign: NDArray[np.float32], *, seed: int) -> dict[str, Scored]:
    """Return the scores of all images by name; that in use is in units of its limit."""
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    scored = dict[str, Scored]()
    division = folds.split(known.features, known.labels, known.groups)
    for fold, (seen, unseen) in enumerate(division):
        _, labels = np.unique(known.labels[seen], return_inverse=True)
        scores = fit_scores(known.features[seen], labels)
        scores[OURS] = _in_use(known, seen, seed)
        for name, score in scores.items():
            empty = Scored(np.zeros(len(known.labels)), np.zeros((FOLDS, len(foreign))))
            of = scored.setdefault(name, empty)
            of.known[unseen], of.foreign[fold] = score(known.features[unseen]), score(foreign)
    return scored


def _in_use(known: Images, seen: NDArray[np.int64], seed: int) -> Score:
    """Return the score of `predict`, whose limit comes from folds within the images `seen`."""
    examples = [
        (known.features[rows].mean(axis=1), known.labels[rows], known.groups.iloc[rows])
        for rows in (seen, seen[:0])
    ]
    novelty = fit_novelty(*examples, seed=seed)
    return lambda features: novelty(features.mean(axis=1))


def measure(scored: Scored, known: pd.Series, foreign: pd.Series) -> list[str]:
    """Return the area and the share of foreign images refused, with intervals by group."""
    limit = np.quantile(scored.known, 1 - KNOWN_REFUSED)
    beyond = (scored.foreign > limit).mean(axis=0)
    pooled = np.sort(scored.foreign.ravel())
    # The area is the mean of either: DeLong et al. 1988, by group as Obuchowski 1997.
    below = np.searchsorted(np.sort(scored.known), scored.foreign).mean(axis=0) / len(scored.known)
    above = 1 - np.searchsorted(pooled, scored.known) / len(pooled)
    area, halves = below.mean(), []
    for values, groups in ((below, foreign), (above, known)):
        low, high = mean_interval(values, groups)
        halves.append((high - low) / 2)
    half = float(np.linalg.norm(halves))
    low, high = mean_interval(beyond, foreign, bounds=(0.0, 1.0))
    return [
        f"{area:.3f} ({area - half:.3f} to {min(1.0, area + half):.3f})",
        f"{beyond.mean():.0%} ({low:.0%} to {high:.0%})",
    ]


def save_curves(scored: dict[str, Scored], path: Path) -> None:
    """Draw the ROC curves as PNG, and write them as CSV beside it."""
    from tissue.common.files import write_table
    from tissue.figures.theme import house_style, new_figure, save_png

    curves = []
    for name, one in scored.items():
        foreign = one.foreign.ravel()
        truth = np.repeat([0, 1], [len(one.known), len(foreign)])
        refused, found, _ = roc_curve(truth, np.concatenate([one.known, foreign]))
        curves.append(pd.DataFrame({"score": name, "known": refused, "foreign": found}))
    write_table(pd.concat(curves), path.with_suffix(".csv"))
    with house_style():
        figure = new_figure(6.5, 4.2)
        axes = figure.subplots()
        for curve in curves:
            ours = curve["score"].iloc[0] == OURS
            style = {"linewidth": 2.5, "color": "black"} if ours else {"linewidth": 1.0}
            axes.plot(curve["known"], curve["foreign"], label=curve["score"].iloc[0], **style)
        axes.axvline(KNOWN_REFUSED, color="grey", linestyle=":", linewidth=1)
        axes.set(xlabel="share of known images refused", ylabel="share of foreign images refused")
        axes.legend(fontsize=6, loc="lower right")
        save_png(figure, path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, the limit in use and, if asked to, write the curves."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("data"), help="(%(default)s)")
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=["train", "val"])
    parser.add_argument("--foreign", type=Path, help="folder or archive; default: drawn organs")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="ROC curves, and a CSV beside it")
    chosen = parser.parse_args(arguments)
    params = load_params()
    known = read_known(chosen.data, chosen.splits)
    foreign, ids = read_foreign(chosen.foreign, params)
    groups = pd.Series(ids).str.rpartition("_")[0].where(lambda name: name != "", ids)
    with threadpool_limits(params.threads):
        scored = cross_validate(known, foreign, seed=params.seed)
    print(f"{len(known.labels)} known images of {known.groups.nunique()} groups, ", end="")
    print(f"{len(ids)} foreign images of {groups.nunique()} groups")
    print("| score | area under the curve | foreign refused at 5 % of the known |\n|---|---|---|")
    for name, one in scored.items():
        print(f"| {' | '.join([name, *measure(one, known.groups, groups)])} |")
    one = scored[OURS]
    low, high = share_interval(one.known > 1, known.groups)
    print(f"\nIn use, at its own limit: known {(one.known > 1).mean():.1%} ", end="")
    print(f"({low:.1%} to {high:.1%})", end="")
    organs = pd.Series(ids).str.partition("/")[0]
    for organ, rows in organs.groupby(organs).groups.items():
        print(f", {organ} {(one.foreign[:, rows] > 1).mean():.0%} of {len(rows)}", end="")
    print()
    if chosen.plot:
        save_curves(scored, chosen.plot)


if __name__ == "__main__":
    with command("novelty"):
        main()
