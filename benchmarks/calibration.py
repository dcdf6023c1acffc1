"""Whether probabilities are right as often as they say: `python -m benchmarks.calibration`.

Reads params.yaml, `data/split` and `data/models` of the phantom. Draws larger test parts, of
donors, slides and antibodies that the phantom does not have, runs `fetch` and `split` on them in a
temporary folder, and predicts them and the test part of the phantom with both models.

Prints accuracy with its 95 % interval by donor, the mean confidence, and the calibration error
(ECE, 15 bins, Guo et al. 2017, arXiv 1706.04599) of each, and of all drawn ones together. The error
of a finite part is above 0 by chance: beside it stand the mean and the 95 % quantile of that of a
model with the same confidences that is right exactly as often as they say.

Expected: see docs/models.md. A drawing of 120 images a class takes five minutes on two cores.
"""

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from ruamel.yaml import YAML

from tissue.common.names import MODELS
from tissue.common.runtime import quiet_import
from tissue.config.loading import load_params
from tissue.data.index import Dataset, read_classes, read_split
from tissue.metrics.classification import calibration_error, prediction_table
from tissue.metrics.intervals import Sampling, mean_interval

SPLIT, SAVED = Path("data/split"), Path("data/models")
OTHER_SEED = 1000  # added to that of params.yaml
TRAINING = 12  # images a class, which nobody reads: split wants some
DRAWS = 1000
DRAWN = "drawn"
COLUMNS = "model part n donors accuracy low high confidence ece by_chance by_chance_95"


def draw(work: Path, *, per_class: int, number: int) -> Dataset:
    """Draw the test part of that number in `work`, through the stages, and return it."""
    from stages import fetch, split

    text = YAML()
    values = text.load(Path("params.yaml"))
    values["seed"] += OTHER_SEED + number
    values["fetch"]["source"] = "phantom"
    values["fetch"]["phantom"].update(train_per_class=TRAINING, test_per_class=per_class)
    work.mkdir()
    text.dump(values, work / "params.yaml")
    with chdir(work):
        fetch.main()
        split.main()
    return read_split(work / "data/split", "test")


def chance(table: pd.DataFrame, *, draws: int = DRAWS) -> NDArray[np.float64]:
    """Return the calibration errors (draws,) of a calibrated model with these confidences."""
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(draws):
        right = rng.random(len(table)) < table["confidence"]
        errors.append(calibration_error(table.assign(predicted=table["class"].where(right, ""))))
    return np.array(errors)


def rows(parts: dict[str, Dataset], views: dict[str, int]) -> Iterator[tuple]:
    """Give a row a model and part, as named by COLUMNS."""
    from tissue.training.inference import predict_splits
    from tissue.training.saving import load_model

    classes = read_classes(SPLIT)
    for name in MODELS:
        model = load_model(SAVED / f"{name}.keras")
        predicted = predict_splits(model, parts, views=views[name])
        tables = {
            part: prediction_table(
                parts[part].index, probabilities, split="test", classes=classes
            ).assign(group=f"{part}: " + parts[part].index["group"])
            for part, probabilities in predicted.items()
        }
        drawn = [table for part, table in tables.items() if part.startswith(DRAWN)]
        tables[f"{DRAWN}, together"] = pd.concat(drawn, ignore_index=True)
        for part, table in tables.items():
            right = (table["class"] == table["predicted"]).to_numpy(float)
            low, high = mean_interval(right, table["group"], sampling=Sampling(DRAWS, 0))
            by_chance = chance(table)
            yield (
                name, part, len(table), table["group"].nunique(), right.mean(), low, high,
                table["confidence"].mean(), calibration_error(table), by_chance.mean(),
                np.quantile(by_chance, 0.95),
            )  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--per-class", type=int, default=120, help="images drawn (%(default)s)")
    parser.add_argument("--drawings", type=int, default=1, help="how many (%(default)s)")
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet_import():
        import tissue.common.runtime  # noqa: F401  its notices would stand in the table
    params = load_params()
    views = {"scratch": params.scratch.views, "pretrained": params.pretrained.views}
    with tempfile.TemporaryDirectory() as folder:
        parts = {"phantom's test": read_split(SPLIT, "test")}
        for number in range(options.drawings):
            work = Path(folder, str(number))
            parts[f"{DRAWN} {number}"] = draw(work, per_class=options.per_class, number=number)
        table = pd.DataFrame(list(rows(parts, views)), columns=COLUMNS.split())
    print(table.to_string(index=False, float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
