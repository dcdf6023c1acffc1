"""The plan of the phantom: which cores there are, of which donor, on which slide, and how stained.

A block of a tissue microarray holds three donors of each class at fixed spots. A slide is a section
of one block, stained with one antibody. So the spot (A or B, column, row) determines the class, as
in the atlas, and each antibody meets all organs.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from tissue.common.names import TISSUES

CLASSES = tuple(TISSUES)
DONORS = 3  # of a class on one block
SLIDES = 8  # cut from one block
CORES_PER_DONOR = {"train": 4, "test": 3}


@dataclass(frozen=True)
class Core:
    """One core to draw. The picture depends on the class, the size and the seeds alone."""

    id: str
    split: str
    class_name: str
    donor: str
    slide: str
    antibody: str
    size: int  # pixels
    donor_seed: tuple[int, ...]
    slide_seed: tuple[int, ...]
    antibody_seed: tuple[int, ...]
    core_seed: tuple[int, ...]


def plan_cores(*, train_per_class: int, test_per_class: int, size: int, seed: int) -> list[Core]:
    """Return the cores, sorted by id. No donor is in both splits."""
    rng = np.random.default_rng([seed, 1])
    donors = [
        (split, cores)
        for split, total in (("train", train_per_class), ("test", test_per_class))
        for cores in _cores_of_donors(total, CORES_PER_DONOR[split])
    ]
    slides = _numbers(rng, SLIDES * -(-len(donors) // DONORS), sparse=9)
    antibodies = _antibodies(rng, len(slides))
    patients = _numbers(rng, len(donors) * len(CLASSES), sparse=5)
    spots = _spots(rng)
    plan = []
    for label, class_name in enumerate(CLASSES):
        for position, k in enumerate(rng.permutation(len(donors))):
            (split, cores), patient = donors[k], patients[label * len(donors) + k]
            block, place = divmod(position, DONORS)
            spot = label * DONORS + place
            for section in rng.permutation(SLIDES)[:cores]:
                slide = block * SLIDES + int(section)
                core = Core(
                    id=f"{split}/{class_name}/{slides[slide]}_{spots[spot]}.jpg",
                    split=split,
                    class_name=class_name,
                    donor=str(patient),
                    slide=str(slides[slide]),
                    antibody=antibodies[slide],
                    size=size,
                    donor_seed=(seed, 2, patient),
                    slide_seed=(seed, 3, slide),
                    antibody_seed=(seed, 4, int(antibodies[slide][3:])),
                    core_seed=(seed, 5, slide, spot),
                )
                plan.append(core)
    return sorted(plan, key=lambda core: core.id)


def _cores_of_donors(total: int, most: int) -> list[int]:
    """Return the cores of each donor: up to `most`, of four donors or more if possible."""
    donors = max(-(-total // most), min(total, 4))
    return [total // donors + (k < total % donors) for k in range(donors)]


def _numbers(rng: Generator, count: int, *, sparse: int) -> list[int]:
    """Return `count` different numbers from 1000 up, of `sparse` times as many."""
    every = np.arange(1000, 1000 + sparse * max(count, 999))
    return [int(number) for number in rng.choice(every, count, replace=False)]


def _antibodies(rng: Generator, slides: int) -> list[str]:
    """Return one antibody per slide; two slides in five repeat that of another slide."""
    numbers = rng.choice(np.arange(1000, 80000), slides, replace=False)
    names = [f"HPA{n:06d}" if rng.random() < 0.8 else f"CAB{n:06d}" for n in numbers]
    own = max(1, round(0.6 * slides))
    return names[:own] + [names[int(k)] for k in rng.integers(0, own, slides - own)]


def _spots(rng: Generator) -> list[str]:
    """Return the spots of the classes on the blocks, `<A|B>_<column>_<row>`, DONORS for each."""
    every = [f"{a}_{c}_{r}" for a in "AB" for c in range(1, 9) for r in range(1, 10)]
    return [every[int(k)] for k in rng.permutation(len(every))[: DONORS * len(CLASSES)]]
