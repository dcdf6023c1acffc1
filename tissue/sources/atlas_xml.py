"""The XML file of a gene in the Human Protein Atlas: which images it names, and whose they are."""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException, ElementTree

from tissue.common.errors import InputError
from tissue.common.names import TISSUES, slide_of


@dataclass(frozen=True)
class Picture:
    """An image of a healthy tissue: class, address, donor, antibody and release of the atlas."""

    class_name: str
    url: str
    donor: str
    antibody: str
    release: str

    @property
    def file_name(self) -> str:
        """The last part of the address."""
        return PurePosixPath(urlsplit(self.url).path).name

    @property
    def slide(self) -> str:
        """The number of the slide that the core stands on, empty if the name does not tell."""
        return slide_of(self.file_name)


def read_pictures(path: Path) -> list[Picture]:
    """Read the images of the twelve classes in the XML file of a gene, one a donor and antibody.

    Understood are `<proteinAtlas>` around `<entry>` or `<entry>` alone, with a namespace or
    without. Cancers, and the images selected to stand for an entry as a whole, are left out; so
    are images without a donor, since they could not be kept out of the other part.

    Raises:
        ValueError: if the file is not well-formed, or declares entities.
    """
    try:
        root = ElementTree.fromstring(path.read_bytes())
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise InputError(
            f"{path}: expected the XML of a gene of the atlas. Received: {error!r}. "
            "The file was removed: run fetch again."
        ) from None
    name = root.tag.rpartition("}")[2]
    entries = [root] if name == "entry" else root.findall("{*}entry")
    return [
        picture
        for entry in entries
        for antibody in entry.findall("{*}antibody")
        for expression in antibody.findall("{*}tissueExpression[@assayType='tissue']")
        for data in expression.findall("{*}data")
        for picture in _pictures(data, antibody.get("id", ""), entry.get("version", ""))
    ]


def _pictures(data: Element, antibody: str, release: str) -> list[Picture]:
    tissue = re.sub(r"[^a-z0-9]+", "_", _text(data, "{*}tissue").lower()).strip("_")
    if tissue not in TISSUES:
        return []
    found = [
        (
            _text(patient, "{*}sample/{*}assayImage/{*}image/{*}imageUrl"),
            _text(patient, "{*}patientId"),
        )
        for patient in data.findall("{*}patient")
    ]
    return [Picture(tissue, url, donor, antibody, release) for url, donor in found if url and donor]


def _text(element: Element, path: str) -> str:
    return (element.findtext(path) or "").strip()
