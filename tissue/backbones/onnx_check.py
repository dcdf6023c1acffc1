"""Check an ONNX file before it is run: its digest, its structure, and where its weights are.

Such a file is data, but it may name any file as its weights.
"""

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from tissue.common.errors import InputError, is_disk_full


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
        model = onnx.load(path, load_external_data=False)
        files = [path, *_external_files(path, model)]
        _check_digest(files, sha256)
        if len(files) == 1:
            onnx.checker.check_model(str(path))
        else:
            _check_without_weights(model)
        return files
    except InputError:
        raise
    except Exception as error:  # broken files end in errors of several libraries
        if is_disk_full(error):
            raise
        raise InputError(
            f"{path}: expected a network in the ONNX format. Received: {error}. Export it again."
        ) from None


def _check_without_weights(model: Any) -> None:
    """Check a network whose weights are in other files; only their names are changed in `model`.

    The checker refuses files with several hard links and symbolic links, which `dvc add` makes of
    every file. Their content has been compared with its digest.
    """
    import onnx

    for tensor in _tensors(model):
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "weights"
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "weights").touch()
        Path(folder, "network.onnx").write_bytes(model.SerializeToString())
        onnx.checker.check_model(f"{folder}/network.onnx")


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
