"""Training on several devices of one machine; here they are two halves of its processor."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.pipeline import ROOT, environment

PROGRAM = """
import json, random, sys
from pathlib import Path
import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from stages import embed, train_pretrained
from tests import networks
from tissue.common import runtime
from tissue.data.index import Dataset
from tissue.training.inference import predict_views
from tissue.training.saving import load_model
from tissue.training.scratch import train_network

def data(count):
    labels = np.arange(count) % 3
    noise = np.random.default_rng(count).integers(0, 128, (count, 32, 32, 3), np.uint8)
    images = noise + (labels * 40).astype(np.uint8)[:, None, None, None]
    return Dataset(images, pd.DataFrame({"id": labels.astype(str), "label": labels}))

def train(several):
    keras.utils.set_random_seed(3)
    scratch = networks.SCRATCH.model_dump() | {"progressive": [], "epochs": 1, "dropout": 0.0}
    params = networks.changed_params(scratch=scratch, seed=1, batch_size=16)
    # Two batches, the last of which is not full, in the same order, which Keras draws.
    seed = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: random.seed(0))
    network, history = train_network(
        params, data(28), data(16), classes=3, several_gpus=several, callbacks=[seed]
    )
    return {
        "devices": tf.distribute.get_strategy().num_replicas_in_sync,
        "loss": history["loss"].tolist(),
        "shown": predict_views(network, data(40), views=2, name="calibrate").tolist(),
        "weights": [np.asarray(weights).ravel().tolist() for weights in network.get_weights()],
    }

whole, = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(whole, [tf.config.LogicalDeviceConfiguration()] * 2)
runtime.gpus = lambda: ["CPU:0", "CPU:1"]
runtime.set_up(seed=3, threads=networks.PARAMS.threads)
keras.applications.MobileNetV2 = networks.two_convolutions
folder = Path(sys.argv[1])
networks.write_split(folder / "data/split")
weights = folder / "a.weights.h5"
networks.mobilenet().get_layer("mobilenet_v2_035").save_weights(weights)
pretrained = {"weights": str(weights), "views": 2, "penalty": 0.1, "fine_tune_epochs": 1}
params = networks.changed_params(pretrained=pretrained, batch_size=16)
embed.run(params, folder)
one = train(False)
two = train(runtime.train_on_all_gpus())
train_pretrained.run(params, folder)
model = load_model(folder / "data/models/pretrained.keras")
two["finite"] = bool(np.isfinite(np.concatenate([w.ravel() for w in model.get_weights()])).all())
print(json.dumps([one, two]))
"""


def test_two_devices_take_the_same_steps_as_one(tmp_path: Path) -> None:
    """The one test of training on several GPUs: their results are those of a single one.

    It needs a process of its own, since TensorFlow can divide the processor only at its start.
    """
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    one, two = json.loads(done.stdout.splitlines()[-1])
    assert (one["devices"], two["devices"]) == (1, 2)
    # Only with the statistics of batch normalisation over both halves of each batch.
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-5)
    # Two batches: rows of another device between them would be those of other images.
    assert np.shape(two["shown"]) == (40, 2, 3)
    assert np.allclose(two["shown"], one["shown"], atol=2e-3, rtol=0)
    for ours, theirs in zip(two["weights"], one["weights"], strict=True):
        assert np.allclose(ours, theirs, atol=2e-3, rtol=0)
    # Fine-tuning has learning rates by layer and averages weights that live on both devices.
    assert two["finite"]
    assert len((tmp_path / "plots/pretrained_history.csv").read_text().splitlines()) == 3
