"""Train the embedded backbone on drawn textures.

Reads pretrain/params.yaml. Writes pretrain/mobilenet_v2_035.weights.h5 and pretrain/metrics.json.
Run: python -m pretrain.train   (or `dvc repro pretrain/dvc.yaml`, once it is unfrozen)
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from ruamel.yaml import YAML

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import keras
import tensorflow as tf

from pretrain.batches import CALIBRATION, HELD_OUT, Targets, draw_instance, draw_pool
from pretrain.views import view

HERE = Path(__file__).parent
MAPS = {"stains_8": "block_5_add", "stains_16": "block_12_add"}  # layer that each map head reads


def build_network(side: int) -> keras.Model:
    """Return the untrained backbone from RGB in [-1, 1], (N, side, side, 3), to (N, 1280)."""
    return keras.applications.MobileNetV2(
        input_shape=(side, side, 3), alpha=0.35, include_top=False, weights=None, pooling="avg"
    )


def build_model(backbone: keras.Model, *, classes: int, facts: int) -> keras.Model:
    """Return the model from images in [0, 255] to the outputs of its four heads.

    Two heads read the pooled features: the logits of the formulas, and the facts. Two more read
    maps inside the network, and give the stains of each cell: they train the lower layers from the
    start.
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

    weights = {"formula": 1.0, "facts": settings["facts_weight"]}
    model.compile(
        optimizer,
        loss={"formula": formula_loss, "facts": "mse", **dict.fromkeys(MAPS, "mse")},
        loss_weights=weights | dict.fromkeys(MAPS, settings["stains_weight"]),
        metrics={"formula": [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]},
    )


def calibrate_batch_norm(
    backbone: keras.Model, pictures: NDArray[np.uint8], *, batch_size: int = 64
) -> None:
    """Set the statistics of all batch-norms to their means over the pictures, (N, S, S, 3)."""
    for number, start in enumerate(range(0, len(pictures), batch_size)):
        for norm in _norms(backbone):
            norm.momentum = number / (number + 1)  # turns the moving average into a plain one
        images = pictures[start : start + batch_size].astype(np.float32) / 127.5 - 1
        backbone(images, training=True)


def _norms(backbone: keras.Model) -> list[keras.layers.BatchNormalization]:
    return [x for x in backbone.layers if isinstance(x, keras.layers.BatchNormalization)]


def calibration_pictures(pool: NDArray[np.uint8], params: dict) -> NDArray[np.uint8]:
    """Return views of random drawings at the size in use, uint8 (N, side, side, 3)."""
    side, count = params["calibrate"]["side"], params["calibrate"]["pictures"]
    rng = np.random.default_rng([params["seed"], CALIBRATION])
    chosen = rng.integers(pool.shape[:2], size=(count, 2))
    # A drawing is smaller than a picture in use. Mirrored at its edges it keeps its scale.
    margin = max(0, side - pool.shape[2])
    wide = ((0, margin), (0, margin), (0, 0))
    drawings = (np.pad(pool[i, c], wide, mode="reflect") for i, c in chosen)
    return np.stack([view(d, rng, side=side, crop=[0.6, 1.0]).picture for d in drawings])


def save(backbone: keras.Model, pictures: NDArray[np.uint8], path: Path) -> None:
    """Write the weights of the backbone, with batch-norm statistics of the pictures."""
    # A copy, so that the backbone keeps the statistics of its training.
    copy = build_network(pictures.shape[1])
    copy.set_weights(backbone.get_weights())
    calibrate_batch_norm(copy, pictures)
    partial = path.with_name("new." + path.name)
    copy.save_weights(partial)
    partial.replace(path)


def held_out(model: keras.Model, targets: Targets, params: dict) -> dict[str, float]:
    """Return the accuracy on drawings that are not in the pool."""
    pool, seed = params["pool"], params["seed"]
    fresh = draw_instance(pool["instances"], classes=pool["classes"], size=pool["size"], seed=seed)
    stream = targets.batches(fresh[None], batch_size=500, purpose=HELD_OUT)
    images, expected = next(stream)
    found = model.predict(images, batch_size=50, verbose=0)
    error = ((found["facts"] - expected["facts"]) ** 2).mean(0)
    top = np.argsort(-found["formula"], axis=1)[:, :5] == expected["formula"][:, None]
    return {
        "accuracy": round(float(top[:, 0].mean()), 4),
        "top5_accuracy": round(float(top.any(1).mean()), 4),
        "facts_r2": round(float((1 - error / expected["facts"].var(0).clip(1e-3)).mean()), 4),
    }


def run(params: dict, *, weights: Path, cache: Path) -> dict:
    """Draw the pool into `cache`, train, write the weights; return the metrics."""
    seed, train, settings = params["seed"], params["train"], params["view"]
    pool = draw_pool(cache / "pool.npy", params["pool"], seed=seed, processes=params["threads"])
    pictures = calibration_pictures(pool, params)
    targets = Targets(pool, seed=seed, settings=settings)
    keras.utils.set_random_seed(seed)
    backbone = build_network(settings["side"])
    model = build_model(backbone, classes=pool.shape[1], facts=len(targets.mean))
    compile_model(model, train)
    # An interrupted run leaves something to use.
    checkpoint = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda *_: backbone.save_weights(cache / "last.weights.h5")
    )
    model.fit(
        targets.batches(pool, batch_size=train["batch_size"]),
        steps_per_epoch=train["steps_per_epoch"],
        epochs=train["epochs"],
        verbose=2,
        callbacks=[checkpoint],
    )
    save(backbone, pictures, weights)
    images = train["epochs"] * train["steps_per_epoch"] * train["batch_size"]
    return {"held_out": held_out(model, targets, params), "images": images}


def main() -> None:
    """Train as params.yaml says."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cache", type=Path, help="folder to keep the pool and checkpoints in")
    arguments = parser.parse_args()
    params = YAML(typ="safe", pure=True).load(HERE / "params.yaml")
    tf.config.threading.set_intra_op_parallelism_threads(params["threads"])
    tf.config.threading.set_inter_op_parallelism_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        cache = arguments.cache or Path(temporary)
        cache.mkdir(parents=True, exist_ok=True)
        metrics = run(params, weights=HERE / "mobilenet_v2_035.weights.h5", cache=cache)
    text = json.dumps(metrics, indent=2, sort_keys=True) + "\n"
    (HERE / "metrics.json").write_text(text)


if __name__ == "__main__":
    main()
