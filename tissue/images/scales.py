"""The physical scale of images: whether they share one, and how they are brought to one.

A network sees each picture shrunk to a square of `image_size` pixels. So what counts is the field:
how many micrometres the longer side of the picture shows.
"""

import math

import numpy as np
import pandas as pd
from PIL import Image

from tissue.common.errors import InputError
from tissue.config.schema import Split
from tissue.images.kinds import UnreadableImageError

SAME = 1.1  # of two scales, the larger to the smaller
SHOWN = 3  # scales in a sentence


def check_known(scales: pd.Series, settings: Split) -> None:
    """Check that the scale of every image is known, as text, if `split.field` is set.

    Raises:
        InputError: if some are empty.
    """
    unknown = int((scales == "").sum())
    if settings.field is not None and unknown:
        raise InputError(
            "split.field: expected images whose micrometres per pixel are known. Received: "
            f"{unknown:,} of {len(scales):,} without. Set fetch.mpp, for all files that do not "
            "tell them, or set split.field to null."
        )


def check_scales(index: pd.DataFrame, settings: Split) -> None:
    """Check that images whose scale is known are seen at one scale, or are brought to one.

    Those of another scale that show as much, with more or fewer pixels, look the same once they are
    shrunk. So do, by as much as they vary, whole pictures of one scale and different sizes.

    Args:
        index: with `mpp` as text, empty where unknown, and `width` and `height` in pixels.
        settings: `field` is used.

    Raises:
        InputError: naming the smallest and the largest scale.
    """
    fields = known_fields(index)
    scales = index.loc[fields.index, "mpp"].astype(float)
    if settings.field is not None or fields.empty or scales.max() <= SAME * scales.min():
        return
    steps = np.rint(np.log(scales) / math.log(SAME))
    shown = fields.groupby(steps).median()
    if shown.max() <= SAME * shown.min():
        return
    few, most = (steps == steps.min(), steps == steps.max())
    received = " and ".join(
        f"{rows.sum():,} with {scales[rows].median():g} micrometres per pixel, which show "
        f"{fields[rows].median():,.0f} along their longer side,"
        for rows in (few, most)
    )
    raise InputError(
        f"expected images of one scale, as far as it is known. Received: {received} so that a "
        "model would learn the scale. Set split.field to the micrometres that each image shall "
        "show, give tiles the scale of the pictures by fetch.slides.mpp, or correct fetch.mpp."
    )


def known_fields(index: pd.DataFrame) -> pd.Series:
    """Return the micrometres along the longer side of each image whose scale is known."""
    known = index[index["mpp"] != ""]
    return known["mpp"].astype(float) * known[["width", "height"]].max(axis=1)


def describe_scales(scales: pd.Series) -> str:
    """Return which scales images have, given as text, in a sentence."""
    counts = scales.value_counts()
    known = [f"{mpp} ({number:,} images)" for mpp, number in counts.items() if mpp]
    more = f" and {len(known) - SHOWN} others" if len(known) > SHOWN else ""
    told = f"{', '.join(known[:SHOWN])}{more}" if known else "unknown"
    if known and "" in counts:
        told += f", unknown ({counts['']:,})"
    return f"micrometres per pixel: {told}" + ("; fetch.mpp sets them" if "" in counts else "")


def field_pixels(settings: Split, mpp: float | None) -> int | None:
    """Return the side in pixels of the square that an image is brought to, None for its own.

    Raises:
        UnreadableImageError: if the scale is not known, or too fine for that field.
    """
    if settings.field is None:
        return None
    if mpp is None:
        raise UnreadableImageError(
            "its micrometres per pixel are not known, but the model needs them (split.field); give "
            "them by fetch.mpp, or to predict by --mpp"
        )
    side = max(1, round(settings.field / mpp))
    if side * side > settings.max_pixels:
        raise UnreadableImageError(
            f"{side} x {side} pixels, which split.field needs at {mpp:g} micrometres per pixel, "
            f"are more than advanced.split.max_pixels ({settings.max_pixels})"
        )
    return side


def to_field(image: Image.Image, side: int) -> Image.Image:
    """Return the square of a side in pixels around the middle of an image, padded if need be."""
    left, top = ((length - side) // 2 for length in image.size)
    box = (max(0, left), max(0, top), min(image.width, left + side), min(image.height, top + side))
    inside = np.asarray(image.crop(box))
    before = (max(0, -top), max(0, -left))
    around = [
        (first, side - first - length)
        for first, length in zip(before, inside.shape[:2], strict=True)
    ]
    return Image.fromarray(np.pad(inside, [*around, (0, 0)], constant_values=255))
