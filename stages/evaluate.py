"""Predict all images with both models and measure: `python -m stages.evaluate`.

Reads both models, `data/split`, the features in `data/embed`, and of `data/raw` 36 test pictures.
Writes

- `data/predictions/{scratch,pretrained}.csv`;
- in `errors.csv` there, why each test image was misclassified, with Grad-CAM of at most
  `advanced.evaluate.heat_maps` errors in `gradcam.npy`, row by row of `gradcam.csv`; in
  `suspects.csv`, labels that look wrong; in `confused_{causes,measures}.csv`, frequent confusions;
- `data/models/{scratch,pretrained}.onnx`, which take any picture and need no TensorFlow;
- `metrics/{scratch,pretrained,comparison,errors}.json`, and in `onnx.json` by how much these files
  answer differently; the few that experiments are compared by in `metrics.json`;
- the confusion matrices of the test set as CSV and PNG, `plots/confusions.csv`, worst first, and
  the calibration of both models, `plots/{reliability,risk_coverage}_{scratch,pretrained}.csv`, and
  their ROC and precision-recall curves, `plots/ranking_{scratch,pretrained}.csv`.

Intervals know that images of one group (donor, if known) and of one antibody resemble each other.
The two models are compared on the same images by sign flips, group by group. About 40 s with the
default settings on two cores.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from tissue.common.files import read_json, write_json, write_table
from tissue.common.names import MODELS, SPLITS
from tissue.common.runtime import set_up
from tissue.config.command import run_command
from tissue.config.loading import load_params
from tissue.config.schema import Params
from tissue.data.features import read_network
from tissue.data.index import Dataset, read_classes, read_split
from tissue.data.raw import check_listed


def run(params: Params, root: Path = Path()) -> None:
    """Evaluate both models on training, validation and test set.

    Args:
        params: `evaluate`, `scratch.views`, `seed` and `threads` are used.
        root: the folder that contains `data`, `metrics` and `plots`.
    """
    set_up(seed=params.seed, threads=params.threads)
    # These take seconds to import; wrong parameters are reported before.
    from tissue.error_analysis.analysis import analyse
    from tissue.error_analysis.gradcam import explain_errors, views_of
    from tissue.error_analysis.writing import shown_errors, write_predictions
    from tissue.portable.files import export_models, measure_portable
    from tissue.training.novelty import read_novelty
    from tissue.training.saving import load_model

    split, embed = root / "data/split", root / "data/embed"
    classes = read_classes(split)
    datasets = {name: read_split(split, name) for name in SPLITS}
    models = {name: load_model(root / f"data/models/{name}.keras") for name in MODELS}
    tables = _predict(models, datasets, params, root)
    novelty = read_novelty(root / "data/models/pretrained.keras")
    analysis = analyse(tables, datasets, embed, novelty, classes=classes, seed=params.seed)
    shown = shown_errors(analysis.errors, params.evaluate.heat_maps)
    views = views_of(split, embed, scratch=params.scratch.views)
    decisions = explain_errors(models, shown, datasets["test"], embed, classes=classes, views=views)
    write_predictions(tables, analysis, shown, decisions, root / "data/predictions")
    measured = _measure(models, tables, datasets, params, classes=classes)
    export_models(models, novelty, params, root)
    portable = measure_portable(tables, params, root)
    for name, values in {**measured, "errors": analysis.summary, "onnx": portable}.items():
        write_json(values, root / f"metrics/{name}.json")
    write_json({name: _headline(measured[name]) for name in MODELS}, root / "metrics.json")
    _write_plots(tables, datasets["test"].index, classes, root / "plots")
    for name in MODELS:  # as written, so that the report rounds the same numbers
        print(f"{name}: {_sentence(read_json(root / f'metrics/{name}.json')['test'])}")
    print(_refused_sentence(analysis.summary["refused"]["test"]))


def _predict(
    models: Mapping[str, Any], datasets: dict[str, Dataset], params: Params, root: Path
) -> dict[str, pd.DataFrame]:
    """Return the table of predictions of each model."""
    from tissue.metrics.predictions import prediction_tables
    from tissue.training.cross_fitting import read_held_out
    from tissue.training.inference import predict_embedded_splits, predict_splits

    scratch = predict_splits(models["scratch"], datasets, views=params.scratch.views)
    pretrained = predict_embedded_splits(models["pretrained"], datasets, root / "data/embed")
    pretrained |= read_held_out(root / "data/models/pretrained.keras", datasets["val"].index["id"])
    classes = read_classes(root / "data/split")
    return {
        "scratch": prediction_tables(scratch, datasets, classes=classes),
        "pretrained": prediction_tables(pretrained, datasets, classes=classes),
    }


def _measure(
    models: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame],
    datasets: Mapping[str, Dataset],
    params: Params,
    *,
    classes: Sequence[str],
) -> dict[str, dict[str, Any]]:
    from tissue.metrics.classification import measure_models
    from tissue.metrics.intervals import Sampling

    images = {name: dataset.index for name, dataset in datasets.items()}
    sizes = {name: model.count_params() for name, model in models.items()}
    sampling = Sampling(params.evaluate.bootstrap, params.seed)
    return measure_models(tables, images, classes=classes, parameters=sizes, sampling=sampling)


def _write_plots(
    tables: dict[str, pd.DataFrame], images: pd.DataFrame, classes: Sequence[str], plots: Path
) -> None:
    from tissue.figures.confusion import save_confusion
    from tissue.metrics.calibration import reliability, risk_coverage
    from tissue.metrics.predictions import confusions
    from tissue.metrics.ranking import ranking_curves

    tests = {name: table[table["split"] == "test"] for name, table in tables.items()}
    write_table(confusions(tests), plots / "confusions.csv")
    for name, table in tests.items():
        save_confusion(table, classes, name, plots)
        write_table(reliability(table, images), plots / f"reliability_{name}.csv")
        write_table(risk_coverage(table, images), plots / f"risk_coverage_{name}.csv")
        write_table(ranking_curves(table, classes), plots / f"ranking_{name}.csv")


def _headline(model: Mapping[str, Any]) -> dict[str, float]:
    """Return the few numbers that `dvc exp show` and `dvc metrics diff` compare."""
    kept = {name: model[name]["accuracy"] for name in ("train", "val", "test")}
    return kept | {name: model["test"][name] for name in ("macro_f1", "nll", "ece")}


def _sentence(test: dict[str, float]) -> str:
    by_case = ""
    if "cases" in test:
        by_case = f", by case {test['case_accuracy']:.1%} (n = {test['cases']})"
    return (
        f"test accuracy {test['accuracy']:.1%} (n = {test['n']}, 95% interval "
        f"{test['accuracy_low']:.1%} to {test['accuracy_high']:.1%}), "
        f"macro-F1 {test['macro_f1']:.3f}{by_case}"
    )


def _refused_sentence(refused: dict[str, float]) -> str:
    return (
        f"evaluate: of {refused['n']} test images, predict would refuse {refused['refused']} as "
        f"unlike training (95% interval {refused['low']:.1%} to {refused['high']:.1%})"
    )


def main() -> None:
    """Run the stage with the parameters of params.yaml."""
    run(load_params())


def check(params: Params) -> None:
    """Check what takes no long work, where no dvc.lock describes the inputs."""
    check_listed(Path())
    read_network(Path("data/embed"))


if __name__ == "__main__":
    run_command(main, name="evaluate", doc=__doc__, check=check)
