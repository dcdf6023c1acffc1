import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from scipy import ndimage
from sklearn.metrics import adjusted_rand_score

from tissue.common.stains import mix_stains
from tissue.images.duplicates import exact_digest, fingerprint, join_pairs, near_duplicate_pairs
from tissue.images.keypoints import align_keypoints, find_keypoints

SIDE = 160
LUNG = Path(__file__).parents[3] / "shared/data/lc_lung"
Pixels = NDArray[np.uint8]


def drawn_core(seed: int) -> Pixels:
    """Draw a round core on white: stroma, nuclei and lumina at random positions."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:SIDE, :SIDE]
    within = np.hypot(row - SIDE / 2, column - SIDE / 2) < 0.42 * SIDE
    density = np.full((SIDE, SIDE), 0.25, np.float32)
    for number, radius, amount in ((60, 3.0, 0.9), (15, 7.0, 0.0)):
        centres = np.zeros((SIDE, SIDE), bool)
        centres[tuple(rng.integers(0, SIDE, (2, number)))] = True
        density[ndimage.distance_transform_edt(~centres) < radius] = amount
    density = ndimage.gaussian_filter(density * within, 0.8)
    return mix_stains(np.stack([density, 0.3 * density, 0 * density], axis=2))


def recompressed(image: Pixels, quality: int) -> Pixels:
    content = io.BytesIO()
    Image.fromarray(image).save(content, "JPEG", quality=quality)
    return np.asarray(Image.open(content).convert("RGB"))


def turned(image: Pixels, view: int) -> Pixels:
    image = np.rot90(image, view % 4)
    return np.ascontiguousarray(image[:, ::-1] if view >= 4 else image)


def zoomed(image: Pixels, factor: float) -> Pixels:
    small = Image.fromarray(image).resize((round(SIDE * factor),) * 2, Image.Resampling.BICUBIC)
    return np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def recoloured(image: Pixels) -> Pixels:
    bright = ImageEnhance.Brightness(Image.fromarray(image)).enhance(0.93)
    return np.asarray(ImageEnhance.Color(bright).enhance(1.1))


def rotated(image: Pixels, degrees: float) -> Pixels:
    picture = Image.fromarray(image)
    return np.asarray(picture.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=(255,) * 3))


def fingerprints(images: Pixels) -> NDArray[np.float32]:
    return np.stack([fingerprint(image) for image in images])


def found_pairs(images: Pixels) -> set[tuple[int, int]]:
    return {(int(i), int(j)) for i, j in near_duplicate_pairs(images, fingerprints(images))}


@pytest.fixture(scope="module")
def cores() -> Pixels:
    return np.stack([drawn_core(seed) for seed in range(40)])


def test_copies_are_found_and_different_cores_are_not(cores):
    copies = [
        cores[0],
        *(turned(cores[view], view) for view in range(1, 8)),
        recompressed(cores[8], 60),
        recompressed(turned(cores[9], 5), 75),
        zoomed(cores[10], 0.8),
        recoloured(cores[11]),
        rotated(cores[12], 17),
        rotated(cores[13], -24),
    ]
    pairs = found_pairs(np.concatenate([cores, np.stack(copies)]))
    assert pairs == {(row, len(cores) + row) for row in range(len(copies))}


def test_many_copies_of_one_core_are_one_cluster(cores):
    copies = np.stack([recompressed(turned(cores[0], i % 8), 60 + i) for i in range(39)])
    images = np.concatenate([cores, copies])
    pairs = near_duplicate_pairs(images, fingerprints(images), neighbours=4)
    label = join_pairs(len(images), pairs)
    assert (label[40:] == 0).all()
    assert len(set(label)) == 40


def test_blank_images_are_no_near_duplicates():
    rng = np.random.default_rng(3)
    blank = rng.integers(238, 243, (5, SIDE, SIDE, 3), dtype=np.uint8)
    assert found_pairs(blank) == set()


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_to_compare(cores, count):
    prints = fingerprints(cores[:1])[:count]
    assert near_duplicate_pairs(cores[:count], prints).shape == (0, 2)


def test_fingerprint_does_not_change_with_the_orientation(cores):
    prints = np.stack([fingerprint(turned(cores[0], view)) for view in range(8)])
    other = fingerprint(cores[1])
    assert np.ptp(prints, axis=0).max() < 0.05 * np.linalg.norm(prints[0] - other)


def test_similarity_of_a_mirrored_copy_is_found(cores):
    mirrored = np.ascontiguousarray(cores[0][:, ::-1])
    similarity = align_keypoints(find_keypoints(cores[0]), find_keypoints(mirrored))
    assert similarity.mirrored
    assert abs(similarity.turn) == pytest.approx(1, abs=0.02)
    assert similarity.support > 20


def test_digest_depends_on_shape_and_pixels():
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert exact_digest(image) == exact_digest(image.copy())
    assert exact_digest(image) == exact_digest(np.asfortranarray(image))
    assert exact_digest(image) != exact_digest(image.reshape(4, 2, 3))
    assert exact_digest(image) != exact_digest(image + 1)
    assert len(exact_digest(image)) == 64


@given(st.integers(1, 12).flatmap(
    lambda n: st.tuples(st.just(n), st.lists(st.tuples(*[st.integers(0, n - 1)] * 2), max_size=15))
))  # fmt: skip
def test_clusters_join_pairs_and_count_from_the_first(case):
    count, links = case
    label = join_pairs(count, np.array(links, np.int64).reshape(-1, 2))
    assert all(label[i] == label[j] for i, j in links)
    assert len(set(label)) >= count - len(links)
    assert list(dict.fromkeys(label.tolist())) == list(range(len(set(label))))


@pytest.mark.skipif(not LUNG.is_dir(), reason="the images of LC25000 are not here")
def test_copies_of_each_real_photograph_are_one_cluster():
    table = pd.read_csv(LUNG / "metadata.csv").sort_values("path")
    groups = sorted(table["group"].unique())[::5]
    table = table[table["group"].isin(groups)]
    with zipfile.ZipFile(LUNG / "lc_lung.zip") as archive:
        images = np.stack([
            np.asarray(Image.open(io.BytesIO(archive.read(path))).convert("RGB"))
            for path in table["path"]
        ])  # fmt: skip
    label = join_pairs(len(images), near_duplicate_pairs(images, fingerprints(images)))
    assert adjusted_rand_score(table["group"], label) >= 0.95
