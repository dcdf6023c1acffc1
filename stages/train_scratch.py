"""Train a network from scratch: `python -m stages.train_scratch`.

Reads the training and validation part of `data/split`. Writes `data/models/scratch.keras`, which
takes images in [0, 255] and returns class probabilities, and `plots/scratch_history.csv`; each
epoch is logged below `plots/live/scratch` as soon as it ends.
"""

from pathlib import Path

from stages.cli.running import quiet_import, run_command
from stages.dataset.files import write_table
from stages.dataset.index import read_classes, read_part
from stages.params.loading import load_params
from stages.params.schema import Scratch


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
    """Train the network of `stages.models.scratch` and keep the weights best on validation."""
    # TensorFlow takes seconds to import; a wrong parameter has been reported before.
    with quiet_import():
        from stages.models.runtime import set_up
    from stages.models.augmentation import augment
    from stages.models.live import live_log
    from stages.models.saving import save_model
    from stages.models.scratch import build_scratch
    from stages.models.training import Batches, fit

    set_up(seed=seed, threads=threads)
    train, val = read_part(split, "train"), read_part(split, "val")
    classes = len(read_classes(split))
    network = build_scratch(settings, image_size=train.images.shape[1], classes=classes)
    table = fit(
        network,
        Batches(
            train.images,
            train.labels,
            classes=classes,
            batch_size=batch_size,
            seed=seed,
            change=lambda images, rng: augment(
                images, rng, zoom=settings.zoom, stain_jitter=settings.stain_jitter
            ),
        ),
        Batches(val.images, val.labels, classes=classes, batch_size=batch_size),
        lr=lr,
        epochs=settings.epochs,
        patience=settings.patience,
        label_smoothing=settings.label_smoothing,
        name="train_scratch",
        logs=[live_log(live)],
    )
    save_model(network, model)
    write_table(table, history)


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
