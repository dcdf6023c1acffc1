"""Saved models: pictures of any size in, the probabilities of the pipeline out."""

import io
from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.networks import PARAMS, SIDE, head_for, joined, mobilenet, scratch
from tests.portable.test_portable_models import tissue
from tissue.common.augmentation import VIEWS, dihedral
from tissue.common.files import write_json
from tissue.config.schema import Params
from tissue.data.index import PREPARATION_FILE, preparation
from tissue.images.reading import ReadImage, read_image
from tissue.training.inference import predict_batch
from tissue.training.saving import _view, load_model, of_pictures, save_model


def settings(folder: Path, *, count: int = 4) -> Params:
    """Parameters, and the file in which `split` writes down how it prepared images."""
    crops = PARAMS.split.crops.model_copy(update={"count": count})
    split = PARAMS.split.model_copy(update={"crops": crops})
    params = PARAMS.model_copy(update={"split": split, "image_size": SIDE})
    write_json(preparation(params), folder / PREPARATION_FILE)
    return params


def prepared(picture: NDArray[np.uint8], params: Params) -> ReadImage:
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "PNG")
    return read_image(content.getvalue(), params.split, size=SIDE)


@pytest.mark.usefixtures("small_mobilenet")
@pytest.mark.parametrize("size", [(64, 64), (70, 50), (31, 44)])
@pytest.mark.parametrize("kind", ["scratch", "pretrained", "whole"])
def test_a_saved_model_answers_pictures_as_the_pipeline(
    kind: str, size: tuple[int, int], tmp_path: Path
) -> None:
    params = settings(tmp_path, count=0 if kind == "whole" else 4)
    made = {"scratch": scratch, "whole": lambda: joined(mobilenet())}
    network = made.get(kind, lambda: joined(mobilenet(), crops=4))()
    save_model(of_pictures(network, tmp_path, views=5), tmp_path / "a.keras")
    pictures = np.stack([tissue(*size), np.full((*size, 3), (230, 30, 30), np.uint8)])
    read = [prepared(picture, params) for picture in pictures]
    images = np.stack([one.image for one in read])
    crops = np.stack([one.crops for one in read]) if kind == "pretrained" else None
    expected = predict_batch(network, images, crops, views=5).mean(axis=1)
    found = keras.saving.load_model(tmp_path / "a.keras").predict(pictures, verbose=0)
    change, between = np.abs(found - expected).max(), np.abs(expected[1] - expected[0]).max()
    assert change < min(0.01, between / 2)
    inside = load_model(tmp_path / "a.keras")
    assert [one.shape for one in inside.inputs] == [one.shape for one in network.inputs]
    again = predict_batch(inside, images, crops, views=5).mean(axis=1)
    assert np.allclose(again, expected, atol=1e-6)


@pytest.mark.usefixtures("small_mobilenet")
def test_what_layers_of_keras_cannot_prepare_is_left_to_the_caller(tmp_path: Path) -> None:
    settings(tmp_path, count=3)
    network = joined(mobilenet(), crops=3)
    assert of_pictures(network, tmp_path, views=4) is network
    settings(tmp_path)
    head = head_for(8)
    assert of_pictures(head, tmp_path, views=4) is head


@pytest.mark.parametrize("view", range(VIEWS))
def test_views_are_those_of_embed(view: int) -> None:
    images = np.random.default_rng(view).uniform(size=(2, 5, 5, 3)).astype(np.float32)
    assert np.array_equal(_view(keras.ops.convert_to_tensor(images), view), dihedral(images, view))
