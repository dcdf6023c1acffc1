"""Images in folders and archives on this machine."""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from stages.cli.running import InputError
from stages.params.schema import Limits
from stages.sources.archives import Member, Reader, check_digest, is_archive, open_archive
from stages.sources.folders import open_folder
from stages.sources.layout import Place, place_images
from stages.sources.names import is_image, left_out


@dataclass(frozen=True)
class Image:
    """An image of a source: where it stands, what it comes from, and how to read its bytes."""

    place: Place
    origin: str
    read: Reader


def list_images(
    sources: Iterable[str], *, sha256: Mapping[str, str], limits: Limits, closing: ExitStack
) -> list[Image]:
    """List the images of folders and archives, merged into one tree and sorted by id.

    Prints what else is in them, in one line.

    Args:
        sources: folders and archives; a folder with archives and no image stands for its archives.
        sha256: expected digests of archives by file name.
        limits: of what is in the archives.
        closing: closes the archives when the images have been read.

    Raises:
        ValueError: if a source is missing, is neither folder nor archive, has the wrong digest or
            no known layout; or if two different images would have one id.
    """
    paths = [path for source in sources for path in _archives_or_folder(Path(source))]
    _check_digests(paths, sha256)
    files = [
        (path, member)
        for path in paths
        for member in sorted(_open(path, limits, closing), key=lambda member: member.name)
    ]
    _tell_left_out(member for _, member in files)
    # Two parts of one tree may each hold a share of it, so the layout is read off all together.
    names = {member.name for _, member in files if not member.kind}
    places = place_images(names, source=" + ".join(map(str, paths)))
    images: dict[str, Image] = {}
    for path, member in files:
        if member.name in places and not member.kind:
            image = Image(places[member.name], path.name, member.read)
            # Where upper and lower case are one, one of the two files would replace the other.
            _check_same(image, images.setdefault(image.place.id.casefold(), image))
    return sorted(images.values(), key=lambda image: image.place.id)


def _tell_left_out(members: Iterable[Member]) -> None:
    names: dict[str, list[str]] = {}
    for member in members:
        if kind := member.kind or left_out(member.name):
            names.setdefault(kind, []).append(member.name)
    if names:
        told = (f"{len(of)} x {kind} (e.g. {of[0]!r})" for kind, of in sorted(names.items()))
        print(f"left out: {', '.join(told)}")


def _check_same(image: Image, other: Image) -> None:
    if image is not other and image.read() != other.read():
        raise InputError(
            f"{image.origin}: expected one image a name. Received: a {image.place.id} that differs "
            f"from {other.place.id} in {other.origin}. Rename one of them."
        )


def _archives_or_folder(path: Path) -> list[Path]:
    if path.is_dir():
        files = [file for file in sorted(path.rglob("*")) if file.is_file()]
        archives = [file for file in files if is_archive(file)]
        has_images = any(is_image(file.relative_to(path).as_posix()) for file in files)
        if archives and has_images:
            raise InputError(
                f"{path}: expected images or archives. Received: both, e.g. {archives[0].name}. "
                "Name the folder and the archives one by one in a list."
            )
        return archives or [path]
    if not path.exists():
        raise InputError(
            "fetch.source: expected phantom, hpa, an address such as https://... or s3://..., or a "
            f"folder or archive. Received: {path}, which does not exist, seen from {Path.cwd()}. "
            "Check fetch.source in params.yaml."
        )
    if not is_archive(path):
        raise InputError(
            f"{path}: expected a folder or an archive (.zip, .tar, .tar.gz). Received: a file "
            f"ending in {path.suffix or 'nothing'}. Check fetch.source in params.yaml."
        )
    return [path]


def _check_digests(paths: list[Path], sha256: Mapping[str, str]) -> None:
    unknown = sorted(set(sha256) - {path.name for path in paths})
    if unknown:
        raise InputError(
            f"fetch.sha256: expected names of the source's archives. Received: {unknown[0]}, which "
            "is none of them. Correct fetch.sha256 in params.yaml."
        )
    for path in paths:
        if path.name in sha256:
            check_digest(path, sha256[path.name])


def _open(path: Path, limits: Limits, closing: ExitStack) -> list[Member]:
    if path.is_dir():
        return open_folder(path, limits=limits)
    return open_archive(path, limits=limits, closing=closing)
