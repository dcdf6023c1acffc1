"""A model in one ONNX file, run by onnxruntime: no TensorFlow, and nothing of the pipeline."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from tissue.backbones.onnx_file import run_within
from tissue.common.errors import InputError


class Answer(NamedTuple):
    """What a model says of a picture.

    Attributes:
        probabilities: calibrated, float32 (classes,).
        tissue: share of the picture that shows tissue.
        distance: from the training images, in units of its limit; None from scratch.
        features: float32 (D,), means of the views; None from scratch.
    """

    probabilities: NDArray[np.float32]
    tissue: float
    distance: float | None = None
    features: NDArray[np.float32] | None = None


class Portable:
    """An open model, which answers one picture at a time."""

    def __init__(self, path: Path, *, threads: int = 0) -> None:
        """Open a file that `evaluate` wrote; 0 threads are as many as there are cores.

        Raises:
            InputError: if it is no such file.
        """
        self.path = path
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors; they are raised, too
        try:
            self._session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
            self.metadata = self._session.get_modelmeta().custom_metadata_map
            self.classes: list[str] = json.loads(self.metadata["classes"])
            # Micrometres that training images show, the fewest and the most, where known
            self.field: list[float] | None = json.loads(self.metadata.get("field", "null"))
        except Exception as error:  # noqa: BLE001  onnxruntime's errors have no class in common
            reason = "a file without the names of classes" if isinstance(error, KeyError) else error
            raise InputError(
                f"{path}: expected a model that `evaluate` wrote as ONNX. Received: {reason}. Run "
                f"`dvc pull {path}`, or `dvc repro`."
            ) from None
        self._outputs = [output.name for output in self._session.get_outputs()]

    def __call__(self, picture: NDArray[np.uint8]) -> Answer:
        """Return the answer to a picture, RGB uint8 (H, W, 3) of any size.

        Raises:
            InputError: if the file holds another network, or one that does not end.
        """
        try:
            values = run_within(self._session, None, {"picture": picture})
            found = dict(zip(self._outputs, values, strict=True))
            if found["probabilities"].shape != (len(self.classes),):
                raise ValueError(f"{found['probabilities'].shape} instead of probabilities")
        except (ValueError, KeyError) as error:
            raise InputError(
                f"{self.path}: expected a model that answers a picture {picture.shape} with "
                f"probabilities of {len(self.classes)} classes. Received: {error}. Run `dvc pull "
                f"{self.path}`, or `dvc repro`."
            ) from None
        numbers = {name: float(found[name]) for name in ("tissue", "distance") if name in found}
        return Answer(found["probabilities"], features=found.get("features"), **numbers)
