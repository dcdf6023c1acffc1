"""Tissue images of the Human Protein Atlas, divided into training and test by donor.

The XML files of the genes name the images, their tissues and donors. A choice of them is
downloaded, slowly enough for a public server, and what is in the cache is not requested again.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import requests
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from tissue.common.errors import InputError
from tissue.common.holdout import group_holdout
from tissue.common.names import TISSUES, atlas_name
from tissue.config.fetch import Hpa
from tissue.sources.atlas_xml import AtlasImage, check_image, read_gene
from tissue.sources.cache import DownloadCache
from tissue.sources.raw import Row
from tissue.sources.web import download, open_session

LARGEST = 500_000_000  # bytes of an image, or of what is known of a gene
GENE = re.compile("ENSG[0-9]{11}")


def download_atlas(settings: Hpa, *, seed: int, cache: Path) -> list[tuple[Row, Path]]:
    """Choose and download images; return the row of the manifest and the file of each, by id.

    The choice depends on the seed and the genes only. It holds about as many images of each donor,
    and no donor is in training and in test. Where the genes have fewer images than wanted, all of
    them are taken, and their number is printed.

    Raises:
        InputError: if a gene is not in the atlas, if fewer than two tissues have an image, or if
            the server sends pages in place of images.
    """
    wanted = {"train": settings.train_per_class, "test": settings.test_per_class}
    with open_session(per_second=settings.requests_per_second, contact=settings.contact) as session:
        server = _Server.at(settings, session, cache)
        candidates = _divide(_images_of_classes(settings, server), settings, seed)
        chosen = list(_choose(candidates, wanted, server))
    counts = Counter((row["class"], row["split"]) for row, _ in chosen)
    for class_name, (split, count) in product(sorted(TISSUES), wanted.items()):
        found = counts[class_name, split]
        if found < count:
            print(f"hpa: {found} of {count} images of {class_name} for {split}; add genes")
    print(
        "hpa: the images are those of the Human Protein Atlas, under the terms of the release they "
        f"come from.\n     Read {server.licence} before you use or pass them on."
    )
    return sorted(chosen, key=lambda image: str(image[0]["id"]))


def find_donors(names: set[str], settings: Hpa, *, cache: Path) -> dict[str, set[str]]:
    """Ask the atlas for the donors of images, which are named as by `atlas_name`.

    The genes of `settings.genes` are asked for one after the other until every image is found. An
    image that none of them has is not in the result; each other one has one donor, unless the atlas
    contradicts itself.

    Raises:
        InputError: if a gene is not in the atlas, or the server gives no answer.
    """
    donors: dict[str, set[str]] = {}
    with (
        open_session(per_second=settings.requests_per_second, contact=settings.contact) as session,
        # Closed with the progress bar, as soon as no further gene is needed
        closing(_read_genes(settings, _Server.at(settings, session, cache))) as genes,
    ):
        for images in genes:
            for image in images:
                if (name := atlas_name(image.file_name)) in names:
                    donors.setdefault(name, set()).add(image.donor)
            if len(donors) == len(names):
                break
    return donors


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


class _Server(NamedTuple):
    """The server of the atlas, and the cache of its files."""

    url: str
    session: requests.Session
    cache: DownloadCache

    @classmethod
    def at(cls, settings: Hpa, session: requests.Session, cache: Path) -> "_Server":
        return cls(
            settings.url.rstrip("/"), session, DownloadCache(cache, settings.url, most=LARGEST)
        )

    @property
    def licence(self) -> str:
        return f"{self.url}/about/licence"

    def get(self, url: str, *, retry_missing: bool) -> Path | None:
        """Return the file at a URL, from the cache if it is there; None if the server has none.

        With `retry_missing`, files that the server did not have are requested again.
        """
        target = self.cache.file(hashlib.sha256(url.encode()).hexdigest())
        path = target.path
        if retry_missing and path.is_file() and not path.stat().st_size:
            path.unlink()
        if not path.is_file() and not download(self.session, url, target):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()  # empty: the server has none
        return path if path.stat().st_size else None


def _images_of_classes(settings: Hpa, server: _Server) -> list[AtlasImage]:
    images: dict[tuple[str, str], AtlasImage] = {}
    for found in _read_genes(settings, server):
        for image in found:
            if image.class_name in TISSUES:
                # An antibody may bind the proteins of two genes; a class has one image per name.
                images.setdefault((image.class_name, image.file_name), image)
    return [images[key] for key in sorted(images)]


def _read_genes(settings: Hpa, server: _Server) -> Generator[list[AtlasImage]]:
    """Yield the images of each gene."""
    for gene in tqdm(read_gene_ids(Path(settings.genes)), desc="genes", unit="gene", disable=None):
        path = server.get(f"{server.url}/{gene}.xml", retry_missing=True)
        if path is None:
            raise InputError(
                f"fetch.hpa.genes: expected genes of the atlas. Received: {gene}, which "
                f"{settings.url} does not know. Take it out of {settings.genes}."
            )
        try:
            images = read_gene(path)
            for image in images:
                check_image(image, server.url)
        except InputError:
            path.unlink()  # or the next run would read the same file
            raise
        yield images


def _divide(images: list[AtlasImage], settings: Hpa, seed: int) -> pd.DataFrame:
    """Return `image`, `class` and `split` of all images, in the order in which they are tried."""
    table = pd.DataFrame(
        {
            "image": images,
            "class": [image.class_name for image in images],
            "group": [image.donor for image in images],
        }
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
    table = table.iloc[np.random.default_rng([seed, len(table)]).permutation(len(table))]
    # The first image of every donor comes before the second image of any donor.
    table["turn"] = table.groupby(["class", "split", "group"]).cumcount()
    return table.sort_values("turn", kind="stable")


def _choose(
    candidates: pd.DataFrame, wanted: Mapping[str, int], server: _Server
) -> Iterator[tuple[Row, Path]]:
    """Download as many images as wanted of each class and split; yield their rows and files."""
    groups = candidates.groupby(["class", "split"])["image"]
    total = sum(min(wanted[split], len(images)) for (_, split), images in groups)
    with tqdm(total=total, desc="atlas", unit="image", disable=None) as progress:
        for (_, split), images in groups:
            available = _download(images, server)
            for _, (image, path) in zip(range(wanted[split]), available, strict=False):
                progress.update()
                yield image.row(split, server.licence), path


def _download(images: pd.Series, server: _Server) -> Iterator[tuple[AtlasImage, Path]]:
    """Yield the images that the server has, and that are not damaged there."""
    for image in images:
        path = server.get(image.url, retry_missing=False)
        if path is not None and _is_image(path, image.url):
            yield image, path


def _is_image(path: Path, url: str) -> bool:
    """Return whether a file is an image; empty it if not, as one that the server does not have."""
    try:
        with Image.open(path):
            return True
    except UnidentifiedImageError:
        start = path.read_bytes()[:40]
    if start.lstrip().startswith(b"<"):  # a notice of maintenance, for example
        path.unlink()  # or the next run would take it for the image
        raise InputError(
            f"{url}: expected an image. Received: a page that begins with {start!r}. It was "
            "removed: run it again later."
        )
    tqdm.write(f"hpa: {url} is left out: no image, it begins with {start!r}")
    path.write_bytes(b"")
    return False
