"""The training images most like a picture, as the error analysis finds those of an error."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tissue.data.index import locate_rows, read_split
from tissue.error_analysis.space import fit_space, nearest_images
from tissue.error_analysis.table import NEIGHBOUR_COLUMNS
from tissue.training.novelty import read_novelty


class Neighbour(NamedTuple):
    """A training image uint8 (S, S, 3), with its id, its class and its donor."""

    id: str
    label: str
    donor: str
    image: NDArray[np.uint8]


FindNeighbours = Callable[[NDArray[np.float32]], list[Neighbour]]


def neighbours_in(data: Path, *, seed: int) -> FindNeighbours:
    """Return what finds the five nearest training images of features (D,), nearest first.

    Args:
        data: the folder with `split`, `embed` and the pretrained model.
        seed: of the parameters, so that the space is that of the error analysis.

    Raises:
        InputError: if the files do not belong together.
    """
    train, embed = read_split(data / "split", "train"), data / "embed"
    novelty = read_novelty(data / "models/pretrained.keras")
    images = train.index.assign(split="train")
    with threadpool_limits(1):  # as in the error analysis
        space = fit_space(images, embed, novelty, seed=seed, crops=train.crops is not None)
        known = space.project(images, embed)[0]["both"]

    def find(features: NDArray[np.float32]) -> list[Neighbour]:
        points = space.pcas["both"].transform(space.scaling(features[None]))
        near = nearest_images(points, known, images)[list(NEIGHBOUR_COLUMNS)].iloc[0]
        rows = locate_rows(near[near != ""], images, what="training")
        known_as = images[["id", "class", "group"]].to_numpy(str)[rows]
        return [
            Neighbour(id_, label, donor, np.asarray(train.images[row]))
            for row, (id_, label, donor) in zip(rows, known_as, strict=True)
        ]

    return find
