"""Small sources of images, and what `fetch` makes of them."""

import io
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from stages import fetch
from tests.pipeline import ROOT
from tissue.config.loading import load_params

PARAMS = load_params(ROOT / "params.yaml")
CLASSES = ["colon", "kidney", "liver"]
Tree = dict[str, bytes]  # files by relative path


def picture(seed: int, kind: str = "PNG", side: int = 12, **options: Any) -> bytes:
    """An image file of random blots."""
    small = np.random.default_rng(seed).integers(60, 256, (6, 6, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    image = Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def tree(*, splits: Iterable[str] = ("train", "test"), per_class: int = 2) -> Tree:
    """A small set of images; without splits as `<class>/<image>`."""
    names = [
        "/".join((*split, name, f"{number}.png"))
        for split in ([(split,) for split in splits] or [()])
        for name in CLASSES
        for number in range(per_class)
    ]
    return {name: picture(seed) for seed, name in enumerate(names)}


def as_folder(files: Tree, path: Path) -> Path:
    for name, content in files.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return path


def as_zip(files: Tree, path: Path, *, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def as_tar(files: Tree, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


FORMS: dict[str, Callable[[Tree, Path], Path]] = {
    "folder": lambda files, at: as_folder(files, at / "images"),
    "zip": lambda files, at: as_zip(files, at / "images.zip"),
    "stored zip": lambda files, at: as_zip(files, at / "i.ZIP", compression=zipfile.ZIP_STORED),
    "tar": lambda files, at: as_tar(files, at / "images.tar"),
    "tar.gz": lambda files, at: as_tar(files, at / "images.tar.gz"),
    "tgz": lambda files, at: as_tar(files, at / "images.tgz"),
}


def halves(files: Tree, folder: Path) -> Path:
    """A folder with two archives that each hold half of the files."""
    names = sorted(files)
    for number in range(2):
        as_zip({name: files[name] for name in names[number::2]}, folder / f"{number}.zip")
    return folder


def contents(folder: Path) -> Tree:
    """Every file below a folder."""
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file below a folder with the time of its last change."""
    times = {name: (folder / name).stat().st_mtime_ns for name in contents(folder)}
    return {name: (content, times[name]) for name, content in contents(folder).items()}


def run_fetch(source: Any, root: Path, *, workers: int = 1, **changes: Any) -> Path:
    """Fetch a source, or a list of them, below `root`; return the folder of the output."""
    sources = [str(one) for one in source] if isinstance(source, list) else str(source)
    settings = {"source": sources, "cache": str(root / "cache"), **changes}
    chosen = PARAMS.fetch.model_copy(update=settings)
    fetch.run(PARAMS.model_copy(update={"seed": 1, "fetch": chosen}), root, workers=workers)
    return root / "data/raw"


def fetched(source: Any, root: Path, **changes: Any) -> Tree:
    """The files that fetch writes."""
    return contents(run_fetch(source, root, **changes))


def manifest_of(source: Any, root: Path, **changes: Any) -> pd.DataFrame:
    """The manifest that fetch writes, as text."""
    raw = run_fetch(source, root, **changes)
    return pd.read_csv(raw / "manifest.csv", dtype=str, keep_default_na=False)
