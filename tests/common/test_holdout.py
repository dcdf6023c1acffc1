"""Groups that are held out: whole ones, with a share of every class."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tissue.common.errors import InputError
from tissue.common.holdout import group_holdout, missing_classes

FRACTIONS = st.floats(0.05, 0.5)
SEEDS = st.integers(0, 2**32 - 1)


def index_of(rows: list[tuple[str, str]]) -> pd.DataFrame:
    """A table of images of (class, group) pairs."""
    return pd.DataFrame(rows, columns=["class", "group"])


@st.composite
def indices(draw, *, shared_groups: bool):
    """1 to 5 classes whose groups hold 1 to 3 images of each of their classes."""
    rows = []
    for class_ in "abcde"[: draw(st.integers(1, 5))]:
        sizes = draw(st.lists(st.integers(1, 3), min_size=1, max_size=14))
        for number, size in enumerate(sizes):
            rows += [(class_, f"{number}" if shared_groups else f"{class_}{number}")] * size
    return index_of(rows)


def hold_out(index, fraction, seed):
    try:
        return group_holdout(index, fraction, seed)
    except InputError:
        assume(False)


@settings(max_examples=60)
@given(indices(shared_groups=True), FRACTIONS, SEEDS)
def test_no_group_is_on_both_sides_and_no_class_is_emptied(index, fraction, seed):
    taken = hold_out(index, fraction, seed)
    assert not set(index.loc[taken, "group"]) & set(index.loc[~taken, "group"])
    assert set(index.loc[~taken, "class"]) == set(index["class"])


@settings(max_examples=60)
@given(indices(shared_groups=False), FRACTIONS, SEEDS)
def test_every_class_is_near_its_fraction_and_on_both_sides(index, fraction, seed):
    taken = hold_out(index, fraction, seed)
    for class_, rows in index.groupby("class"):
        held = int(taken[rows.index].sum())
        assert abs(held - fraction * len(rows)) <= rows["group"].value_counts().max()
        assert (held > 0) == (rows["group"].nunique() > 1)
        assert (class_ in missing_classes(index, taken)) == (held == 0)


@settings(max_examples=40)
@given(indices(shared_groups=True), FRACTIONS, SEEDS, st.randoms(use_true_random=False))
def test_the_order_of_rows_has_no_effect(index, fraction, seed, random):
    taken = hold_out(index, fraction, seed)
    order = random.sample(range(len(index)), len(index))
    again = group_holdout(index.iloc[order].reset_index(drop=True), fraction, seed)
    assert (again == taken[order]).all()


def test_the_seed_has_an_effect():
    index = index_of([(class_, f"{class_}{n}") for class_ in "abc" for n in range(30)])
    assert len({group_holdout(index, 0.2, seed).tobytes() for seed in range(4)}) == 4


def test_small_groups_meet_the_fraction():
    rng = np.random.default_rng(2)
    index = index_of([(c, f"{rng.integers(25)}") for c in "abcdefghijkl" for _ in range(60)])
    taken = group_holdout(index, 0.2, 17)
    assert pd.Series(taken).groupby(index["class"]).mean().between(0.12, 0.28).all()


def test_a_class_of_one_group_is_not_held_out_and_is_named():
    index = index_of([("a", "1"), ("a", "2"), ("a", "3"), ("b", "4"), ("b", "4")])
    taken = group_holdout(index, 0.3, 1)
    assert missing_classes(index, taken) == ["b"]
    assert taken.sum() == 1


def test_nothing_to_hold_out_is_an_error_that_says_what_to_do():
    index = index_of([("a", "1"), ("a", "1"), ("b", "2")])
    with pytest.raises(InputError, match=r"Received: 2 in all, e.g. '1'.*Add other donors"):
        group_holdout(index, 0.2, 1)
