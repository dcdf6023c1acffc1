"""Changes of a source that DVC watches: `dvc repro` notices them, and runs nothing without one."""

import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.conftest import commit, run, update_params
from tests.pipeline import PARAMS, ROOT, STAGES
from tests.servers import Site, serving
from tests.source_examples import as_folder, as_zip, picture, tree
from tissue.sources import web


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with the stage `fetch` alone."""
    work = tmp_path / "work"
    for name in ("stages", "tissue"):
        shutil.copytree(ROOT / name, work / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("params.yaml", "genes.txt", ".gitignore", ".dvcignore"):
        (work / name).write_bytes((ROOT / name).read_bytes())
    stages = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")["stages"]
    YAML().dump({"stages": {"fetch": stages["fetch"]}}, work / "dvc.yaml")
    run("git", "init", "--quiet", cwd=work)
    run("dvc", "init", "--quiet", cwd=work)
    return work


def ran(project: Path) -> bool:
    return "Running stage 'fetch'" in run("dvc", "repro", cwd=project)


def watch(project: Path, source: str) -> None:
    update_params(project / "params.yaml", {"fetch": {"source": source, "watch": source}})


@pytest.mark.parametrize("stage", ["fetch", "split"])
def test_watched_path_is_a_dependency(stage: str) -> None:
    assert PARAMS["fetch"]["watch"] in STAGES[stage]["deps"]


def test_folder(project: Path, tmp_path: Path) -> None:
    source = as_folder(tree(), tmp_path / "images")
    watch(project, str(source))
    assert ran(project)
    commit(project, "fetched")
    assert not ran(project)
    assert "up to date" in run("dvc", "status", cwd=project)
    (source / "train/colon/new.png").write_bytes(picture(99))
    assert "/images" in run("dvc", "status", cwd=project)
    assert ran(project)
    assert "new.png" in (project / "data/raw/manifest.csv").read_text()
    assert not ran(project)
    assert run("git", "status", "--porcelain", cwd=project).split() == ["M", "dvc.lock"]


def test_url(project: Path, tmp_path: Path) -> None:
    site = Site({"/a.zip": as_zip(tree(), tmp_path / "a.zip").read_bytes()})
    with serving(site):
        watch(project, f"{site.url}/a.zip")
        assert ran(project)
        assert not ran(project)
        # DVC asks for the head of the file only; fetch downloaded it once.
        agents = [request.headers["User-Agent"] for request in site.requests]
        assert sum(web.USER_AGENT in agent for agent in agents) == 1
        site.files["/a.zip"] = as_zip(tree(per_class=3), tmp_path / "a.zip").read_bytes()
        assert ran(project)
        assert not ran(project)
