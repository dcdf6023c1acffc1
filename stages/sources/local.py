"""Images in folders and archives on this machine."""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from stages.cli.running import InputError
from stages.sources.archives import Reader, check_digest, is_archive, open_archive
from stages.sources.layout import Place, is_image, place_images


@dataclass(frozen=True)
class Image:
    """An image of a source: where it stands, what it comes from, and how to read its bytes."""

    place: Place
    origin: str
    read: Reader


def list_images(
    sources: Iterable[str], *, sha256: Mapping[str, str], closing: ExitStack
) -> list[Image]:
    """List the images of folders and archives, merged into one tree and sorted by id.

    Args:
        sources: folders and archives; a folder with archives and no image stands for its archives.
        sha256: expected digests of archives by file name.
        closing: closes the archives when the images have been read.

    Raises:
        ValueError: if a source is missing, is neither folder nor archive, has the wrong digest or
            no known layout; or if two different images would have one id.
    """
    paths = [path for source in sources for path in _archives_or_folder(Path(source))]
    _check_digests(paths, sha256)
    files = [
        (path, name, read) for path in paths for name, read in sorted(_open(path, closing).items())
    ]
    # Two parts of one tree may each hold a share of it, so the layout is read off all together.
    places = place_images({name for _, name, _ in files}, source=" + ".join(map(str, paths)))
    images: dict[str, Image] = {}
    for path, name, read in files:
        if name in places:
            image = Image(places[name], path.name, read)
            _check_same(image, images.setdefault(image.place.id, image))
    return [images[id_] for id_ in sorted(images)]


def _check_same(image: Image, other: Image) -> None:
    if image is not other and image.read() != other.read():
        raise InputError(
            f"{image.origin}: expected one image a name. Received: a {image.place.id} that differs "
            f"from the one in {other.origin}. Rename one of them."
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
            f"fetch.source: expected 'phantom', a folder or an archive. Received: {path}, which "
            f"does not exist under {Path.cwd()}. Check fetch.source in params.yaml."
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


def _open(path: Path, closing: ExitStack) -> dict[str, Reader]:
    if path.is_dir():
        files = (file for file in path.rglob("*") if file.is_file())
        return {file.relative_to(path).as_posix(): file.read_bytes for file in files}
    return open_archive(path, closing=closing)
