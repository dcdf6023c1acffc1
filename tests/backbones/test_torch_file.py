"""Arrays out of a file of PyTorch: right values, and no code that runs."""

import io
import os
import pickle
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest

from tissue.backbones.torch_file import MAGIC, PROTOCOL, read_tensors
from tissue.common.errors import InputError


def _rebuild_tensor_v2(*_: object) -> None:
    """Stands in for PyTorch's, of which only the name is written."""


class FloatStorage:
    """Likewise."""


class LongStorage:
    """Likewise."""


class Storage(NamedTuple):
    kind: type
    key: str
    values: np.ndarray


class Tensor(NamedTuple):
    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def __reduce__(self) -> tuple[Callable[..., None], tuple[Any, ...]]:
        return _rebuild_tensor_v2, (*self, False, OrderedDict())


class Pickler(pickle.Pickler):
    def persistent_id(self, thing: object) -> tuple[Any, ...] | None:
        if isinstance(thing, Storage):
            return ("storage", thing.kind, thing.key, "cpu", len(thing.values), None)
        return None


@pytest.fixture(autouse=True)
def _torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the stand-ins be written under the names of PyTorch."""
    for name, parts in {
        "torch": (FloatStorage, LongStorage), "torch._utils": (_rebuild_tensor_v2,)
    }.items():  # fmt: skip
        module = ModuleType(name)
        monkeypatch.setitem(sys.modules, name, module)
        for part in parts:
            monkeypatch.setattr(part, "__module__", name)
            setattr(module, part.__name__, part)


def saved(tensors: Any, *storages: Storage, magic: int = MAGIC) -> io.BytesIO:
    """A file as torch.save wrote it."""
    file = io.BytesIO()
    for thing in (magic, PROTOCOL, {}, tensors, [storage.key for storage in storages]):
        Pickler(file, protocol=2).dump(thing)
    for storage in storages:
        file.write(len(storage.values).to_bytes(8, "little") + storage.values.tobytes())
    file.seek(0)
    return file


FLOATS = Storage(FloatStorage, "7", np.arange(12, dtype="<f4"))
COUNTS = Storage(LongStorage, "8", np.array([5], "<i8"))


def test_arrays_have_their_shapes_strides_and_types() -> None:
    tensors = OrderedDict(
        plain=Tensor(FLOATS, 0, (3, 4), (4, 1)),
        turned=Tensor(FLOATS, 0, (4, 3), (1, 4)),
        part=Tensor(FLOATS, 10, (2,), (1,)),
        count=Tensor(COUNTS, 0, (), ()),
    )
    arrays = read_tensors(saved(tensors, COUNTS, FLOATS))
    expected = np.arange(12, dtype="<f4").reshape(3, 4)
    assert np.array_equal(arrays["plain"], expected)
    assert np.array_equal(arrays["turned"], expected.T)
    assert arrays["part"].tolist() == [10, 11]
    assert arrays["count"].item() == 5
    assert [arrays[name].dtype.str for name in ("plain", "count")] == ["<f4", "<i8"]


@pytest.mark.parametrize(
    "tensor",
    [
        Tensor(FLOATS, 1, (3, 4), (4, 1)),
        Tensor(FLOATS, 0, (3, 4), (400, 1)),
        Tensor(FLOATS, -1, (3,), (1,)),
        Tensor(FLOATS, 11, (3,), (-1,)),
        Tensor(FLOATS, 0, (-3,), (1,)),
    ],
)
def test_no_tensor_reaches_out_of_its_storage(tensor: Tensor) -> None:
    with pytest.raises(InputError, match=r"Received: a tensor of shape .* storage of 12 values"):
        read_tensors(saved({"a": tensor}, FLOATS))


class Command:
    """Unpickled, it would run a command."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.path}",)


def test_code_is_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    with pytest.raises(InputError, match=rf"Received: the name {os.system.__module__}\.system"):
        read_tensors(saved({"a": Command(trace)}))
    assert not trace.exists()
    pickle.loads(pickle.dumps(Command(trace)))
    assert trace.exists(), "the file above was harmless anyway"


@pytest.mark.parametrize("module", ["builtins", "torch.serialization", "collections"])
def test_other_names_are_refused(module: str) -> None:
    file = saved({})
    named = file.getvalue().replace(pickle.dumps({}, 2), f"c{module}\neval\n.".encode(), 1)
    with pytest.raises(InputError, match=rf"the name {module}\.eval"):
        read_tensors(io.BytesIO(named))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a zip, as newer versions write", b"\x80"])
def test_other_files_are_refused(content: bytes) -> None:
    with pytest.raises(InputError, match=r"expected arrays as torch\.save wrote them before"):
        read_tensors(io.BytesIO(content))


def test_cut_and_foreign_files_are_refused() -> None:
    tensors = {"a": Tensor(FLOATS, 0, (12,), (1,))}
    whole = saved(tensors, FLOATS).getvalue()
    for file in (io.BytesIO(whole[:-1]), io.BytesIO(whole[:-56]), saved(tensors, FLOATS, magic=3)):
        with pytest.raises(InputError, match=r"expected arrays as torch\.save"):
            read_tensors(file)
