"""No file that is loaded can run code: all calls that load files are checked in all our code."""

import ast
import json
import os
import re
import zipfile
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras

from tests.pipeline import ROOT
from tissue.common.errors import InputError
from tissue.training.saving import load_model, save_model

FOLDERS = ("stages", "tissue", "benchmarks")
MODULES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
# Its unpickler admits four names: tests/backbones/test_torch_file.py.
RESTRICTED = ROOT / "tissue/backbones/torch_file.py"
FORBIDDEN = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def unsafe(source: str) -> list[str]:
    """Names in a module that could run code from a file that it loads."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in FORBIDDEN]
        elif isinstance(node, ast.ImportFrom) and node.module:
            package = node.module.split(".")[0]
            # As attributes of their package they differ from our own functions.
            loaders = ("load", "load_model", "deserialize_keras_object")
            names = {alias.name for alias in node.names}.intersection(loaders)
            if package in FORBIDDEN or (package in ("numpy", "keras") and names):
                found.append(node.module)
        elif isinstance(node, ast.Call) and _is_unsafe(node):
            found.append(ast.unparse(node))
    return found


def _is_unsafe(call: ast.Call) -> bool:
    given = {item.arg: ast.unparse(item.value) for item in call.keywords}
    path = ast.unparse(call.func).split(".")
    root, name = path[0], path[-1]
    return (
        (root in ("np", "numpy") and name == "load" and given.get("allow_pickle") != "False")
        or (root == "keras" and name == "load_model" and given.get("safe_mode") != "True")
        or (root == "yaml" and name in ("load", "unsafe_load", "full_load"))
        or name in ("read_pickle", "enable_unsafe_deserialization")
        or given.get("typ") == "'unsafe'"
        or given.get("allow_pickle") == "True"
    )


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_module_loads_no_code(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert unsafe(source) == (["pickle"] if path == RESTRICTED else [])
    assert re.findall(r"pickle\.\w+", source) == [] or path == RESTRICTED


def test_the_only_unpickler_is_a_restricted_one() -> None:
    used = set(re.findall(r"pickle\.(\w+)", RESTRICTED.read_text(encoding="utf-8")))
    assert used == {"Unpickler", "UnpicklingError"}
    assert "class _Unpickler(pickle.Unpickler):" in RESTRICTED.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "source",
    [
        "import numpy as np\nnp.load('a.npy')",
        "np.load('a.npy', allow_pickle=True)",
        "np.load('a.npy', allow_pickle=flag)",
        "numpy.load('a.npy')",
        "from numpy import load",
        "import pickle",
        "from pickle import loads",
        "import joblib",
        "pd.read_pickle('a')",
        "keras.models.load_model('a.keras')",
        "keras.saving.load_model('a.keras', safe_mode=False)",
        "from keras.models import load_model",
        "keras.config.enable_unsafe_deserialization()",
        "yaml.load('a')",
        "YAML(typ='unsafe')",
    ],
)
def test_unsafe_code_is_found(source: str) -> None:
    assert unsafe(source)


def test_safe_code_is_accepted() -> None:
    assert not unsafe("np.load(p, mmap_mode='r', allow_pickle=False)")
    assert not unsafe("keras.saving.load_model(p, compile=False, safe_mode=True)")
    assert not unsafe("from tissue.training.saving import load_model\nload_model(p)")
    assert not unsafe("YAML(typ='safe', pure=True).load(p)")


def test_model_that_contains_code_is_refused(tmp_path: Path) -> None:
    images = keras.Input((4,))
    model = keras.Model(images, keras.layers.Lambda(lambda x: x * 2)(images))
    save_model(model, tmp_path / "a.keras")
    with pytest.raises(InputError, match=r"a\.keras: expected a model .*Received: .*[Ll]ambda"):
        load_model(tmp_path / "a.keras")


@pytest.mark.parametrize(
    ("module", "name"), [("os", "system"), ("builtins", "eval"), ("tissue.gone", "Layer")]
)
def test_model_that_names_other_code_is_refused(module: str, name: str, tmp_path: Path) -> None:
    images = keras.Input((4,))
    plain, changed = tmp_path / "plain.keras", tmp_path / "a.keras"
    save_model(keras.Model(images, keras.layers.Dense(2, name="dense")(images)), plain)
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(changed, "w") as new:
        for part in old.namelist():
            content = old.read(part)
            if part == "config.json":
                config = json.loads(content)
                layer = config["config"]["layers"][1]
                layer.update(module=module, class_name=name, registered_name=name)
                content = json.dumps(config).encode()
            new.writestr(part, content)
    message = rf"a\.keras: expected a model saved by Keras 3 .*Received: .*'{name}'"
    with pytest.raises(InputError, match=message) as refused:
        load_model(changed)
    assert len(str(refused.value)) < 1000
