"""Training histories: the marked epoch, phases, and the same bytes at every call."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tissue.figures.curves import history_figure, penalty_figure
from tissue.figures.theme import png_bytes, save_png


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


def test_the_lowest_validation_loss_is_marked() -> None:
    title = history_figure(history(), "scratch").get_suptitle()
    assert title.startswith("CNN from scratch (n = 5 epochs")
    assert title.endswith("epoch 5)")
    assert png_bytes(history_figure(history(1), "pretrained"))
    with pytest.raises(ValueError, match="Received: \\['epoch'\\], 5 rows"):
        history_figure(history()[["epoch"]], "scratch")


def test_the_marked_epoch_is_of_the_last_phase() -> None:
    frame = history(9).assign(phase=[1] * 6 + [2] * 3)  # the lowest of all is epoch 5
    assert history_figure(frame, "pretrained").get_suptitle() == (
        "pretrained net (n = 9 epochs in 2 phases; "
        "dotted: lowest validation loss of the last, epoch 7)"
    )


def test_penalties_are_written_as_numbers() -> None:
    frame = history(4).rename(columns={"epoch": "penalty"})
    figure = penalty_figure(frame.assign(penalty=[1.0, 0.1, 0.01, 0.001]))
    figure.draw_without_rendering()
    labels = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert {"0.001", "0.01", "0.1", "1"} <= set(labels)
    assert not any("$" in label for label in labels)


def test_the_same_history_gives_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "plots" / "a.png"
    save_png(history_figure(history(), "scratch"), path)
    first = path.read_bytes()
    save_png(history_figure(history(), "scratch"), path)
    assert path.read_bytes() == first
    assert [one.name for one in path.parent.iterdir()] == ["a.png"]
    assert "Software" not in Image.open(path).info
