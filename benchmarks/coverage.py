"""How often intervals cover the truth, and paired tests reject it: `python -m benchmarks.coverage`.

Draws test sets as large as the default: 12 classes, 10 donors each, 3 images a donor, on 70 slides.
An image is right if the sum of a donor's, a slide's and its own normal deviate exceeds the quantile
of its class, so that recalls are known (0.5 to 0.985). Its confidence is its probability of being
right without knowing donor and slide, or that moved by a planted miscalibration.

Prints, for each share of the latent variance that donors and slides have, how often the intervals
of `split_metrics` cover the truth (aim: 93 to 97 %), and those of a property that 2 % of the images
have; beside them, of accuracy and recall, those of the pigeonhole bootstrap (Owen 2007,
10.1214/07-AOAS122), bias-corrected. Also the size of paired
tests at 5 % between two models of equal skill, and how often a model is called calibrated.

Expected: see benchmarks/results/coverage.md. 400 drawings take about three minutes on one core.
"""

import argparse
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from tqdm import tqdm

from tissue.config.command import command
from tissue.metrics.calibration import is_calibrated
from tissue.metrics.classification import split_metrics
from tissue.metrics.intervals import Sampling, share_interval
from tissue.metrics.paired import paired_comparison

RARE = 0.02  # share of images with a property
RECALLS = np.array([0.5, 0.57, 0.6, 0.63, 0.7, 0.73, 0.73, 0.77, 0.93, 0.93, 0.96, 0.985])
CLASSES = [f"class {number:02d}" for number in range(len(RECALLS))]
DONORS, IMAGES, SLIDES = 10, 3, 70
SPREAD = 0.8  # of what is known of an image: its confidence varies within a class
SETTINGS = ((0.2, 0.0), (0.5, 0.0), (0.2, 0.1), (0.5, 0.1))  # shares of donors and of slides
SHIFT = 0.4  # of the quantile, for a model that is too confident
RESAMPLES = 400  # of a bootstrap, a test or a chance level


def plan(rng: np.random.Generator, *, slides: bool) -> pd.DataFrame:
    """Return the table of images: class, group, label and slide, empty if that is not known."""
    labels = np.repeat(np.arange(len(CLASSES)), DONORS * IMAGES)
    names = rng.integers(0, SLIDES, len(labels)).astype(str)
    return pd.DataFrame(
        {
            "id": np.arange(len(labels)),
            "class": np.array(CLASSES)[labels],
            "label": labels,
            "group": np.repeat(np.arange(len(CLASSES) * DONORS), IMAGES).astype(str),
            "slide": names if slides else "",
            "shelf": names,
        }
    )


def _effects(
    images: pd.DataFrame, rng: np.random.Generator, donors: float, slides: float
) -> NDArray[np.float64]:
    by_donor = rng.normal(size=len(CLASSES) * DONORS)[images["group"].astype(int)]
    by_slide = rng.normal(size=SLIDES)[images["shelf"].astype(int)]
    own = rng.normal(size=len(images)) * np.sqrt(1 - donors - slides)
    return by_donor * np.sqrt(donors) + by_slide * np.sqrt(slides) + own


def predict(
    images: pd.DataFrame,
    rng: np.random.Generator,
    *,
    donors: float,
    slides: float,
    shift: float = 0.0,
) -> pd.DataFrame:
    """Return predictions whose errors have these shares of variance from donors and slides."""
    labels = images["label"].to_numpy()
    known = rng.normal(size=len(images)) * SPREAD
    limit = stats.norm.ppf(RECALLS[labels]) * np.sqrt(1 + SPREAD**2) + known
    right = _effects(images, rng, donors, slides) < limit
    other = (labels + rng.choice([1, 3], len(labels))) % len(CLASSES)
    confidence = np.clip(stats.norm.cdf(limit + shift), 0.1, 0.999)
    probabilities = np.repeat((1 - confidence)[:, None] / (len(CLASSES) - 1), len(CLASSES), axis=1)
    answers = np.where(right, labels, other)
    probabilities *= 1 + rng.uniform(-0.01, 0.01, probabilities.shape)  # an order for the top three
    probabilities[np.arange(len(labels)), answers] = confidence
    columns = {f"p_{name}": column for name, column in zip(CLASSES, probabilities.T, strict=True)}
    return images[["id", "class"]].assign(
        predicted=np.array(CLASSES)[answers], confidence=confidence, **columns
    )


def truth(shift: float, *, drawings: int = 300) -> dict[str, Any]:
    """Return the metrics of very many images; shares of donors and slides do not change them."""
    rng = np.random.default_rng([99, int(shift * 100)])
    tables = [
        predict(plan(rng, slides=False), rng, donors=0, slides=0, shift=shift)
        for _ in range(drawings)
    ]
    every = pd.concat(tables, ignore_index=True)
    # Each image is a donor of its own, of one class: the intervals are not used.
    return split_metrics(every, np.arange(len(every)), classes=CLASSES, sampling=Sampling(100, 0))


def covered(measured: dict[str, Any], true: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Yield the name of each metric and whether its interval covers the truth."""
    for key in ("accuracy", "balanced_accuracy", "kappa", "macro_f1", "top3_accuracy", "nll",
                "brier", "rms_calibration_error"):  # fmt: skip
        yield key, measured[f"{key}_low"] <= true[key] <= measured[f"{key}_high"]
    for name, recall in zip(CLASSES, RECALLS, strict=True):
        low, high = (measured[f"recall_{end}"][name] for end in ("low", "high"))
        yield f"recall {recall:g}, {name}", low <= recall <= high


def rare_is_covered(
    images: pd.DataFrame, rng: np.random.Generator, donors: float, slides: float
) -> bool:
    """Return whether the interval of the share of images with a rare property covers RARE."""
    has = _effects(images, rng, donors, slides) < stats.norm.ppf(RARE)
    low, high = share_interval(has, images)
    return low <= RARE <= high


def pigeonhole(
    table: pd.DataFrame, images: pd.DataFrame, rng: np.random.Generator
) -> dict[str, tuple[float, float]]:
    """Return bias-corrected percentile intervals of accuracy and recalls.

    Donors are resampled within their class and slides, if known, all together; the weight of an
    image is the product of both (Owen 2007).
    """
    strata = [rng.multinomial(DONORS, [1 / DONORS] * DONORS, RESAMPLES) for _ in CLASSES]
    weights = np.hstack(strata)[:, images["group"].astype(int)].astype(float)
    if (images["slide"] != "").any():
        slides = rng.multinomial(SLIDES, [1 / SLIDES] * SLIDES, RESAMPLES)
        weights *= slides[:, images["slide"].astype(int)]
    right = (table["class"] == table["predicted"]).to_numpy(float)
    columns = {"accuracy": np.ones(len(table))}
    for name, recall in zip(CLASSES, RECALLS, strict=True):
        columns[f"recall {recall:g}, {name}"] = (table["class"] == name).to_numpy(float)
    return {key: _corrected(weights * one, right, one) for key, one in columns.items()}


def _corrected(
    weights: NDArray[np.float64], right: NDArray[np.float64], inside: NDArray[np.float64]
) -> tuple[float, float]:
    total = weights.sum(axis=1)
    drawn = (weights @ right)[total > 0] / total[total > 0]
    value = (right @ inside) / inside.sum()
    below = ((drawn < value).mean() + (drawn <= value).mean()) / 2
    bias = 2 * stats.norm.ppf(np.clip(below, 0.001, 0.999))
    low, high = np.quantile(drawn, stats.norm.cdf(bias + stats.norm.ppf([0.025, 0.975])))
    return float(low), float(high)


def coverage(drawings: int) -> pd.DataFrame:
    """Return how often each interval covers the truth, one column per setting and method."""
    columns = {}
    for shift in (0.0, SHIFT):
        true = truth(shift)
        recalls = {
            f"recall {one:g}, {name}": one for name, one in zip(CLASSES, RECALLS, strict=True)
        }
        true_values = {**recalls, "accuracy": true["accuracy"]}
        for donors, slides in SETTINGS:
            found: dict[str, list[dict[str, bool]]] = {"": [], " pigeonhole": []}
            for number in tqdm(range(drawings), desc=f"{donors} {slides}", disable=None):
                rng = np.random.default_rng([number, int(100 * donors), int(100 * slides)])
                images = plan(rng, slides=slides > 0)
                table = predict(images, rng, donors=donors, slides=slides, shift=shift)
                sampling = Sampling(RESAMPLES, number)
                measured = split_metrics(table, images, classes=CLASSES, sampling=sampling)
                calibrated = {"called calibrated": is_calibrated(measured)}
                rare = {"rare": rare_is_covered(images, rng, donors, slides)}
                found[""].append(dict(covered(measured, true)) | rare | calibrated)
                if not shift:  # errors are the same
                    found[" pigeonhole"].append(
                        {key: low <= true_values[key] <= high for key, (low, high) in
                         pigeonhole(table, images, rng).items()}
                    )  # fmt: skip
            for method, rows in found.items():
                name = f"{donors}/{slides}{' shifted' if shift else ''}{method}"
                columns[name] = pd.DataFrame(rows).mean()
    return pd.DataFrame({name: column for name, column in columns.items() if len(column)})


def sizes(drawings: int) -> pd.DataFrame:
    """Return how often paired tests at 5 % find a difference between two equally good models."""
    rows = []
    for donors in (0.0, 0.2, 0.5):
        p_values = []
        for number in tqdm(range(drawings), desc=f"size {donors}", disable=None):
            rng = np.random.default_rng([number, 7, int(100 * donors)])
            images = plan(rng, slides=False)
            first, second = (predict(images, rng, donors=donors, slides=0) for _ in range(2))
            compared = paired_comparison(
                first, second, images, sampling=Sampling(RESAMPLES, number)
            )
            p_values.append({key: compared[f"p_value{key}"] for key in ("", "_mcnemar")})
        rejected = (pd.DataFrame(p_values) < 0.05).mean()
        rows.append((donors, rejected[""], rejected["_mcnemar"]))
    return pd.DataFrame(rows, columns=["donor correlation", "sign flips by donor", "McNemar"])


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--drawings", type=int, default=400, help="of each setting (%(default)s)")
    options = parser.parse_args()
    print(sizes(2 * options.drawings).to_string(index=False, float_format="{:.3f}".format))
    print(coverage(options.drawings).to_string(float_format="{:.3f}".format))


if __name__ == "__main__":
    with command("coverage"):
        main()
