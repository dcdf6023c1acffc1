"""Models as files: the same bytes for the same weights, and errors for damaged ones."""

import errno
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from keras.utils import to_categorical

from tests.hostile import memory
from tests.networks import PARAMS, four_classes, head_for, joined, mobilenet, scratch
from tests.pipeline import ROOT
from tissue.common.errors import InputError, is_disk_full
from tissue.common.runtime import set_up
from tissue.training.batches import Batches
from tissue.training.loop import FitSettings, Phase, fit
from tissue.training.saving import load_model, save_model

SAVE = """
import sys
from pathlib import Path
from tests.hostile import memory
from tests.networks import PARAMS, scratch
from tissue.common.runtime import set_up
from tissue.training.saving import save_model
set_up(seed=4, threads=PARAMS.threads)
save_model(scratch(), Path(sys.argv[1]))
"""


def test_another_process_writes_the_same_bytes(tmp_path: Path) -> None:
    there, here = tmp_path / "there.keras", tmp_path / "here.keras"
    subprocess.run([sys.executable, "-c", SAVE, there], cwd=ROOT, check=True)
    keras.backend.clear_session()
    set_up(seed=4, threads=PARAMS.threads)
    model = scratch()
    save_model(model, here)
    assert there.read_bytes() == here.read_bytes()
    with zipfile.ZipFile(here) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert b"1980-01-01" in archive.read("metadata.json")
    images, _ = four_classes(3)
    loaded = load_model(there).predict_on_batch(images)
    assert np.array_equal(loaded, model.predict_on_batch(images))


def test_a_trained_model_survives_saving(tmp_path: Path) -> None:
    rows, labels = np.random.default_rng(1).normal(size=(16, 8)), np.arange(16) % 4
    model = head_for(8)
    batches = Batches(rows, to_categorical(labels, 4), batch_size=8, seed=1)
    fit(model, [Phase(1, batches, batches)], FitSettings(0.01, average=1.0))
    save_model(model, tmp_path / "a.keras", classes=["b", "a"])
    loaded = load_model(tmp_path / "a.keras")
    assert np.array_equal(loaded.predict_on_batch(rows), model.predict_on_batch(rows))
    assert loaded.count_params() == model.count_params()
    with zipfile.ZipFile(tmp_path / "a.keras") as saved:
        assert json.loads(saved.read("classes.json")) == ["b", "a"]


@pytest.mark.usefixtures("small_mobilenet")
def test_shared_objects_are_numbered_alike(tmp_path: Path) -> None:
    for name in ("one", "two"):
        keras.backend.clear_session()
        keras.utils.set_random_seed(1)
        model = joined(mobilenet())
        save_model(model, tmp_path / f"{name}.keras")
    assert (tmp_path / "one.keras").read_bytes() == (tmp_path / "two.keras").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.keras") as archive:
        numbers = re.findall(rb'"shared_object_id": (\d+)', archive.read("config.json"))
    assert all(int(number) < 1000 for number in numbers)
    images, _ = four_classes(3)
    loaded = load_model(tmp_path / "one.keras").predict_on_batch(images)
    assert np.allclose(loaded, model.predict_on_batch(images), atol=1e-6)


@pytest.mark.parametrize("content", [None, b"", b"no model", "truncated"])
def test_no_model(content: bytes | str | None, tmp_path: Path) -> None:
    path = tmp_path / "a.keras"
    if content == "truncated":
        save_model(head_for(8), path)
        path.write_bytes(path.read_bytes()[:-100])
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.keras: expected a model saved by Keras 3") as error:
        load_model(path)
    assert content is None or "File not found" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content"), [("config.json", None), ("model.weights.h5", b"no weights")]
)
def test_damaged_member(name: str, content: bytes | None, tmp_path: Path) -> None:
    save_model(head_for(8), tmp_path / "whole.keras")
    path = tmp_path / "a.keras"
    with zipfile.ZipFile(tmp_path / "whole.keras") as whole, zipfile.ZipFile(path, "w") as damaged:
        members = {member: whole.read(member) for member in whole.namelist()} | {name: content}
        for member, value in members.items():
            if value is not None:
                damaged.writestr(member, value)
    with pytest.raises(InputError, match=r"a\.keras: expected a model") as error:
        load_model(path)
    assert "File not found" not in str(error.value)


def _nested(layer: keras.layers.Layer, depth: int) -> keras.Model:
    """A model in a model in a model, so often, around a layer."""
    inputs = keras.Input((8,))
    model = keras.Model(inputs, layer(inputs))
    for _ in range(depth):
        model = keras.Model(inputs, model(inputs))
    return model


def _absurd(kind: str, path: Path) -> None:
    """Save a model that is absurd: its description only, since it has too many weights to hold."""
    layer: keras.layers.Layer = keras.layers.Dense(3)
    if kind == "code":
        layer = keras.layers.Lambda(lambda x: x)
    save_model(_nested(layer, depth=2 if kind == "nested" else 0), path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    text = members["config.json"].decode()
    if kind in ("wide", "nested"):
        text = text.replace('"units": 3', '"units": 1000000000')
    elif kind == "many":
        config = json.loads(text)
        config["config"]["layers"] *= 20_000
        text = json.dumps(config)
    elif kind == "no model":
        text = json.dumps(json.loads(text)["config"]["layers"][1])
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (members | {"config.json": text}).items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    ("kind", "received"),
    [
        ("wide", r"layers with 9,000,000,000 weights in a file of [\d,]+ bytes"),
        ("nested", r"layers with 9,000,000,000 weights in a file of [\d,]+ bytes"),
        ("many", "layers described by .* bytes, over 5,000,000"),
        ("code", "Lambda"),
        ("no model", "a Dense"),
    ],
)
def test_absurd_layers_are_refused_before_they_are_made(
    kind: str, received: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.keras"
    _absurd(kind, path)
    before = memory("VmRSS")
    with pytest.raises(InputError, match=f"Received: .*{received}"):
        load_model(path)
    # Nor later: Keras makes what it noted when the next model is made.
    _nested(keras.layers.Dense(3), depth=1)
    assert memory("VmRSS") - before < 200_000_000


def test_no_space_for_the_copy_that_keras_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(scratch(), tmp_path / "a.keras", classes=["a"])

    def full(*args: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    # Keras unpacks the file to a temporary folder.
    monkeypatch.setattr("tempfile.mkdtemp", full)
    with pytest.raises(OSError, match="No space left") as caught:
        load_model(tmp_path / "a.keras")
    assert is_disk_full(caught.value)
