"""Train a network from scratch: `python -m stages.train_scratch`.

Reads the training and validation part of `data/split`. Writes `data/models/scratch.keras`, which
takes images in [0, 255] and returns class probabilities, and `plots/scratch_history.csv`; each
epoch is logged below `plots/live/scratch` as soon as it ends.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from stages.cli.running import quiet_import, run_command
from stages.dataset.files import write_table
from stages.dataset.index import Part, read_classes, read_part
from stages.params.loading import load_params
from stages.params.schema import Scratch

if TYPE_CHECKING:
    import keras

STAININGS = 4  # of each validation image, to set the temperature


def run(
    settings: Scratch,
    *,
    seed: int,
    lr: float,
    batch_size: int,
    threads: int,
    split: Path = Path("data/split"),
    model: Path = Path("data/models/scratch.keras"),
    history: Path = Path("plots/scratch_history.csv"),
    live: Path = Path("plots/live/scratch"),
) -> None:
    """Train the network of `stages.models.scratch` and save it with its history."""
    # TensorFlow takes seconds to import; a wrong parameter has been reported before.
    with quiet_import():
        from stages.models.runtime import set_up, train_on_all_gpus
    from stages.models.calibration import calibrate, predict_stainings
    from stages.models.live import live_log
    from stages.models.saving import save_model

    set_up(seed=seed, threads=threads)
    several = train_on_all_gpus()
    val = read_part(split, "val")
    classes = read_classes(split)
    network, table = train(
        settings,
        read_part(split, "train"),
        val,
        classes=len(classes),
        seed=seed,
        lr=lr,
        batch_size=batch_size,
        several=several,
        logs=[live_log(live)],
    )
    # Validation shares antibodies and batches of dye with training; what is asked later need not.
    seen = predict_stainings(
        network, val._replace(crops=None), views=settings.views, stainings=STAININGS,
        jitter=settings.calibration_jitter, seed=seed, name="calibrate",
    )  # fmt: skip
    calibrate(network, seen, val.labels)
    save_model(network, model, classes=classes)
    write_table(table, history)


def train(
    settings: Scratch,
    train: Part,
    val: Part,
    *,
    classes: int,
    seed: int,
    lr: float,
    batch_size: int,
    several: bool = False,
    logs: Sequence["keras.callbacks.Callback"] = (),
) -> tuple["keras.Model", pd.DataFrame]:
    """Return the trained network, which takes images of the size of `train`, and its history.

    It is trained on images that are already small: they are cheaper to change and to feed; first
    on smaller ones still (Tan and Le 2021, progressive learning, arXiv 2104.00298). With
    `several`, which is whether several GPUs train, they share the statistics of each batch.
    """
    from stages.models.augmentation import augment, shrink
    from stages.models.scratch import build_scratch
    from stages.models.training import Batches, Phase, fit, renew_statistics

    sides = [round(share * settings.input_size) for share in (*settings.progressive, 1.0)]
    each = settings.epochs // len(sides)

    def phase(number: int, side: int) -> Phase:
        seen = Batches(
            train.images, train.labels, classes=classes, batch_size=batch_size, seed=seed,
            change=lambda images, rng: augment(
                images, rng, zoom=settings.zoom, stain_jitter=settings.stain_jitter, size=side
            ),
            mixup=settings.mixup, epoch=number * each,
        )  # fmt: skip
        unseen = Batches(
            val.images, val.labels, classes=classes, batch_size=batch_size,
            change=lambda images, _: shrink(images, side),
        )  # fmt: skip
        return Phase(each, seen, unseen)

    *before, last = [phase(number, side) for number, side in enumerate(sides)]
    small = build_scratch(settings, image_size=None, classes=classes, synchronized=several)
    table = fit(
        small,
        last.train,
        last.val,
        before=before if each else (),
        lr=lr * settings.lr_factor,
        epochs=settings.epochs,
        patience=settings.patience,
        label_smoothing=settings.label_smoothing,
        weight_decay=settings.weight_decay,
        warm_up=settings.warm_up,
        average=settings.average,
        name="train_scratch",
        logs=logs,
    )
    network = build_scratch(settings, image_size=train.images.shape[1], classes=classes)
    network.set_weights(small.get_weights())
    if settings.average:
        # On images of the size that it will be asked about: shrunk from them, they are less sharp
        # than those it was trained on.
        whole = Batches(
            train.images, train.labels, classes=classes, batch_size=batch_size, seed=seed,
            change=lambda images, rng: augment(
                images, rng, zoom=settings.zoom, stain_jitter=settings.stain_jitter
            ),
        )  # fmt: skip
        renew_statistics(network, whole)
    return network, table


def main() -> None:
    """Run the stage with the parameters of params.yaml."""
    params = load_params()
    run(
        params.scratch,
        seed=params.seed,
        lr=params.lr,
        batch_size=params.batch_size,
        threads=params.threads,
    )


if __name__ == "__main__":
    run_command(main, name="train_scratch", doc=__doc__)
