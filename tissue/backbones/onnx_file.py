"""A backbone from an ONNX file, run by onnxruntime without the framework it was trained in.

An ONNX file is data, but it need not hold a network of images, nor one that ends, so it is tried on
two images, and each run has a limit.
"""

from pathlib import Path
from threading import Timer
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tissue.backbones.onnx_check import checked_files
from tissue.common.errors import InputError
from tissue.config.schema import Onnx

SECONDS = 600.0  # of a batch at most: the largest networks take some seconds for each image


class Input(NamedTuple):
    """The input of a network; `batch` is None where any number of images fits."""

    name: str
    channels_first: bool
    batch: int | None


class OnnxBackbone:
    """A frozen network from images in [0, 255] (N, S, S, 3) to features float32 (N, D)."""

    def __init__(
        self, path: Path, *, image_size: int, sha256: str | None, settings: Onnx, threads: int
    ) -> None:
        """Check and open a file.

        Args:
            path: an .onnx file with one input, images as NCHW or NHWC in float32, and an output
                (N, D), (N, tokens, D), or a map of D channels in the layout of the input.
            image_size: side S of the images, in pixels.
            sha256: expected digest of the file and the files of its weights, concatenated.
            settings: mean and standard deviation of its input, and how its output is read.
            threads: number of threads within an operation; sums depend on it.

        Raises:
            InputError: if packages or files are missing, the digest differs, or the network is
                broken or does not fit the images.
        """
        checked_files(path, sha256)
        self.path, self.settings = path, settings
        self._session = _open(path, threads)
        self.input = _find_input(self._session, path, image_size)
        self.output = _find_output(self._session, path, settings.output)
        # Standardised in units of [0, 1], from images in [0, 255].
        self.scale = np.float32(1 / (255 * np.array(settings.std)))
        self.offset = np.float32(-np.array(settings.mean) / np.array(settings.std))
        # Two images show whether the output has one row per image.
        probe = np.zeros((self.input.batch or 2, image_size, image_size, 3), np.uint8)
        self.output_shape: tuple[int | None, int] = (None, self.predict_on_batch(probe).shape[1])

    def predict_on_batch(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return features float32 (N, D) of images in [0, 255] (N, S, S, 3)."""
        scaled = images.astype(np.float32) * self.scale + self.offset
        if self.input.channels_first:
            scaled = np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))
        size = self.input.batch or len(scaled)
        # A fixed batch is filled up with the last image.
        filled = np.pad(scaled, [(0, -len(scaled) % size), (0, 0), (0, 0), (0, 0)], mode="edge")
        batches = [self._run(filled[row : row + size]) for row in range(0, len(filled), size)]
        return np.concatenate(batches)[: len(images)]

    def converted(self, opset: int) -> Any:
        """Return the network with its weights, of at least an opset."""
        import onnx

        model = onnx.load(self.path)
        version = next(one.version for one in model.opset_import if one.domain in ("", "ai.onnx"))
        if version < opset:
            return onnx.version_converter.convert_version(model, opset)
        return model

    def _run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            (output,) = run_within(self._session, [self.output], {self.input.name: batch})
        except ValueError as error:
            raise InputError(
                f"{self.path}: expected a network that takes images of shape {batch.shape}. "
                f"Received: {error}. Export it for this size and any number of images."
            ) from None
        if not 2 <= output.ndim <= 4 or len(output) != len(batch):
            raise InputError(
                f"{self.path}: expected the output {self.output} of shape ({len(batch)}, D), "
                f"({len(batch)}, tokens, D) or a map. Received: {output.shape}. Choose another "
                "with advanced.pretrained.onnx.output, or export the network with its features as "
                "output."
            )
        self.rank = output.ndim
        features = self._pool(output).astype(np.float32)
        if not np.isfinite(features).all():
            raise InputError(
                f"{self.path}: expected finite features. Received: some that are not. "
                "Export the network in float32."
            )
        return features

    def _pool(self, output: NDArray[np.floating]) -> NDArray[np.floating]:
        if output.ndim == 4:
            return output.mean(axis=(2, 3) if self.input.channels_first else (1, 2))
        if output.ndim == 3:
            return output[:, 0] if self.settings.tokens == "class" else output.mean(axis=1)
        return output


def run_within(
    session: Any, outputs: list[str] | None, inputs: dict[str, NDArray[Any]]
) -> list[NDArray[Any]]:
    """Run a network for 600 seconds at most, and return these outputs of it, or all.

    Raises:
        ValueError: if it does not end, or onnxruntime cannot run it on these inputs.
    """
    import onnxruntime

    options = onnxruntime.RunOptions()
    timer = Timer(SECONDS, setattr, (options, "terminate", True))
    timer.daemon = True
    timer.start()
    try:
        return session.run(outputs, inputs, options)
    except Exception as error:  # noqa: BLE001  onnxruntime's errors have no class in common
        late = f"it did not end within {SECONDS:.0f} s. " if options.terminate else ""
        raise ValueError(f"{late}{error}") from None
    finally:
        timer.cancel()


def _open(path: Path, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.log_severity_level = 3  # errors; they are raised, too
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  onnxruntime's errors have no class in common
        raise InputError(
            f"{path}: expected a network that onnxruntime {onnxruntime.__version__} can run. "
            f"Received: {error}. Export it with standard operators and an older opset."
        ) from None


def _find_input(session: Any, path: Path, image_size: int) -> Input:
    inputs = session.get_inputs()
    if len(inputs) == 1 and inputs[0].type == "tensor(float)" and len(inputs[0].shape) == 4:
        batch, *shape = inputs[0].shape
        for channels_first in (True, False):
            channels, sides = (shape[0], shape[1:]) if channels_first else (shape[2], shape[:2])
            # A name instead of a number stands for any size.
            fits = all(isinstance(side, str) or side in (image_size, None) for side in sides)
            if channels == 3 and fits:
                fixed = batch if isinstance(batch, int) else None
                return Input(inputs[0].name, channels_first, fixed)
    received = ", ".join(f"{item.name} {item.type} {item.shape}" for item in inputs)
    raise InputError(
        f"{path}: expected one input float32 (N, 3, {image_size}, {image_size}), or with the 3 at "
        f"the end. Received: {received or 'none'}. Export it so, or set image_size to its size."
    )


def _find_output(session: Any, path: Path, name: str | None) -> str:
    names = [item.name for item in session.get_outputs()]
    if name in names or (name is None and len(names) == 1):
        return name or names[0]
    raise InputError(
        f"advanced.pretrained.onnx.output: expected the name of an output of {path}: "
        f"{', '.join(names)}. Received: {name}."
    )
