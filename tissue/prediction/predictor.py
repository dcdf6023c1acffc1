"""Everything that answers pictures, opened once; TensorFlow only if heat maps are wanted."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tissue.common.errors import InputError
from tissue.common.runtime import quiet_import
from tissue.config.schema import Params
from tissue.metrics.predictions import pool_cases
from tissue.portable.running import Answer, Portable
from tissue.prediction.answers import answer_row, case_row, ranked, scale_warning
from tissue.prediction.inputs import Picture

DrawHeat = Callable[[list[Picture], NDArray[np.float32]], None]


@dataclass(frozen=True)
class Predictor:
    """The model that answers, the one that knows the distance from training, and heat maps."""

    model: Portable
    pretrained: Portable
    draw_heat: DrawHeat | None = None

    def answer(self, pictures: list[Picture]) -> list[dict[str, Any]]:
        """Return one row per picture, in their order, and draw the heat of those answered."""
        found = [self._answer(picture) for picture in pictures]
        shares = {row: each for row, (_, each) in enumerate(found) if each is not None}
        if self.draw_heat and shares:
            self.draw_heat([pictures[row] for row in shares], np.stack([*shares.values()]))
        return [row for row, _ in found]

    def answer_case(self, name: str, pictures: Iterable[Picture]) -> dict[str, Any]:
        """Return one row for all pictures of a case, by the mean of their log-probabilities."""
        found = [self._answer(picture) for picture in pictures]
        shares = [each for _, each in found if each is not None]
        answer = {}
        if shares:
            (pooled,) = pool_cases(np.stack(shares), np.zeros(len(shares), int))
            answer = ranked(pooled, self.model.classes)
        return case_row(name, [row for row, _ in found], answer)

    def _answer(self, picture: Picture) -> tuple[dict[str, Any], NDArray[np.float32] | None]:
        """Return the row of a picture, and the probabilities (C,) unless it is refused."""
        if picture.problem:
            return {"id": picture.id, "refused": f"cannot be read: {picture.problem}"}, None
        answer = self.ask(picture)
        row = answer_row(picture.id, answer, self.model.classes)
        row["warning"] = scale_warning(picture.field, self.model.field)
        return row, None if row["refused"] else answer.probabilities

    def reading_params(self, params: Params) -> Params:
        """Return the parameters by which pictures are read as those of training were."""
        field = json.loads(self.model.metadata["prepared"]).get("split.field")
        return params.model_copy(update={"split": params.split.model_copy(update={"field": field})})

    def ask(self, picture: Picture) -> Answer:
        """Return what the models say of a picture that could be read."""
        judged = self.pretrained(picture.pixels)
        if self.model is self.pretrained:
            return judged
        return judged._replace(probabilities=self.model(picture.pixels).probabilities)


def load_predictor(
    params: Params, *, model: str, gradcam: Path | None = None, data: Path = Path("data")
) -> Predictor:
    """Open a model, `scratch` or `pretrained`, and the distance from training of the latter.

    Args:
        params: `threads`; for heat maps also how pictures are prepared.
        model: its name.
        gradcam: the folder for heat maps, or None.
        data: the folder with `models`.

    Raises:
        InputError: if a model is missing, or made with other classes or parameters.
    """
    files = [data / f"models/{name}.onnx" for name in dict.fromkeys(("pretrained", model))]
    if gradcam:
        files.append(data / f"models/{model}.keras")
    _check_needed(files)
    pretrained = Portable(files[0], threads=params.threads)
    chosen = pretrained
    if model != "pretrained":
        chosen = Portable(files[1], threads=params.threads)
        if chosen.classes != pretrained.classes:
            raise InputError(
                f"{files[1]}: expected a model of the same classes as {files[0]}. Received: one "
                f"of {len(chosen.classes)} and one of {len(pretrained.classes)}. Run `dvc repro`, "
                "or `dvc checkout`."
            )
    if gradcam is None:
        return Predictor(chosen, pretrained)
    with quiet_import():
        from tissue.prediction.heat import heat_of
    return Predictor(chosen, pretrained, heat_of(files[-1], chosen, params, gradcam))


def _check_needed(paths: list[Path]) -> None:
    missing = sorted({path.as_posix() for path in paths if not path.exists()})
    if missing:
        raise InputError(
            f"expected a trained model. Received: no {missing[0]}. Run `dvc pull "
            f"{' '.join(missing)}`, or `dvc repro` to make them."
        )
