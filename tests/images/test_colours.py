"""Colour profiles: pictures of other colour spaces become sRGB."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.images.test_decoding import decoded, encode, error, smooth

D50 = np.array([0.9642, 1.0, 0.8249])
D65 = np.array([0.95047, 1.0, 1.08883])
BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
# Red, green and blue of two wide colour spaces, as chromaticities
ADOBE = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
P3 = ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06))


def profile(primaries: tuple[tuple[float, float], ...], gamma: float = 2.2) -> bytes:
    """A small ICC profile (version 2) of three primaries."""
    matrix = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    matrix = matrix * np.linalg.solve(matrix, D65)
    adapt = np.linalg.inv(BRADFORD) @ np.diag((BRADFORD @ D50) / (BRADFORD @ D65)) @ BRADFORD

    def xyz(values: np.ndarray) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(v * 65536)) for v in values)

    name = b"wide gamut"
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, int(gamma * 256)) + b"\0\0"
    desc = b"desc\0\0\0\0" + struct.pack(">I", len(name) + 1) + name + b"\0" * 79
    desc += b"\0" * (-len(desc) % 4)
    colours = (adapt @ matrix).T
    tags = [(b"desc", desc), (b"cprt", b"text\0\0\0\0none\0\0\0\0"), (b"wtpt", xyz(D50))]
    tags += [(b"rXYZ", xyz(colours[0])), (b"gXYZ", xyz(colours[1])), (b"bXYZ", xyz(colours[2]))]
    tags += [(b"rTRC", curve), (b"gTRC", curve), (b"bTRC", curve)]
    at, table, body = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for tag, content in tags:
        table += tag + struct.pack(">II", at + len(body), len(content))
        body += content
    size = at + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"none", 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + b"\0" * 28
    head += b"".join(struct.pack(">i", round(v * 65536)) for v in D50) + b"\0" * 48
    return head + table + body


def stored_in(image: Image.Image, content: bytes) -> Image.Image:
    """The image with the numbers that stand for its colours in another colour space."""
    target = ImageCms.ImageCmsProfile(io.BytesIO(content))
    converted = ImageCms.profileToProfile(image, ImageCms.createProfile("sRGB"), target)
    assert converted is not None
    return converted


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "WEBP"])
@pytest.mark.parametrize("primaries", [ADOBE, P3])
def test_profiles_become_srgb(kind: str, primaries: tuple[tuple[float, float], ...]) -> None:
    scene, space = smooth(32), profile(primaries)
    other = stored_in(scene, space)
    options = {"JPEG": {"quality": 98, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    result = decoded(encode(other, kind, icc_profile=space, **options))
    assert error(np.asarray(other), scene) > 4  # read without the profile
    assert error(result, scene) < (1.5 if kind == "JPEG" else 0.6)


def test_profile_of_a_picture_with_transparency() -> None:
    scene, space = smooth(32), profile(ADOBE)
    other = stored_in(scene, space)
    other.putalpha(255)
    other.putpixel((0, 0), (0, 0, 0, 0))
    result = decoded(encode(other, "PNG", icc_profile=space))
    assert error(result[2:, 2:], np.asarray(scene)[2:, 2:]) < 0.6
    assert (result[0, 0] == 255).all()


@pytest.mark.parametrize("content", [b"no profile", profile(ADOBE)[:200], b"\0" * 400])
def test_a_broken_profile_is_no_broken_picture(content: bytes) -> None:
    result = decoded(encode(smooth(32), "PNG", icc_profile=content))
    assert (result == decoded(encode(smooth(32), "PNG"))).all()


def test_srgb_is_left_as_it_is() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    result = decoded(encode(smooth(32), "PNG", icc_profile=srgb))
    assert (result == np.asarray(smooth(32))).all()
