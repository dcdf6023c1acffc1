"""Tables, arrays and models with changed bytes: read, or refused by name, in bounded memory."""

import io
import json
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hostile import memory
from tests.mutations import FUZZ, MUTATIONS, mutated
from tests.networks import CLASSES, scratch, write_split
from tests.source_examples import PARAMS, as_folder, picture
from tissue.common.errors import InputError
from tissue.config.fetch import Labels
from tissue.data.features import joint_index, read_features
from tissue.data.index import read_split
from tissue.images.groups import add_known_groups
from tissue.sources.local import list_images
from tissue.training.model_file import temperature_of
from tissue.training.novelty import read_novelty
from tissue.training.saving import load_model, save_model

MORE_MEMORY = 500_000_000  # bytes; the files have some kilobytes
FILES = ("train.csv", "train.npy", "classes.json")
LABELS = "image,label,split,donor\n" + "".join(
    f"{n}.png,{'ab'[n % 2]},{'train' if n < 4 else 'test'},d{n}\n" for n in range(6)
)
GROUPS = "path,group\n" + "".join(f"{row}.png,{row // 2}\n" for row in range(6))


@pytest.fixture(autouse=True)
def _bounded_memory() -> Iterator[None]:
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of earlier tests
    before = memory("VmRSS")
    yield
    assert memory("VmHWM") - before < MORE_MEMORY


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What stages wrote: a split, features of it in `embed`, and a model."""
    folder = tmp_path_factory.mktemp("made")
    write_split(folder / "split")
    (folder / "embed").mkdir()
    shutil.copy(folder / "split/train.csv", folder / "embed/train.csv")
    np.save(folder / "embed/train.npy", np.zeros((24, 2, 8), np.float32))
    save_model(scratch(), folder / "scratch.keras", classes=CLASSES)
    return folder


def check(error: InputError, named: str) -> None:
    """Check that a message names the file and what was received."""
    assert "Received: " in str(error)
    assert named in str(error)


@st.composite
def with_numbers(draw: st.DrawFn, content: bytes) -> bytes:
    """Put other numbers into a model's description, which stays a valid archive of valid JSON."""
    values = json.loads(zipfile.ZipFile(io.BytesIO(content)).read("config.json"))
    numbers = [
        (item, key)
        for item in _walk(values)
        for key, value in (item.items() if isinstance(item, dict) else enumerate(item))
        if isinstance(value, int | float)
    ]
    for _ in range(draw(st.integers(1, 3))):
        item, key = draw(st.sampled_from(numbers))
        item[key] = draw(st.sampled_from([-1, 0, 3, 2.5, 2**31, 2**62, True, None, "a", [], {}]))
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            member = json.dumps(values) if name == "config.json" else old.read(name)
            new.writestr(name, member)
    return changed.getvalue()


def _walk(value: object) -> Iterator[dict | list]:
    if isinstance(value, dict | list):
        yield value
        for item in value.values() if isinstance(value, dict) else value:
            yield from _walk(item)


@FUZZ
@given(st.data())
def test_tables_and_arrays_of_stages(made: Path, tmp_path: Path, data: st.DataObject) -> None:
    kind, name = data.draw(st.sampled_from(["split", "embed"])), data.draw(st.sampled_from(FILES))
    for original in (made / "split", made / "embed"):
        shutil.copytree(original, tmp_path / original.name, dirs_exist_ok=True)
    path = tmp_path / kind / name
    if path.exists():
        path.write_bytes(data.draw(mutated([path.read_bytes()])))
    try:
        train = read_split(tmp_path / "split", "train")
        assert train.images[len(train.images) // 2].shape[-1] >= 0
        assert set(train.labels.tolist()) <= set(range(len(CLASSES)))
        shutil.copy(tmp_path / "split/train.csv", tmp_path / "split/test.csv")
        joint_index(tmp_path / "split", max_images=5, seed=1)
        read_features(train.index["id"], "train", tmp_path / "embed")
    except InputError as error:
        check(error, str(tmp_path))


@FUZZ
@given(mutated([LABELS.encode()]), st.booleans())
def test_tables_of_users(tmp_path: Path, content: bytes, is_labels: bool) -> None:
    table = tmp_path / "table.csv"
    table.write_bytes(content if is_labels else GROUPS.encode())
    try:
        if is_labels:
            source = as_folder({f"{n}.png": picture(n) for n in range(6)}, tmp_path / "images")
            names = {"image": "image", "label": "label", "split": "split", "group": "donor"}
            labels = Labels(table=str(table), **names)
            with ExitStack() as closing:
                limits = PARAMS.fetch.limits
                list_images([source], sha256={}, limits=limits, closing=closing, labels=labels)
        else:
            table.write_bytes(content.replace(b"image,label", b"path,group", 1))
            index = pd.DataFrame({"id": [f"{n}.png" for n in range(6)], "donor": ""})
            settings = PARAMS.split.model_copy(update={"metadata": str(table)})
            add_known_groups(index, settings)
    except InputError as error:
        check(error, "table.csv")


@settings(FUZZ, max_examples=MUTATIONS // 4)  # each is loaded, in 0.1 s
@given(st.data())
def test_models(made: Path, tmp_path: Path, data: st.DataObject) -> None:
    content = (made / "scratch.keras").read_bytes()
    path = tmp_path / "mutated.keras"
    path.write_bytes(data.draw(st.one_of(mutated([content]), with_numbers(content))))
    for read in (temperature_of, read_novelty, load_model):
        try:
            read(path)
        except InputError as error:
            check(error, str(path))
    assert {file.name for file in tmp_path.iterdir()} == {path.name}
