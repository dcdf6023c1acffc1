"""Predict all images with both models and measure: `python -m stages.evaluate`.

Reads both models, `data/split` and, for the frozen backbone, its features in `data/embed`. Writes
`data/predictions/{scratch,pretrained}.csv`; `metrics/{scratch,pretrained,comparison}.json`; the
confusion matrices of the test part as CSV and PNG; and `plots/confusions.csv`, worst first.

Intervals resample donors, and the two models are compared on the same images by McNemar's test.
About 30 s on the default, two cores.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.cli.running import quiet_import, run_command
from stages.dataset.files import replacing, write_json, write_table
from stages.dataset.index import (
    PARTS,
    Part,
    read_array,
    read_classes,
    read_index,
    read_part,
    rows_of,
)
from stages.figures.confusion import confusion_matrix_figure
from stages.figures.saving import save_png
from stages.metrics.classification import (
    accuracy,
    compare,
    confusions,
    prediction_table,
    test_metrics,
)
from stages.params.loading import load_params
from stages.params.schema import Evaluate

if TYPE_CHECKING:
    import keras

MODELS = ("scratch", "pretrained")


def run(
    settings: Evaluate,
    *,
    seed: int,
    threads: int,
    scratch_views: int,
    split: Path = Path("data/split"),
    embed: Path = Path("data/embed"),
    models: Path = Path("data/models"),
    out: Path = Path("data/predictions"),
    metrics: Path = Path("metrics"),
    plots: Path = Path("plots"),
) -> None:
    """Evaluate both models on training, validation and test part."""
    # TensorFlow takes seconds to import; a wrong parameter has been reported before.
    with quiet_import():
        from stages.models.runtime import set_up
    from stages.models.saving import load_model

    set_up(seed=seed, threads=threads)
    classes = read_classes(split)
    parts = {name: read_part(split, name) for name in PARTS}
    networks = {name: load_model(models / f"{name}.keras") for name in MODELS}
    tables = {
        "scratch": _predict(networks["scratch"], parts, classes, views=scratch_views),
        "pretrained": _predict(networks["pretrained"], parts, classes, embed=embed),
    }
    with replacing(out) as partial:
        partial.mkdir()
        for name, table in tables.items():
            write_table(table, partial / f"{name}.csv")
    tests = {name: table[table["split"] == "test"] for name, table in tables.items()}
    groups = parts["test"].index["group"]
    for name, table in tables.items():
        values = _measure(table, groups, classes, settings.bootstrap, seed)
        values["parameters"] = networks[name].count_params()
        write_json(values, metrics / f"{name}.json")
        _draw_confusion(tests[name], classes, name, plots)
        print(_sentence(name, values["test"]))
    comparison = compare(
        tests["scratch"], tests["pretrained"], groups, resamples=settings.bootstrap, seed=seed
    )
    write_json({"test": comparison}, metrics / "comparison.json")
    write_table(confusions(tests), plots / "confusions.csv")


def _predict(
    network: "keras.Model",
    parts: dict[str, Part],
    classes: list[str],
    *,
    views: int | None = None,
    embed: Path | None = None,
) -> pd.DataFrame:
    tables = []
    for name, part in parts.items():
        if embed is None:
            probabilities = _from_images(network, part, views or 1, name)
        else:
            probabilities = _from_features(network, part, embed, name)
        tables.append(prediction_table(part.index, probabilities, split=name, classes=classes))
    return pd.concat(tables, ignore_index=True)


def _from_images(network: "keras.Model", part: Part, views: int, name: str) -> NDArray[np.float32]:
    from stages.models.prediction import predict_images

    return predict_images(network, part.images, views=views, name=f"{network.name} {name}")


def _from_features(
    network: "keras.Model", part: Part, embed: Path, name: str
) -> NDArray[np.float32]:
    from stages.models.prediction import is_fine_tuned, predict_features

    features = read_array(embed / f"{name}.npy")
    if is_fine_tuned(network):
        return _from_images(network, part, features.shape[1], name)
    rows = rows_of(part.index["id"], read_index(embed / f"{name}.csv"), what=f"{embed}/{name}")
    return predict_features(network.get_layer("head"), features[rows])


def _measure(
    table: pd.DataFrame, groups: pd.Series, classes: list[str], resamples: int, seed: int
) -> dict[str, Any]:
    by_part = {name: table[table["split"] == name] for name in PARTS}
    test = test_metrics(by_part["test"], groups, classes=classes, resamples=resamples, seed=seed)
    return {
        "train": {"accuracy": accuracy(by_part["train"])},
        "val": {"accuracy": accuracy(by_part["val"])},
        "test": test,
    }


def _draw_confusion(table: pd.DataFrame, classes: list[str], name: str, plots: Path) -> None:
    columns = {"class": "actual", "predicted": "predicted"}
    write_table(table[[*columns]].rename(columns=columns), plots / f"confusion_{name}.csv")
    figure = confusion_matrix_figure(
        table["class"], table["predicted"], classes, title=f"{name}, test part"
    )
    save_png(figure, plots / f"confusion_{name}.png")


def _sentence(name: str, test: dict[str, Any]) -> str:
    return (
        f"{name}: test accuracy {test['accuracy']:.1%} (n = {test['n']}, 95 % interval "
        f"{test['accuracy_low']:.1%} to {test['accuracy_high']:.1%}), "
        f"macro-F1 {test['macro_f1']:.3f}"
    )


def main() -> None:
    """Run the stage with the parameters of params.yaml."""
    params = load_params()
    run(
        params.evaluate,
        seed=params.seed,
        threads=params.threads,
        scratch_views=params.scratch.views,
    )


if __name__ == "__main__":
    run_command(main, name="evaluate", doc=__doc__)
