import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance
from scipy import ndimage
from sklearn.metrics import adjusted_rand_score

from tissue.common.stains import mix_stains
from tissue.images.duplicates import exact_digest, join_pairs, near_duplicate_pairs
from tissue.images.keypoints import (
    SIDE as SEARCHED,
)
from tissue.images.keypoints import (
    align_keypoints,
    find_keypoints,
    root_descriptors,
)

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


def printed(image: Pixels, seed: int) -> Pixels:
    """Print what a device writes into every picture, and one number that differs."""
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    for line, text in enumerate(("LAB 7 x20", "GAIN 62 %", "DEPTH 4.0 cm", "PRESET B", "MI 1.1")):
        draw.text((3, 3 + 13 * line), text, fill=0)
    draw.rectangle((SIDE - 60, SIDE - 9, SIDE - 10, SIDE - 5), fill=0)
    draw.text((SIDE - 60, SIDE - 22), "100 um", fill=0)
    draw.text((3, SIDE - 15), str(seed), fill=0)
    return np.asarray(picture)


def found_pairs(images: Pixels) -> set[tuple[int, int]]:
    return {(int(i), int(j)) for i, j in near_duplicate_pairs(images)}


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
    label = join_pairs(len(images), near_duplicate_pairs(images))
    assert (label[40:] == 0).all()
    assert len(set(label)) == 40


def test_many_copies_in_place_are_not_taken_for_what_a_device_prints(cores):
    copies = np.stack([recompressed(cores[0], 50 + i) for i in range(20)])
    images = np.concatenate([cores[:20], copies])
    label = join_pairs(len(images), near_duplicate_pairs(images))
    assert (label[20:] == 0).all()
    assert len(set(label)) == 20


def test_what_a_device_prints_into_all_pictures_makes_no_copies(cores):
    frames = np.stack([printed(core, seed) for seed, core in enumerate(cores)])
    assert found_pairs(frames) == set()
    # A copy under the same print is found, turned or not.
    copies = [recompressed(frames[3], 60), printed(turned(cores[5], 6), 5), turned(frames[7], 3)]
    pairs = found_pairs(np.concatenate([frames, np.stack(copies)]))
    assert pairs == {(3, 40), (5, 41), (7, 42)}


def test_the_same_rows_in_another_order_are_the_same_copies(cores):
    copies = np.stack([rotated(turned(cores[row], row), 10 * row) for row in range(8)])
    images = np.concatenate([cores[:8], copies])
    order = np.random.default_rng(1).permutation(len(images))
    pairs = near_duplicate_pairs(images[order])
    assert {tuple(sorted(order[pair].tolist())) for pair in pairs} == {
        (row, 8 + row) for row in range(8)
    }
    assert np.array_equal(pairs, near_duplicate_pairs(images[order]))


def test_blank_images_are_no_near_duplicates():
    rng = np.random.default_rng(3)
    blank = rng.integers(238, 243, (5, SIDE, SIDE, 3), dtype=np.uint8)
    assert found_pairs(blank) == set()


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_to_compare(cores, count):
    assert near_duplicate_pairs(cores[:count]).shape == (0, 2)


def test_alignment_of_a_mirrored_copy_is_found(cores):
    points = find_keypoints(cores[0])
    copy = find_keypoints(np.ascontiguousarray(cores[0][:, ::-1]))
    alignment = align_keypoints(points, copy, mirrored=True)
    assert alignment.support > 20
    expected = [[-1, 0, SEARCHED - 1], [0, 1, 0]]
    assert np.allclose(alignment.matrix, expected, atol=[[0.02, 0.02, 2]] * 2)
    assert align_keypoints(points, copy, mirrored=False).support < alignment.support / 3


def test_descriptors_of_the_mirror_image_need_no_mirror_image(cores):
    mine = root_descriptors(find_keypoints(cores[0]).descriptors, mirrored=True)
    copy = find_keypoints(np.ascontiguousarray(cores[0][:, ::-1]))
    similar = mine @ root_descriptors(copy.descriptors).T
    assert np.median(similar.max(1)) > 0.98


def test_key_points_of_padding_are_not_searched(cores):
    padded = np.full((SIDE, SIDE, 3), 255, np.uint8)
    padded[40:120] = 20
    padded[:, SIDE // 2 :] = 255
    assert len(find_keypoints(padded).places) > 0
    assert len(find_keypoints(padded, (slice(40, 120), slice(0, SIDE // 2))).places) == 0


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
    label = join_pairs(len(images), near_duplicate_pairs(images))
    assert adjusted_rand_score(table["group"], label) >= 0.99
