"""How many errors does the phantom itself cause? `python -m benchmarks.ceiling`.

Six classes of the phantom overlap in pairs: a core is drawn from a number, its latent, whose
distributions in both classes overlap. Prints for each pair the expected recall of a classifier that
knew the latents, and in how many of the test images that were drawn the latent is more frequent in
the other class. Such an image looks like the other class, and its label cannot be seen in
it.

Then, of the errors of both models within these pairs, read from `data/predictions`, prints how many
are of such images, and how often both models are wrong on the other images of these classes.

Reads params.yaml. Expected on the default phantom: 91.6 % on average over the twelve classes, about
30 errors in 360. A second.
"""

import argparse
from pathlib import Path

import pandas as pd

from benchmarks.why import markdown
from tissue.common.names import MODELS, SYSTEMS, TISSUES
from tissue.config.loading import load_params
from tissue.config.schema import Params
from tissue.phantom.core import drawn_latent
from tissue.phantom.latents import LATENTS, best_accuracy, is_beyond, partner
from tissue.phantom.plan import plan_cores

PREDICTIONS = Path("data/predictions")


def latent_table(params: Params) -> pd.DataFrame:
    """Return id, class, latent and whether the latent is `beyond`, of test images.

    Beyond is a latent that is more frequent in the other class..

    Classes without a latent are never beyond.
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
        rows.append((core.id, core.class_name, latent, beyond))
    return pd.DataFrame(rows, columns=["id", "class", "latent", "beyond"])


def pair_rows(table: pd.DataFrame) -> list[list[str]]:
    """Return n, the expected recall, and the images beyond, by pair and of all."""
    rows = list[list[str]]()
    for first, second in sorted({tuple(sorted((name, partner(name)))) for name in LATENTS}):
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


def error_rows(table: pd.DataFrame, predictions: dict[str, pd.DataFrame]) -> list[list[str]]:
    """Return for each model its errors within pairs, and those of images beyond."""
    rows = list[list[str]]()
    for model, every in predictions.items():
        known = table[table["class"].isin(list(LATENTS))].merge(every[["id", "predicted"]], on="id")
        within = known["predicted"] == known["class"].map(partner)
        beyond = known["beyond"]
        rows.append([
            model, str(int(within.sum())), str(int((within & beyond).sum())),
            f"{within[beyond].mean():.0%} of {int(beyond.sum())}",
            f"{within[~beyond].mean():.0%} of {int((~beyond).sum())}",
        ])  # fmt: skip
    return rows


def main() -> None:
    """Print both tables."""
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
    head = ["", "errors within pairs", "beyond", "wrong if beyond", "wrong if not"]
    print(markdown([head, *error_rows(table, found)]))


if __name__ == "__main__":
    main()
