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

from tests.pipeline import ROOT
from tissue.config.loading import load_params
from tissue.images.decoding import content_box, decode
from tissue.images.kinds import UnreadableImageError

FORMATS = ["JPEG", "PNG", "TIFF", "BMP", "WEBP"]
NO_IMAGE = "^is not a JPEG, PNG, TIFF, BMP, WebP, JPEG 2000 or AVIF image that can be read"
LIMITS = load_params(ROOT / "params.yaml").split.model_copy(
    update={"max_pixels": 10**8, "min_side": 1, "max_aspect": np.inf}
)
Pixels = NDArray[np.uint8]


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def oriented(value: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif.tobytes()


def smooth(width: int, height: int | None = None, *, noise: float = 0.0) -> Image.Image:
    """A picture of broad blobs of colour, with noise."""
    rng = np.random.default_rng(8)
    coarse = rng.integers(40, 216, (6, 6, 3), dtype=np.uint8)
    size = (width, height or width)
    pixels = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC), np.float32)
    pixels = pixels + rng.normal(0, noise, pixels.shape) if noise else pixels
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def decoded(content: bytes, size: int = 32) -> Pixels:
    (image,), _, _ = decode(content, LIMITS, sizes=(size,))
    assert image.dtype == np.uint8
    assert image.shape == (size, size, 3)
    return image


def error(first: Pixels, second: Pixels | Image.Image) -> float:
    """Mean absolute difference in grey levels."""
    return float(np.abs(first.astype(float) - np.asarray(second, float)).mean())


def reference(image: Image.Image, size: int = 32) -> Pixels:
    return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC))


def png16(levels: NDArray[np.uint16]) -> bytes:
    """A PNG of 16 bits per channel: (S, S, 1) grey, (S, S, 3) RGB or (S, S, 4) with alpha."""
    height, width, channels = levels.shape
    kind = {1: 0, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)

    def chunk(name: bytes, content: bytes) -> bytes:
        check = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(pixels: bytes, width: int, height: int, tags: dict[int, int | list[int]]) -> bytes:
    """An uncompressed TIFF whose pixels begin at byte 8; tags have one value or several."""
    table, extra = b"", b""
    tags = {256: width, 257: height, 259: 1, 278: height, **tags}
    for tag, values in sorted(tags.items()):
        values = values if isinstance(values, list) else [values]
        content = struct.pack(f"<{len(values)}I", *values)
        if len(values) > 1:
            extra, content = extra + content, struct.pack("<I", 8 + len(pixels) + len(extra))
        table += struct.pack("<HHI", tag, 4, len(values)) + content
    at = struct.pack("<I", 8 + len(pixels) + len(extra))
    return b"II*\0" + at + pixels + extra + struct.pack("<H", len(tags)) + table + bytes(4)


def planar_tiff(planes: NDArray[Any]) -> bytes:
    """An RGB TIFF of (3, H, W), uint8 or uint16, one channel after the other."""
    count, height, width = planes.shape
    size = planes[0].nbytes
    tags = {262: 2, 277: count, 284: 2, 258: [8 * planes.itemsize] * count}
    tags |= {273: [8 + i * size for i in range(count)], 279: [size] * count}
    return tiff(planes.astype(planes.dtype.newbyteorder("<")).tobytes(), width, height, tags)


def interleaved_tiff(levels: NDArray[np.uint16]) -> bytes:
    """An RGB TIFF of (H, W, 3), 16 bits per channel."""
    height, width, count = levels.shape
    tags = {262: 2, 277: count, 284: 1, 258: [16] * count, 273: 8, 279: levels.nbytes}
    return tiff(levels.astype("<u2").tobytes(), width, height, tags)


def grey_tiff(
    levels: NDArray[np.uint16], bits: int, white_is_zero: bool, *, largest: int = 0
) -> bytes:
    """A TIFF of 12 or 16 bits, (S, S); with 12 bits, two pixels are packed in three bytes."""
    height, width = levels.shape
    pixels = levels.astype("<u2").tobytes()
    if bits == 12:
        bits_of = (levels.reshape(-1, 1) >> np.arange(11, -1, -1)) & 1
        pixels = np.packbits(bits_of.astype(np.uint8)).tobytes()
    tags = {258: bits, 262: 0 if white_is_zero else 1, 273: 8, 277: 1, 279: len(pixels)}
    return tiff(pixels, width, height, tags | ({281: largest} if largest else {}))


class TestKinds:
    @pytest.mark.parametrize(
        ("mode", "kind", "options", "limit"),
        [
            ("RGB", "JPEG", {"quality": 95}, 2),
            ("RGB", "JPEG", {"quality": 95, "progressive": True}, 2),
            ("RGB", "MPO", {"save_all": True, "append_images": [smooth(20)]}, 4),
            ("RGB", "WEBP", {"quality": 95}, 3),
            *(("RGB", kind, {}, 0.5) for kind in ("PNG", "TIFF", "BMP")),
            *(
                ("RGB", "TIFF", {"compression": name}, 4)
                for name in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")
            ),
            *(("L", kind, {}, 3) for kind in FORMATS),
            *((mode, kind, {}, 0.5) for mode in "P1" for kind in ("PNG", "TIFF", "BMP")),
            *(("CMYK", kind, {}, 2) for kind in ("JPEG", "TIFF")),
        ],
    )
    def test_modes_and_compressions(
        self, mode: str, kind: str, options: dict, limit: float
    ) -> None:
        image = smooth(48).quantize(64) if mode == "P" else smooth(48).convert(mode)
        result = decoded(encode(image, kind, **options))
        expected = reference(image.convert("L") if mode == "1" else image)
        assert error(result, expected) < limit
        assert mode != "L" or (np.ptp(result.astype(int), axis=-1) <= 2).all()

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
        colour = np.array([0x6000, 0x8000, 0xE000, 0xFFFF][:channels], np.uint16)
        result = decoded(png16(np.broadcast_to(colour, (32, 32, channels))))
        expected = np.resize(colour[:3] >> 8, 3)
        assert np.abs(result.astype(int) - expected).max() <= 1

    # Pillow does not open images of 12 bits in which white is zero.
    @pytest.mark.parametrize(("bits", "white_is_zero"), [(12, False), (16, False), (16, True)])
    def test_grey_of_a_microscope_camera(self, bits: int, white_is_zero: bool) -> None:
        levels = np.full((32, 32), 0x400 if bits == 12 else 0x4000, np.uint16)
        levels[16:] *= 3
        result = decoded(grey_tiff(levels, bits, white_is_zero))
        dark, bright = (0xBF, 0x3F) if white_is_zero else (0x40, 0xC0)
        assert (result[:14] == dark).all()
        assert (result[18:] == bright).all()

    @pytest.mark.parametrize("bits", [8, 10, 12, 14])
    def test_fewer_bits_than_the_file_has(self, bits: int) -> None:
        """Levels of a camera, stored as they are in 16 bits, are stretched or refused."""
        rng = np.random.default_rng(bits)
        levels = rng.integers(0, 1 << bits, (32, 32, 3), dtype=np.uint16)
        message = f"is nearly black: no level .*with {bits} bits in a file with 16; save it with 8"
        planes = np.ascontiguousarray(levels.transpose(2, 0, 1))
        deep = [
            png16(levels[..., :1]), png16(levels), grey_tiff(levels[..., 0], 16, False),
            png16(np.dstack([levels, np.full((32, 32, 1), 0xFFFF, np.uint16)])),
            interleaved_tiff(levels), encode(Image.fromarray(planes[0].astype(np.int32)), "TIFF"),
        ]  # fmt: skip
        for content in deep:
            with pytest.raises(UnreadableImageError, match=message):
                decoded(content)
        known = grey_tiff(levels[..., 0], 16, False, largest=(1 << bits) - 1)
        result = decoded(known)[..., 0]
        assert np.abs(result.astype(int) - (levels[..., 0] >> (bits - 8))).max() <= 1

    def test_a_largest_value_below_the_levels_is_disregarded(self) -> None:
        levels = np.full((32, 32), 0xC000, np.uint16)
        assert (decoded(grey_tiff(levels, 16, False, largest=4095)) == 0xC0).all()

    @pytest.mark.parametrize("white", [1, 255, 65535])
    def test_floating_point_levels(self, white: int) -> None:
        levels = np.full((32, 32), white, np.float32)
        levels[16:] /= 4
        result = decoded(encode(Image.fromarray(levels), "TIFF"))
        assert (result[:14] == 255).all()
        assert (result[18:] == 64).all()

    @pytest.mark.parametrize(
        ("description", "bits"),
        [
            ("ImageJ=1.54f\nmin=0.0\nmax=4095.0\n", 12),
            ('<OME><Pixels SignificantBits="10" Type="uint16"/></OME>', 10),
            ("ImageJ=1.54f\nmin=12.0\nmax=3012.0\n", 0),  # the range that a user chose to see
            ("max=4095", 0),
        ],
    )
    def test_bits_in_the_description_of_a_tiff(self, description: str, bits: int) -> None:
        levels = np.full((32, 32), (1 << (bits or 12)) - 1, np.uint16)
        levels[16:] >>= 1
        image = Image.fromarray(levels)
        content = encode(image, "TIFF", tiffinfo={270: description})
        if bits:
            result = decoded(content)
            assert (result[:14] == 255).all()
            assert (result[18:] == 127).all()
        else:
            with pytest.raises(UnreadableImageError, match="nearly black"):
                decoded(content)

    def test_signed_16_bits_have_15(self) -> None:
        levels = np.full((32, 32), 0x7FFF, np.uint16)
        tags = {258: 16, 262: 1, 273: 8, 277: 1, 279: levels.nbytes, 339: 2}
        assert (decoded(tiff(levels.tobytes(), 32, 32, tags)) == 255).all()

    @pytest.mark.parametrize("mode", ["L", "RGB"])
    def test_masks_are_refused(self, mode: str) -> None:
        levels = (np.indices((32, 32)).sum(0) % 2).astype(np.uint8)
        mask = Image.fromarray(levels).convert(mode)
        with pytest.raises(UnreadableImageError, match="nearly black: no level is above 1 of 255"):
            decoded(encode(mask, "PNG"))
        assert (decoded(encode(Image.new(mode, (32, 32)), "PNG")) == 0).all()

    @pytest.mark.parametrize(("alpha", "expected"), [(0, 90), (1, 90), (255, 90), (128, 172)])
    def test_a_fourth_channel_that_means_nothing(self, alpha: int, expected: int) -> None:
        image = Image.new("RGBA", (32, 32), (90, 90, 90, alpha))
        for kind in ("PNG", "TIFF"):
            assert np.abs(decoded(encode(image, kind)).astype(int) - expected).max() <= 1

    @pytest.mark.parametrize("kind", ["JPEG2000", "AVIF"])
    def test_further_kinds(self, kind: str) -> None:
        assert error(decoded(encode(smooth(48), kind)), reference(smooth(48))) < 5

    @pytest.mark.parametrize("name", [b"zTXt", b"iCCP", b"iTXt"])
    @pytest.mark.parametrize("size", [1_200_000, 9_000_000])
    def test_png_with_large_texts(self, name: bytes, size: int) -> None:
        content = encode(smooth(32), "PNG")
        start = b"k\0\1\0\0\0" if name == b"iTXt" else b"k\0\0"
        text = start + zlib.compress(b"a b " * (size // 4))
        check = struct.pack(">I", zlib.crc32(name + text))
        chunk = struct.pack(">I", len(text)) + name + text + check
        assert (decoded(content[:33] + chunk + content[33:]) == decoded(content)).all()

    def test_tiff_of_planes(self) -> None:
        planes = np.asarray(smooth(48)).transpose(2, 0, 1)
        assert error(decoded(planar_tiff(planes)), reference(smooth(48))) < 0.5
        with pytest.raises(UnreadableImageError, match="PlanarConfiguration 1"):
            decoded(planar_tiff(planes.astype(np.uint16) * 257))

    @pytest.mark.parametrize(
        ("levels", "message"),
        [
            (np.full((8, 8), 1 << 20, np.int32), "outside 16 bits"),
            (np.full((8, 8), 0.1, np.float32), "floating-point .* up to 0.1; expected 0 to 1"),
            (np.full((8, 8), 20, np.float32), "floating-point .* up to 20"),
            (np.full((8, 8), -1, np.float32), "floating-point"),
            (np.full((8, 8), np.nan, np.float32), "floating-point"),
            (np.full((8, 8), 1e6, np.float32), "floating-point"),
        ],
    )
    def test_grey_of_other_ranges_is_refused(self, levels: NDArray[Any], message: str) -> None:
        with pytest.raises(UnreadableImageError, match=message):
            decoded(encode(Image.fromarray(levels), "TIFF"))


class TestGeometry:
    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
    def test_images_are_turned_by_exif(self, kind: str, orientation: int) -> None:
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
        options = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}
        content = encode(stored, kind, exif=oriented(orientation), **options.get(kind, {}))
        assert error(decoded(content), upright) < 4

    # With 450 x 449, libjpeg decodes a square.
    @pytest.mark.parametrize(
        ("width", "height"),
        [(448, 440), (440, 448), (450, 449), (601, 333), (5, 900), (1, 1), (500, 1)],
    )
    @pytest.mark.parametrize("orientation", [1, 6])
    @pytest.mark.parametrize("kind", FORMATS)
    def test_the_image_fills_the_content_box_on_white(
        self, kind: str, width: int, height: int, orientation: int
    ) -> None:
        options = {"WEBP": {"lossless": True}, "BMP": {}}.get(kind, {})
        black = Image.new("RGB", (width, height), "black")
        content = encode(black, kind, exif=oriented(orientation), **options)
        (result,), *shown = decode(content, LIMITS, sizes=(56,))
        turned = orientation == 6 and kind != "BMP"  # which has no EXIF data
        assert shown == ([height, width] if turned else [width, height])
        expected = np.full_like(result, 255)
        expected[content_box(*shown, 56)] = 0
        assert (result == expected).all()

    @given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 64))
    def test_content_box_is_scaled_and_centred(self, width: int, height: int, size: int) -> None:
        scale = size / max(width, height)
        for side, box in zip((height, width), content_box(width, height, size), strict=True):
            shown = box.stop - box.start
            assert shown == 1 or abs(shown - side * scale) <= 0.5
            assert 0 <= (size - box.stop) - box.start <= 1

    @pytest.mark.parametrize("kind", ["PNG", "WEBP"])
    def test_image_with_broken_exif_data_is_decoded(self, kind: str) -> None:
        content = encode(smooth(64), kind, exif=b"Exif\0\0garbage!")
        assert error(decoded(content), reference(smooth(64))) < 4

    def test_small_images_are_enlarged(self) -> None:
        image = smooth(20)
        assert error(decoded(encode(image, "PNG"), 64), reference(image, 64)) < 0.5

    def test_image_of_the_right_size_is_unchanged(self) -> None:
        image = smooth(32, noise=20)
        assert (decoded(encode(image, "PNG")) == np.asarray(image)).all()

    @pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
    def test_fine_pattern_is_averaged_and_not_sampled(self, kind: str) -> None:
        # Black and white pixels alternate; without antialiasing they would stay black and white.
        board = (np.indices((512, 512)).sum(axis=0) % 2 * 255).astype(np.uint8)
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
        first = decoded(content, 64)
        assert sizes[0] == (150, 150)
        assert (decoded(content, 64) == first).all()


class TestRefused:
    @pytest.mark.parametrize("kind", FORMATS)
    def test_too_many_pixels(self, kind: str) -> None:
        content = encode(smooth(40, 30), kind)
        small = LIMITS.model_copy(update={"max_pixels": 1199})
        with pytest.raises(UnreadableImageError, match=r"40 x 30 .*split\.max_pixels"):
            decode(content, small, sizes=(8,))
        decode(content, small.model_copy(update={"max_pixels": 1200}), sizes=(8,))

    def test_enormous_image_in_a_small_file(self) -> None:
        content = bytearray(encode(smooth(16), "PNG"))
        content[16:24] = struct.pack(">II", 60000, 60000)
        content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
        with pytest.raises(UnreadableImageError, match="60000 x 60000"):
            decoded(bytes(content))

    @pytest.mark.parametrize("kind", FORMATS)
    @pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
    def test_truncated(self, kind: str, share: float) -> None:
        content = encode(smooth(64, noise=30), kind)
        with pytest.raises(UnreadableImageError):
            decoded(content[: int(len(content) * share)])

    @pytest.mark.parametrize(
        ("kind", "named"), [("GIF", ": it is a GIF"), ("PPM", ": it is a PNM"), ("ICO", "$")]
    )
    def test_other_kinds(self, kind: str, named: str) -> None:
        with pytest.raises(UnreadableImageError, match=NO_IMAGE + named):
            decoded(encode(smooth(16), kind))

    @pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
    def test_more_than_one_picture(self, kind: str) -> None:
        frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "green")]
        content = encode(frames[0], kind, save_all=True, append_images=frames[1:])
        with pytest.raises(UnreadableImageError, match=r"(3|several) pictures instead of one"):
            decoded(content)

    def test_tiff_with_a_second_page_of_no_size(self) -> None:
        # The one kind of damage for which Pillow is known to raise a TypeError.
        content = encode(smooth(16), "TIFF", save_all=True, append_images=[smooth(16)])
        width, unknown = struct.pack("<HHI", 256, 4, 1), struct.pack("<HHI", 250, 4, 1)
        at = content.rindex(width)
        with pytest.raises(UnreadableImageError):
            decoded(content[:at] + unknown + content[at + len(unknown) :])

    @given(content=st.binary(max_size=300))
    @example(content=b"")
    @example(content=b"not an image")
    @example(content=b"\xff\xd8\xff")
    @example(content=b"\x89PNG\r\n\x1a\n")
    @example(content=b"BM")
    @example(content=b"II*\0")
    @example(content=b"II*\0\x08\0\0\0\0\0\0\0\0\0")
    def test_bytes_that_are_no_image(self, content: bytes) -> None:
        with pytest.raises(UnreadableImageError):
            decoded(content)


def _originals() -> list[bytes]:
    image = smooth(24, noise=20)
    return [
        *(encode(image, kind) for kind in FORMATS),
        encode(image, "JPEG", exif=oriented(6), progressive=True),
        encode(image, "PNG", exif=oriented(6)),
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
    # Headers come first, and damage there has the most effect.
    near = st.one_of(st.integers(0, min(200, len(content) - 1)), st.integers(0, len(content) - 1))
    for position in data.draw(st.lists(near, max_size=6)):
        content[position] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    limits = LIMITS.model_copy(update={"max_pixels": 10**6})
    try:
        (image,), width, height = decode(bytes(content), limits, sizes=(16,))
    except UnreadableImageError:
        return
    assert image.shape == (16, 16, 3)
    assert width * height <= 10**6
