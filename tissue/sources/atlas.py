"""Tissue images of the Human Protein Atlas, with training and test divided by donor.

The XML files of the genes name the images, their tissues and donors; from these a set is chosen and
downloaded, slowly enough for a public server. What is there is not asked for again.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import requests
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from tissue.common.errors import InputError
from tissue.common.holdout import group_holdout
from tissue.common.names import TISSUES
from tissue.config.schema import Hpa
from tissue.sources.atlas_xml import Picture, read_pictures
from tissue.sources.cache import Shelf
from tissue.sources.web import download, open_session

LICENCE = "/about/licence"
GENE = re.compile("ENSG[0-9]{11}")
CREDIT = "Image credit: Human Protein Atlas"


@dataclass(frozen=True)
class Chosen:
    """A downloaded image of the atlas, and the part of the data it belongs to."""

    split: str
    picture: Picture
    path: Path

    def row(self, licence: str) -> dict[str, str | int]:
        """Return the row of the manifest."""
        picture = self.picture
        return {
            "id": f"{self.split}/{picture.class_name}/{picture.file_name}",
            "split": self.split,
            "class": picture.class_name,
            "source": "hpa",
            "donor": picture.donor,
            "slide": picture.slide,
            "antibody": picture.antibody,
            "url": picture.url,
            "licence": licence,
            "release": picture.release,
            "credit": f"{CREDIT}, {picture.url}",
        }


def download_atlas(settings: Hpa, *, seed: int, cache: Path) -> list[Chosen]:
    """Choose and download images, sorted by id.

    The choice depends on the seed and the genes; it holds about as many images of each donor, and
    no donor stands in training and in test. Fewer images than asked for are taken where the genes
    have no more, and said.

    Raises:
        ValueError: if a gene is not in the atlas, if fewer than two tissues have an image, or if
            the server sends pages in place of images.
    """
    shelf = Shelf.of(cache, settings.url)
    with open_session(per_second=settings.requests_per_second, contact=settings.contact) as session:
        pictures = _read_genes(settings, session, shelf)
        table = _divide(pictures, settings, seed)
        chosen = _download(pictures, table, settings, session, shelf)
    _tell(chosen, settings)
    return sorted(chosen, key=lambda image: str(image.row("")["id"]))


def read_gene_ids(path: Path) -> list[str]:
    """Return the Ensembl ids in a text file: one per line, with comments after `#`.

    Raises:
        InputError: if there is no such file, or a line is no id.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, IsADirectoryError, UnicodeDecodeError) as error:
        raise InputError(
            f"fetch.hpa.genes: expected a text file with one gene per line. Received: {path}, "
            f"{error}. Correct the path."
        ) from None
    genes = [gene for line in lines if (gene := line.partition("#")[0].strip())]
    wrong = [gene for gene in genes if not GENE.fullmatch(gene)]
    if wrong or not genes:
        raise InputError(
            f"{path}: expected ids such as ENSG00000119888, one per line. Received: "
            f"{', '.join(wrong[:3]) or 'none'}. Correct the file, or name another in "
            "fetch.hpa.genes."
        )
    return genes


def _read_genes(settings: Hpa, session: requests.Session, shelf: Shelf) -> list[Picture]:
    found: dict[tuple[str, str], Picture] = {}
    for gene in tqdm(read_gene_ids(Path(settings.genes)), desc="genes", unit="gene", disable=None):
        path = _get(f"{settings.url.rstrip('/')}/{gene}.xml", session, shelf, remember=False)
        if path is None:
            raise InputError(
                f"fetch.hpa.genes: expected genes of the atlas. Received: {gene}, which "
                f"{settings.url} does not know. Take it out of {settings.genes}."
            )
        for picture in _read_gene(path):
            # An antibody may stand for two genes; a name is that of one image in its class.
            found.setdefault((picture.class_name, picture.file_name), picture)
    return [found[key] for key in sorted(found)]


def _read_gene(path: Path) -> list[Picture]:
    try:
        return read_pictures(path)
    except InputError:
        path.unlink()  # or the next run would read the same file
        raise


def _get(
    url: str, session: requests.Session, shelf: Shelf, *, remember: bool = True
) -> Path | None:
    """Return the file at an address, from the cache if it is there; None if the server has none.

    With `remember` it is not asked again for what it does not have.
    """
    slot = shelf.slot(hashlib.sha256(url.encode()).hexdigest())
    if not remember and slot.path.is_file() and not slot.path.stat().st_size:
        slot.path.unlink()
    if not slot.path.is_file() and not download(session, url, slot):
        if not remember:
            return None
        slot.path.parent.mkdir(parents=True, exist_ok=True)
        slot.path.touch()  # an empty file: the server was asked, and has none
    return slot.path if slot.path.stat().st_size else None


def _divide(pictures: list[Picture], settings: Hpa, seed: int) -> pd.DataFrame:
    """Return `class`, `donor`, `split` and `turn` of each picture, in the order they are tried."""
    table = pd.DataFrame(
        {"class": [p.class_name for p in pictures], "group": [p.donor for p in pictures]}
    )
    classes = table["class"].nunique()
    if classes < 2:
        raise InputError(
            f"fetch.hpa.genes: expected genes with images of two tissues or more. Received: images "
            f"of {classes}. Add genes to {settings.genes}."
        )
    wanted = settings.train_per_class + settings.test_per_class
    test = group_holdout(table, settings.test_per_class / wanted, seed)
    table["split"] = np.where(test, "test", "train")
    order = np.random.default_rng([seed, len(table)]).permutation(len(table))
    table = table.iloc[order]
    # Every donor's first image comes before any donor's second one.
    table["turn"] = table.groupby(["class", "split", "group"]).cumcount()
    return table.sort_values("turn", kind="stable")


def _download(
    pictures: list[Picture],
    table: pd.DataFrame,
    settings: Hpa,
    session: requests.Session,
    shelf: Shelf,
) -> list[Chosen]:
    wanted = _wanted(settings)
    parts = [(split, rows) for (_, split), rows in table.groupby(["class", "split"])]
    total = sum(min(wanted[split], len(rows)) for split, rows in parts)
    chosen: list[Chosen] = []
    with tqdm(total=total, desc="atlas", unit="image", disable=None) as progress:
        for split, rows in parts:
            images = _available([pictures[row] for row in rows.index], session, shelf)
            for _, (picture, path) in zip(range(wanted[split]), images, strict=False):
                chosen.append(Chosen(split, picture, path))
                progress.update()
    return chosen


def _available(
    pictures: list[Picture], session: requests.Session, shelf: Shelf
) -> Iterator[tuple[Picture, Path]]:
    for picture in pictures:
        path = _get(picture.url, session, shelf)
        if path is not None and _is_image(path, picture.url):
            yield picture, path


def _is_image(path: Path, url: str) -> bool:
    """Whether a file is an image; one that is damaged in the atlas counts as one it has not.

    Raises:
        InputError: if it is a page in place of an image, such as one that tells of repairs.
    """
    try:
        with Image.open(path):
            return True
    except UnidentifiedImageError:
        start = path.read_bytes()[:40]
    if start.lstrip().startswith(b"<"):
        path.unlink()  # or the next run would take it for the image
        raise InputError(
            f"{url}: expected an image. Received: a page that begins with {start!r}. It was "
            "removed: run fetch again later."
        )
    tqdm.write(f"hpa: {url} is left out: no image, it begins with {start!r}")
    path.write_bytes(b"")
    return False


def _wanted(settings: Hpa) -> dict[str, int]:
    return {"train": settings.train_per_class, "test": settings.test_per_class}


def _tell(chosen: list[Chosen], settings: Hpa) -> None:
    counts = Counter((image.picture.class_name, image.split) for image in chosen)
    for class_name in sorted(TISSUES):
        for split, wanted in _wanted(settings).items():
            found = counts[class_name, split]
            if found < wanted:
                print(f"hpa: {found} of {wanted} images of {class_name} for {split}; add genes")
    print(
        f"hpa: the images are those of the Human Protein Atlas, with the terms of the release they "
        f"come from.\n     Read {settings.url.rstrip('/')}{LICENCE} before you use or pass them on."
    )
