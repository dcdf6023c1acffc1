"""The t-SNE: comparable figures of the splits, legible with many classes, distinct styles."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from tissue.figures.scatter import scatter_figure
from tissue.figures.theme import CLASS_COLOURS, CLASS_MARKERS, class_style, png_bytes

NAMES = ["colon", "endometrium_1", "kidney", "small_intestine"]


@pytest.fixture
def frame() -> pd.DataFrame:
    rows = [(split, name) for split in ("train", "test") for name in NAMES for _ in range(6)]
    points = np.random.default_rng(0).normal(size=(len(rows), 2))
    frame = pd.DataFrame(rows, columns=["split", "class"])
    return frame.assign(x=points[:, 0], y=points[:, 1])


def test_limits_are_the_same_for_all_splits(frame: pd.DataFrame) -> None:
    drawn = [
        scatter_figure(frame, title="t-SNE", splits=splits)
        for splits in [("train",), ("test",), ("train", "test")]
    ]
    assert len({(figure.axes[0].get_xlim(), figure.axes[0].get_ylim()) for figure in drawn}) == 1
    assert [figure.get_suptitle() for figure in drawn] == [
        "t-SNE (n = 24 train)",
        "t-SNE (n = 24 test)",
        "t-SNE (n = 24 train, 24 test)",
    ]


def test_a_compact_map_has_names_and_no_legend(frame: pd.DataFrame) -> None:
    figure = scatter_figure(frame, title="t-SNE", splits=("test",), compact=True)
    assert figure.legends == []
    assert {text.get_text() for text in figure.axes[0].texts} == set(NAMES)


@pytest.mark.parametrize("compact", [True, False])
def test_names_do_not_overlap_and_stay_inside(compact: bool) -> None:
    names = [f"class_number_{i}" for i in range(12)]
    rng = np.random.default_rng(2)
    rows = [name for name in names for _ in range(9)]
    frame = pd.DataFrame({"split": "test", "class": rows, "x": rng.normal(size=108)})
    frame["y"] = rng.normal(size=108)  # all medians lie close together
    figure = scatter_figure(frame, title="t-SNE", splits=("test",), compact=compact)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = [text.get_window_extent(canvas.get_renderer()) for text in figure.axes[0].texts]
    assert len(boxes) == 12
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    plot = figure.axes[0].get_window_extent()
    assert all(plot.x0 <= box.x0 and box.x1 <= plot.x1 for box in boxes)
    assert all(plot.y0 <= box.y0 and box.y1 <= plot.y1 for box in boxes)


def test_missing_columns_and_splits_are_refused(frame: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="missing \\['x', 'y'\\]"):
        scatter_figure(frame.drop(columns=["x", "y"]), title="pixels")
    with pytest.raises(ValueError, match="val"):
        scatter_figure(frame, title="t-SNE", splits=("val",))


@pytest.mark.parametrize("number", [27, 60, 90])
def test_many_classes_leave_room_for_the_points(number: int) -> None:
    points = [*range(number)]
    frame = pd.DataFrame({
        "split": "test", "class": [f"a name of many letters, number {i}" for i in points],
        "x": points, "y": points[::-1],
    })  # fmt: skip
    figure = scatter_figure(frame, title="t-SNE", splits=("test",))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    plot, legend = figure.axes[0].get_window_extent(), figure.legends[0].get_window_extent()
    assert not plot.overlaps(legend)
    assert min(plot.width, plot.height) > 0.7 * figure.bbox.height
    assert legend.y0 >= 0
    assert len(figure.legends[0].get_texts()) == (number if number <= 84 else 0)


def test_a_single_point_is_drawn(frame: pd.DataFrame) -> None:
    assert png_bytes(scatter_figure(frame.head(1), title="t-SNE", splits=("train",)))


def test_the_same_points_give_the_same_bytes(frame: pd.DataFrame) -> None:
    one, other = (scatter_figure(frame, title="class a$b$ costs $5") for _ in range(2))
    assert png_bytes(one) == png_bytes(other)


def test_class_styles_differ_and_colours_of_one_marker_stay_apart() -> None:
    assert len({class_style(i) for i in range(84)}) == 84
    # Deuteranopia after Machado et al. 2009, in linear RGB.
    see = np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]])
    for first in range(len(CLASS_COLOURS) - len(CLASS_MARKERS)):
        one, two = (
            np.array([int(CLASS_COLOURS[i][k : k + 2], 16) / 255 for k in (1, 3, 5)]) ** 2.2
            for i in (first, first + len(CLASS_MARKERS))
        )
        assert np.abs(see @ (one - two)).max() > 0.1, CLASS_COLOURS[first]
