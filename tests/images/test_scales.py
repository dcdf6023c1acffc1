"""Images of several scales: stopped, or brought to one."""

import io

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.pipeline import ROOT
from tissue.common.errors import InputError
from tissue.config.loading import load_params
from tissue.images.decoding import decode, decode_rgb
from tissue.images.kinds import UnreadableImageError
from tissue.images.scales import check_known, check_scales, describe_scales, to_field

SETTINGS = load_params(ROOT / "params.yaml").split
FIELD = SETTINGS.model_copy(update={"field": 120.0})


def table(*rows: tuple[str, int, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["mpp", "width", "height"])


def scene() -> Image.Image:
    """A picture of 400 x 300 pixels with structure of every size."""
    rng = np.random.default_rng(5)
    coarse = Image.fromarray(rng.integers(0, 256, (15, 20, 3), dtype=np.uint8))
    return coarse.resize((400, 300), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": 95, "subsampling": 0} if kind == "JPEG" else {}))
    return buffer.getvalue()


def seen(content: bytes, mpp: float) -> NDArray[np.int64]:
    (image,), width, height = decode(content, FIELD, sizes=(30,), mpp=mpp)
    assert width == height == round(120 / mpp)
    return image.astype(int)


class TestChecks:
    def test_scales_that_differ_stop_the_run(self) -> None:
        with pytest.raises(InputError, match=r"2 with 0\.25 .* 25 .* and 1 with 1 .* show 100 "):
            check_scales(table(("0.25", 100, 80), ("1", 90, 100), ("0.25", 99, 100)), SETTINGS)

    @pytest.mark.parametrize(
        "rows",
        [
            [("", 100, 100), ("", 50, 50)],
            [("1", 100, 100), ("", 50, 50)],
            [("1", 100, 100), ("1", 200, 50)],  # whole pictures of one scale
            [("0.5", 100, 100), ("0.53", 100, 100)],
            [("0.25", 400, 100), ("0.25", 100, 398), ("1", 100, 100)],  # as much, with more pixels
        ],
    )
    def test_one_scale_or_none(self, rows: list[tuple[str, int, int]]) -> None:
        check_scales(table(*rows), SETTINGS)

    def test_a_field_needs_all_scales_and_allows_several(self) -> None:
        check_scales(table(("0.25", 100, 80), ("1", 90, 100)), FIELD)
        with pytest.raises(InputError, match=r"split\.field: .*1 of 2 without\. Set fetch\.mpp"):
            check_known(pd.Series(["", "1"]), FIELD)
        check_known(pd.Series(["", "1"]), SETTINGS)

    def test_sentence(self) -> None:
        assert describe_scales(pd.Series(["", ""])) == (
            "micrometres per pixel: unknown; fetch.mpp sets them"
        )
        assert describe_scales(pd.Series(["1", "1"])) == "micrometres per pixel: 1 (2 images)"
        mixed = describe_scales(pd.Series(["1", "1", "1", "", "2", "2"]))
        assert mixed.startswith("micrometres per pixel: 1 (3 images), 2 (2 images), unknown (1); ")
        assert "and 2 others" in describe_scales(pd.Series(list("112345")))


class TestField:
    def test_the_middle_is_cut_and_what_is_missing_is_padded(self) -> None:
        grey = Image.fromarray(np.full((40, 100, 3), 90, np.uint8))
        cut = np.asarray(to_field(grey, 60))
        assert cut.shape == (60, 60, 3)
        assert (cut[10:50] == 90).all()
        assert (cut[:10] == 255).all()
        assert (cut[50:] == 255).all()
        assert np.array_equal(to_field(grey, 31), np.full((31, 31, 3), 90))

    @pytest.mark.parametrize("kind", ["PNG", "JPEG"])
    def test_one_scene_at_two_scales_looks_the_same(self, kind: str) -> None:
        fine = scene()  # 200 x 150 micrometres at 0.5
        coarse = fine.resize((200, 150), Image.Resampling.BOX)
        one, other = seen(encoded(fine, kind), 0.5), seen(encoded(coarse, kind), 1.0)
        assert np.abs(one - other).mean() < 2
        # Not so without a field, where the zoom is what the size of the picture makes it.
        cut = encoded(coarse.crop((40, 15, 160, 135)), kind)
        assert np.abs(one - seen(cut, 1.0)).mean() < 2
        (whole,), *_ = decode(encoded(coarse, kind), SETTINGS, sizes=(30,), mpp=1.0)
        assert np.abs(whole.astype(int) - one).mean() > 10

    def test_much_of_a_jpeg_may_be_cut_away_without_loss(self) -> None:
        # 120 of 1,600 micrometres: read at an eighth, it would be 30 pixels wide.
        detail = Image.new("RGB", (3200, 3200), "white")
        detail.paste(scene().resize((240, 240)), (1480, 1480))
        (expected,), *_ = decode(
            encoded(detail.crop((1480, 1480, 1720, 1720))), SETTINGS, sizes=(30,)
        )
        assert np.abs(seen(encoded(detail, "JPEG"), 0.5) - expected).mean() < 3

    def test_what_cannot_be_brought_to_it(self) -> None:
        content = encoded(scene())
        with pytest.raises(UnreadableImageError, match=r"are not known.*fetch\.mpp.*--mpp"):
            decode_rgb(content, FIELD)
        vast = FIELD.model_copy(update={"field": 50_000.0, "max_pixels": 10**8})
        with pytest.raises(UnreadableImageError, match="500000 x 500000 pixels, which split"):
            decode_rgb(content, vast, mpp=0.1)
