"""Train a network from scratch: `python -m stages.train_scratch`.

Reads the training and validation set of `data/split`. Writes `data/models/scratch.keras`, which
takes pictures in [0, 255] and returns class probabilities, and `plots/scratch_history.csv`; each
epoch is logged below `plots/live/scratch` as soon as it ends.

By default this takes about 100 s on two cores and gives 81 % on training, 78 % on validation.
"""

from pathlib import Path

from tissue.common.files import write_table
from tissue.common.runtime import set_up, train_on_all_gpus
from tissue.config.command import run_command
from tissue.config.loading import load_params
from tissue.config.schema import Params
from tissue.data.index import read_classes, read_split

STAININGS = 4  # of each validation image, to set the temperature


def run(params: Params, root: Path = Path()) -> None:
    """Train the network, calibrate its probabilities, and save it with its history.

    Args:
        params: `scratch`, `seed`, `lr`, `batch_size`, `class_weights` and `threads` are used.
        root: the folder that contains `data` and `plots`.
    """
    set_up(seed=params.seed, threads=params.threads)
    # These need TensorFlow, which takes seconds to import; wrong parameters are reported before.
    from tissue.training.calibration import calibrate, predict_stainings
    from tissue.training.loop import live_log
    from tissue.training.saving import of_pictures, save_model
    from tissue.training.scratch import train_network

    settings, split = params.scratch, root / "data/split"
    train, val, classes = read_split(split, "train"), read_split(split, "val"), read_classes(split)
    network, history = train_network(
        params, train, val, classes=len(classes), several_gpus=train_on_all_gpus(),
        callbacks=[live_log(root / "plots/live/scratch")],
    )  # fmt: skip
    # Validation shares antibodies and batches of dye with training; new images may not.
    probabilities = predict_stainings(
        network, val._replace(crops=None), views=settings.views, stainings=STAININGS,
        jitter=settings.calibration_jitter, seed=params.seed, name="calibrate",
    )  # fmt: skip
    divisor = calibrate(network, probabilities, val.labels)
    path = root / "data/models/scratch.keras"
    saved = of_pictures(network, split, views=settings.views)
    save_model(saved, path, classes=classes, temperature=divisor)
    write_table(history, root / "plots/scratch_history.csv")


def main() -> None:
    """Run the stage with the parameters of params.yaml."""
    run(load_params())


if __name__ == "__main__":
    run_command(main, name="train_scratch", doc=__doc__)
