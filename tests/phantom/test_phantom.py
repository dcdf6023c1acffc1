"""The phantom: a plan that follows the atlas, and cores that come out the same everywhere."""

import hashlib
import io
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from PIL import Image

from tissue.phantom.core import draw_jpeg
from tissue.phantom.plan import CLASSES, Core, cores


def plan_of(size: int = 64, seed: int = 3, train: int = 8, test: int = 4) -> list[Core]:
    return cores(train_per_class=train, test_per_class=test, size=size, seed=seed)


def one_a_class(plan: list[Core]) -> list[Core]:
    return list({core.class_name: core for core in plan}.values())


def pixels(core: Core) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(draw_jpeg(core))))


def digest(core: Core) -> str:
    return hashlib.sha256(draw_jpeg(core)).hexdigest()


def test_plan_has_the_asked_counts_sorted_with_unique_ids() -> None:
    plan = cores(train_per_class=60, test_per_class=30, size=448, seed=17)
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for core in plan:
        counts[core.split, core.class_name] += 1
        assert core.id.startswith(f"{core.split}/{core.class_name}/{core.slide}_")
    assert [core.id for core in plan] == sorted({core.id for core in plan})
    assert set(counts) == {(s, c) for s in ("train", "test") for c in CLASSES}
    assert {counts["train", c] for c in CLASSES} == {60}
    assert {counts["test", c] for c in CLASSES} == {30}


@pytest.mark.parametrize(("train", "test"), [(1, 0), (4, 4), (5, 3), (60, 30), (700, 400)])
def test_plan_works_at_any_count(train: int, test: int) -> None:
    plan = plan_of(train=train, test=test)
    assert len(plan) == len(CLASSES) * (train + test) == len({core.id for core in plan})


def test_same_seed_same_plan_and_another_seed_another() -> None:
    assert plan_of() == plan_of()
    assert {c.id for c in plan_of()} != {c.id for c in plan_of(seed=4)}


def test_donors_are_in_one_split_and_one_class_only() -> None:
    plan = cores(train_per_class=60, test_per_class=30, size=448, seed=17)
    homes = defaultdict(set)
    for core in plan:
        homes[core.donor].add((core.split, core.class_name))
    assert all(len(home) == 1 for home in homes.values())
    assert 14 <= len(homes) / len(CLASSES) <= 29


def test_place_on_the_array_fixes_the_class_and_antibodies_span_organs() -> None:
    plan = cores(train_per_class=60, test_per_class=30, size=448, seed=17)
    places, organs, stains = defaultdict(set), defaultdict(set), defaultdict(set)
    for core in plan:
        places[core.id.rsplit("/", 1)[1].split("_", 1)[1]].add(core.class_name)
        organs[core.antibody].add(core.class_name)
        stains[core.slide].add(core.antibody)
    assert all(len(found) == 1 for found in places.values())
    assert all(len(found) == 1 for found in stains.values())
    assert min(len(found) for found in organs.values()) >= 5


@pytest.mark.parametrize("size", [64, 448])
def test_every_class_is_a_core_on_near_white(size: int) -> None:
    for core in one_a_class(plan_of(size=size)):
        image = pixels(core)
        assert image.shape == (size, size, 3)
        assert image.dtype == np.uint8
        corners = image[[0, 0, -1, -1], [0, -1, 0, -1]].astype(int)
        assert np.median(corners) >= 235
        tissue = (image.min(axis=2) < 225).mean()
        assert 0.02 < tissue < 0.9, core.class_name


def test_bytes_are_the_same_in_other_processes_and_orders() -> None:
    some = one_a_class(plan_of())[::3]
    here = [digest(core) for core in some]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        there = list(pool.map(digest, reversed(some)))
    assert here == there[::-1]
    assert len(set(here)) == len(here)


def test_another_seed_draws_other_cores() -> None:
    first, second = plan_of()[0], plan_of(seed=4)[0]
    assert first.class_name == second.class_name
    assert digest(first) != digest(second)


@pytest.mark.parametrize("change", [{"size": 8}, {"train": 0}, {"test": -1}])
def test_impossible_counts_say_what_was_expected(change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"expects .* at least .*Received: -?\d+"):
        plan_of(**change)
