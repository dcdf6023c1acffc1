"""The confusion matrix: right numbers, legible labels."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg

from tissue.figures.confusion import confusion_counts, confusion_matrix_figure, row_shares

NAMES = ["colon", "endometrium_1", "kidney", "small_intestine"]


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=60))
@settings(max_examples=50)
def test_each_image_is_counted_once(pairs: list[tuple[str, str]]) -> None:
    actual, predicted = [a for a, _ in pairs], [p for _, p in pairs]
    counts = confusion_counts(actual, predicted, NAMES)
    assert counts.sum() == len(pairs)
    for row, name in enumerate(NAMES):
        assert counts[row].sum() == actual.count(name)
        assert counts[:, row].sum() == predicted.count(name)
    sums = row_shares(counts).sum(axis=1)
    assert np.allclose(sums[counts.sum(axis=1) > 0], 1)


def test_predicted_is_on_x_and_n_in_the_title() -> None:
    figure = confusion_matrix_figure(
        ["colon", "colon", "kidney"], ["colon", "kidney", "kidney"], NAMES, title="A model"
    )
    assert figure.get_suptitle() == "A model (n = 3, 2 right)"
    (cell,) = [text for text in figure.axes[0].texts if text.get_position() == (2, 0)]
    assert cell.get_text() == "1"  # a colon taken for a kidney: column of kidney, row of colon
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert texts == ["1", "1", "1"]


@pytest.mark.parametrize("number", [2, 12, 40])
def test_class_names_do_not_overlap(number: int) -> None:
    names = [f"a_long_class_name_{i:02d}" for i in range(number)]
    figure = confusion_matrix_figure(names, names[::-1], names, title="A model")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    axes = figure.axes[0]
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        boxes = [label.get_window_extent(canvas.get_renderer()) for label in labels]
        assert not any(one.overlaps(two) for one, two in pairwise(boxes))
        assert all(box.x0 >= 0 and box.y0 >= 0 for box in boxes)


def test_unknown_names_and_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="Received: \\['liver'\\]"):
        confusion_counts(["liver"], ["colon"], NAMES)
    with pytest.raises(ValueError, match="1 actual and 2 predicted"):
        confusion_counts(["colon"], ["colon", "colon"], NAMES)
