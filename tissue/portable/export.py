"""A trained model as one ONNX file: a picture in, calibrated probabilities out."""

import logging
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import onnx
import tensorflow as tf
from onnx import TensorProto, helper
from tf2onnx.handler import tf_op  # type: ignore[import-untyped]

from tissue.backbones.embedding import Embedder
from tissue.backbones.onnx_file import OnnxBackbone
from tissue.common.files import atomic_write
from tissue.portable.graph import OPSET, Graph
from tissue.portable.picture import Prepared, prepare, views
from tissue.training.inference import head_of, is_fine_tuned
from tissue.training.novelty import Novelty


class Frozen(NamedTuple):
    """The backbone without any fine-tuning, and the distance of its features from training."""

    backbone: Embedder
    novelty: Novelty


def export_scratch(
    model: keras.Model, path: Path, how: Prepared, *, count: int, metadata: Mapping[str, str]
) -> None:
    """Write the network from scratch as ONNX.

    Args:
        model: as `train_scratch` saves it.
        path: of the file.
        how: pictures are prepared.
        count: number of dihedral views whose probabilities are averaged.
        metadata: kept in the file.
    """
    graph = Graph()
    image, share, _ = prepare(graph, "picture", how._replace(crops=0))
    batch = _as_float(graph, views(graph, image, count))
    start = model.input
    for layer in model.layers:
        if isinstance(layer, keras.layers.Resizing):  # ONNX has no operator for it
            start = layer.output
            batch = graph.op(
                "Resize", batch, None, None, [layer.height, layer.width], mode="linear",
                antialias=1, exclude_outside=1, axes=[2, 3],
            )  # fmt: skip
    each = _add_keras(graph, keras.Model(start, model.output), _channels_last(graph, batch))
    outputs = {"probabilities": _mean(graph, each), "tissue": share}
    _save(graph, outputs, metadata, path)


def export_pretrained(
    model: keras.Model,
    path: Path,
    how: Prepared,
    *,
    count: int,
    metadata: Mapping[str, str],
    frozen: Frozen,
) -> None:
    """Write head and backbone as ONNX, with the distance from training; see `export_scratch`."""
    graph = Graph()
    image, share, crops = prepare(graph, "picture", how)
    parts = views(graph, image, count)
    batch = _as_float(graph, [*parts, crops] if crops else parts)

    def features_of(backbone: Embedder) -> str:
        if isinstance(backbone, OnnxBackbone):
            each = _add_onnx(graph, backbone, batch)
        else:
            each = _add_keras(graph, backbone, _channels_last(graph, batch))
        return _both_scales(graph, each, count=count, crops=how.crops)

    features = seen = features_of(frozen.backbone)
    if is_fine_tuned(model):
        seen = features_of(model.get_layer("backbone"))
    outputs = {
        "probabilities": _mean(graph, _add_keras(graph, head_of(model), seen)),
        "distance": _distance(graph, frozen.novelty, _mean(graph, features)),
        "tissue": share,
        "features": _mean(graph, features),
    }
    _save(graph, outputs, metadata, path)


def _both_scales(graph: Graph, each: str, *, count: int, crops: int) -> str:
    """Return the features (views, 2 D) of views and, after them, crops (views + crops, D)."""
    if not crops:
        return each
    whole, parts = graph.ops("Split", each, [count, crops], outputs=2, axis=0)
    pooled = graph.op("ReduceMean", parts, [0])
    return graph.op("Concat", whole, graph.op("Tile", pooled, [count, 1]), axis=1)


def _distance(graph: Graph, novelty: Novelty, features: str) -> str:
    """Return the distance () of features (D,); see `Novelty`."""
    arrays = {name: np.float32(value) for name, value in novelty._asdict().items()}
    root = graph.op("Sqrt", graph.op("Abs", features))
    rooted = graph.op("Mul", graph.op("Sign", features), root)
    centred = graph.op("Sub", rooted, arrays["mean"])
    scaled = graph.op("Div", centred, np.float32(novelty.spread + 1e-3))
    apart = graph.op("Sub", scaled, arrays["centres"])  # (classes, D)
    along = graph.op("MatMul", apart, arrays["directions"])
    nearest = [
        graph.op("ReduceMin", graph.op("ReduceSumSquare", one, [1], keepdims=0), keepdims=1)
        for one in (along, apart)
    ]
    squares = graph.op("Mul", graph.op("Concat", *nearest, axis=0), arrays["weights"])
    total = graph.op("ReduceSum", squares, keepdims=0)
    return graph.op("Div", graph.op("Sqrt", total), arrays["limit"])


def _mean(graph: Graph, each: str) -> str:
    return graph.op("ReduceMean", each, [0], keepdims=0)


def _as_float(graph: Graph, parts: list[str]) -> str:
    return graph.op("Cast", graph.op("Concat", *parts, axis=0), to=TensorProto.FLOAT)


def _channels_last(graph: Graph, batch: str) -> str:
    return graph.op("Transpose", batch, perm=[0, 2, 3, 1])


def _add_keras(graph: Graph, model: keras.Model, batch: str) -> str:
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):
            # The converter takes a tensor from outside the network for an input of it.
            layer.mean, layer.variance = np.asarray(layer.mean), np.asarray(layer.variance)
    converted = convert(model)
    (output,) = graph.include(converted, {converted.graph.input[0].name: batch}).values()
    return output


def _add_onnx(graph: Graph, backbone: OnnxBackbone, batch: str) -> str:
    """Add a backbone of ONNX to images (N, 3, S, S) in [0, 255]; return its features (N, D)."""
    layout = [1, 3, 1, 1]
    scaled = graph.op("Mul", batch, backbone.scale.reshape(layout))
    scaled = graph.op("Add", scaled, backbone.offset.reshape(layout))
    network = backbone.converted(OPSET)
    if backbone.input.batch is None:
        return _pooled(graph, backbone, network, scaled)
    # It takes a fixed number of images: each is repeated as often.
    body = Graph(prefix="b")
    copies = body.op("Tile", body.op("Unsqueeze", "one", [0]), [backbone.input.batch, 1, 1, 1])
    each = _pooled(body, backbone, network, copies)
    first = body.op("Gather", each, 0, axis=0)
    inside = body.body(["one"], [first], graph)
    return graph.op("Scan", scaled, body=inside, num_scan_inputs=1)


def _pooled(graph: Graph, backbone: OnnxBackbone, network: onnx.ModelProto, batch: str) -> str:
    if not backbone.input.channels_first:
        batch = _channels_last(graph, batch)
    output = graph.include(network, {backbone.input.name: batch})[backbone.output]
    if (rank := backbone.rank) == 4:
        axes = [2, 3] if backbone.input.channels_first else [1, 2]
        output = graph.op("ReduceMean", output, axes, keepdims=0)
    elif rank == 3 and backbone.settings.tokens == "class":
        output = graph.op("Gather", output, 0, axis=1)
    elif rank == 3:
        output = graph.op("ReduceMean", output, [1], keepdims=0)
    return graph.op("Cast", output, to=TensorProto.FLOAT)


def _tensor(name: str, shape: list[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _save(
    graph: Graph, outputs: Mapping[str, str], metadata: Mapping[str, str], path: Path
) -> None:
    shapes: dict[str, list[int | str]] = {"probabilities": ["classes"], "features": ["features"]}
    for name, tensor in outputs.items():
        graph.nodes.append(helper.make_node("Identity", [tensor], [name]))
    picture = helper.make_tensor_value_info("picture", TensorProto.UINT8, ["height", "width", 3])
    model = graph.model([picture], [_tensor(name, shapes.get(name, [])) for name in outputs],
                        metadata)  # fmt: skip
    with atomic_write(path) as partial:
        partial.write_bytes(model.SerializeToString(deterministic=True))


@tf_op("Erfc")
class Complement:
    """The complementary error function, in the GELU of ConvNeXt."""

    @classmethod
    def version_9(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Replace it by 1 - erf(x)."""
        shape, kind = ctx.get_shape(node.output[0]), ctx.get_dtype(node.output[0])
        inputs, outputs = node.input, node.output
        ctx.remove_node(node.name)
        erf = ctx.make_node("Erf", inputs)
        one = ctx.make_const(f"{erf.name}_one", _one(kind))
        ctx.make_node(
            "Sub", [one.output[0], erf.output[0]], outputs=outputs, shapes=[shape], dtypes=[kind]
        )


def _one(kind: int) -> Any:
    return onnx.helper.tensor_dtype_to_np_dtype(kind).type(1)


def convert(model: keras.Model) -> onnx.ModelProto:
    """Return a model with one input and one output as ONNX, with names that differ each time."""
    signature = [keras.InputSpec(shape=model.input_shape, dtype="float32", name="x")]
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)  # it reports what it leaves unoptimised
    # Else the convolutions of ConvNeXt would stay calls of compiled functions.
    tf.config.run_functions_eagerly(True)
    try:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # Keras asks if NumPy has np.object
            path = Path(folder, "model.onnx")
            model.export(
                path, format="onnx", verbose=False, input_signature=signature, opset_version=OPSET
            )
            return onnx.load(path)
    finally:
        tf.config.run_functions_eagerly(False)
