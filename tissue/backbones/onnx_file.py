"""A backbone from an ONNX file, run by onnxruntime without the framework it was trained in.

An ONNX file is data, but it may name any file as
its weights and need not hold a network of images, so it is checked before it is run.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tissue.common.errors import InputError
from tissue.config.schema import Onnx


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

    def model(self, opset: int) -> Any:
        """Return the network with its weights, of at least an opset."""
        import onnx

        model = onnx.load(self.path)
        version = next(one.version for one in model.opset_import if one.domain in ("", "ai.onnx"))
        if version < opset:
            return onnx.version_converter.convert_version(model, opset)
        return model

    def _run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            (output,) = self._session.run([self.output], {self.input.name: batch})
        except Exception as error:  # noqa: BLE001  onnxruntime's errors have no class in common
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


def checked_files(path: Path, sha256: str | None) -> list[Path]:
    """Return an ONNX file and the files of its weights beside it, all of them checked.

    Raises:
        InputError: see `OnnxBackbone`.
    """
    import onnx

    if not path.is_file():
        raise InputError(
            f"pretrained.backbone: expected an .onnx file. Received: {path}, which does not exist "
            f"under {Path.cwd()}. Run `dvc pull` if it is under DVC."
        )
    try:
        files = [path, *_external_files(path, onnx.load(path, load_external_data=False))]
        _check_digest(files, sha256)
        onnx.checker.check_model(str(path))
        return files
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001  broken files end in errors of several libraries
        raise InputError(
            f"{path}: expected a network in the ONNX format. Received: {error}. Export it again."
        ) from None


def _check_digest(files: list[Path], expected: str | None) -> None:
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)  # continues the digest of the files before
    received, names = digest.hexdigest(), " ".join(path.name for path in files)
    if expected is None:
        raise InputError(
            f"pretrained.sha256: expected the digest of {names}: DVC learns from it that the "
            f"features have to be computed again. Received: null; the file here has {received}. "
            "If you trust it, set pretrained.sha256 to that."
        )
    if received != expected:
        raise InputError(
            f"{files[0]}: expected sha256 {expected} (pretrained.sha256). Received: {received} of "
            f"{names}. Download the file again, or correct the digest."
        )


def _external_files(path: Path, model: Any) -> list[Path]:
    """Return the files of the weights that are not in the ONNX file itself, sorted."""
    locations = {
        entry.value
        for tensor in _tensors(model)
        for entry in tensor.external_data
        if entry.key == "location"
    }
    for location in sorted(locations):
        posix, windows = PurePosixPath(location), PureWindowsPath(location)
        outside = posix.is_absolute() or windows.anchor or ".." in {*posix.parts, *windows.parts}
        if outside or not (path.parent / location).is_file():
            raise InputError(
                f"{path}: expected its weights in a file beside it. Received: {location}. "
                "Put that file into the same folder, or export the network again."
            )
    return [path.parent / location for location in sorted(locations)]


def _tensors(message: Any) -> Iterator[Any]:
    """Yield every tensor of a network, including nested graphs and functions."""
    if message.DESCRIPTOR.name == "TensorProto":
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for item in value if hasattr(value, "add") else [value]:
                yield from _tensors(item)


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
