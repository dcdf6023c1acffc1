"""Nothing that is loaded can run code: every call that loads is looked at, in all of our code."""

import ast
import json
import os
import zipfile
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras

from tissue.common.errors import InputError
from tissue.training.saving import load_model, save_model

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    path
    for folder in ("stages", "pretrain", "benchmarks")
    for path in (ROOT / folder).rglob("*.py")
)
FORBIDDEN = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def root_of(node: ast.expr) -> str:
    """The first name of `a.b.c`."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def given(call: ast.Call, name: str) -> object:
    """The constant given for a keyword."""
    values = [item.value for item in call.keywords if item.arg == name]
    return values[0].value if values and isinstance(values[0], ast.Constant) else None


def unsafe(source: str) -> list[str]:
    """What in a module could run code from a file that it loads."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            module = (node.module or "") if isinstance(node, ast.ImportFrom) else ""
            roots = {name.split(".")[0] for name in ([module] if module else names)}
            found += sorted(roots & FORBIDDEN)
            if module.split(".")[0] in ("numpy", "keras"):
                # As attributes of their package they can be told from our own functions.
                found += sorted({"load", "load_model", "deserialize_keras_object"} & set(names))
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        root = root_of(node.func)
        if root in ("np", "numpy") and name == "load" and given(node, "allow_pickle") is not False:
            found.append("np.load")
        if root == "keras" and name == "load_model" and given(node, "safe_mode") is not True:
            found.append("load_model")
        if name in ("read_pickle", "enable_unsafe_deserialization"):
            found.append(name)
        if given(node, "typ") == "unsafe":
            found.append("YAML")
        if root == "yaml" and name in ("load", "unsafe_load", "full_load"):
            found.append("yaml")
        if given(node, "allow_pickle") is True:
            found.append("allow_pickle")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_module_loads_data_and_never_code(path: Path) -> None:
    assert unsafe(path.read_text(encoding="utf-8")) == []


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


def test_safe_code_is_left_alone() -> None:
    assert not unsafe("np.load(p, mmap_mode='r', allow_pickle=False)")
    assert not unsafe("keras.saving.load_model(p, compile=False, safe_mode=True)")
    assert not unsafe("from tissue.training.saving import load_model\nload_model(p)")
    assert not unsafe("YAML(typ='safe', pure=True).load(p)")


def test_model_with_code_inside_is_refused(tmp_path: Path) -> None:
    images = keras.Input((4,))
    model = keras.Model(images, keras.layers.Lambda(lambda x: x * 2)(images))
    save_model(model, tmp_path / "a.keras")
    with pytest.raises(InputError, match=r"a\.keras: expected a model .*Received: .*[Ll]ambda"):
        load_model(tmp_path / "a.keras")


@pytest.mark.parametrize(
    ("module", "name"), [("os", "system"), ("builtins", "eval"), ("stages.gone", "Layer")]
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
