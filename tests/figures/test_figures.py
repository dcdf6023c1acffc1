"""Figures and contact sheets: right numbers, same bytes, nothing hidden."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from tissue.figures.confusion import confusion_counts, confusion_matrix_figure, row_shares
from tissue.figures.curves import history_figure
from tissue.figures.scatter import scatter_figure
from tissue.figures.sheets import sample_sheet, save_sheet
from tissue.figures.theme import CLASS_COLOURS, CLASS_MARKERS, class_style, png_bytes, save_png

NAMES = ["colon", "endometrium_1", "kidney", "small_intestine"]


def history(epochs: int = 5) -> pd.DataFrame:
    epoch = np.arange(1, epochs + 1)
    return pd.DataFrame(
        {
            "epoch": epoch,
            "phase": 1,
            "loss": 2.0 / epoch,
            "accuracy": 1 - 0.9 / epoch,
            "val_loss": 2.2 / epoch + 0.1 * epoch,
            "val_accuracy": 0.9 - 0.8 / epoch,
            "lr": 1e-3,
        }
    )


def embedding(per_class: int = 6) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        {"id": f"{split}/{name}/{i}", "split": split, "class": name}
        for split in ("train", "test")
        for name in NAMES
        for i in range(per_class)
    ]
    frame = pd.DataFrame(rows)
    return frame.assign(x=rng.normal(size=len(frame)), y=rng.normal(size=len(frame)))


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def title(figure: Figure) -> str:
    return figure.get_suptitle()


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=60))
@settings(max_examples=50)
def test_confusion_counts_each_image_once(pairs: list[tuple[str, str]]) -> None:
    actual, predicted = [a for a, _ in pairs], [p for _, p in pairs]
    counts = confusion_counts(actual, predicted, NAMES)
    assert counts.sum() == len(pairs)
    for row, name in enumerate(NAMES):
        assert counts[row].sum() == actual.count(name)
        assert counts[:, row].sum() == predicted.count(name)
    sums = row_shares(counts).sum(axis=1)
    assert np.allclose(sums[counts.sum(axis=1) > 0], 1)


def test_confusion_has_predicted_on_x_and_n_in_title() -> None:
    figure = confusion_matrix_figure(
        ["colon", "colon", "kidney"], ["colon", "kidney", "kidney"], NAMES, title="A model"
    )
    assert title(figure) == "A model (n = 3, 66.7% right)"
    (cell,) = [text for text in figure.axes[0].texts if text.get_position() == (2, 0)]
    assert cell.get_text() == "1"  # a colon taken for a kidney: column of kidney, row of colon
    assert sorted(texts(figure)) == ["1", "1", "1"]


@pytest.mark.parametrize("number", [2, 12, 40])
def test_confusion_class_names_do_not_overlap(number: int) -> None:
    names = [f"a_long_class_name_{i:02d}" for i in range(number)]
    figure = confusion_matrix_figure(names, names[::-1], names, title="A model")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    axes = figure.axes[0]
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        boxes = [label.get_window_extent(canvas.get_renderer()) for label in labels]
        assert not any(one.overlaps(two) for one, two in pairwise(boxes))
        assert all(box.x0 >= 0 and box.y0 >= 0 for box in boxes)


def test_confusion_refuses_unknown_names_and_unequal_lengths() -> None:
    with pytest.raises(ValueError, match="Received: \\['liver'\\]"):
        confusion_counts(["liver"], ["colon"], NAMES)
    with pytest.raises(ValueError, match="1 actual and 2 predicted"):
        confusion_counts(["colon"], ["colon", "colon"], NAMES)


def test_scatter_keeps_its_limits_whatever_it_shows() -> None:
    frame = embedding()
    drawn = [
        scatter_figure(frame, title="t-SNE", splits=splits)
        for splits in [("train",), ("test",), ("train", "test")]
    ]
    assert len({(figure.axes[0].get_xlim(), figure.axes[0].get_ylim()) for figure in drawn}) == 1
    assert [title(figure) for figure in drawn] == [
        "t-SNE (n = 24 train)",
        "t-SNE (n = 24 test)",
        "t-SNE (n = 24 train, 24 test)",
    ]


def test_scatter_refuses_what_it_cannot_draw() -> None:
    with pytest.raises(ValueError, match="missing \\['x', 'y'\\]"):
        scatter_figure(embedding().drop(columns=["x", "y"]), title="pixels")
    with pytest.raises(ValueError, match="val"):
        scatter_figure(embedding(), title="t-SNE", splits=("val",))


@pytest.mark.parametrize("number", [27, 60, 90])
def test_scatter_of_many_classes_keeps_its_place_beside_the_legend(number: int) -> None:
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


def test_scatter_survives_a_single_point() -> None:
    frame = embedding().head(1)
    assert png_bytes(scatter_figure(frame, title="t-SNE", splits=("train",)))


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


def test_history_marks_the_lowest_validation_loss() -> None:
    figure = history_figure(history(), title="CNN from scratch")
    assert title(figure).startswith("CNN from scratch (n = 5 epochs")
    assert title(figure).endswith("epoch 5)")
    assert png_bytes(history_figure(history(1), title="one epoch"))
    with pytest.raises(ValueError, match="Received: \\['epoch'\\], 5 rows"):
        history_figure(history()[["epoch"]], title="no curves")


def test_history_marks_an_epoch_of_the_last_phase() -> None:
    frame = history(9).assign(phase=[1] * 6 + [2] * 3)  # the lowest of all is epoch 5
    assert title(history_figure(frame, title="x")) == (
        "x (n = 9 epochs in 2 phases; dotted: lowest validation loss of the last, epoch 7)"
    )


def test_the_same_figure_has_the_same_bytes(tmp_path: Path) -> None:
    def draw() -> bytes:
        return png_bytes(scatter_figure(embedding(), title="class a$b$ costs $5"))

    assert draw() == draw()
    path = tmp_path / "plots" / "a.png"
    path.parent.mkdir()
    save_png(history_figure(history(), title="x"), path)
    save_png(history_figure(history(), title="x"), path)
    assert [one.name for one in path.parent.iterdir()] == ["a.png"]
    assert "Software" not in Image.open(path).info


def pictures(number: int) -> tuple[np.ndarray, pd.DataFrame]:
    images = np.zeros((number, 32, 32, 3), dtype=np.uint8)
    images[..., 0] = np.arange(number)[:, None, None]
    index = pd.DataFrame({"id": [f"train/{NAMES[i % 4]}/{i:03d}.png" for i in range(number)]})
    index["class"] = [NAMES[i % 4] for i in range(number)]
    index["group"] = [f"donor {i // 4 % 3}" for i in range(number)]
    return images, index


def reds(sheet: Image.Image, row: int, tile: int = 32) -> list[int]:
    """Red values of the tiles in a row of a sample sheet; they say which image it is."""
    pixels = np.asarray(sheet)[4 + row * (tile + 4) + tile // 2]
    values = [int(pixel[0]) for pixel in pixels if pixel[1] == 0 and pixel[2] == 0]
    return sorted(set(values))


def test_sample_sheet_shows_each_class_in_its_row_from_different_groups() -> None:
    images, index = pictures(48)
    sheet = sample_sheet(images, index, per_class=3, seed=1)
    for row in range(4):
        shown = reds(sheet, row)
        assert [i % 4 for i in shown] == [row] * 3
        assert len({index["group"][i] for i in shown}) == 3


def test_sample_sheet_follows_the_seed_and_not_the_order() -> None:
    images, index = pictures(48)
    order = np.random.default_rng(3).permutation(48)
    shuffled = index.iloc[order].reset_index(drop=True)
    one = sample_sheet(images, index, per_class=4, seed=1)
    assert one.tobytes() == sample_sheet(images[order], shuffled, per_class=4, seed=1).tobytes()
    assert one.tobytes() != sample_sheet(images, index, per_class=4, seed=2).tobytes()
    with pytest.raises(ValueError, match="48 images and 47 rows"):
        sample_sheet(images, index.head(47), per_class=4, seed=1)


def test_sheets_stay_small_and_show_every_label(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (40, 28, 28, 3), dtype=np.uint8)
    images = np.repeat(np.repeat(coarse, 8, axis=1), 8, axis=2)
    index = pd.DataFrame({"id": [f"{i:02d}" for i in range(40)]})
    index["class"] = index["id"]
    save_sheet(sample_sheet(images, index, per_class=8, seed=0), tmp_path / "samples.png")
    assert (tmp_path / "samples.png").stat().st_size < 1_500_000
