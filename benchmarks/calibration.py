"""Whether the models are calibrated: `python -m benchmarks.calibration`.

Reads params.yaml, `data/split` and `data/models` of the phantom. Draws larger test sets, of donors,
slides and antibodies that the phantom does not have, runs `fetch` and `split` on them in a
temporary folder, and predicts them and the test set of the phantom with both models.

Prints accuracy with its 95 % interval by donor, the mean confidence, and the calibration error
(ECE, 15 bins, Guo et al. 2017, arXiv 1706.04599) of each, and of all drawn ones together. The error
of a finite set is above 0 by chance: the last columns are the mean and the 95 % quantile of that of
a calibrated model with the same confidences.

Expected: see benchmarks/results/calibration.md. 120 images per class take about five minutes.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tissue.common.names import MODELS
from tissue.common.runtime import set_up
from tissue.config.command import command
from tissue.config.loading import load_params
from tissue.config.schema import Params
from tissue.data.index import Dataset, read_classes, read_split
from tissue.metrics.calibration import calibration_error
from tissue.metrics.intervals import share_interval
from tissue.metrics.predictions import prediction_table

SPLIT, SAVED = Path("data/split"), Path("data/models")
OTHER_SEED = 1000  # added to that of params.yaml
TRAINING = 12  # images per class, which are not read but which split requires
DRAWS = 1000
DRAWN = "drawn"
COLUMNS = "model dataset n donors accuracy low high confidence ece by_chance by_chance_95"


def draw(work: Path, params: Params, *, per_class: int, number: int) -> Dataset:
    """Draw the test set of that number in `work`, through the stages, and return it."""
    from stages import fetch, split

    values = params.model_dump()
    values["seed"] += OTHER_SEED + number
    values["fetch"]["source"] = "phantom"
    values["fetch"]["phantom"].update(train_per_class=TRAINING, test_per_class=per_class)
    for stage in (fetch, split):
        stage.run(Params.model_validate(values), work)
    return read_split(work / "data/split", "test")


def chance(table: pd.DataFrame, *, draws: int = DRAWS) -> NDArray[np.float64]:
    """Return the calibration errors (draws,) of a calibrated model with these confidences."""
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(draws):
        right = rng.random(len(table)) < table["confidence"]
        errors.append(calibration_error(table.assign(predicted=table["class"].where(right, ""))))
    return np.array(errors)


def rows(datasets: dict[str, Dataset], views: dict[str, int]) -> Iterator[tuple]:
    """Yield one row per model and dataset, as named by COLUMNS."""
    from tissue.training.inference import predict_splits
    from tissue.training.saving import load_model

    classes = read_classes(SPLIT)
    for name in MODELS:
        model = load_model(SAVED / f"{name}.keras")
        tables = {}
        for key, probabilities in predict_splits(model, datasets, views=views[name]).items():
            index = datasets[key].index
            table = prediction_table(index, probabilities, split="test", classes=classes)
            tables[key] = table.assign(
                group=f"{key}: " + index["group"], antibody=index["antibody"]
            )
        drawn = [table for key, table in tables.items() if key.startswith(DRAWN)]
        tables[f"{DRAWN}, together"] = pd.concat(drawn, ignore_index=True)
        for key, table in tables.items():
            right = (table["class"] == table["predicted"]).to_numpy(float)
            low, high = share_interval(right, table)
            by_chance = chance(table)
            yield (
                name, key, len(table), table["group"].nunique(), right.mean(), low, high,
                table["confidence"].mean(), calibration_error(table), by_chance.mean(),
                np.quantile(by_chance, 0.95),
            )  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--per-class", type=int, default=120, help="images drawn (%(default)s)")
    parser.add_argument("--drawings", type=int, default=1, help="number of them (%(default)s)")
    options = parser.parse_args()
    params = load_params()
    set_up(seed=params.seed, threads=params.threads)
    views = {"scratch": params.scratch.views, "pretrained": params.pretrained.views}
    with tempfile.TemporaryDirectory() as folder:
        datasets = {"phantom's test": read_split(SPLIT, "test")}
        for number in range(options.drawings):
            drawn = draw(
                Path(folder, str(number)), params, per_class=options.per_class, number=number
            )
            datasets[f"{DRAWN} {number}"] = drawn
        table = pd.DataFrame(list(rows(datasets, views)), columns=COLUMNS.split())
    print(table.to_string(index=False, float_format="{:.3f}".format))


if __name__ == "__main__":
    with command("calibration"):
        main()
