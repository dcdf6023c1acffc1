"""Networks of Keras converted to ONNX by tf2onnx, with what it lacks for some backbones."""

import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any

import keras
import onnx
import tensorflow as tf
from tf2onnx.handler import tf_op  # type: ignore[import-untyped]

from tissue.portable.graph import OPSET


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
