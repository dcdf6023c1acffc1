"""Why was an image misclassified? Each measured cause with its evidence, and the one to name.

Evidence is a surprise, in powers of ten: 2 says that one correctly classified image in a hundred
shows a value as extreme. So causes that are measured in different units can be compared.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.covariance import LedoitWolf

from tissue.common.names import SYSTEMS, is_atlas
from tissue.data.index import QUALITY
from tissue.error_analysis.space import log_quality
from tissue.error_analysis.table import CAUSES, NONE_FOUND

Values = NDArray[np.float64]

TAIL = 0.2  # of the reference, from which on the tail is taken to be exponential
STANDS_OUT = -np.log10(0.02)  # one correct prediction in fifty
MOST = 10.0  # larger strengths are extrapolated too far to be told apart
DEFECTS = ("little_tissue", "blur", "extreme_stain")


class Quality(NamedTuple):
    """What is usual: log quality of each class (C, 4), its spread (4,), how the stains vary."""

    usual: Values
    spread: Values
    stains: Values  # inverse covariance of both stains, in units of their spread (2, 2)

    def deviation(self, table: pd.DataFrame, labels: NDArray[np.int64]) -> Values:
        """How far each image lies from images of these classes, in spreads, (N, 4)."""
        return _with_area(log_quality(table) - self.usual[labels]) / self.spread


def fit_quality(train: pd.DataFrame) -> Quality:
    """Fit medians by class, and spreads over all, of the quality of training images."""
    logs, labels = log_quality(train), train["label"].to_numpy(int)
    usual = np.stack([np.median(logs[labels == c], axis=0) for c in range(labels.max() + 1)])
    rest = _with_area(logs - usual[labels])
    # 1.4826 makes the median absolute deviation the standard deviation of a normal distribution.
    spread = 1.4826 * np.median(np.abs(rest), axis=0) + 1e-3
    within = np.clip(rest[:, 2:] / spread[2:], -3, 3)
    return Quality(usual, spread, LedoitWolf().fit(within).precision_)


def _with_area(rest: Values) -> Values:
    """Add to the stains, in differences of log quality (N, 4), what is stained beyond the usual.

    A stronger stain makes pale places count as tissue, too, which takes the mean density over
    the tissue back down: density times area, the amount of stain, shows it whole.
    """
    return np.hstack([rest[:, :2], rest[:, 2:] + np.maximum(rest[:, :1], 0)])


def surprise(values: ArrayLike, reference: ArrayLike) -> Values:
    """Return -log10 of the share of `reference` that is at least as large, with smoothing.

    Above its highest fifth the reference is taken to fall off exponentially (peaks over a
    threshold, Pickands 1975), so that values beyond all of it can still be told apart; the rate
    is taken from the median excess, which a few extreme images do not move.

    Args:
        values: (N,), larger is more surprising.
        reference: (M,), e.g. of correct predictions.
    """
    values, known = np.asarray(values, float), np.sort(np.asarray(reference, float))
    if not len(known):
        return np.zeros(len(values))
    threshold = np.quantile(known, 1 - TAIL)
    over = known[known > threshold] - threshold
    mean_excess = np.median(over) / np.log(2) if len(over) else 0.0
    mean_excess = max(mean_excess, 0.05 * known.std(), 1e-9)
    at_least = len(known) - np.searchsorted(known, values)
    counted = -np.log10((1 + at_least) / (1 + len(known)))
    beyond = -np.log10(TAIL) + (values - threshold) / mean_excess / np.log(10)
    return np.where(values > threshold, beyond, counted)


def measure_images(table: pd.DataFrame, quality: Quality, classes: Sequence[str]) -> pd.DataFrame:
    """Return the measured value and the ranked quantity behind each cause, a row an image.

    Tissue and blur are compared with images of the true class, and half as much with those of the
    predicted one, where they are less unusual there: a liver of little tissue that is taken for a
    lung shows as much of it as lungs do. Stain is compared
    with the true class alone: a dark skin is taken for a lymph node because it is as dark as one.

    Args:
        table: quality, `class`, `predicted`, `label`, `novelty`, `label_probability`, `suspect`
            and `unseen` of each image.
        quality: what is usual.
        classes: all class names.
    """
    labels = {name: label for label, name in enumerate(classes)}
    predicted = table["predicted"].map(labels).to_numpy(int)
    own = quality.deviation(table, table["label"].to_numpy(int))
    both = (own + quality.deviation(table, predicted)) / 2
    tissue, blur = QUALITY.index("tissue_fraction"), QUALITY.index("blur")
    stains = own[:, 2:]
    measured = pd.DataFrame(index=table.index)
    measured["little_tissue"] = -np.maximum(own, both)[:, tissue]
    measured["blur"] = np.minimum(own, both)[:, blur]
    # Squared, since `surprise` expects an exponential tail, as that of chi-squared is.
    measured["extreme_stain"] = np.einsum("ni,ij,nj->n", stains, quality.stains, stains)
    measured["darker"] = stains.sum(axis=1) > 0
    measured["unlike_training"] = np.log(table["novelty"].to_numpy())
    measured["suspect_label"] = 1 - table["label_probability"]
    measured["confusable_pair"] = np.nan
    if is_atlas(classes):
        same = table["class"].map(SYSTEMS) == table["predicted"].map(SYSTEMS)
        measured["confusable_pair"] = (same & (table["class"] != table["predicted"])).astype(float)
    measured["donor_unseen"] = table["unseen"].astype(float)
    return measured


def evidence(table: pd.DataFrame, measured: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Return the evidence for each cause, a row an image and a column a cause.

    Tissue, blur, stain, distance and unseen donor: against the rates among correct predictions, of
    the test alone for the last.
    Label: every error doubts its label more than any correct prediction does, so its surprise is
    the probability of that label itself, where the label is on the list of suspects. Pair: how
    seldom a class drawn at random would be of the same organ system.
    """
    right = (table["class"] == table["predicted"]).to_numpy()
    found = pd.DataFrame(0.0, index=table.index, columns=list(CAUSES))
    for cause in (*DEFECTS, "unlike_training"):
        found[cause] = surprise(measured[cause], measured[cause][right])
    # Stains stronger than all of training move the features in ways that `novelty` cannot take out.
    overstained = measured["darker"] & (found["extreme_stain"] >= STANDS_OUT)
    most = found["extreme_stain"].where(overstained, np.inf)
    found["unlike_training"] = np.minimum(found["unlike_training"], most)
    doubt = -np.log10(np.maximum(1 - measured["suspect_label"], 10**-MOST))
    found["suspect_label"] = doubt * table["suspect"]
    if is_atlas(classes):
        systems = pd.Series([SYSTEMS[name] for name in classes])
        partners = table["class"].map(SYSTEMS).map(systems.value_counts()) - 1
        chance = np.maximum(partners, 1) / max(len(classes) - 1, 1)
        found["confusable_pair"] = -np.log10(chance) * measured["confusable_pair"]
    # Donors of validation are never in training, so they say nothing of how common that is.
    tested = right & (table["split"] == "test").to_numpy()
    if tested.any():
        rate = (1 + measured["donor_unseen"][tested].sum()) / (1 + tested.sum())
        found["donor_unseen"] = -np.log10(rate) * measured["donor_unseen"]
    return found


def name_cause(evidence: pd.Series) -> str:
    """Return the cause with the strongest evidence, or that none was found.

    A defect of the picture also makes it unlike training, and both make its label improbable. So
    a suspect label is named only where the picture is not unlike training, and has to outweigh
    little tissue and blur; a stain that is extreme for a class, but not unlike training, is usual
    in another one. A confusable pair or a new donor is named where there is nothing else.
    """
    doubt, far = evidence["suspect_label"], evidence["unlike_training"] >= STANDS_OUT
    if doubt > max(0.0, evidence["little_tissue"], evidence["blur"]) and not far:
        return "suspect_label"
    strongest = max((*DEFECTS, "unlike_training"), key=lambda cause: evidence[cause])
    if evidence[strongest] >= STANDS_OUT:
        return strongest
    if doubt > 0:
        return "suspect_label"
    if evidence["confusable_pair"] > 0:
        return "confusable_pair"
    return "donor_unseen" if evidence["donor_unseen"] >= STANDS_OUT else NONE_FOUND
