import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tissue.common.holdout import group_holdout, missing_classes


def index_of(rows: list[tuple[str, str]]) -> pd.DataFrame:
    """Build an index of (class, group) pairs."""
    table = pd.DataFrame(rows, columns=["class", "group"])
    return table.assign(id=[f"{number:04}" for number in range(len(table))])


@st.composite
def indices(draw, *, shared_groups: bool):
    """Draw an index of 1 to 5 classes whose groups hold 1 to 3 images of each of their classes."""
    rows = []
    for class_ in "abcde"[: draw(st.integers(1, 5))]:
        sizes = draw(st.lists(st.integers(1, 3), min_size=1, max_size=14))
        for number, size in enumerate(sizes):
            rows += [(class_, f"{number}" if shared_groups else f"{class_}{number}")] * size
    return index_of(rows)


def take_or_reject(index, fraction, seed):
    try:
        return group_holdout(index, fraction, seed)
    except ValueError:
        assume(False)


FRACTIONS = st.floats(0.05, 0.5)
SEEDS = st.integers(0, 2**32 - 1)


@settings(max_examples=60)
@given(indices(shared_groups=True), FRACTIONS, SEEDS)
def test_no_group_on_both_sides_and_no_class_emptied(index, fraction, seed):
    taken = take_or_reject(index, fraction, seed)
    assert not set(index.loc[taken, "group"]) & set(index.loc[~taken, "group"])
    assert set(index.loc[~taken, "class"]) == set(index["class"])


@settings(max_examples=60)
@given(indices(shared_groups=False), FRACTIONS, SEEDS)
def test_every_class_is_near_its_fraction_and_on_both_sides(index, fraction, seed):
    taken = take_or_reject(index, fraction, seed)
    for class_, rows in index.groupby("class"):
        held = int(taken[rows.index].sum())
        assert abs(held - fraction * len(rows)) <= rows["group"].value_counts().max()
        assert (held > 0) == (rows["group"].nunique() > 1)
        assert (class_ in missing_classes(index, taken)) == (held == 0)


@settings(max_examples=40)
@given(indices(shared_groups=True), FRACTIONS, SEEDS, st.randoms(use_true_random=False))
def test_the_choice_does_not_depend_on_the_order_of_rows(index, fraction, seed, random):
    taken = take_or_reject(index, fraction, seed)
    order = list(range(len(index)))
    random.shuffle(order)
    again = group_holdout(index.iloc[order].reset_index(drop=True), fraction, seed)
    assert (again == taken[order]).all()


def test_the_choice_depends_on_the_seed():
    index = index_of([(class_, f"{class_}{n}") for class_ in "abc" for n in range(30)])
    choices = {group_holdout(index, 0.2, seed).tobytes() for seed in range(4)}
    assert len(choices) == 4


def test_small_groups_meet_the_fraction():
    rng = np.random.default_rng(2)
    index = index_of([(c, f"{rng.integers(25)}") for c in "abcdefghijkl" for _ in range(60)])
    taken = group_holdout(index, 0.2, 17)
    shares = pd.Series(taken).groupby(index["class"]).mean()
    assert shares.between(0.12, 0.28).all()


def test_a_class_of_one_group_stays_in_training_and_is_named():
    index = index_of([("a", "1"), ("a", "2"), ("a", "3"), ("b", "4"), ("b", "4")])
    taken = group_holdout(index, 0.3, 1)
    assert missing_classes(index, taken) == ["b"]
    assert taken.sum() == 1


def test_nothing_to_take_is_an_error_that_says_what_to_do():
    index = index_of([("a", "1"), ("a", "1"), ("b", "2")])
    with pytest.raises(ValueError, match=r"Received: 2 in all, e.g. '1'.*Add other donors"):
        group_holdout(index, 0.2, 1)
