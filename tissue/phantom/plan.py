"""The plan of the phantom: which cores there are, of which donor, on which slide, stained how.

A tissue microarray block holds three donors of each class at fixed places; a slide is a section
of one block, stained with one antibody. So the place (A or B, column, row) fixes the class, as in
the atlas, and each antibody meets all organs.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from tissue.common.names import TISSUES

CLASSES = tuple(TISSUES)
PLACES = 3  # donors of a class on one block
SLIDES = 8  # slides cut from one block
CORES_PER_DONOR = {"train": 4, "test": 3}


@dataclass(frozen=True)
class Core:
    """One core to draw. The picture depends on these fields alone."""

    id: str
    split: str
    class_name: str
    donor: str
    slide: str
    antibody: str
    size: int
    donor_seed: tuple[int, ...]
    slide_seed: tuple[int, ...]
    antibody_seed: tuple[int, ...]
    core_seed: tuple[int, ...]


def cores(*, train_per_class: int, test_per_class: int, size: int, seed: int) -> list[Core]:
    """Return the plan, sorted by id. No donor is in both splits.

    Raises:
        ValueError: if a count or the size is too small.
    """
    _at_least("train_per_class", train_per_class, 1)
    _at_least("test_per_class", test_per_class, 0)
    _at_least("size", size, 16)
    rng = np.random.default_rng([seed, 1])
    donors = [("train", n) for n in _shares(train_per_class, CORES_PER_DONOR["train"])]
    donors += [("test", n) for n in _shares(test_per_class, CORES_PER_DONOR["test"])]
    sections = SLIDES * -(-len(donors) // PLACES)
    slides = rng.choice(np.arange(1000, 1000 + 9 * max(sections, 999)), sections, replace=False)
    antibodies = _antibodies(rng, sections)
    people = len(donors) * len(CLASSES)
    patients = rng.choice(np.arange(1000, 1000 + 5 * max(people, 999)), people, replace=False)
    spots = _spots(rng)
    plan = []
    for label, class_name in enumerate(CLASSES):
        for turn, k in enumerate(rng.permutation(len(donors))):
            (split, count), patient = donors[k], int(patients[label * len(donors) + k])
            block, place = divmod(turn, PLACES)
            spot = spots[label * PLACES + place]
            for section in rng.permutation(SLIDES)[:count]:
                slide = block * SLIDES + int(section)
                core = Core(
                    id=f"{split}/{class_name}/{slides[slide]}_{spot}.jpg",
                    split=split,
                    class_name=class_name,
                    donor=str(patient),
                    slide=str(slides[slide]),
                    antibody=antibodies[slide],
                    size=size,
                    donor_seed=(seed, 2, patient),
                    slide_seed=(seed, 3, slide),
                    antibody_seed=(seed, 4, int(antibodies[slide][3:])),
                    core_seed=(seed, 5, slide, label * PLACES + place),
                )
                plan.append(core)
    return sorted(plan, key=lambda core: core.id)


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(
            f"The phantom expects {name} to be at least {least}. Received: {value}. "
            f"Change fetch.phantom.{name} in params.yaml."
        )


def _shares(total: int, each: int) -> list[int]:
    """Return how many cores each donor gives: up to `each`, of four donors or more if possible."""
    donors = max(-(-total // each), min(total, 4))
    return [total // donors + (k < total % donors) for k in range(donors)] if donors else []


def _antibodies(rng: Generator, slides: int) -> list[str]:
    """Return one antibody a slide; two slides in five repeat one that another slide has."""
    numbers = rng.choice(np.arange(1000, 80000), slides, replace=False)
    names = [f"HPA{n:06d}" if rng.random() < 0.8 else f"CAB{n:06d}" for n in numbers]
    own = max(1, round(0.6 * slides))
    return names[:own] + [names[int(k)] for k in rng.integers(0, own, slides - own)]


def _spots(rng: Generator) -> list[str]:
    """Return the places on the arrays, `<A|B>_<column>_<row>`, PLACES for each class."""
    every = [f"{a}_{c}_{r}" for a in "AB" for c in range(1, 9) for r in range(1, 10)]
    return [every[int(k)] for k in rng.permutation(len(every))[: PLACES * len(CLASSES)]]
