"""The networks under other backends of Keras than TensorFlow, with the same weights."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.networks import SIDE, four_classes
from tests.pipeline import ROOT
from tissue.training.saving import save_model

# As in somebody's notebook: only the modules of networks, without the TensorFlow runtime.
BUILD = f"""
import numpy as np
from tissue.backbones.build import build_backbone
from tests.networks import head_for
from tissue.training.head import join_backbone
from tissue.training.scratch import build_scratch
from tissue.config.loading import load_params

def build():
    settings = load_params().scratch.model_copy(update={{"input_size": 24, "blocks": 2}})
    backbone = build_backbone("efficientnet_lite0", image_size={SIDE}, weights="packaged")
    return {{
        "scratch": build_scratch(settings, image_size={SIDE}, classes=4),
        "pretrained": join_backbone(backbone, head_for(1280), crops=0),
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
def test_probabilities_are_the_same(backend: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    space: dict = {}
    exec(BUILD, space)
    images, _ = four_classes(5)
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
    # TensorFlow would follow, if anything had imported it.
    assert ended.stdout.split()[-1] == backend


def test_only_the_runtime_and_the_gradients_name_tensorflow() -> None:
    named = [
        path.relative_to(ROOT).as_posix()
        for folder in ("stages", "tissue")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if any(
            line.strip().startswith(("import tensorflow", "from tensorflow"))
            for line in path.read_text(encoding="utf-8").splitlines()
        )
    ]
    assert named == [
        "tissue/common/runtime.py",
        "tissue/error_analysis/gradcam.py",
        "tissue/error_analysis/last_maps.py",
        "tissue/portable/export.py",
    ]
