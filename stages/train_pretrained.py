"""Train a head on the cached features: `python -m stages.train_pretrained`.

Reads the training and validation part of `data/embed`, the labels in `data/split` and the weights
of the backbone. Writes `data/models/pretrained.keras`, backbone and head in one file, which takes
images in [0, 255] and returns class probabilities, and `plots/pretrained_history.csv`; each epoch
is logged below `plots/live/pretrained` as soon as it ends.

With `pretrained.fine_tune_epochs` above 0 the top of the backbone is trained after the head, on
the images themselves and with its batch normalisation frozen. On the default the head takes about
10 s on two cores, half of it the import of TensorFlow.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.cli.running import quiet_import, run_command
from stages.dataset.files import write_table
from stages.dataset.index import Part, read_array, read_classes, read_index, read_part, rows_of
from stages.params.loading import load_params
from stages.params.schema import Pretrained

if TYPE_CHECKING:
    import keras


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
    """Train the head, fine-tune if asked to, and keep the weights best on validation."""
    # TensorFlow takes seconds to import; a wrong parameter has been reported before.
    with quiet_import():
        from stages.models.runtime import set_up
    from stages.models.backbones import build_backbone
    from stages.models.heads import build_head, join
    from stages.models.live import live_log
    from stages.models.saving import save_model
    from stages.models.training import Batches, fit

    set_up(seed=seed, threads=threads)
    train, val = read_part(split, "train"), read_part(split, "val")
    classes = len(read_classes(split))
    features, labels = _rows(embed, "train", train)
    head = build_head(
        features, classes=classes, dropout=settings.dropout, l2=settings.l2, seed=seed
    )
    table = fit(
        head,
        Batches(features, labels, classes=classes, batch_size=batch_size, seed=seed),
        Batches(*_rows(embed, "val", val), classes=classes, batch_size=batch_size),
        lr=lr,
        epochs=settings.epochs,
        patience=settings.patience,
        name="train_pretrained",
        logs=[live_log(live)],
    )
    backbone = build_backbone(
        settings.backbone,
        image_size=train.images.shape[1],
        weights=settings.weights,
        sha256=settings.sha256,
    )
    network = join(backbone, head)
    if settings.fine_tune_epochs:
        fine_tuning = _fine_tune(
            network, train, val, settings, seed=seed, lr=lr, batch_size=batch_size, live=live
        )
        table = pd.concat([table, fine_tuning], ignore_index=True)
        table["epoch"] = np.arange(1, len(table) + 1)
    save_model(network, model)
    write_table(table, history)


def _rows(embed: Path, name: str, part: Part) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    # Each view is an example of its own.
    features = read_array(embed / f"{name}.npy")
    rows = rows_of(part.index["id"], read_index(embed / f"{name}.csv"), what=f"{embed}/{name}")
    _, views, width = features.shape
    return features[rows].reshape(-1, width), np.repeat(part.labels, views)


def _fine_tune(
    network: "keras.Model",
    train: Part,
    val: Part,
    settings: Pretrained,
    *,
    seed: int,
    lr: float,
    batch_size: int,
    live: Path,
) -> pd.DataFrame:
    from stages.models.augmentation import augment
    from stages.models.heads import unfreeze
    from stages.models.live import live_log
    from stages.models.training import Batches, fit

    unfreeze(network.get_layer("backbone"), settings.fine_tune_layers)
    classes = network.output_shape[-1]
    return fit(
        network,
        Batches(
            train.images, train.labels, classes=classes, batch_size=batch_size, seed=seed,
            change=lambda images, rng: augment(images, rng, zoom=0.0, stain_jitter=0.0),
        ),
        Batches(val.images, val.labels, classes=classes, batch_size=batch_size),
        lr=lr * settings.fine_tune_lr_factor,
        epochs=settings.fine_tune_epochs,
        patience=settings.patience,
        name="fine_tune",
        logs=[live_log(live, resume=True)],
    )  # fmt: skip


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
