"""ONNX files of models: the same answers as Keras, from the same pictures, in the same bytes."""

import io
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image

from tests.backbones.test_onnx_file import add_loop, network, opened
from tests.networks import PARAMS, SIDE, head_for, joined, mobilenet, scratch
from tissue.backbones import onnx_file
from tissue.backbones.build import build_backbone
from tissue.backbones.embedding import embed_batch
from tissue.common.errors import InputError
from tissue.images.reading import read_image
from tissue.portable.export import Frozen, _add_keras, export_pretrained, export_scratch
from tissue.portable.graph import Graph
from tissue.portable.picture import Prepared, prepare
from tissue.portable.running import Portable
from tissue.training.inference import predict_batch
from tissue.training.novelty import Novelty

ABOUT = {"classes": '["blue", "dark", "red", "white"]'}
HOW = Prepared(SIDE, 2, 2)


def tissue(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Coloured blobs and some noise on a pale slide, with an empty corner."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(60, 256, (9, 7, 3), dtype=np.uint8))
    image = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(float)
    image += rng.normal(0, 4, image.shape)
    image[: height // 3, : width // 3] = 244
    return np.clip(image, 0, 255).astype(np.uint8)


def prepared(picture: NDArray[np.uint8], how: Prepared) -> list[NDArray]:
    graph = Graph()
    names = [name for name in prepare(graph, "picture", how) if name]
    kinds = (TensorProto.UINT8, TensorProto.FLOAT, TensorProto.UINT8)
    model = graph.model(
        [helper.make_tensor_value_info("picture", TensorProto.UINT8, ["h", "w", 3])],
        [
            helper.make_tensor_value_info(name, kind, [] if at == 1 else ["a", "b", "c", "d"])
            for at, (name, kind) in enumerate(zip(names, kinds, strict=False))
        ],
        {},
    )
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"picture": picture})


@pytest.mark.parametrize("crops", [0, 2, 5, 9])
@pytest.mark.parametrize(
    ("height", "width"), [(96, 96), (150, 61), (40, 130), (21, 200), (500, 407)]
)
def test_pictures_are_prepared_as_by_the_pipeline(height: int, width: int, crops: int) -> None:
    how = Prepared(32, crops, 3)
    picture = tissue(height, width, seed=crops)
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "PNG")
    cut = PARAMS.split.crops.model_copy(update={"count": crops, "zoom": 3})
    settings = PARAMS.split.model_copy(update={"crops": cut, "max_aspect": 20.0})
    expected = read_image(content.getvalue(), settings, size=32)
    image, share, *rest = prepared(picture, how)
    # Of pictures four times as large, Pillow first takes the mean of blocks.
    exact = max(height, width) < 4 * 32
    assert np.abs(image[0].transpose(1, 2, 0).astype(int) - expected.image).max() <= (
        1 if exact else 12
    )
    assert share == pytest.approx(expected.quality["tissue_fraction"], abs=0.002 if exact else 0.03)
    if crops:
        found = rest[0].transpose(0, 2, 3, 1).astype(int)
        assert np.abs(found - expected.crops).max() <= (1 if max(height, width) < 12 * 32 else 12)


def asked(path: Path, picture: NDArray[np.uint8]) -> tuple[NDArray, float | None]:
    answer = Portable(path, threads=1)(picture)
    return answer.probabilities, answer.distance


def novelty(width: int) -> Novelty:
    rng = np.random.default_rng(8)
    return Novelty(
        rng.uniform(0, 1, width), rng.uniform(0.5, 1, width), rng.normal(size=(4, width)),
        rng.normal(size=(width, 3)), np.array([0.5, 2.0]), 3.0,
    )  # fmt: skip


def expected_of(model: keras.Model, how: Prepared) -> tuple[NDArray[np.uint8], NDArray, NDArray]:
    """A picture of twice the side, and its image and crops as `split` stores them."""
    picture = tissue(2 * SIDE, 2 * SIDE)
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "PNG")
    cut = PARAMS.split.crops.model_copy(update={"count": how.crops})
    read = read_image(content.getvalue(), PARAMS.split.model_copy(update={"crops": cut}), size=SIDE)
    return picture, read.image[None], read.crops[None]


def test_the_network_from_scratch(tmp_path: Path) -> None:
    model = scratch()
    picture, images, _ = expected_of(model, HOW)
    for path in (tmp_path / "a.onnx", tmp_path / "b.onnx"):
        export_scratch(model, path, HOW, count=8, metadata=ABOUT)
    expected = predict_batch(model, images, None, views=8)[0].mean(axis=0)
    found, distance = asked(tmp_path / "a.onnx", picture)
    assert np.abs(found - expected).max() < 1e-4
    assert distance is None
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_an_own_network_from_scratch_shrinks_by_a_layer_of_any_name(tmp_path: Path) -> None:
    keras.utils.set_random_seed(5)
    own = keras.Sequential([
        keras.Input((SIDE, SIDE, 3)), keras.layers.Resizing(SIDE // 2, SIDE // 2, antialias=True),
        keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(4, 3),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(4, activation="softmax"),
    ])  # fmt: skip
    model = keras.Model(own.inputs, own.outputs)
    picture, images, _ = expected_of(model, HOW)
    export_scratch(model, tmp_path / "a.onnx", HOW, count=8, metadata=ABOUT)
    expected = predict_batch(model, images, None, views=8)[0].mean(axis=0)
    found, _ = asked(tmp_path / "a.onnx", picture)
    assert np.abs(found - expected).max() < 1e-4


@pytest.mark.usefixtures("small_mobilenet")
@pytest.mark.parametrize("tuned", [False, True])
@pytest.mark.parametrize("crops", [0, 2, 4])
def test_backbone_head_and_distance(crops: int, *, tuned: bool, tmp_path: Path) -> None:
    how = HOW._replace(crops=crops)
    backbone = mobilenet()
    model = joined(backbone, crops=crops)
    frozen = Frozen(backbone, novelty(backbone.output_shape[-1] * (2 if crops else 1)))
    if tuned:
        own = mobilenet()  # other random weights
        own.layers[-1].trainable = True
        model = joined(own, crops=crops)
    picture, images, cut = expected_of(model, how)
    parts = cut if crops else None
    for path in (tmp_path / "a.onnx", tmp_path / "b.onnx"):
        export_pretrained(model, path, how, count=3, metadata=ABOUT, frozen=frozen)
    found, distance = asked(tmp_path / "a.onnx", picture)
    expected = predict_batch(model, images, parts, views=3)[0].mean(axis=0)
    assert np.abs(found - expected).max() < 1e-4
    features = Portable(tmp_path / "a.onnx")(picture).features
    assert features is not None
    assert distance == pytest.approx(frozen.novelty(features[None])[0], rel=1e-4)
    same = predict_batch(joined(backbone, crops=crops), images, parts, views=3)[0].mean(axis=0)
    assert (np.abs(found - same).max() < 1e-4) != tuned
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


@pytest.mark.parametrize("batch", ["n", 1, 3])
@pytest.mark.parametrize("output", ["pooled", "tokens", "map"])
@pytest.mark.parametrize("first", [True, False])
def test_a_backbone_of_onnx(batch: str | int, output: str, *, first: bool, tmp_path: Path) -> None:
    shape = [batch, 3, SIDE, SIDE] if first else [batch, SIDE, SIDE, 3]
    made = network(tmp_path / "own.onnx", channels_first=first, shape=shape, output=output)
    backbone = opened(made)
    head = head_for(10)
    picture, images, cut = expected_of(head, HOW)
    path = tmp_path / "a.onnx"
    export_pretrained(
        head, path, HOW, count=2, metadata=ABOUT, frozen=Frozen(backbone, novelty(10))
    )
    features = embed_batch(backbone, images, cut, views=2)[0]
    found = Portable(path)(picture)
    assert found.features is not None
    assert np.allclose(found.features, features.mean(axis=0), atol=1e-4)
    expected = head.predict_on_batch(features).mean(axis=0)
    assert np.abs(found.probabilities - expected).max() < 1e-4


@pytest.mark.parametrize("key", ["mobilenet_v3_small", "efficientnet_v2_b0", "convnext_tiny"])
def test_backbones_of_keras(key: str) -> None:
    """Those with scaling, gates and normalisation of layers inside; the others have fewer kinds."""
    strides = [8] if key == "mobilenet_v3_small" else [4]  # the first layers have all kinds
    backbone = build_backbone(key, image_size=64, weights="random", strides=strides)
    graph = Graph()
    features = _add_keras(graph, backbone, "images")
    model = graph.model(
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 64, 64, 3])],
        [helper.make_tensor_value_info(features, TensorProto.FLOAT, ["n", "d"])],
        {},
    )
    images = np.float32(tissue(64, 64)[None])
    (found,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"images": images})
    expected = backbone.predict_on_batch(images)
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"expected a model that `evaluate` wrote as ONNX"):
        Portable(tmp_path / "a.onnx")
    with pytest.raises(InputError, match="a file without the names of classes"):
        Portable(network(tmp_path / "other.onnx"))


@pytest.mark.parametrize(
    ("output", "size", "received"),
    [
        ("probabilities", 3, r"\(3,\) instead of probabilities"),
        ("logits", 2, "'probabilities'"),
        ("endless", 2, "it did not end within 0 s"),
    ],
)
def test_files_of_other_networks_are_named(
    output: str, size: int, received: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "SECONDS", 0.3)
    numbers = helper.make_tensor("numbers", TensorProto.FLOAT, [size], [0.0] * size)
    graph = helper.make_graph(
        [helper.make_node("Constant", [], [output], value=numbers)], "other",
        [helper.make_tensor_value_info("picture", TensorProto.UINT8, ["h", "w", 3])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if output == "endless":
        add_loop(model, "probabilities")
    helper.set_model_props(model, {"classes": '["a", "b"]'})
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    opened = Portable(tmp_path / "a.onnx", threads=1)
    with pytest.raises(InputError, match=rf"a\.onnx: expected a model .*Received: .*{received}"):
        opened(np.zeros((4, 4, 3), np.uint8))
