"""Small networks, with data sets and parameters for them."""

import io
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from keras import layers
from numpy.typing import NDArray
from PIL import Image

from tests.pipeline import ROOT
from tissue.backbones.build import build_backbone
from tissue.common.files import write_json, write_table
from tissue.config.loading import load_params
from tissue.config.schema import Params
from tissue.data.index import Dataset
from tissue.training.head import Coefficients, build_head, join_backbone
from tissue.training.scratch import build_scratch

_DEFAULT = load_params(ROOT / "params.yaml")
# With a backbone that the fixture `small_mobilenet` makes small.
_SMALL = {"backbone": "mobilenet_v2_035", "strides": [32], "weights": "random"}
PARAMS = _DEFAULT.model_copy(update={"pretrained": _DEFAULT.pretrained.model_copy(update=_SMALL)})
SCRATCH = PARAMS.scratch.model_copy(
    update={"input_size": 24, "width": 6, "blocks": 1, "epoch_images": 0}
)
SIDE = 32
CLASSES = ("blue", "dark", "red", "white")
Images = NDArray[np.uint8]


def changed_params(**changes: Any) -> Params:
    """The parameters with changes, which are dictionaries for sections."""
    update = {
        key: getattr(PARAMS, key).model_copy(update=value) if isinstance(value, dict) else value
        for key, value in changes.items()
    }
    return PARAMS.model_copy(update=update)


def four_classes(n: int, seed: int = 0) -> tuple[Images, NDArray[np.int64]]:
    """Noise on a background that is blue, dark, red or white."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 4
    backgrounds = np.array([[60, 60, 200], [40, 40, 40], [200, 60, 60], [230, 230, 230]])
    images = backgrounds[labels][:, None, None] + rng.normal(0, 20, (n, SIDE, SIDE, 3))
    return np.clip(images, 0, 255).astype(np.uint8), labels


def dataset(n: int, seed: int = 0, *, split: str = "train") -> Dataset:
    """Images of four classes, four per donor."""
    images, labels = four_classes(n, seed)
    index = pd.DataFrame({
        "id": [f"{split}/{row}.png" for row in range(n)],
        "class": np.array(CLASSES)[labels],
        "label": labels,
        "group": [f"{split}{row // 4}" for row in range(n)],
        "source": "drawn",
        "sha256": [f"{split}{row}" for row in range(n)],
        **dict.fromkeys(("antibody", "slide", "mpp"), ""),
        **dict.fromkeys(("width", "height"), SIDE),
        **dict.fromkeys(("tissue_fraction", "blur", "haematoxylin", "dab"), 0.5),
    })  # fmt: skip
    return Dataset(images, index)


def write_split(folder: Path, order: np.random.Generator | None = None) -> None:
    """Write what `split` writes, with shuffled rows if a generator is given; and `raw` beside."""
    folder.mkdir(parents=True)
    write_json(list(CLASSES), folder / "classes.json")
    prepared = {
        "image_size": SIDE,
        "split.crops": {"count": 0, "zoom": 2},
    }
    write_json(prepared, folder / "images.json")
    for seed, (split, n) in enumerate({"train": 24, "val": 8, "test": 12}.items()):
        images, index, _ = dataset(n, seed, split=split)
        rows = np.arange(n) if order is None else order.permutation(n)
        np.save(folder / f"{split}.npy", images[rows])
        write_table(index.iloc[rows], folder / f"{split}.csv")
        if split == "test":
            _write_raw(index["id"], images, folder.parent / "raw")


def _write_raw(ids: pd.Series, images: Any, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    write_table(
        pd.DataFrame({"id": ids, "file": "images-000.zip", "mpp": ""}), folder / "manifest.csv"
    )
    with zipfile.ZipFile(folder / "images-000.zip", "w") as archive:
        for name, image in zip(ids, images, strict=True):
            content = io.BytesIO()
            Image.fromarray(image).save(content, "PNG")
            archive.writestr(name, content.getvalue())


def scratch(classes: int = 4) -> keras.Model:
    return build_scratch(SCRATCH, image_size=SIDE, classes=classes)


def two_convolutions(
    *, input_shape: tuple[int, int, int], alpha: float, name: str, **_: object
) -> keras.Model:
    """Stands in for MobileNetV2, which takes seconds to build."""
    images = x = keras.Input(input_shape)
    for number, strides in enumerate((2, 16)):  # 32 together, as in the real one
        convolution = layers.Conv2D(
            round(20 * alpha), 3, strides=strides, padding="same", name=f"conv{number}"
        )
        x = layers.BatchNormalization(name=f"norm{number}")(convolution(x))
        x = layers.ReLU(6.0, name=f"relu{number}")(x)
    return keras.Model(images, layers.GlobalAveragePooling2D(name="pool")(x), name=name)


def mobilenet(weights: str = "random", **options: Any) -> keras.Model:
    """A small backbone; with the fixture `small_mobilenet`, two convolutions."""
    return build_backbone("mobilenet_v2_035", image_size=SIDE, weights=weights, **options)


def head_for(width: int) -> keras.Model:
    """A head on as many features, not fitted to anything."""
    return build_head(coefficients(width), penalty=0.1)


def coefficients(width: int, classes: int = 4) -> Coefficients:
    """Random coefficients on features with mean 3 and standard deviation 2."""
    kernel = np.random.default_rng(2).normal(0, width**-0.5, (width, classes))
    return Coefficients(np.full(width, 3.0), np.full(width, 2.0), kernel, np.zeros(classes))


def joined(backbone: keras.Model, *, crops: int = 0) -> keras.Model:
    """A backbone with a head that is not trained."""
    width = backbone.output_shape[-1] * (2 if crops else 1)
    return join_backbone(backbone, head_for(width), crops=crops)


def same_weights(one: list[NDArray], two: list[NDArray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
