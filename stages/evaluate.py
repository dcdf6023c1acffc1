"""Predict all images with both models and measure: `python -m stages.evaluate`.

Reads both models, `data/split` and, for the frozen backbone, its features in `data/embed`. Writes
`data/predictions/{scratch,pretrained}.csv`; why each test image was misclassified, in
`errors.csv` there, with Grad-CAM of at most `evaluate.heat_maps` errors in `gradcam.npy`, row by
row of `gradcam.csv`; labels that look wrong, in `suspects.csv`;
`metrics/{scratch,pretrained,comparison,errors}.json`; the confusion matrices of the test part as
CSV and PNG; `plots/confusions.csv`, worst first; and, on how far confidence can be trusted,
`plots/{reliability,risk_coverage}_{scratch,pretrained}.csv`; and the model card
`data/models/pretrained.md`.

Intervals resample groups (donors, where they are known), and the two models are compared on the
same images by McNemar's test.
About 30 s on the default, two cores.
"""

from pathlib import Path

from stages.cli.running import quiet_import, run_command
from stages.dataset.files import replacing, write_json, write_table
from stages.dataset.index import PARTS, read_classes, read_part
from stages.models.names import MODELS
from stages.params.loading import load_params
from stages.params.schema import Evaluate, Pretrained


def run(
    settings: Evaluate,
    *,
    seed: int,
    threads: int,
    scratch_views: int,
    lr: float,
    pretrained: Pretrained,
    split: Path = Path("data/split"),
    embed: Path = Path("data/embed"),
    models: Path = Path("data/models"),
    out: Path = Path("data/predictions"),
    metrics: Path = Path("metrics"),
    plots: Path = Path("plots"),
) -> None:
    """Evaluate both models on training, validation and test part."""
    # TensorFlow and others take seconds to import; a wrong parameter has been reported before.
    with quiet_import():
        from stages.models.runtime import set_up
    from stages.card.model_card import write_card
    from stages.errors.analysis import analyse, write_analysis
    from stages.errors.gradcam import error_heat
    from stages.errors.shown import shown_errors
    from stages.figures.confusion import save_confusion
    from stages.metrics.classification import compare, confusions, measure, prediction_tables
    from stages.metrics.confidence import write_confidence
    from stages.models.prediction import predict_embedded_parts, predict_parts
    from stages.models.saving import load_model

    set_up(seed=seed, threads=threads)
    classes = read_classes(split)
    parts = {name: read_part(split, name) for name in PARTS}
    networks = {name: load_model(models / f"{name}.keras") for name in MODELS}
    probabilities = {
        "scratch": predict_parts(networks["scratch"], parts, views=scratch_views),
        "pretrained": predict_embedded_parts(networks["pretrained"], parts, embed),
    }
    indices = {name: part.index for name, part in parts.items()}
    tables = {
        name: prediction_tables(by_part, indices, classes=classes)
        for name, by_part in probabilities.items()
    }
    sampling = {"resamples": settings.bootstrap, "seed": seed}
    analysis = analyse(tables, parts, embed, classes=classes, **sampling)
    shown = shown_errors(analysis.errors, settings.heat_maps)
    heat = error_heat(networks, shown, parts["test"], embed, classes=classes)
    with replacing(out) as partial:
        partial.mkdir()
        for name, table in tables.items():
            write_table(table, partial / f"{name}.csv")
        write_analysis(analysis, shown, heat, partial)
    write_json(analysis.summary, metrics / "errors.json")
    groups = parts["test"].index["group"]
    tests = {name: table[table["split"] == "test"] for name, table in tables.items()}
    for name, table in tables.items():
        size = {"parameters": networks[name].count_params()}
        values = measure(table, groups, classes=classes, **size, **sampling)
        write_json(values, metrics / f"{name}.json")
        save_confusion(tests[name], classes, name, plots)
        print(f"{name}: {_sentence(values['test'])}")
    comparison = compare(tests["scratch"], tests["pretrained"], groups, **sampling)
    write_json({"test": comparison}, metrics / "comparison.json")
    write_table(confusions(tests), plots / "confusions.csv")
    write_confidence(tests, plots)
    trained = {"seed": seed, "lr": lr, **dict(pretrained)}
    write_card(models / "pretrained.keras", indices, metrics, params=trained)


def _sentence(test: dict[str, float]) -> str:
    return (
        f"test accuracy {test['accuracy']:.1%} (n = {test['n']}, 95 % interval "
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
        lr=params.lr,
        pretrained=params.pretrained,
    )


if __name__ == "__main__":
    run_command(main, name="evaluate", doc=__doc__)
