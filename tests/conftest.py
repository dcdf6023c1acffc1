"""A whole run of the pipeline on a tiny phantom, in a clone, shared by all tests that need one."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock
from hypothesis import settings
from ruamel.yaml import YAML

import tissue  # noqa: F401 sets the environment before any test imports a library
from tests.pipeline import PARAMS, ROOT, environment

if TYPE_CHECKING:
    from playwright.sync_api import Browser

TINY = {
    "image_size": 48,
    "fetch": {"phantom": {"train_per_class": 8, "test_per_class": 4, "size": 96}},
    "scratch": {
        "input_size": 32,
        "progressive": [0.5, 1.0],
        "width": 4,
        "blocks": 1,
        "epochs": 3,
        "epoch_images": 0,
        "views": 2,
    },
    "pretrained": {"views": 2},
    "evaluate": {"bootstrap": 100, "heat_maps": 6},
    "tsne": {"perplexity": 10, "random_splits": 120},
    "audit": {"repeats": 1},
}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

settings.register_profile("shared", deadline=None)  # other work on the machine is no failure
settings.load_profile("shared")


def run(*command: str, cwd: Path, expect: int = 0) -> str:
    """Run a command in the environment of the tests and return what it printed."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment(COLUMNS="200"),
        capture_output=True,
        text=True,
        check=False,
    )
    printed = done.stdout + done.stderr
    assert done.returncode == expect, f"{' '.join(command)}: {done.returncode}\n{printed}"
    return printed


def update_params(path: Path, changes: dict) -> None:
    """Write changes into a params.yaml; a key may stand in its section or below `advanced`."""
    yaml = YAML()
    params = yaml.load(path)

    def merge(into: dict, values: dict, advanced: dict) -> None:
        for key, value in values.items():
            if isinstance(value, dict) and isinstance(into.get(key), dict):
                merge(into[key], value, advanced.get(key) or {})
            elif isinstance(value, dict) and isinstance(advanced.get(key), dict):
                merge(advanced[key], value, {})
            elif key in advanced:
                advanced[key] = value
            else:
                into[key] = value

    merge(params, changes, params["advanced"])
    yaml.dump(params, path)


def copy_project(to: Path) -> Path:
    """Copy the files that Git tracks or would track, as a repository of its own."""
    listed = run("git", "ls-files", "-co", "--exclude-standard", "-z", cwd=ROOT)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    return to


def commit(folder: Path, message: str) -> None:
    """Commit everything in a folder."""
    run("git", "add", "--all", cwd=folder)
    author = ("-c", "user.name=Tester", "-c", "user.email=tester@example.org")
    run("git", *author, "commit", "--quiet", "--message", message, cwd=folder)


# Longest first: at the end one process would work alone. The second and third do not need `tiny`,
# so that the first makes it while they do something else.
LONGEST = (
    "test_pull_requests_guide.py",  # makes the tiny run, for which the others would wait
    "test_backbones.py",
    "test_devices.py",
    "test_cluster.py",
    "test_killed.py",
    "test_sharing_guide.py",
    "test_pipeline.py",
    "test_experiments_guide.py",
    "test_predict.py",
    "test_report_browser.py",
    "test_benchmarks.py",
    "test_slides_to_report.py",
)


def pytest_configure(config: pytest.Config) -> None:
    """Ignore a warning of NumPy: Keras calls it as its first version."""
    config.addinivalue_line("filterwarnings", "ignore:__array__ implementation:DeprecationWarning")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, in the order in which they are named."""
    rank = {name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(LONGEST)))


@pytest.fixture(scope="session", autouse=True)
def _runtime() -> None:
    """Set up TensorFlow before any test uses it: the number of threads is fixed from then on."""
    from tissue.common.runtime import set_up

    set_up(seed=PARAMS["seed"], threads=PARAMS["threads"])


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """A browser of this machine; tests without one are skipped."""
    from playwright.sync_api import sync_playwright

    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} on PATH, and CHROMIUM is not set")
    with sync_playwright() as driver:
        # Chromium refuses its sandbox to root, who runs tests in containers.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        running = driver.chromium.launch(executable_path=path, args=arguments)
        yield running
        running.close()


@pytest.fixture
def small_mobilenet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace MobileNetV2, which takes seconds to build, by two convolutions."""
    import keras

    from tests.networks import two_convolutions

    monkeypatch.setattr(keras.applications, "MobileNetV2", two_convolutions)


def made_once(name: str, make: Callable[[Path], object], factory: pytest.TempPathFactory) -> Path:
    """A folder that the first of the processes of pytest-xdist makes, and the others wait for.

    It is nobody's working folder: whoever works takes a copy. A folder that could not be made is
    made anew by the next who asks, so that each process says what is wrong.
    """
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder, done = base / f"once-{name}", base / f"once-{name}.done"
    with FileLock(base / f"once-{name}.lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            done.touch()
    return folder


def copied(folder: Path, factory: pytest.TempPathFactory) -> Path:
    """A copy for this process: two that ran DVC in one folder would lock each other out."""
    clone = factory.mktemp(folder.name) / "clone"
    shutil.copytree(folder, clone, symlinks=True)
    return clone


def make_tiny(clone: Path) -> None:
    """Run the pipeline on a tiny phantom."""
    copy_project(clone)
    update_params(clone / "params.yaml", TINY)
    (clone / "dvc.lock").unlink(missing_ok=True)
    run("git", "init", "--quiet", "--initial-branch=main", cwd=clone)
    commit(clone, "tiny phantom")
    run("dvc", "repro", cwd=clone)
    commit(clone, "results")


@pytest.fixture(scope="session")
def tiny_made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny run that all processes share; only to be copied."""
    return made_once("tiny", make_tiny, tmp_path_factory)


@pytest.fixture(scope="session")
def tiny(tiny_made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which `dvc repro` has run on a tiny phantom; tests must leave it as it is."""
    return copied(tiny_made, tmp_path_factory)


@pytest.fixture(scope="session")
def quick(tiny_made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone whose stages are stand-ins that copy what those of `tiny` wrote; to be left as is."""
    from tests.standins import quick_clone

    made = made_once("quick", lambda to: quick_clone(tiny_made, to), tmp_path_factory)
    return copied(made, tmp_path_factory)
