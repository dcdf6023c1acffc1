"""Backbones in ONNX files: small ones made here, and errors for those that do not fit."""

import hashlib
import sys
from pathlib import Path

import keras
import numpy as np
import onnx
import onnx.parser
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper

from stages import embed, evaluate, train_pretrained
from tests.conftest import run
from tests.networks import PARAMS, SIDE, changed_params, scratch, write_split
from tests.pipeline import ROOT
from tissue.backbones import onnx_file
from tissue.backbones.onnx_file import OnnxBackbone
from tissue.common.errors import InputError
from tissue.training.inference import head_of, is_fine_tuned
from tissue.training.saving import load_model, save_model

SETTINGS = PARAMS.pretrained.onnx
RNG = np.random.default_rng(4)
KERNEL = RNG.normal(0, 0.3, (5, 3, 3, 3)).astype(np.float32)  # (out, in, height, width)
SHAPES = {"scalar": "", "tokens": "[a, b, c]", "map": "[a, b, c, d]"}  # else [a, b]
IMAGES = RNG.integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)


def network(
    path: Path,
    *,
    channels_first: bool = True,
    shape: list[int | str] | None = None,
    output: str = "pooled",
    kind: str = "float",
) -> Path:
    """Write a convolution with stride 2, ReLU, and mean over the map, as tokens or as a map."""
    if shape is None:
        shape = ["n", 3, SIDE, SIDE] if channels_first else ["n", SIDE, SIDE, 3]
    outputs = ", ".join(f"{kind}{SHAPES.get(name, '[a, b]')} {name}" for name in output.split())
    model = onnx.parser.parse_model(f"""
        <ir_version: 9, opset_import: ["": 17]>
        network ({kind}[{", ".join(map(str, shape))}] image) => ({outputs}) {{
            planes = Transpose <perm = {[0, 1, 2, 3] if channels_first else [0, 3, 1, 2]}> (image)
            conv = Conv <strides = [2, 2]> (planes, kernel)
            map_first = Relu (conv)
            map_last = Transpose <perm = [0, 2, 3, 1]> (map_first)
            pool = GlobalAveragePool (map_first)
            pooled = Flatten (pool)
            tokens = Reshape (map_last, tokens_shape)
            map = Identity ({"map_first" if channels_first else "map_last"})
            one = ReduceMean <keepdims = 1> (pooled)
            scalar = ReduceMean <keepdims = 0> (pooled)
            negative = Mul (pooled, minus)
            nan = Log (negative)
        }}
    """)
    constants = {"kernel": KERNEL, "tokens_shape": np.int64([0, -1, 5]), "minus": np.float32([-1])}
    tensors = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    model.graph.initializer.extend(tensors)
    onnx.save(model, path)
    return path


def digest(*paths: Path) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def opened(path: Path, **changes: object) -> OnnxBackbone:
    return OnnxBackbone(
        path, image_size=SIDE, sha256=digest(path) if path.is_file() else None,
        settings=SETTINGS.model_copy(update=changes), threads=1,
    )  # fmt: skip


def expected_map(images: np.ndarray) -> np.ndarray:
    """The same by Keras, (N, height, width, 5)."""
    scaled = (images / 255 - np.array(SETTINGS.mean)) / np.array(SETTINGS.std)
    convolution = keras.layers.Conv2D(5, 3, strides=2, use_bias=False, activation="relu")
    convolution.build(scaled.shape)
    convolution.set_weights([KERNEL.transpose(2, 3, 1, 0)])
    return np.asarray(convolution(scaled.astype(np.float32)))


@pytest.mark.parametrize("channels_first", [True, False])
@pytest.mark.parametrize("output", ["pooled", "map"])
@pytest.mark.parametrize("sides", ["fixed", "free"])
def test_features_are_those_of_keras(
    channels_first: bool, output: str, sides: str, tmp_path: Path
) -> None:
    free: list[int | str] = ["n", 3, "h", "w"] if channels_first else ["n", "h", "w", 3]
    path = network(
        tmp_path / "a.onnx", channels_first=channels_first, output=output,
        shape=free if sides == "free" else None,
    )  # fmt: skip
    backbone = opened(path)
    assert backbone.output_shape == (None, 5)
    features = backbone.predict_on_batch(IMAGES)
    assert features.dtype == np.float32
    assert np.allclose(features, expected_map(IMAGES).mean(axis=(1, 2)), atol=1e-5)
    assert np.array_equal(features, backbone.predict_on_batch(IMAGES.astype(np.float32)))


@pytest.mark.parametrize("tokens", ["class", "mean"])
def test_tokens(tokens: str, tmp_path: Path) -> None:
    path = network(tmp_path / "a.onnx", output="tokens")
    features = opened(path, tokens=tokens).predict_on_batch(IMAGES)
    each = expected_map(IMAGES).reshape(len(IMAGES), -1, 5)
    expected = each[:, 0] if tokens == "class" else each.mean(axis=1)
    assert np.allclose(features, expected, atol=1e-5)


def test_mean_and_deviation_are_those_of_images_from_0_to_1(tmp_path: Path) -> None:
    path = network(tmp_path / "a.onnx")
    raw = opened(path, mean=[0.0, 0.0, 0.0], std=[1 / 255] * 3)
    images = (IMAGES / 255 - np.array(SETTINGS.mean)) / np.array(SETTINGS.std)
    expected = opened(path).predict_on_batch(IMAGES)
    assert np.allclose(raw.predict_on_batch(images.astype(np.float32)), expected, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 2, 8])
def test_fixed_number_of_images(batch: int, tmp_path: Path) -> None:
    path = network(tmp_path / "a.onnx", shape=[batch, 3, SIDE, SIDE])
    expected = opened(network(tmp_path / "b.onnx")).predict_on_batch(IMAGES)
    assert np.allclose(opened(path).predict_on_batch(IMAGES), expected, atol=1e-6)


def test_one_of_several_outputs(tmp_path: Path) -> None:
    path = network(tmp_path / "a.onnx", output="map pooled")
    message = r"pretrained\.onnx\.output: expected the name of an output of .*: map, pooled\. Rec"
    for name in (None, "features"):
        with pytest.raises(InputError, match=message):
            opened(path, output=name)
    assert opened(path, output="pooled").output_shape == (None, 5)


def save_beside(path: Path, location: str) -> Path:
    """Write a network whose weights are in another file, as those of large ones."""
    model = onnx.load(network(path))
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=100)
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    path.write_bytes(model.SerializeToString())
    return path


def test_weights_in_a_file_beside_belong_to_the_digest(tmp_path: Path) -> None:
    path = save_beside(tmp_path / "a.onnx", "weights.bin")
    weights = tmp_path / "weights.bin"
    with pytest.raises(InputError, match=r"of a\.onnx weights\.bin\. Download the file again"):
        opened(path)
    settings = {"image_size": SIDE, "settings": SETTINGS, "threads": 1}
    backbone = OnnxBackbone(path, sha256=digest(path, weights), **settings)
    expected = opened(network(tmp_path / "b.onnx")).predict_on_batch(IMAGES)
    assert np.allclose(backbone.predict_on_batch(IMAGES), expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["hard", "symbolic"])
def test_weights_that_dvc_links_from_its_cache(kind: str, tmp_path: Path) -> None:
    path, weights = save_beside(tmp_path / "a.onnx", "weights.bin"), tmp_path / "weights.bin"
    (tmp_path / "cache").mkdir()
    for file in (path, weights):
        cached = file.replace(tmp_path / "cache" / file.name)
        file.hardlink_to(cached) if kind == "hard" else file.symlink_to(cached)
    settings = {"image_size": SIDE, "settings": SETTINGS, "threads": 1}
    backbone = OnnxBackbone(path, sha256=digest(path, weights), **settings)
    expected = opened(network(tmp_path / "b.onnx")).predict_on_batch(IMAGES)
    assert np.allclose(backbone.predict_on_batch(IMAGES), expected, atol=1e-6)


def add_loop(model: onnx.ModelProto, name: str = "looped") -> None:
    """Let the first output of a network go through a loop that does not end, and name it."""
    value = helper.make_tensor_value_info
    flag, number = value("again", TensorProto.BOOL, []), value("turn", TensorProto.INT64, [])
    kept, summed = value("kept", TensorProto.BOOL, []), value("sum", TensorProto.FLOAT, None)
    nodes = [
        helper.make_node("Identity", ["again"], ["kept"]),
        helper.make_node("Add", ["before", "before"], ["sum"]),
    ]
    body = helper.make_graph(
        nodes, "body", [number, flag, value("before", TensorProto.FLOAT, None)], [kept, summed]
    )
    turns = helper.make_tensor("turns", TensorProto.INT64, [], [2**62])
    on = helper.make_tensor("on", TensorProto.BOOL, [], [True])
    model.graph.initializer.extend([turns, on])
    output = model.graph.output[0]
    model.graph.node.append(
        helper.make_node("Loop", ["turns", "on", output.name], [name], body=body)
    )
    output.name = name


def test_a_network_that_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "SECONDS", 0.3)
    model = onnx.load(network(tmp_path / "a.onnx"))
    add_loop(model)
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=r"Received: it did not end within 0 s\. "):
        opened(tmp_path / "a.onnx")


LOCATIONS = ["../weights.bin", "/etc/passwd", "..\\weights.bin", "gone.bin"]


@pytest.mark.parametrize("location", LOCATIONS)
def test_weights_elsewhere_are_refused(location: str, tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"0" * 10000)
    (tmp_path / "inside").mkdir()
    path = save_beside(tmp_path / "inside" / "a.onnx", location)
    with pytest.raises(InputError, match=r"expected its weights in a file beside it\. Received: "):
        opened(path)


def test_weights_elsewhere_are_found_in_nested_graphs(tmp_path: Path) -> None:
    inside = helper.make_tensor("c", TensorProto.FLOAT, [1], [1.0])
    inside.ClearField("float_data")
    inside.data_location = TensorProto.EXTERNAL
    inside.external_data.add(key="location", value="../weights.bin")
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["out"], value=inside)],
        "branch",
        [],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1])],
    )
    model = onnx.load(network(tmp_path / "a.onnx"))
    model.graph.node.append(
        helper.make_node("If", ["flag"], ["chosen"], then_branch=branch, else_branch=branch)
    )
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=r"expected its weights in a file beside it"):
        opened(tmp_path / "a.onnx")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shape": ["n", 1, SIDE, SIDE]}, r"expected one input float32 .*image tensor\(float\)"),
        ({"shape": ["n", 3, 48, 48]}, r"Received: .*48.*set image_size to its size"),
        ({"shape": ["n", "c", SIDE, SIDE]}, r"expected one input float32"),
        ({"kind": "float16"}, r"Received"),
    ],
)
def test_input_that_is_no_image_of_this_size(changes: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        opened(network(tmp_path / "a.onnx", **changes))


@pytest.mark.parametrize("rest", ["", f", {SIDE}] image, float[n, 1"])
def test_other_inputs_than_one_of_images(rest: str, tmp_path: Path) -> None:
    model = onnx.parser.parse_model(f"""
        <ir_version: 9, opset_import: ["": 17]>
        network (float[n, 3, {SIDE}{rest}] last) => (float[n, d] features) {{
            features = Flatten (last)
        }}
    """)
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(InputError, match=r"expected one input float32 \(N, 3, 32, 32\).*last"):
        opened(tmp_path / "a.onnx")


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("scalar", r"expected the output scalar of shape \(2, D\).*Received: \(\)"),
        ("one", r"expected the output one of shape"),
        ("nan", r"expected finite features"),
    ],
)
def test_output_that_is_no_features(output: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        opened(network(tmp_path / "a.onnx", output=output))


@pytest.mark.parametrize("content", [b"", b"no network", b"\x08\x09", "truncated"])
def test_broken_file(content: bytes | str, tmp_path: Path) -> None:
    path = network(tmp_path / "a.onnx")
    path.write_bytes(content if isinstance(content, bytes) else path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"a\.onnx: expected a network in the ONNX format"):
        opened(path)


def test_unknown_operator(tmp_path: Path) -> None:
    model = onnx.load(network(tmp_path / "a.onnx"))
    model.graph.node[0].domain = "somebody.own"
    model.opset_import.append(helper.make_opsetid("somebody.own", 1))
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=r"expected a network that onnxruntime .* can run"):
        opened(tmp_path / "a.onnx")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"pretrained\.backbone: .*gone\.onnx, which does not"):
        opened(tmp_path / "gone.onnx")


def test_digest_is_required_and_checked(tmp_path: Path) -> None:
    path = network(tmp_path / "a.onnx")
    settings = {"image_size": SIDE, "settings": SETTINGS, "threads": 1}
    with pytest.raises(InputError, match=rf"pretrained\.sha256: expected .*{digest(path)}"):
        OnnxBackbone(path, sha256=None, **settings)
    with pytest.raises(InputError, match=r"expected sha256 000.*pretrained\.sha256.*Received"):
        OnnxBackbone(path, sha256="0" * 64, **settings)


def test_packages_are_imported_only_for_an_onnx_file() -> None:
    program = (
        "import sys; import stages.embed, stages.train_pretrained, tissue.backbones.embedding,"
        "tissue.backbones.onnx_file; print(*sorted({'onnx', 'onnxruntime'} & set(sys.modules)))"
    )
    assert run(sys.executable, "-c", program, cwd=ROOT).strip() == ""


def test_pipeline_from_features_to_predictions(tmp_path: Path) -> None:
    path = network(tmp_path / "a.onnx", output="tokens")
    onnx_settings = SETTINGS.model_copy(update={"tokens": "mean"})
    pretrained = {
        "backbone": str(path), "weights": "onnx", "sha256": digest(path), "views": 2,
        "epochs": 25, "onnx": onnx_settings,
    }  # fmt: skip
    params = changed_params(
        seed=1, lr=0.05, batch_size=8, scratch={"views": 1}, evaluate={"bootstrap": 100},
        pretrained=pretrained,
    )  # fmt: skip
    write_split(tmp_path / "data/split")
    features, digests = tmp_path / "data/embed/train.npy", set()
    for _ in range(2):
        embed.run(params, tmp_path)
        digests.add(digest(features))
    assert len(digests) == 1
    assert np.load(features, allow_pickle=False).shape == (24, 2, 5)
    train_pretrained.run(params, tmp_path)
    models = tmp_path / "data/models"
    model = load_model(models / "pretrained.keras")
    assert model.input_shape == (None, 5)
    assert head_of(model) is model
    assert not is_fine_tuned(model)
    save_model(scratch(), models / "scratch.keras")
    evaluate.run(params, tmp_path)
    table = pd.read_csv(tmp_path / "data/predictions/pretrained.csv")
    assert len(table) == 24 + 8 + 12
    assert (table["class"] == table["predicted"]).mean() > 0.9
