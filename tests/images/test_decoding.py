"""The decoder: every kind of image file to RGB uint8 of one size, everything else refused."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from tissue.images.decoding import UnreadableImageError, content_box, decode

FORMATS = ["JPEG", "PNG", "TIFF", "BMP", "WEBP"]
MANY = 10**8
Pixels = NDArray[np.uint8]


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def smooth(width: int, height: int | None = None, *, noise: float = 0.0) -> Image.Image:
    """A picture of broad blobs of colour, with noise if asked for."""
    rng = np.random.default_rng(8)
    coarse = rng.integers(40, 216, (6, 6, 3), dtype=np.uint8)
    size = (width, height or width)
    pixels = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC), np.float32)
    pixels = pixels + rng.normal(0, noise, pixels.shape) if noise else pixels
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def decoded(content: bytes, size: int = 32) -> Pixels:
    image, _, _ = decode(content, size=size, max_pixels=MANY)
    assert image.dtype == np.uint8
    assert image.shape == (size, size, 3)
    return image


def error(first: Pixels, second: Pixels | Image.Image) -> float:
    """Mean absolute difference in grey levels."""
    return float(np.abs(first.astype(float) - np.asarray(second, float)).mean())


def reference(image: Image.Image, size: int = 32) -> Pixels:
    return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC))


def png16(levels: NDArray[np.uint16]) -> bytes:
    """A PNG of 16 bits a channel, (S, S, 1) grey, (S, S, 3) RGB or (S, S, 4) with alpha."""
    height, width, channels = levels.shape
    kind = {1: 0, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)

    def chunk(name: bytes, content: bytes) -> bytes:
        check = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def planar_tiff(planes: NDArray[Any]) -> bytes:
    """An RGB TIFF of (3, H, W), uint8 or uint16, not compressed, one channel after the other."""
    count, height, width = planes.shape
    size, start = planes[0].nbytes, 8
    values = {256: width, 257: height, 259: 1, 262: 2, 277: count, 278: height, 284: 2}
    lists = {
        258: [8 * planes.itemsize] * count, 273: [start + i * size for i in range(count)],
        279: [size] * count,
    }  # fmt: skip
    table, extra = b"", b""
    beyond = start + count * size
    for tag in sorted(values | lists):
        numbers = lists.get(tag, [values.get(tag, 0)])
        table += struct.pack("<HHI", tag, 4, len(numbers))
        if len(numbers) == 1:
            table += struct.pack("<I", numbers[0])
        else:
            table += struct.pack("<I", beyond + len(extra))
            extra += struct.pack(f"<{len(numbers)}I", *numbers)
    directory = struct.pack("<H", len(values | lists)) + table + struct.pack("<I", 0)
    at = beyond + len(extra)
    pixels = planes.astype(planes.dtype.newbyteorder("<")).tobytes()
    return b"II*\0" + struct.pack("<I", at) + pixels + extra + directory


def grey_tiff(levels: NDArray[np.uint16], bits: int, white_is_zero: bool) -> bytes:
    """A TIFF file of 12 or 16 bits, (S, S); twelve are packed, two pixels in three bytes."""
    height, width = levels.shape
    if bits == 16:
        pixels = levels.astype("<u2").tobytes()
    else:
        bits_of = (levels.reshape(-1, 1) >> np.arange(11, -1, -1)) & 1
        pixels = np.packbits(bits_of.astype(np.uint8)).tobytes()
    tags = {
        256: width, 257: height, 258: bits, 259: 1, 262: 0 if white_is_zero else 1, 273: 8,
        277: 1, 278: height, 279: len(pixels),
    }  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    folder = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + folder


class TestKinds:
    @pytest.mark.parametrize("kind", FORMATS)
    def test_rgb(self, kind: str) -> None:
        image = smooth(48)
        content = encode(image, kind, **({"quality": 95} if kind in ("JPEG", "WEBP") else {}))
        limit = {"JPEG": 2.0, "WEBP": 3.0}.get(kind, 0.5)
        assert error(decoded(content), reference(image)) < limit

    @pytest.mark.parametrize("kind", FORMATS)
    def test_size_of_the_original_is_told(self, kind: str) -> None:
        _, width, height = decode(encode(smooth(50, 40), kind), size=8, max_pixels=MANY)
        assert (width, height) == (50, 40)

    @pytest.mark.parametrize("kind", FORMATS)
    def test_grey(self, kind: str) -> None:
        image = smooth(48).convert("L")
        result = decoded(encode(image, kind))
        assert error(result, reference(image)) < 3
        assert (np.ptp(result.astype(int), axis=-1) <= 2).all()

    @pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
    def test_palette(self, kind: str) -> None:
        image = smooth(48).quantize(64)
        assert error(decoded(encode(image, kind)), reference(image)) < 0.5

    @pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
    def test_black_and_white(self, kind: str) -> None:
        image = smooth(48).convert("1")
        assert error(decoded(encode(image, kind)), reference(image.convert("L"))) < 0.5

    @pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
    def test_cmyk(self, kind: str) -> None:
        image = smooth(48).convert("CMYK")
        assert error(decoded(encode(image, kind)), reference(image)) < 2

    @pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
    def test_transparency_is_white(self, kind: str) -> None:
        image = Image.new("RGBA", (32, 32), (200, 30, 60, 255))
        image.paste((0, 0, 0, 0), (0, 0, 32, 16))
        options = {"lossless": True} if kind == "WEBP" else {}
        result = decoded(encode(image, kind, **options))
        assert (result[:14] == 255).all()
        assert error(result[18:], np.broadcast_to(np.uint8([200, 30, 60]), (14, 32, 3))) < 1

    def test_half_transparent_is_half_white(self) -> None:
        result = decoded(encode(Image.new("LA", (32, 32), (0, 128)), "PNG"))
        assert error(result, np.full_like(result, 127)) < 1

    def test_transparent_colour_of_a_palette(self) -> None:
        image = Image.new("P", (32, 32), 0)
        image.putpalette([10, 20, 30, 200, 100, 50])
        image.paste(1, (0, 16, 32, 32))
        result = decoded(encode(image, "PNG", transparency=0))
        assert (result[:14] == 255).all()
        assert (result[18:] == [200, 100, 50]).all()

    @pytest.mark.parametrize("channels", [1, 3, 4])
    def test_16_bit_png(self, channels: int) -> None:
        colour = np.array([0x2000, 0x8000, 0xE000, 0xFFFF][:channels], np.uint16)
        result = decoded(png16(np.broadcast_to(colour, (32, 32, channels))))
        expected = np.resize(colour[:3] >> 8, 3)
        assert np.abs(result.astype(int) - expected).max() <= 1

    def test_16_bit_tiff(self) -> None:
        levels = np.full((32, 32), 0x4000, np.uint16)
        levels[16:] = 0xC000
        result = decoded(encode(Image.fromarray(levels), "TIFF"))
        assert (result[:14] == 0x40).all()
        assert (result[18:] == 0xC0).all()

    @pytest.mark.parametrize("white_is_zero", [False, True])
    @pytest.mark.parametrize("bits", [12, 16])
    def test_grey_of_a_microscope_camera(self, bits: int, white_is_zero: bool) -> None:
        if bits == 12 and white_is_zero:
            pytest.skip("Pillow does not open these")
        levels = np.full((32, 32), 0x400 if bits == 12 else 0x4000, np.uint16)
        levels[16:] *= 3
        result = decoded(grey_tiff(levels, bits, white_is_zero))
        dark, bright = (0xBF, 0x3F) if white_is_zero else (0x40, 0xC0)
        assert (result[:14] == dark).all()
        assert (result[18:] == bright).all()

    def test_a_tiff_of_planes(self) -> None:
        planes = np.asarray(smooth(48)).transpose(2, 0, 1)
        assert error(decoded(planar_tiff(planes)), reference(smooth(48))) < 0.5
        with pytest.raises(UnreadableImageError, match="PlanarConfiguration 1"):
            decoded(planar_tiff(planes.astype(np.uint16) * 257))

    def test_32_bit_grey_beyond_16_bits_is_refused(self) -> None:
        levels = np.full((8, 8), 1 << 20, np.int32)
        with pytest.raises(UnreadableImageError, match="outside 16 bits"):
            decoded(encode(Image.fromarray(levels), "TIFF"))

    def test_floating_point_is_refused(self) -> None:
        with pytest.raises(UnreadableImageError, match="floating-point"):
            decoded(encode(Image.fromarray(np.ones((8, 8), np.float32)), "TIFF"))

    @pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"])
    def test_compressed_tiff(self, compression: str) -> None:
        image = smooth(48)
        assert error(decoded(encode(image, "TIFF", compression=compression)), reference(image)) < 4

    def test_progressive_jpeg(self) -> None:
        image = smooth(300)
        assert error(decoded(encode(image, "JPEG", progressive=True)), reference(image)) < 2

    def test_jpeg_with_a_second_picture_of_a_camera(self) -> None:
        image = smooth(48)
        content = encode(image, "MPO", save_all=True, append_images=[smooth(20)])
        assert error(decoded(content), reference(image)) < 4

    def test_name_does_not_matter_but_content(self) -> None:
        # Only bytes are given: a PNG named .jpg is read as what it is.
        assert decoded(encode(smooth(20), "PNG")).shape == (32, 32, 3)


class TestGeometry:
    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
    def test_turned_by_exif(self, kind: str, orientation: int) -> None:
        upright = np.full((32, 32, 3), 255, np.uint8)
        upright[:16, :16], upright[16:, :16] = (220, 20, 20), (20, 20, 220)
        undo: dict[int, Callable[[Pixels], Pixels]] = {
            1: lambda a: a,
            2: np.fliplr,
            3: lambda a: np.rot90(a, 2),
            4: np.flipud,
            5: lambda a: a.swapaxes(0, 1),
            6: lambda a: np.rot90(a, 1),
            7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
            8: lambda a: np.rot90(a, 3),
        }
        stored = Image.fromarray(np.ascontiguousarray(undo[orientation](upright)))
        exif = Image.Exif()
        exif[0x0112] = orientation
        options = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}
        options = options.get(kind, {})
        result = decoded(encode(stored, kind, exif=exif.tobytes(), **options))
        assert error(result, upright) < 4

    @pytest.mark.parametrize(("width", "height"), [(64, 32), (32, 64), (300, 50), (7, 20)])
    @pytest.mark.parametrize("kind", ["JPEG", "PNG"])
    def test_centred_on_white(self, kind: str, width: int, height: int) -> None:
        size = 40
        dark = encode(Image.new("RGB", (width, height), (20, 40, 60)), kind)
        result = decoded(dark, size)
        inside = (result < 150).all(axis=-1)
        shown = [inside.any(axis=0).sum(), inside.any(axis=1).sum()]
        scale = size / max(width, height)
        assert np.abs(np.array(shown) - [width * scale, height * scale]).max() <= 1
        assert (result[~inside] == 255).all()
        for axis in (0, 1):
            lines = np.flatnonzero(inside.any(axis=axis))
            assert abs(lines[0] - (size - 1 - lines[-1])) <= 1

    @pytest.mark.parametrize("orientation", [1, 6])
    @pytest.mark.parametrize(("width", "height"), [(448, 440), (440, 448), (601, 333), (5, 900)])
    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
    def test_box_is_where_the_image_lies(
        self, kind: str, width: int, height: int, orientation: int
    ) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options = {"lossless": True} if kind == "WEBP" else {}
        black = Image.new("RGB", (width, height), "black")
        dark = encode(black, kind, exif=exif.tobytes(), **options)
        result, *shown = decode(dark, size=56, max_pixels=MANY)
        assert shown == ([width, height] if orientation == 1 else [height, width])
        expected = np.full_like(result, 255)
        expected[content_box(*shown, 56)] = 0
        assert (result == expected).all()

    @pytest.mark.parametrize("kind", ["PNG", "WEBP"])
    def test_a_broken_description_is_no_broken_picture(self, kind: str) -> None:
        image = smooth(64)
        content = encode(image, kind, exif=b"Exif\0\0garbage!")
        assert error(decoded(content), reference(image)) < 4

    def test_shape_is_turned_though_the_decoder_has_made_it_a_square(self) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        content = encode(Image.new("RGB", (308, 306)), "JPEG", exif=exif.tobytes())
        _, *shown = decode(content, size=24, max_pixels=MANY)
        assert shown == [306, 308]

    @pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 500), (500, 1), (2, 3)])
    def test_tiny_and_thin(self, width: int, height: int) -> None:
        result = decoded(encode(Image.new("RGB", (width, height), "black"), "PNG"))
        assert (result == 0).any()

    def test_small_images_are_enlarged(self) -> None:
        image = smooth(20)
        assert error(decoded(encode(image, "PNG"), 64), reference(image, 64)) < 0.5

    def test_same_size_is_not_changed(self) -> None:
        image = smooth(32, noise=20)
        assert (decoded(encode(image, "PNG")) == np.asarray(image)).all()

    def test_fine_pattern_is_averaged_and_not_sampled(self) -> None:
        # One pixel black, one white: without antialiasing this would stay black and white.
        board = (np.indices((512, 512)).sum(axis=0) % 2 * 255).astype(np.uint8)
        for kind in ("PNG", "TIFF", "BMP"):
            assert np.abs(decoded(encode(Image.fromarray(board), kind)).astype(int) - 127).max() < 4

    @pytest.mark.parametrize("kind", ["JPEG", "PNG"])
    def test_reduced_decoding_is_close_to_full(self, kind: str) -> None:
        picture = smooth(1200, noise=12).filter(ImageFilter.GaussianBlur(0.7))
        content = encode(picture, kind, **({"quality": 92} if kind == "JPEG" else {}))
        with Image.open(io.BytesIO(content)) as whole:
            full = np.asarray(whole.resize((224, 224), Image.Resampling.BICUBIC))
        assert error(decoded(content, 224), full) < 0.5

    def test_jpeg_is_decoded_at_a_reduced_size(self, monkeypatch: pytest.MonkeyPatch) -> None:
        content = encode(smooth(1200), "JPEG")
        sizes = []
        resize = Image.Image.resize

        def spy(image: Image.Image, *args: Any, **kwargs: Any) -> Image.Image:
            sizes.append(image.size)
            return resize(image, *args, **kwargs)

        monkeypatch.setattr(Image.Image, "resize", spy)
        decoded(content, 64)
        assert sizes[0] == (150, 150)

    def test_same_bytes_twice(self) -> None:
        content = encode(smooth(300), "JPEG")
        assert (decoded(content) == decoded(content)).all()


class TestRefused:
    @pytest.mark.parametrize("kind", FORMATS)
    def test_too_large_is_told_before_it_is_decoded(self, kind: str) -> None:
        with pytest.raises(UnreadableImageError, match=r"40 x 30 .*more than split\.max_pixels"):
            decode(encode(smooth(40, 30), kind), size=8, max_pixels=1199)
        decode(encode(smooth(40, 30), kind), size=8, max_pixels=1200)

    def test_enormous_image_in_a_small_file(self) -> None:
        content = bytearray(encode(smooth(16), "PNG"))
        content[16:24] = struct.pack(">II", 60000, 60000)
        content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
        with pytest.raises(UnreadableImageError, match="60000 x 60000"):
            decode(bytes(content), size=8, max_pixels=MANY)

    @pytest.mark.parametrize("kind", FORMATS)
    @pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
    def test_truncated(self, kind: str, share: float) -> None:
        content = encode(smooth(64, noise=30), kind)
        with pytest.raises(UnreadableImageError):
            decoded(content[: int(len(content) * share)])

    @pytest.mark.parametrize(
        "content",
        [b"", b"\0", b"not an image", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0"],
    )
    def test_no_image(self, content: bytes) -> None:
        with pytest.raises(UnreadableImageError):
            decoded(content)

    @pytest.mark.parametrize("kind", ["GIF", "PPM", "ICO", "JPEG2000"])
    def test_other_kinds(self, kind: str) -> None:
        with pytest.raises(UnreadableImageError, match="not a JPEG, PNG, TIFF, BMP or WebP"):
            decoded(encode(smooth(16), kind))

    @pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
    def test_more_than_one_picture(self, kind: str) -> None:
        frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "green")]
        content = encode(frames[0], kind, save_all=True, append_images=frames[1:])
        with pytest.raises(UnreadableImageError, match=r"(3|several) pictures instead of one"):
            decoded(content)

    def test_tiff_with_a_second_page_of_no_size(self) -> None:
        # The one damage at which Pillow is known to raise a TypeError.
        content = encode(smooth(16), "TIFF", save_all=True, append_images=[smooth(16)])
        width, unknown = struct.pack("<HHI", 256, 4, 1), struct.pack("<HHI", 250, 4, 1)
        at = content.rindex(width)
        with pytest.raises(UnreadableImageError):
            decoded(content[:at] + unknown + content[at + len(unknown) :])

    def test_message_is_of_this_class_and_one_line(self) -> None:
        with pytest.raises(ValueError, match="is not a JPEG") as caught:
            decoded(b"x")
        assert caught.type is UnreadableImageError
        assert "\n" not in str(caught.value)


def _originals() -> list[bytes]:
    image = smooth(24, noise=20)
    exif = Image.Exif()
    exif[0x0112] = 6
    return [
        *(encode(image, kind) for kind in FORMATS),
        encode(image, "JPEG", exif=exif.tobytes(), progressive=True),
        encode(image, "PNG", exif=exif.tobytes()),
        encode(image.convert("CMYK"), "JPEG"),
        encode(image.quantize(16), "PNG", transparency=0),
        encode(image, "TIFF", compression="tiff_lzw"),
        encode(image.convert("L"), "TIFF", compression="jpeg"),
        encode(image.quantize(16), "BMP"),
        encode(image.convert("RGBA"), "WEBP", lossless=True),
        png16(np.zeros((8, 8, 1), np.uint16)),
    ]


ORIGINALS = _originals()


@pytest.mark.filterwarnings("ignore")  # Pillow's, about damaged headers
@hypothesis_settings(max_examples=400, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_bytes_are_decoded_or_refused(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(ORIGINALS)))
    # Headers come first, so damage there is the more telling.
    near = st.one_of(st.integers(0, min(200, len(content) - 1)), st.integers(0, len(content) - 1))
    for position in data.draw(st.lists(near, max_size=6)):
        content[position] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    try:
        image, width, height = decode(bytes(content), size=16, max_pixels=10**6)
    except UnreadableImageError:
        return
    assert image.shape == (16, 16, 3)
    assert width * height <= 10**6


@given(content=st.binary(max_size=300))
@example(content=b"II*\0\x08\0\0\0\0\0\0\0\0\0")
def test_any_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(UnreadableImageError):
        decoded(content)
