"""Trains the embedded backbone on drawn textures.

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

from pretrain.batches import CALIBRATION, HELD_OUT, Targets, batches
from pretrain.network import build_backbone, build_model, calibrate, compile_model
from pretrain.pool import draw_pool, draw_row
from pretrain.views import view

HERE = Path(__file__).parent
WEIGHTS = HERE / "mobilenet_v2_035.weights.h5"
METRICS = HERE / "metrics.json"


def calibration_pictures(pool: NDArray[np.uint8], params: dict) -> NDArray[np.uint8]:
    """Return views of random drawings at the size in use, uint8 (N, side, side, 3)."""
    side, count = params["calibrate"]["side"], params["calibrate"]["pictures"]
    rng = np.random.default_rng([params["seed"], CALIBRATION])
    chosen = rng.integers(pool.shape[:2], size=(count, 2))
    # A drawing is smaller than a picture in use: mirrored at its edges it keeps its scale.
    margin = max(0, side - pool.shape[2])
    wide = ((0, margin), (0, margin), (0, 0))
    drawings = (np.pad(pool[i, c], wide, mode="reflect") for i, c in chosen)
    return np.stack([view(d, rng, side=side, crop=[0.6, 1.0]).picture for d in drawings])


def save(backbone: keras.Model, pictures: NDArray[np.uint8], path: Path) -> None:
    """Write the backbone's weights, with batch-norm statistics of the pictures."""
    # A fresh copy, so that the running training keeps its own statistics.
    copy = build_backbone(pictures.shape[1])
    copy.set_weights(backbone.get_weights())
    calibrate(copy, pictures)
    beside = path.with_name("new." + path.name)
    copy.save_weights(beside)
    beside.replace(path)


def held_out(model: keras.Model, targets: Targets, params: dict) -> dict[str, float]:
    """Return how well the model does on drawings that are not in the pool."""
    settings = {"classes": params["pool"]["classes"], "size": params["pool"]["size"]}
    fresh = draw_row(params["pool"]["instances"], **settings, seed=params["seed"])[None]
    stream = batches(
        fresh,
        targets,
        batch_size=500,
        seed=params["seed"],
        settings=params["view"],
        purpose=HELD_OUT,
    )
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
    pool = draw_pool(cache / "pool.npy", **params["pool"], seed=seed, processes=params["threads"])
    pictures = calibration_pictures(pool, params)
    targets = Targets(pool, seed=seed, settings=settings)
    keras.utils.set_random_seed(seed)
    backbone = build_backbone(settings["side"])
    model = build_model(backbone, classes=pool.shape[1], facts=len(targets.mean))
    compile_model(model, train)
    model.fit(
        batches(pool, targets, batch_size=train["batch_size"], seed=seed, settings=settings),
        steps_per_epoch=train["steps_per_epoch"],
        epochs=train["epochs"],
        verbose=2,
        # An interrupted run leaves something to use.
        callbacks=[
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda *_: backbone.save_weights(cache / "last.weights.h5")
            )
        ],
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
        metrics = run(params, weights=WEIGHTS, cache=cache)
    METRICS.write_text(json.dumps(metrics, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
