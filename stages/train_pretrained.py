"""Fit a head to the cached features: `python -m stages.train_pretrained`.

Reads the training and validation features of `data/embed`, restained ones included, the labels in
`data/split` and the weights of the backbone. Writes `data/models/pretrained.keras`, backbone and
head in one file, which takes pictures in [0, 255] of any size and returns class probabilities; in
the same file is what tells how unlike training an image is; and `plots/pretrained_history.csv`,
accuracy and loss by penalty, also logged below `plots/live/pretrained`. With a backbone from an
ONNX file the model is the head alone, which takes its features.

The head is softmax regression, solved to the optimum. Cross-validation over the donors of training
and validation chooses its penalty and sets the temperature. Nothing is left for validation to
choose, so the head is then fitted to all of these images; what the folds said of validation, each
without the donor, is kept in the file for `evaluate`. With `pretrained.fine_tune_epochs`
above 0 the top of the backbone is trained after the head, on the images themselves; each epoch is
another row of the history. By default the folds give 85 % on validation.
"""

from pathlib import Path
from typing import Any

import pandas as pd
from threadpoolctl import threadpool_limits

from tissue.backbones.embedding import is_onnx, load_embedder
from tissue.common.files import write_table
from tissue.common.runtime import set_up, train_on_all_gpus
from tissue.config.command import run_command
from tissue.config.loading import load_params
from tissue.config.schema import Params
from tissue.data.features import STAINED, read_features
from tissue.data.index import Dataset, read_classes, read_split


def run(params: Params, root: Path = Path()) -> None:
    """Fit the head, fine-tune if `fine_tune_epochs` is set, calibrate, and save the model.

    Args:
        params: `pretrained`, `seed`, `lr`, `batch_size`, `class_weights` and `threads` are used.
        root: the folder that contains `data` and `plots`.
    """
    set_up(seed=params.seed, threads=params.threads)
    # These import TensorFlow, which takes seconds; wrong parameters are reported before.
    from tissue.training.calibration import calibrate
    from tissue.training.cross_fitting import held_out_arrays
    from tissue.training.loop import live_log, log_rows
    from tissue.training.model_file import HELD_OUT, NOVELTY
    from tissue.training.novelty import fit_novelty_of
    from tissue.training.saving import of_pictures, save_model

    train_on_all_gpus()
    split, embed = root / "data/split", root / "data/embed"
    train, val, classes = read_split(split, "train"), read_split(split, "val"), read_classes(split)
    log = live_log(root / "plots/live/pretrained")
    # One thread for each fit: several mostly wait in short sums, and add in another order.
    with threadpool_limits(1):
        choice, head = _fit_head(train, val, params, embed, classes=len(classes))
        novelty = fit_novelty_of(train.index, val.index, embed, seed=params.seed)
    log_rows(log, choice.curve)
    arrays, history = {NOVELTY: novelty._asdict()}, choice.curve.assign(phase=1)
    model = head if is_onnx(params.pretrained) else _on_backbone(head, train, params)
    if params.pretrained.fine_tune_epochs:
        tuned, divisor = _fine_tune(model, train, val, params, log)
        history = pd.concat([history, tuned.assign(phase=2)])
    else:
        divisor = calibrate(head, choice.probabilities[:, None], choice.labels)
        held_out = choice.probabilities[len(train.index) :]
        arrays[HELD_OUT] = held_out_arrays(val.index["id"], held_out, divisor=divisor)
    path = root / "data/models/pretrained.keras"
    saved = of_pictures(model, split, views=params.pretrained.views)
    save_model(saved, path, classes=classes, temperature=divisor, arrays=arrays)
    write_table(history, root / "plots/pretrained_history.csv")


def _fit_head(
    train: Dataset, val: Dataset, params: Params, embed: Path, *, classes: int
) -> tuple[Any, Any]:
    """Return what cross-validation chose, and the head that is fitted with it."""
    from tissue.training.cross_fitting import choose_penalty
    from tissue.training.head import fit_head

    names = ["train", STAINED] if params.pretrained.stainings else ["train"]
    examples = [(read_features(train.index["id"], name, embed), train.labels) for name in names]
    unseen = (read_features(val.index["id"], "val", embed), val.labels)
    groups = (train.index["group"], val.index["group"])
    choice = choose_penalty(params, examples, unseen, groups, classes=classes)
    fitted = examples if params.pretrained.fine_tune_epochs else [*examples, unseen]
    return choice, fit_head(params, fitted, penalty=choice.penalty, classes=classes)


def _fine_tune(
    model: Any, train: Dataset, val: Dataset, params: Params, log: Any
) -> tuple[pd.DataFrame, float]:
    """Train the top of the backbone and calibrate it; return its history and the temperature."""
    from tissue.training.calibration import calibrate
    from tissue.training.fine_tuning import fine_tune
    from tissue.training.inference import head_of, predict_views

    history = fine_tune(model, train, val, params, callbacks=[log])
    # Fine-tuning in every fold would take too long; validation did not choose its epoch.
    predicted = predict_views(model, val, views=params.pretrained.views, name="calibrate")
    return history, calibrate(head_of(model), predicted[:, None], val.labels)


def _on_backbone(head: Any, train: Dataset, params: Params) -> Any:
    from tissue.training.head import join_backbone

    backbone = load_embedder(params.pretrained, image_size=train.images.shape[1])
    crops = 0 if train.crops is None else train.crops.shape[1]
    return join_backbone(backbone, head, crops=crops)


def main() -> None:
    """Run the stage with the parameters of params.yaml."""
    run(load_params())


if __name__ == "__main__":
    run_command(main, name="train_pretrained", doc=__doc__)
