"""Embedding: each row keeps its place, and its features depend on its own pixels alone."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.networks import PARAMS, Images
from tissue.backbones import embed_chunks
from tissue.backbones.embed_chunks import EmbedJob, embed_chunk
from tissue.backbones.embedding import embed_batch, prefetch
from tissue.chunks.files import Files
from tissue.common.stains import augment_stains, views_per_staining


class OnePixel:
    """In place of a network: the colour of one pixel, another one in each view."""

    output_shape = (None, 3)

    def predict_on_batch(self, images: Images) -> NDArray[np.float32]:
        return images[:, 0, 1].astype(np.float32)


class TestStainings:
    RNG = np.random.default_rng(3)
    IMAGES = RNG.integers(60, 240, (5, 16, 16, 3), np.uint8)
    CROPS = np.repeat(IMAGES[:, None], 2, axis=1)

    def restained(self, rows: slice = slice(None), **changes: float) -> NDArray[np.int64]:
        settings = {"stainings": 2, "jitter": 0.6, "seed": 1} | changes
        pairs = augment_stains(self.IMAGES[rows], self.CROPS[rows], **settings)
        images, crops = zip(*pairs, strict=True)
        # Crops are stained as their image.
        assert np.array_equal(np.stack(crops), np.repeat(np.stack(images)[:, :, None], 2, axis=2))
        return np.stack(images).astype(int)

    def test_each_staining_is_another(self) -> None:
        one, two = colours = self.restained().mean(axis=(2, 3))
        assert (np.abs(one - two).max(axis=1) > 2).all()
        assert (np.abs(colours - self.IMAGES.mean(axis=(1, 2))).max(axis=2) > 1).mean() > 0.8

    def test_depends_on_the_image_and_the_seed_alone(self) -> None:
        assert np.array_equal(self.restained(slice(3, 5)), self.restained()[:, 3:5])
        assert not np.allclose(self.restained(seed=2), self.restained())

    def test_nothing_changes_without_jitter(self) -> None:
        assert np.abs(self.restained(jitter=0) - self.IMAGES).max() <= 1

    @pytest.mark.parametrize(("views", "stainings", "each"), [(8, 2, 2), (8, 3, 1), (1, 2, 1)])
    def test_stainings_share_half_the_views(self, views: int, stainings: int, each: int) -> None:
        assert views_per_staining(views, stainings) == each


class TestChunks:
    RNG = np.random.default_rng(5)
    IMAGES = RNG.integers(60, 240, (75, 8, 8, 3), np.uint8)
    CROPS = RNG.integers(60, 240, (75, 2, 8, 8, 3), np.uint8)
    SETTINGS = PARAMS.pretrained.model_copy(update={"views": 4, "stainings": 2})
    JOB = EmbedJob(settings=SETTINGS, image_size=8, seed=1, threads=1, files=[])

    @pytest.mark.parametrize("crops", [True, False])
    @pytest.mark.parametrize("stained", [True, False])
    def test_a_chunk_is_the_same_as_its_images_one_by_one(
        self, stained: bool, crops: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        paths = {}
        for name, array in {"train.npy": self.IMAGES, "train_crops.npy": self.CROPS}.items():
            np.save(tmp_path / name, array)
            paths[name] = str(tmp_path / name)
        monkeypatch.setattr(embed_chunks, "_load_network", lambda described: OnePixel())
        embed_chunk(
            tmp_path / "out.npy", Files(paths, {}), arrays=list(paths)[: 1 + crops],
            start=5, count=70, stained=stained, job=self.JOB,
        )  # fmt: skip
        found = np.load(tmp_path / "out.npy")
        for row in range(5, 75):
            pairs = [(self.IMAGES[[row]], self.CROPS[[row]] if crops else None)]
            if stained:
                pairs = list(augment_stains(*pairs[0], stainings=2, jitter=0.6, seed=1))
            views = 1 if stained else 4
            expected = [embed_batch(OnePixel(), *pair, views=views) for pair in pairs]
            assert np.array_equal(found[row - 5], np.concatenate(expected, axis=1)[0])

    def test_an_error_while_preparing_is_raised(self) -> None:
        def items() -> Iterator[int]:
            yield 1
            raise OSError("gone")

        prepared = prefetch(items())
        assert next(prepared) == 1
        with pytest.raises(OSError, match="gone"):
            next(prepared)
