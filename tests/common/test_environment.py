"""What a user has set for other projects does not change how this one runs."""

import errno
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline import ROOT
from tissue.commands.sweep import check_path
from tissue.common.errors import InputError
from tissue.common.runtime import process_pool

FOREIGN = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "KERAS_BACKEND": "jax",
    "KERAS_MAX_EPOCHS": "1",
}


def python(code: str, *, cwd: Path = ROOT, **variables: str) -> str:
    command = [sys.executable, "-c", code]
    environment = os.environ | variables
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_a_backend_of_jupyter_is_not_used() -> None:
    code = "import tissue, matplotlib, os; print(matplotlib.get_backend(), os.environ.get({!r}))"
    printed = python(code.format("KERAS_MAX_EPOCHS"), **FOREIGN)
    assert printed.lower().split() == ["agg", "none"]


X86 = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="other processors have other instructions"
)
PROCESSORS = """
import json
from threadpoolctl import threadpool_info
import pandas, scipy.linalg
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__
used = [name for name in __cpu_dispatch__ if __cpu_features__[name]]
cores = {one["architecture"] for one in threadpool_info() if one["internal_api"] == "openblas"}
print(json.dumps([sorted(cores), [name for name in used if "512" in name or name == "X86_V4"]]))
"""


@X86
@pytest.mark.parametrize("package", ["tissue", "stages.evaluate", "stages.tsne"])
@pytest.mark.parametrize(
    "variables",
    [{}, {"OPENBLAS_CORETYPE": "SkylakeX", "NPY_DISABLE_CPU_FEATURES": ""}],
)
def test_newer_instructions_are_not_used(package: str, variables: dict[str, str]) -> None:
    printed = python(f"import {package}\n{PROCESSORS}", **variables)
    assert json.loads(printed) == [["Haswell"], []]


def test_processes_are_spawned_and_need_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows and macOS, where nothing of the parent is there but what is imported."""
    code = (
        "from tissue.common.runtime import process_pool\n"
        "import math\n"
        "kind = 'type(__import__(\"multiprocessing\").current_process()).__name__'\n"
        "if __name__ == '__main__':\n"
        "    with process_pool(2) as pool:\n"
        "        print(*pool.map(math.factorial, range(4)))\n"
        "        print(pool.submit(eval, kind).result())"
    )
    assert python(code).split() == ["1", "1", "2", "6", "SpawnProcess"]

    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("multiprocessing.synchronize.SemLock.__init__", full)
    with pytest.raises(InputError, match=r"shared memory for 2 processes.*Received.*No space left"):
        process_pool(2)


def test_another_package_called_stages_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages/__init__.py").touch()
    code = "import stages; print(stages.__file__)"
    assert python(code, PYTHONPATH=str(tmp_path)).strip() == str(ROOT / "stages/__init__.py")


def test_line_ends_are_the_same_in_every_clone() -> None:
    command = ["git", "check-attr", "eol", "text", "--", "params.yaml", "plots/a.png"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "params.yaml: eol: lf" in printed
    assert "plots/a.png: text: unset" in printed


def test_settings_of_keras_are_those_of_this_project(tmp_path: Path) -> None:
    settings = {"floatx": "float16", "epsilon": 0.1, "image_data_format": "channels_first"}
    (tmp_path / "keras.json").write_text(json.dumps(settings))
    code = (
        "from tissue.common.runtime import set_up; set_up(seed=1, threads=1); import keras; "
        "print(keras.config.floatx(), keras.config.dtype_policy().name, keras.config.epsilon(), "
        "keras.config.image_data_format())"
    )
    printed = python(code, KERAS_HOME=str(tmp_path))
    assert printed.split() == ["float32", "float32", "1e-07", "channels_last"]


def test_a_path_that_dvc_cannot_write_stops_a_sweep() -> None:
    check_path(Path("/home/mueller/project"))
    with pytest.raises(InputError, match=r"path of ASCII letters.*Müller.*Move the clone"):
        check_path(Path("/home/Müller/project"))
