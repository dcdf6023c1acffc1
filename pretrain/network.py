"""The backbone, its two heads for pretraining, and its batch-norm statistics."""

import keras
import numpy as np
from numpy.typing import NDArray

MAPS = {"stains_8": "block_5_add", "stains_16": "block_12_add"}  # name of a head: its layer


def build_backbone(side: int) -> keras.Model:
    """Return the untrained backbone from RGB in [-1, 1], (N, side, side, 3), to (N, 1280)."""
    return keras.applications.MobileNetV2(
        input_shape=(side, side, 3), alpha=0.35, include_top=False, weights=None, pooling="avg"
    )


def build_model(backbone: keras.Model, *, classes: int, facts: int) -> keras.Model:
    """Return the model from images in [0, 255] to what is asked of them.

    Two heads see the pooled features: the logits of the formulas, and the facts. Two more see maps
    inside the network, and give each cell's stains: they train the lower layers from the start.
    """
    for norm in _norms(backbone):
        norm.momentum = 0.97  # that of Keras, 0.999, needs more steps than there are
    images = keras.Input(backbone.input_shape[1:])
    inside = [backbone.get_layer(name).output for name in MAPS.values()]
    tapped = keras.Model(backbone.input, [backbone.output, *inside])
    features, *maps = tapped(keras.layers.Rescaling(1 / 127.5, offset=-1.0)(images))
    heads = {
        "formula": keras.layers.Dense(classes, name="formula")(features),
        "facts": keras.layers.Dense(facts, name="facts")(features),
    }
    for name, values in zip(MAPS, maps, strict=True):
        heads[name] = keras.layers.Conv2D(6, 1, name=name)(values)
    return keras.Model(images, heads)


def compile_model(model: keras.Model, settings: dict) -> None:
    """Set the losses and AdamW with a warm-up and a cosine schedule, from `train` in params."""
    steps = settings["steps_per_epoch"]
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0,
        decay_steps=steps * (settings["epochs"] - settings["warmup_epochs"]),
        warmup_target=settings["lr"],
        warmup_steps=steps * settings["warmup_epochs"],
    )
    optimizer = keras.optimizers.AdamW(
        schedule, weight_decay=settings["weight_decay"], global_clipnorm=5.0
    )
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    entropy = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=settings["label_smoothing"]
    )

    def formula_loss(numbers: keras.KerasTensor, logits: keras.KerasTensor) -> keras.KerasTensor:
        return entropy(keras.ops.one_hot(numbers, logits.shape[-1]), logits)

    model.compile(
        optimizer,
        loss={"formula": formula_loss, "facts": "mse", **dict.fromkeys(MAPS, "mse")},
        loss_weights={
            "formula": 1.0,
            "facts": settings["facts_weight"],
            **dict.fromkeys(MAPS, settings["stains_weight"]),
        },
        metrics={"formula": [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]},
    )


def calibrate(backbone: keras.Model, pictures: NDArray[np.uint8], *, batch_size: int = 64) -> None:
    """Set every batch-norm's statistics to their means over the pictures, (N, S, S, 3)."""
    for number, start in enumerate(range(0, len(pictures), batch_size)):
        for norm in _norms(backbone):
            norm.momentum = number / (number + 1)  # turns the moving average into a plain one
        images = pictures[start : start + batch_size].astype(np.float32) / 127.5 - 1
        backbone(images, training=True)


def _norms(backbone: keras.Model) -> list[keras.layers.BatchNormalization]:
    return [x for x in backbone.layers if isinstance(x, keras.layers.BatchNormalization)]
