"""Training on several devices of one machine; here they are two halves of its processor."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.pipeline import ROOT, environment

BEGIN = """
import json, sys
from pathlib import Path
import numpy as np
import pandas as pd
import tensorflow as tf
from tissue.common import runtime
from tissue.config.loading import load_params

devices, folder = int(sys.argv[1]), Path(sys.argv[2])
if devices > 1:
    runtime.gpus = lambda: [f"CPU:{number}" for number in range(devices)]
    whole = tf.config.list_physical_devices("CPU")[0]
    parts = [tf.config.LogicalDeviceConfiguration() for _ in range(devices)]
    tf.config.set_logical_device_configuration(whole, parts)
params = load_params(folder / "params.yaml")
"""
SCRATCH = """
from tissue.data.index import Part
from tissue.training.inference import predict_views
from stages.train_scratch import train

def part(count):
    labels = np.arange(count) % 3
    noise = np.random.default_rng(count).integers(0, 128, (count, 32, 32, 3), np.uint8)
    images = noise + (labels * 40).astype(np.uint8)[:, None, None, None]
    return Part(images, pd.DataFrame({"id": labels.astype(str), "label": labels}))

runtime.set_up(seed=3, threads=2)
several = runtime.train_on_all_gpus()
settings = params.scratch.model_copy(
    update={"input_size": 32, "blocks": 2, "epochs": 1, "dropout": 0.0}
)
# Two batches, the last of which is not full.
network, history = train(
    settings, part(28), part(16), classes=3, seed=1, lr=1e-3, batch_size=16, several=several
)
shown = predict_views(network, part(40), views=2, name="calibrate")
print(json.dumps({
    "shown": shown.tolist(),
    "devices": tf.distribute.get_strategy().num_replicas_in_sync,
    "loss": history["loss"].tolist(),
    "weights": [np.asarray(weights).ravel().tolist() for weights in network.get_weights()],
}))
"""
FINE_TUNING = """
from stages.train_pretrained import run

run(
    params.pretrained.model_copy(update={"fine_tune_epochs": 1, "epochs": 2}),
    seed=3, lr=1e-3, batch_size=16, threads=2, split=folder / "data/split",
    embed=folder / "data/embed", model=Path("model.keras"), history=Path("history.csv"),
    live=Path("live"),
)
"""


def trained(code: str, devices: int, folder: Path, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + code, str(devices), str(folder)],
        cwd=cwd,
        env=environment(PYTHONPATH=str(ROOT), TF_CPP_MIN_LOG_LEVEL="3"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_devices_make_the_same_steps_as_one(tmp_path: Path) -> None:
    one, two = (json.loads(trained(SCRATCH, count, ROOT, tmp_path)) for count in (1, 2))
    assert (one["devices"], two["devices"]) == (1, 2)
    # Only with the statistics of batch normalisation over both halves of each batch.
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-5)
    # Two batches: rows of another device between them would be those of other images.
    assert np.shape(two["shown"]) == (40, 2, 3)
    assert np.allclose(two["shown"], one["shown"], atol=2e-3, rtol=0)
    for ours, theirs in zip(two["weights"], one["weights"], strict=True):
        assert np.allclose(ours, theirs, atol=2e-3, rtol=0)


def test_fine_tuning_on_two_devices(tiny: Path, tmp_path: Path) -> None:
    from tissue.training.saving import load_model

    (tmp_path / "pretrain").symlink_to(ROOT / "pretrain")
    (tmp_path / "params.yaml").symlink_to(tiny / "params.yaml")
    shutil.copytree(tiny / "data", tmp_path / "data")
    # Without crops and their features: each crop runs the backbone, and takes long to compile.
    for path in (tmp_path / "data/split").glob("*_crops.npy"):
        path.unlink()
    for path in (tmp_path / "data/embed").glob("*.npy"):
        features = np.load(path)
        np.save(path, features[..., : features.shape[-1] // 2])
    trained(FINE_TUNING, 2, tmp_path, tmp_path)
    model = load_model(tmp_path / "model.keras")
    assert np.isfinite(np.concatenate([w.ravel() for w in model.get_weights()])).all()
    assert len((tmp_path / "history.csv").read_text().splitlines()) == 4
