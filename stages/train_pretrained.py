"""Train a head on the cached features: `python -m stages.train_pretrained`.

Reads the training and validation part of `data/embed`, that of training also in the other stains
that `embed` gave it, the labels in `data/split` and the weights of the backbone. Writes
`data/models/pretrained.keras`, backbone and head in one file, which takes images in [0, 255] and,
where `split` keeps crops, these as a second input, and returns class probabilities; and
`plots/pretrained_history.csv`; each epoch is logged below `plots/live/pretrained` as soon as it
ends. With a backbone from an ONNX file the model is the head alone, which takes its features.

With `pretrained.fine_tune_epochs` above 0 the top of the backbone is trained after the head, on
the images themselves and with its batch normalisation frozen. At the end the temperature of the
probabilities is set on validation. On the default the head takes about
17 s on two cores, a quarter of it the import of TensorFlow.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from stages.cli.running import quiet_import, run_command
from stages.dataset.features import STAINED, each_view, read_features
from stages.dataset.files import write_table
from stages.dataset.index import read_classes, read_part
from stages.params.loading import load_params
from stages.params.schema import Pretrained


def run(
    settings: Pretrained,
    *,
    seed: int,
    lr: float,
    batch_size: int,
    threads: int,
    split: Path = Path("data/split"),
    embed: Path = Path("data/embed"),
    model: Path = Path("data/models/pretrained.keras"),
    history: Path = Path("plots/pretrained_history.csv"),
    live: Path = Path("plots/live/pretrained"),
) -> None:
    """Train the head, fine-tune if asked to, and make its probabilities match its accuracy."""
    # TensorFlow takes seconds to import; a wrong parameter has been reported before.
    with quiet_import():
        from stages.models.runtime import set_up, train_on_all_gpus
    from stages.models.backbones import build_backbone
    from stages.models.calibration import calibrate
    from stages.models.fine_tuning import fine_tune
    from stages.models.heads import build_head, join
    from stages.models.live import live_log
    from stages.models.prediction import predict_features, predict_views
    from stages.models.saving import save_model
    from stages.models.training import Batches, fit

    set_up(seed=seed, threads=threads)
    several = train_on_all_gpus()
    train, val = read_part(split, "train"), read_part(split, "val")
    names = read_classes(split)
    classes = len(names)
    features = read_features(train.index["id"], "train", embed)
    val_features = read_features(val.index["id"], "val", embed)
    views = features.shape[1]
    kinds = [features]
    if settings.stainings:
        kinds.append(read_features(train.index["id"], STAINED, embed))
    # Each view is an example of its own.
    labels = [np.repeat(train.labels, kind.shape[1]) for kind in kinds]
    examples = each_view(*kinds), np.concatenate(labels)
    val_examples = each_view(val_features), np.repeat(val.labels, views)
    head = build_head(each_view(features), settings, classes=classes, seed=seed)
    log = live_log(live)
    table = fit(
        head,
        Batches(*examples, classes=classes, batch_size=batch_size, seed=seed),
        Batches(*val_examples, classes=classes, batch_size=batch_size),
        lr=lr,
        epochs=settings.epochs,
        patience=settings.patience,
        # A step of the head takes no longer than the call.
        steps=1 if several else 16,
        name="train_pretrained",
        logs=[log],
    )
    network = head  # all that is saved of a model whose backbone is an ONNX file
    if not settings.backbone.endswith(".onnx"):
        backbone = build_backbone(
            settings.backbone,
            image_size=train.images.shape[1],
            weights=settings.weights,
            strides=settings.strides,
            sha256=settings.sha256,
        )
        network = join(backbone, head, crops=0 if train.crops is None else train.crops.shape[1])
    if settings.fine_tune_epochs:
        tuned = fine_tune(
            network, train, val, settings,
            seed=seed, lr=lr, batch_size=batch_size, logs=[log],
        )  # fmt: skip
        table = pd.concat([table, tuned.assign(phase=2)])
        table["epoch"] = np.arange(1, len(table) + 1)
        seen = predict_views(network, val, views=views, name="calibrate")
    else:
        seen = predict_features(head, val_features)
    calibrate(head, seen[:, None], val.labels)
    save_model(network, model, classes=names)
    write_table(table, history)


def main() -> None:
    """Run the stage with the parameters of params.yaml."""
    params = load_params()
    run(
        params.pretrained,
        seed=params.seed,
        lr=params.lr,
        batch_size=params.batch_size,
        threads=params.threads,
    )


if __name__ == "__main__":
    run_command(main, name="train_pretrained", doc=__doc__)
