"""The section on the audit: what a careless split would have claimed, shortcuts, more donors."""

from collections.abc import Mapping
from typing import Any

from tissue.common.names import CLUSTERS, POSITIONS, SLIDES
from tissue.figures.audit import AUDITED
from tissue.report.data import WORDS, group_word
from tissue.report.formatting import (
    Table,
    count,
    interval,
    join_words,
    percent,
    percentage_points,
    points,
)
from tissue.report.reading import Inputs

ALONE = {"colour": "colour", "tissue_and_blur": "share of tissue and blur", "size": "size"}


def audit_sentences(inputs: Inputs) -> list[str]:
    """Return what the audit found: the split first, then crops, shortcuts and more donors."""
    audit, group = inputs.metrics["audit"], group_word(inputs)
    if "accuracy" not in audit:
        return [
            f"Nothing could be audited: fewer than two classes have two {group}s or more in "
            "training and validation."
        ]
    sentences = [
        split_sentence(audit, group), shortcut_sentence(audit), crops_sentence(audit),
        curve_sentence(audit, group), left_out_sentence(audit, group),
    ]  # fmt: skip
    return [one for one in sentences if one]


def split_sentence(audit: Mapping[str, Any], group: str) -> str:
    """Return what a split by image would have claimed, and what is known of the reason."""
    careless, honest = (audit["accuracy"][name]["accuracy"] for name in ("careless", "honest"))
    claim = (
        f"{count(audit['images'])} training and validation images of {count(audit['groups'])} "
        f"{group}s were cross-validated. A careless split, at random by image, would have claimed "
        f"{percent(careless)}. The split by {group} finds {percent(honest)}"
    )
    gap = audit["difference"]["careless"]
    if audit["groups"] == audit["images"]:
        return f"{claim}, but every {group} is a single image, so both are splits by image."
    points = f"{percentage_points(gap['value'])} points (95% interval {_points(gap)})"
    if gap["low"] > 0:
        found = f"Images of one {group} on both sides of the split bring {points}."
    else:
        found = f"The difference of {points} may be chance."
    if group in (WORDS[POSITIONS], WORDS[CLUSTERS], WORDS[SLIDES]):
        found += " Donors are not known, so the truth may be lower."
    return f"{claim}. {found}"


def _points(gap: Mapping[str, float]) -> str:
    return interval(gap["low"], gap["high"], percentage_points)


def shortcut_sentence(audit: Mapping[str, Any]) -> str:
    """Return what is reached without architecture, beside chance."""
    accuracy, chance = audit["accuracy"], audit["chance"]
    found = [
        f"{name} alone gives {percent(values['accuracy'])} "
        f"({interval(values['low'], values['high'])})"
        for key, name in ALONE.items()
        if key in accuracy and (values := accuracy[key])["low"] > chance
    ]
    every, has_size = accuracy["all_shortcuts"], "size" in accuracy
    together = (
        f"Colour, share of tissue{', blur and size' if has_size else ' and blur'} together "
        f"give {percent(every['accuracy'])} (95% interval "
        f"{interval(every['low'], every['high'])}). The most frequent class alone gives "
        f"{percent(chance)} ({count(round(chance * audit['images']))} of {count(audit['images'])})"
    )
    none = "none of them alone is shown to give more"
    constant = "" if has_size else " All images have one size, which gives nothing away."
    alone = join_words(found) if found else none
    return f"{together}. {alone[0].upper()}{alone[1:]}.{constant}"


def crops_sentence(audit: Mapping[str, Any]) -> str:
    """Return what the crops add to the whole image, or nothing where there are none."""
    gap = audit["difference"].get("whole_image")
    if gap is None:
        return ""
    gained = {"value": -gap["value"], "low": -gap["high"], "high": -gap["low"]}
    verdict = ", which may be chance" if gap["low"] <= 0 <= gap["high"] else ""
    return (
        f"Crops at a higher magnification bring {percentage_points(gained['value'])} points (95% "
        f"interval {_points(gained)}) beside the whole image alone{verdict}."
    )


def curve_sentence(audit: Mapping[str, Any], group: str) -> str:
    """Return how many more donors of each class give five more points, if the curve says so."""
    curve = audit.get("learning_curve")
    if curve is None:
        return f"Too few {group}s for a learning curve: it needs two classes with six or more."
    beyond = f"more than {count((curve['reach'] - 1) * curve['groups'])}"
    gain = f"{100 * curve['gain']:.0f} points"
    low, high = (curve.get(f"more_groups_{end}", beyond) for end in ("low", "high"))
    if "more_groups" in curve:
        about = f"about {curve['more_groups']} more of each"
        more = f"{gain} would take {about} (95% interval {low} to {high})"
    else:
        more = f"{gain} would take {beyond} more of each"
        more += f" (95% interval: from {low} up)" if "more_groups_low" in curve else ""
    doubled = interval(curve["doubled_low"], curve["doubled_high"], percentage_points)
    return (
        f"The learning curve has up to {curve['groups']} {group}s of each of {curve['classes']} "
        f"classes. By its fitted power law, twice as many would bring "
        f"{percentage_points(curve['doubled'])} points (95% interval {doubled}). {more}."
    )


def left_out_sentence(audit: Mapping[str, Any], group: str) -> str:
    """Return which classes could not be audited."""
    names = sorted(audit["left_out"])
    if not names:
        return ""
    return f"Left out, since they have a single {group}: {join_words(names)}."


def audit_table(inputs: Inputs) -> Table:
    """Return every cross-validated accuracy, best first."""
    accuracy, group = inputs.metrics["audit"].get("accuracy", {}), group_word(inputs)
    rows = [
        {
            "Learned from": AUDITED[name].format(group=group),
            "Accuracy": percent(accuracy[name]["accuracy"]),
            "95% interval": interval(accuracy[name]["low"], accuracy[name]["high"]),
            "SD over folds, points": points(accuracy[name]["fold_sd"]),
        }
        for name in AUDITED
        if name in accuracy
    ]
    folds, repeats = inputs.metrics["audit"]["folds"], inputs.metrics["audit"]["repeats"]
    images = count(inputs.metrics["audit"]["images"])
    caption = f"Cross-validation of {images} images in {folds} folds, {repeats} times over"
    return Table(caption, rows)
