"""Why was an image misclassified? The evidence for each measured cause, and the cause to name.

Evidence is the negative decimal logarithm of an empirical p-value: 2 means that one correctly
classified image in a hundred has a value as extreme. So causes that are measured in different
units can be compared.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.covariance import LedoitWolf

from tissue.data.index import QUALITY
from tissue.error_analysis.recognition import measure_network, measure_recognition
from tissue.error_analysis.space import log_quality
from tissue.error_analysis.table import CAUSES, NONE_FOUND

Values = NDArray[np.float64]

TAIL = 0.2  # highest share of the reference, whose distribution is taken to be exponential
STANDS_OUT = -np.log10(0.02)  # one correct prediction in fifty
RARE = 1.0  # one in ten, for what is a question of yes or no
HEAD_START = {"little_tissue": np.log10(3)}
MOST = 10.0  # larger evidence is extrapolated too far to be compared
DEFECTS = ("little_tissue", "blur", "extreme_stain")
RECOGNITION = ("few_donors", "one_scale", "looks_other")
NETWORK = ("not_learnt", "views_disagree")


class Quality(NamedTuple):
    """Typical log quality: medians of each class (C, 4), spreads (4,), and how stains vary."""

    medians: Values
    spreads: Values
    precision: Values  # of both stains, in units of their spread (2, 2)

    def deviation(self, table: pd.DataFrame, labels: NDArray[np.int64]) -> Values:
        """Return how many spreads each image differs from images of these classes, (N, 4)."""
        return _with_area(log_quality(table) - self.medians[labels]) / self.spreads


def fit_quality(train: pd.DataFrame) -> Quality:
    """Fit medians by class and spreads over all classes on the quality of training images."""
    logs, labels = log_quality(train), train["label"].to_numpy(int)
    medians = np.stack([np.median(logs[labels == c], axis=0) for c in range(labels.max() + 1)])
    residuals = _with_area(logs - medians[labels])
    # 1.4826 makes the median absolute deviation the standard deviation of a normal distribution.
    spreads = 1.4826 * np.median(np.abs(residuals), axis=0) + 1e-3
    stains = np.clip(residuals[:, 2:] / spreads[2:], -3, 3)
    return Quality(medians, spreads, LedoitWolf().fit(stains).precision_)


def _with_area(residuals: Values) -> Values:
    """Add a larger tissue fraction than usual to the stains, all in log quality (N, 4).

    With a stronger stain, pale regions count as tissue, too, which lowers the mean density over
    the tissue. Density times area, the amount of stain, does not have this bias.
    """
    return np.hstack([residuals[:, :2], residuals[:, 2:] + np.maximum(residuals[:, :1], 0)])


def neg_log10_p(values: ArrayLike, reference: ArrayLike) -> Values:
    """Return -log10 of the share of `reference` that is at least as large, with smoothing.

    The highest fifth of the reference is modelled as exponential (peaks over a threshold, Pickands
    1975), so that values beyond all of it can still be compared. The rate follows from the median
    excess, which a few extreme images do not change. Values are (N,), the reference is (M,).
    """
    values, ranked = np.asarray(values, float), np.sort(np.asarray(reference, float))
    if not len(ranked):
        return np.zeros(len(values))
    threshold = np.quantile(ranked, 1 - TAIL)
    excesses = ranked[ranked > threshold] - threshold
    mean_excess = np.median(excesses) / np.log(2) if len(excesses) else 0.0
    mean_excess = max(mean_excess, 0.05 * ranked.std(), 1e-9)
    at_least = len(ranked) - np.searchsorted(ranked, values)
    counted = -np.log10((1 + at_least) / (1 + len(ranked)))
    modelled = -np.log10(TAIL) + (values - threshold) / mean_excess / np.log(10)
    return np.where(values > threshold, modelled, counted)


def measure_images(images: pd.DataFrame, quality: Quality, classes: Sequence[str]) -> pd.DataFrame:
    """Return for each image the quantity by which each cause is ranked, and if it is `darker`.

    Tissue and blur are compared with images of the true class, or with the mean of the true and
    the predicted class where that is less unusual: a liver with little tissue that is mistaken for
    a lung has as much of it as lungs do. Stain is compared with the true class alone: a dark skin
    is mistaken for a lymph node because it is as dark as one. `images` are those of
    `explain_predictions`.
    """
    predicted = pd.Index(classes).get_indexer(images["predicted"])
    own = quality.deviation(images, images["label"].to_numpy(int))
    both = (own + quality.deviation(images, predicted)) / 2
    tissue, blur = QUALITY.index("tissue_fraction"), QUALITY.index("blur")
    stains = own[:, 2:]
    measured = pd.DataFrame(index=images.index)
    measured["little_tissue"] = -np.maximum(own, both)[:, tissue]
    measured["blur"] = np.minimum(own, both)[:, blur]
    # Squared, since `neg_log10_p` expects an exponential tail, as that of chi-squared is.
    measured["extreme_stain"] = np.einsum("ni,ij,nj->n", stains, quality.precision, stains)
    measured["darker"] = stains.sum(axis=1) > 0
    measured["unlike_training"] = np.log(images["distance"])
    measured["suspect_label"] = 1 - images["label_probability"]
    measured["donor_unseen"] = images["unseen"].astype(float)
    return measured.join(measure_recognition(images)).join(measure_network(images))


def find_evidence(images: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """Return the evidence for each cause, one row per image and one column per cause.

    Tissue, blur, stain and distance are compared with correct predictions, as is what the second
    classifiers recognise and what the network learnt, where the cause applies; views and an unseen
    donor with those of the test. For a label on the list of suspects, evidence is its probability,
    since errors doubt their label more than any correct prediction does.
    """
    correct = (images["class"] == images["predicted"]).to_numpy()
    evidence = pd.DataFrame(0.0, index=images.index, columns=list(CAUSES))
    for cause in (*DEFECTS, "unlike_training"):
        evidence[cause] = neg_log10_p(measured[cause], measured[cause][correct])
    tested = correct & (images["split"] == "test").to_numpy()
    for cause in (*RECOGNITION, *NETWORK):
        # Of validation there are no views where folds predicted it.
        reference = tested if cause == "views_disagree" else correct
        rarity = neg_log10_p(measured[cause], measured[cause][reference])
        evidence[cause] = rarity * (measured[cause] > 0)
    # A stain darker than that of all training images increases the distance the most.
    overstained = measured["darker"] & (evidence["extreme_stain"] >= STANDS_OUT)
    limit = evidence["extreme_stain"].where(overstained, np.inf)
    evidence["unlike_training"] = np.minimum(evidence["unlike_training"], limit)
    doubt = -np.log10(np.maximum(1 - measured["suspect_label"], 10**-MOST))
    evidence["suspect_label"] = doubt * images["suspect"]
    # Donors of validation are never in training, so they do not show how common that is.
    if tested.any():
        rate = (1 + measured["donor_unseen"][tested].sum()) / (1 + tested.sum())
        evidence["donor_unseen"] = -np.log10(rate) * measured["donor_unseen"]
    return evidence


def name_cause(evidence: Mapping[str, float]) -> str:
    """Return the cause with the strongest evidence, or `NONE_FOUND`.

    A core that has lost its tissue is as far from training as another organ, so little tissue is
    named unless the evidence of another cause is three times as strong.
    A defect of the image also makes it unlike training, and both make its label improbable. So a
    suspect label is named only if the image is not unlike training and the label outweighs little
    tissue and blur. A stain that is extreme for its class in an image that is like training is
    usual in another class, so it does not have to be outweighed. What second classifiers recognise
    and what the network learnt is asked where the image itself shows nothing, and an unseen donor
    is named only if there is nothing else.
    """
    doubt, far = evidence["suspect_label"], evidence["unlike_training"] >= STANDS_OUT
    if doubt > max(0.0, evidence["little_tissue"], evidence["blur"]) and not far:
        return "suspect_label"
    found = [cause for cause in (*DEFECTS, "unlike_training") if evidence[cause] >= STANDS_OUT]
    if found:
        return max(found, key=lambda cause: evidence[cause] + HEAD_START.get(cause, 0.0))
    if doubt > 0:
        return "suspect_label"
    likely = max((*RECOGNITION, *NETWORK), key=lambda cause: evidence[cause])
    if evidence[likely] >= RARE:
        return likely
    return "donor_unseen" if evidence["donor_unseen"] >= STANDS_OUT else NONE_FOUND
