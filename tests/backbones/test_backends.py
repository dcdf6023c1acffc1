"""The networks under other backends of Keras than TensorFlow, with the same weights."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

from tests import test_models
from tissue.training.saving import save_model

ROOT = Path(__file__).parents[2]
SIDE = test_models.SIDE


# As in a notebook of somebody else: only what is in stages/models, without its TensorFlow runtime.
BUILD = f"""
import numpy as np
from tissue.backbones.build import build_backbone
from tissue.training.head import build_head, join
from tissue.training.scratch import build_scratch
from tissue.config.loading import load_params

def build():
    settings = load_params().scratch.model_copy(update={{"input_size": 24, "blocks": 2}})
    backbone = build_backbone("mobilenet_v2_035", image_size={SIDE}, weights="embedded")
    features = np.random.default_rng(2).normal(3, 2, (40, 1280)).astype(np.float32)
    head = build_head(features, load_params().pretrained, classes=4, seed=3)
    return {{
        "scratch": build_scratch(settings, image_size={SIDE}, classes=4),
        "pretrained": join(backbone, head, crops=0),
    }}
"""
PREDICT = (
    BUILD
    + """
import sys
from pathlib import Path
import keras
import tissue.training.inference, tissue.training.loop, tissue.common.augmentation
from tissue.training.saving import load_model

folder = Path(sys.argv[1])
images = np.load(folder / "images.npy", allow_pickle=False)
for name, model in build().items():
    saved = load_model(folder / f"{name}.keras")
    model.set_weights(saved.get_weights())
    for kind, network in (("built", model), ("loaded", saved)):
        np.save(folder / f"{name}_{kind}.npy", network.predict_on_batch(images))
print(keras.backend.backend(), *sorted({"tensorflow"} & set(sys.modules)))
"""
)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_probabilities_are_the_same(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    monkeypatch.chdir(ROOT)
    space: dict = {}
    exec(BUILD, space)
    images, _ = test_models.four_classes(5)
    np.save(tmp_path / "images.npy", images)
    expected = {}
    for name, model in space["build"]().items():
        save_model(model, tmp_path / f"{name}.keras")
        expected[name] = model.predict_on_batch(images)
    ended = subprocess.run(
        [sys.executable, "-c", PREDICT, tmp_path],
        cwd=ROOT,
        env=os.environ | {"KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    for name, probabilities in expected.items():
        for kind in ("built", "loaded"):
            received = np.load(tmp_path / f"{name}_{kind}.npy", allow_pickle=False)
            assert np.allclose(received, probabilities, atol=1e-4), (name, kind)
    # TensorFlow would stand behind it, if anything had brought it in.
    assert ended.stdout.split()[-1] == backend


def test_only_the_runtime_and_the_gradients_name_tensorflow() -> None:
    modules = sorted((ROOT / "stages").rglob("*.py"))
    named = [
        path.relative_to(ROOT).as_posix()
        for path in modules
        if any(
            line.strip().startswith(("import tensorflow", "from tensorflow"))
            for line in path.read_text(encoding="utf-8").splitlines()
        )
    ]
    assert named == ["tissue/error_analysis/gradcam.py", "tissue/common/runtime.py"]
