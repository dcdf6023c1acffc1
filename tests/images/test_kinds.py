"""Files that cannot be decoded say what they are, and what reads them."""

import struct

import pytest

from tests.images.test_decoding import decoded, encode, smooth, tiff
from tissue.images.kinds import UnreadableImageError

HEIC = struct.pack(">I", 24) + b"ftypheic" + bytes(40)


def channels_tiff(channels: int, bits: int, *, compression: int = 1, kind: int = 1) -> bytes:
    size = 32 * 32 * channels * bits // 8
    tags = {258: [bits] * channels, 259: compression, 262: 1, 273: 8, 277: channels, 279: size}
    return tiff(bytes(size), 32, 32, {**tags, 339: [kind] * channels})


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><title>Sign in</title>", "a web page"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "a pointer of Git LFS; run `git lfs pull`",
        ),
        (HEIC, r"a HEIC picture; to read those, run pip install -r requirements/heic\.txt"),
        (bytes(128) + b"DICM" + bytes(50), "a DICOM file"),
        (b"%PDF-1.7", "a PDF document"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (channels_tiff(5, 16), "a TIFF file with 5 channels of 16 bits, compression raw"),
        (channels_tiff(3, 32, kind=3), "a TIFF file with 3 channels of 32 floating-point bits"),
    ],
)
def test_kinds_are_named(content: bytes, kind: str) -> None:
    with pytest.raises(UnreadableImageError, match=rf": it is {kind}"):
        decoded(content)


@pytest.mark.parametrize(
    ("number", "name"), [(33005, "JPEG 2000 of Aperio"), (22610, "JPEG XR"), (64999, "unknown")]
)
def test_compressions_are_named(number: int, name: str) -> None:
    content = channels_tiff(1, 8, compression=number)
    with pytest.raises(UnreadableImageError, match=rf"compression {name} \({number}\)"):
        decoded(content)


def test_damage_of_a_png_is_told_as_before() -> None:
    content = encode(smooth(32), "PNG")
    with pytest.raises(UnreadableImageError, match=r"^(?!.*it is)"):
        decoded(content[: len(content) // 2])
