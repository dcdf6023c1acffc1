"""The XML file of a gene in the Human Protein Atlas: which images it names, and whose they are."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException, ElementTree

from tissue.common.errors import InputError
from tissue.common.names import slide_of
from tissue.common.secrets import has_secret, redact
from tissue.sources.file_names import check_text
from tissue.sources.raw import Row

MOST = 200  # letters of an address in a message
CREDIT = "Image credit: Human Protein Atlas"
ATLAS = "proteinatlas.org"  # which the files of a mirror still name


@dataclass(frozen=True)
class AtlasImage:
    """An image of a healthy tissue: its name as a class, URL, donor, antibody and release."""

    class_name: str
    url: str
    donor: str
    antibody: str
    release: str

    @property
    def file_name(self) -> str:
        """The last part of the URL."""
        return PurePosixPath(urlsplit(self.url).path).name

    def row(self, split: str, licence: str) -> Row:
        """Return the row of the manifest."""
        return {
            "id": f"{split}/{self.class_name}/{self.file_name}",
            "split": split,
            "class": self.class_name,
            "source": "hpa",
            "donor": self.donor,
            "slide": slide_of(self.file_name),
            "antibody": self.antibody,
            "url": self.url,
            "licence": licence,
            "release": self.release,
            "credit": f"{CREDIT}, {self.url}",
        }


def check_image(image: AtlasImage, server: str) -> None:
    """Check what a server says of an image as if it stood in an archive of others.

    Its address has to be of the domain of the `server` or of the atlas, and its name that of one
    file.

    Raises:
        InputError: if it is not.
    """
    try:
        parts, own = urlsplit(image.url), urlsplit(server)
        is_near = _domain(parts.hostname or "") in (_domain(own.hostname or ""), ATLAS)
        wrong = not is_near or parts.scheme not in ("http", "https") or has_secret(image.url)
        name = image.file_name
    except ValueError:  # no address at all
        wrong, name = True, ""
    if wrong or name in ("", ".", "..") or "\\" in name:
        raise InputError(
            f"{server}: expected images at addresses of its own domain or of {ATLAS}. Received: "
            f"{redact(image.url[:MOST])!r}. The server is not the atlas, or was tampered with."
        )
    check_text(name, source=server)
    for text in filter(None, (image.donor, image.antibody, image.release)):
        check_text(text, source=server)


def _domain(host: str) -> str:
    """Return the last two labels of a host, which the servers of one owner share."""
    return host if host.replace(".", "").isdigit() else ".".join(host.split(".")[-2:])


def read_gene(path: Path) -> list[AtlasImage]:
    """Return the images of all healthy tissues in the XML file of a gene.

    Accepted are `<proteinAtlas>` around `<entry>` or `<entry>` alone, with a namespace or without.
    Cancers, the images that stand for an entry as a whole, and images without a donor, which could
    be in training and in test, are left out.

    Raises:
        InputError: if the file is not well-formed, or declares entities.
    """
    try:
        root = ElementTree.fromstring(path.read_bytes())
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise InputError(
            f"{path}: expected the XML of a gene of the atlas. Received: {error!r}. "
            "The file was removed: run it again."
        ) from None
    name = root.tag.rpartition("}")[2]
    entries = [root] if name == "entry" else root.findall("{*}entry")
    return [
        image
        for entry in entries
        for antibody in entry.findall("{*}antibody")
        for data in antibody.findall("{*}tissueExpression[@assayType='tissue']/{*}data")
        for image in _images(data, antibody.get("id", ""), entry.get("version", ""))
    ]


def _images(data: Element, antibody: str, release: str) -> Iterator[AtlasImage]:
    tissue = re.sub(r"[^a-z0-9]+", "_", _text(data, "{*}tissue").lower()).strip("_")
    for patient in data.findall("{*}patient"):
        url = _text(patient, "{*}sample/{*}assayImage/{*}image/{*}imageUrl")
        donor = _text(patient, "{*}patientId")
        if url and donor:
            yield AtlasImage(tissue, url, donor, antibody, release)


def _text(element: Element, path: str) -> str:
    return (element.findtext(path) or "").strip()
