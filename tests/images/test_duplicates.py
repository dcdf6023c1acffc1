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
from tissue.images.duplicates import clusters, exact_digest, fingerprint, near_duplicate_pairs
from tissue.images.keypoints import align_keypoints, find_keypoints

SIDE = 160
LUNG = Path(__file__).parents[3] / "shared/data/lc_lung"


def drawn_core(seed: int) -> NDArray[np.uint8]:
    """Draw a round core on white: stroma, nuclei and lumina at random places."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:SIDE, :SIDE]
    within = np.hypot(row - SIDE / 2, column - SIDE / 2) < 0.42 * SIDE
    density = np.full((SIDE, SIDE), 0.25, np.float32)
    for number, radius, amount in ((60, 3.0, 0.9), (15, 7.0, 0.0)):
        places = np.zeros((SIDE, SIDE), bool)
        places[tuple(rng.integers(0, SIDE, (2, number)))] = True
        density[ndimage.distance_transform_edt(~places) < radius] = amount
    density = ndimage.gaussian_filter(density * within, 0.8)
    return mix_stains(np.stack([density, 0.3 * density, 0 * density], axis=2))


def recompressed(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    content = io.BytesIO()
    Image.fromarray(image).save(content, "JPEG", quality=quality)
    return np.asarray(Image.open(content).convert("RGB"))


def turned(image: NDArray[np.uint8], view: int) -> NDArray[np.uint8]:
    image = np.rot90(image, view % 4)
    return np.ascontiguousarray(image[:, ::-1] if view >= 4 else image)


def resized(image: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    small = Image.fromarray(image).resize((round(SIDE * factor),) * 2, Image.Resampling.BICUBIC)
    return np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def recoloured(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    bright = ImageEnhance.Brightness(Image.fromarray(image)).enhance(0.93)
    return np.asarray(ImageEnhance.Color(bright).enhance(1.1))


def rotated(image: NDArray[np.uint8], degrees: float) -> NDArray[np.uint8]:
    picture = Image.fromarray(image)
    return np.asarray(picture.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=(255,) * 3))


def found_pairs(images: NDArray[np.uint8]) -> set[tuple[int, int]]:
    prints = np.stack([fingerprint(image) for image in images])
    return {(int(i), int(j)) for i, j in near_duplicate_pairs(images, prints)}


@pytest.fixture(scope="module")
def cores() -> NDArray[np.uint8]:
    return np.stack([drawn_core(seed) for seed in range(40)])


def test_different_cores_are_not_duplicates(cores):
    assert found_pairs(cores) == set()


def test_altered_copies_are_found_and_nothing_else(cores):
    alterations = [
        lambda image: image,
        *[lambda image, view=view: turned(image, view) for view in range(1, 8)],
        lambda image: recompressed(image, 60),
        lambda image: recompressed(turned(image, 5), 75),
        lambda image: resized(image, 0.8),
        lambda image: recoloured(image),
        lambda image: rotated(image, 17),
        lambda image: rotated(image, -24),
    ]
    copies = [alter(cores[row]) for row, alter in enumerate(alterations)]
    pairs = found_pairs(np.concatenate([cores, np.stack(copies)]))
    assert pairs == {(row, len(cores) + row) for row in range(len(copies))}


def test_many_copies_of_one_core_are_one_cluster(cores):
    copies = np.stack([recompressed(turned(cores[0], i % 8), 60 + i) for i in range(39)])
    images = np.concatenate([cores, copies])
    prints = np.stack([fingerprint(image) for image in images])
    label = clusters(len(images), near_duplicate_pairs(images, prints, neighbours=4))
    assert (label[40:] == 0).all()
    assert len(set(label)) == 40


def test_blank_pictures_are_no_near_duplicates():
    rng = np.random.default_rng(3)
    blank = rng.integers(238, 243, (5, SIDE, SIDE, 3), dtype=np.uint8)
    assert found_pairs(blank) == set()


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_to_compare(cores, count):
    prints = np.stack([fingerprint(image) for image in cores])[:count]
    assert near_duplicate_pairs(cores[:count], prints).shape == (0, 2)


def test_fingerprint_does_not_change_with_the_orientation(cores):
    prints = np.stack([fingerprint(turned(cores[0], view)) for view in range(8)])
    other = fingerprint(cores[1])
    assert np.ptp(prints, axis=0).max() < 0.05 * np.linalg.norm(prints[0] - other)


def test_similarity_of_a_mirrored_and_turned_copy_is_found(cores):
    similarity = align_keypoints(
        find_keypoints(cores[0]), find_keypoints(np.ascontiguousarray(cores[0][:, ::-1]))
    )
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
    label = clusters(count, np.array(links, np.int64).reshape(-1, 2))
    assert all(label[i] == label[j] for i, j in links)
    assert len(set(label)) >= count - len(links)
    assert list(dict.fromkeys(label.tolist())) == list(range(len(set(label))))


@pytest.mark.skipif(not LUNG.is_dir(), reason="the images of LC25000 are not here")
def test_rotated_copies_of_real_photographs_are_one_cluster_a_photograph():
    table = pd.read_csv(LUNG / "metadata.csv").sort_values("path")
    groups = sorted(table["group"].unique())[::5]
    table = table[table["group"].isin(groups)]
    with zipfile.ZipFile(LUNG / "lc_lung.zip") as archive:
        images = np.stack([
            np.asarray(Image.open(io.BytesIO(archive.read(path))).convert("RGB"))
            for path in table["path"]
        ])  # fmt: skip
    prints = np.stack([fingerprint(image) for image in images])
    label = clusters(len(images), near_duplicate_pairs(images, prints))
    assert adjusted_rand_score(table["group"], label) >= 0.95
