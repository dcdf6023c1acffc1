"""How many errors does the phantom itself cause? `python -m benchmarks.ceiling`.

Six classes of the phantom overlap in pairs: a core is drawn from a number, its latent, whose
distributions in both classes overlap. Prints for each pair the expected recall of a classifier that
knew the latents, and in how many of the test images that were drawn the latent is more frequent in
the other class. Such an image looks like the other class, and its label cannot be seen in
it.

Then, from `data/predictions`, prints how often both models are right in each pair, how many of
their errors are of such images, and how often both are wrong on the other images of these classes.
Intervals know donors and antibodies.

Reads params.yaml. Expected on the default phantom: 91.6 % on average over the twelve classes, so at
least 30 errors in 360 on average. A second.
"""

import argparse
from pathlib import Path

import pandas as pd

from benchmarks.why import markdown
from tissue.common.names import MODELS, SYSTEMS, TISSUES
from tissue.config.loading import load_params
from tissue.config.schema import Params
from tissue.metrics.intervals import share_interval
from tissue.phantom.core import drawn_latent
from tissue.phantom.latents import LATENTS, best_accuracy, is_beyond, partner
from tissue.phantom.plan import plan_cores

PREDICTIONS = Path("data/predictions")


def latent_table(params: Params) -> pd.DataFrame:
    """Return id, class, group, antibody, latent and whether it is `beyond`, of test images.

    Beyond is a latent that is more frequent in the other class; classes without one are never.
    """
    cores = plan_cores(**params.fetch.phantom.model_dump(), seed=params.seed)
    rows = []
    for core in cores:
        if core.split != "test":
            continue
        latent, beyond = None, False
        if core.class_name in LATENTS:
            latent = drawn_latent(core)
            beyond = is_beyond(core.class_name, latent)
        rows.append((core.id, core.class_name, core.donor, core.antibody, latent, beyond))
    return pd.DataFrame(rows, columns=["id", "class", "group", "antibody", "latent", "beyond"])


def pairs() -> list[tuple[str, str]]:
    """Return the pairs of classes that overlap."""
    return sorted({(min(name, partner(name)), max(name, partner(name))) for name in LATENTS})


def pair_rows(table: pd.DataFrame) -> list[list[str]]:
    """Return n, the expected recall, and the images beyond, by pair and of all."""
    rows = list[list[str]]()
    for first, second in pairs():
        mine = table[table["class"].isin([first, second])]
        best = best_accuracy({first: 1, second: 1})
        rows.append([
            f"{first} / {second}", str(len(mine)), f"{best:.1%}",
            f"{(1 - best) * len(mine):.1f}", str(int(mine["beyond"].sum())),
        ])  # fmt: skip
    for title, joined in (("all", None), ("over tissues", TISSUES), ("over systems", SYSTEMS)):
        best = best_accuracy(table["class"].value_counts().to_dict(), joined)
        expected = f"{(1 - best) * len(table):.1f}"
        beyond = "" if joined else str(int(table["beyond"].sum()))
        rows.append([title, str(len(table)), f"{best:.1%}", expected, beyond])
    return rows


def right_rows(table: pd.DataFrame, predictions: dict[str, pd.DataFrame]) -> list[list[str]]:
    """Return for each model how often it is right in each pair, with intervals."""
    rows = list[list[str]]()
    for model, every in predictions.items():
        known = table.merge(every[["id", "predicted"]], on="id")
        right, row = known["class"] == known["predicted"], [model]
        for pair in pairs():
            inside = known["class"].isin(pair)
            row.append(share(right[inside], known[inside]))
        rows.append(row)
    return rows


def share(hits: pd.Series, images: pd.DataFrame) -> str:
    """Return a share and its interval, such as `53% (38 to 68)`; no images have none."""
    if not len(images):
        return "none"
    low, high = share_interval(hits, images)
    return f"{hits.mean():.0%} ({100 * low:.0f} to {100 * high:.0f})"


def error_rows(table: pd.DataFrame, predictions: dict[str, pd.DataFrame]) -> list[list[str]]:
    """Return for each model its errors, those within pairs, and those of images beyond."""
    rows = list[list[str]]()
    for model, every in predictions.items():
        known = table[table["class"].isin(list(LATENTS))].merge(every[["id", "predicted"]], on="id")
        within = known["predicted"] == known["class"].map(partner)
        beyond, both = known["beyond"], table.merge(every[["id", "predicted"]], on="id")
        wrong = both[both["class"] != both["predicted"]]
        drawn_alike = wrong["beyond"] & (
            wrong["predicted"] == wrong["class"].map({name: partner(name) for name in LATENTS})
        )
        rows.append([
            model, str(len(wrong)), str(int(within.sum())), str(int((within & beyond).sum())),
            share(drawn_alike, wrong),
            f"{within[beyond].mean():.0%} of {int(beyond.sum())}",
            f"{within[~beyond].mean():.0%} of {int((~beyond).sum())}",
        ])  # fmt: skip
    return rows


def main() -> None:
    """Print all tables."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    table = latent_table(load_params())
    head = [
        "",
        "test images",
        "recall if latents were known",
        "errors expected",
        "more frequent in the other",
    ]
    print(markdown([head, *pair_rows(table)]))
    print()
    found = {
        model: pd.read_csv(PREDICTIONS / f"{model}.csv")
        for model in MODELS
        if (PREDICTIONS / f"{model}.csv").exists()
    }
    head = ["right in", *(" / ".join(pair) for pair in pairs())]
    print(markdown([head, *right_rows(table, found)]))
    print()
    head = [
        "", "errors", "within pairs", "beyond", "share of all errors", "wrong if beyond",
        "wrong if not",
    ]  # fmt: skip
    print(markdown([head, *error_rows(table, found)]))


if __name__ == "__main__":
    main()
