"""The phantom: a plan that follows the atlas, and cores that come out the same everywhere."""

import hashlib
import io
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from PIL import Image

from tissue.common.names import SYSTEMS, TISSUES
from tissue.images.quality import BLANK, measure_quality
from tissue.phantom.core import SMALLEST, draw_core, draw_jpeg, drawn_latent
from tissue.phantom.latents import LATENTS, Latent, best_accuracy, best_recall, is_beyond
from tissue.phantom.plan import CLASSES, Core, plan_cores
from tissue.phantom.staining import Slide

DEFAULT = plan_cores(train_per_class=60, test_per_class=30, size=448, seed=17)


def plan_of(size: int = 64, seed: int = 3, train: int = 8, test: int = 4) -> list[Core]:
    return plan_cores(train_per_class=train, test_per_class=test, size=size, seed=seed)


def one_per_class(plan: list[Core]) -> list[Core]:
    return list({core.class_name: core for core in plan}.values())


def digest(core: Core) -> str:
    return hashlib.sha256(draw_jpeg(core)).hexdigest()


def test_plan_has_the_given_counts_and_sorted_unique_ids() -> None:
    assert Counter((core.split, core.class_name) for core in DEFAULT) == {
        (split, name): count for split, count in (("train", 60), ("test", 30)) for name in CLASSES
    }
    assert [core.id for core in DEFAULT] == sorted({core.id for core in DEFAULT})
    for core in DEFAULT:
        assert core.id.startswith(f"{core.split}/{core.class_name}/{core.slide}_")


@pytest.mark.parametrize(("train", "test"), [(1, 0), (4, 4), (5, 3), (60, 30), (700, 400)])
def test_plan_works_at_any_count(train: int, test: int) -> None:
    plan = plan_of(train=train, test=test)
    assert len(plan) == len(CLASSES) * (train + test) == len({core.id for core in plan})


def test_seed_determines_the_plan() -> None:
    assert plan_of() == plan_of()
    assert {core.id for core in plan_of()} != {core.id for core in plan_of(seed=4)}


def test_donors_are_in_one_split_and_one_class_only() -> None:
    homes = defaultdict(set)
    for core in DEFAULT:
        homes[core.donor].add((core.split, core.class_name))
    assert all(len(home) == 1 for home in homes.values())
    assert 14 <= len(homes) / len(CLASSES) <= 29


def test_spot_determines_the_class_and_antibodies_span_organs() -> None:
    spots, organs, stains = defaultdict(set), defaultdict(set), defaultdict(set)
    for core in DEFAULT:
        spots[core.id.rsplit("/", 1)[1].split("_", 1)[1]].add(core.class_name)
        organs[core.antibody].add(core.class_name)
        stains[core.slide].add(core.antibody)
    assert all(len(found) == 1 for found in spots.values())
    assert all(len(found) == 1 for found in stains.values())
    assert min(len(found) for found in organs.values()) >= 5


@pytest.mark.parametrize("size", [64, 448])
def test_every_class_is_a_core_on_near_white(size: int) -> None:
    for core in one_per_class(plan_of(size=size)):
        image = np.asarray(Image.open(io.BytesIO(draw_jpeg(core))))
        assert image.shape == (size, size, 3)
        assert image.dtype == np.uint8
        corners = image[[0, 0, -1, -1], [0, -1, 0, -1]].astype(int)
        assert np.median(corners) >= 235
        tissue = (image.min(axis=2) < 225).mean()
        assert 0.02 < tissue < 0.9, core.class_name


def test_no_core_is_blank() -> None:
    """Skin has the least tissue in the picture, and the core may be broken on top."""
    small = plan_cores(train_per_class=60, test_per_class=30, size=SMALLEST, seed=17)
    for core in [core for core in small if core.class_name.startswith("skin")][::3]:
        assert measure_quality(draw_core(core))["tissue_fraction"] > BLANK, core.id


def test_a_core_that_would_be_blank_is_cut_again(monkeypatch: pytest.MonkeyPatch) -> None:
    outlines = iter([0.0, 0.01, 1.0])
    monkeypatch.setattr(
        "tissue.phantom.core.outline", lambda tissue: np.full_like(tissue.x, next(outlines))
    )
    image = draw_core(one_per_class(plan_of(size=SMALLEST))[0])
    assert measure_quality(image)["tissue_fraction"] > 0.3
    assert next(outlines, None) is None


def test_a_slide_of_low_resolution_has_as_many_pixels_and_fewer_details(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    core, details, prepare = DEFAULT[0], list[float](), Slide.__init__
    for resolution in (0.5, 1.0):

        def limited(slide: Slide, rng: np.random.Generator, share: float = resolution) -> None:
            prepare(slide, rng)
            slide.resolution = share

        monkeypatch.setattr(Slide, "__init__", limited)
        image = draw_core(core)
        assert image.shape == (448, 448, 3)
        power = np.abs(np.fft.fft2(image[..., 0] - image[..., 0].mean())) ** 2
        frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(448), np.fft.fftfreq(448)))
        details.append(float(power[frequency > 0.36].sum()))
    assert details[0] < 0.2 * details[1]


def test_bytes_are_the_same_in_other_processes_and_orders() -> None:
    some = one_per_class(plan_of())[::3]
    here = [digest(core) for core in some]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        there = list(pool.map(digest, reversed(some)))
    assert here == there[::-1]
    assert len(set(here)) == len(here)


def test_another_seed_draws_other_cores() -> None:
    first, second = plan_of()[0], plan_of(seed=4)[0]
    assert first.class_name == second.class_name
    assert digest(first) != digest(second)


def test_the_latent_of_a_core_is_the_one_that_it_is_drawn_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cores = [core for core in one_per_class(plan_of()) if core.class_name in LATENTS]
    expected = [drawn_latent(core) for core in cores]
    drawn, draw = list[float](), Latent.draw

    def record(self: Latent, donor: np.random.Generator, core: np.random.Generator) -> float:
        drawn.append(draw(self, donor, core))
        return drawn[-1]

    monkeypatch.setattr(Latent, "draw", record)
    for core in cores:
        draw_core(core)
    assert drawn == expected
    assert len(set(expected)) == len(LATENTS)


def test_the_ceiling_is_what_the_best_rule_reaches_on_drawn_latents() -> None:
    rngs = [np.random.default_rng(seed) for seed in range(2)]
    for name, latent in LATENTS.items():
        values = np.array([latent.draw(*rngs) for _ in range(20_000)])
        right = np.mean([not is_beyond(name, value) for value in values])
        assert right == pytest.approx(best_recall(name), abs=0.01)
    assert best_recall("colon") == 1
    assert best_accuracy(dict.fromkeys(CLASSES, 30)) == pytest.approx(0.9158, abs=1e-4)
    # Skins and endometria are of one tissue; lymph node and spleen only of one system.
    ceilings = [best_accuracy(dict.fromkeys(CLASSES, 1), joined) for joined in (TISSUES, SYSTEMS)]
    assert ceilings == pytest.approx(
        [(10 + best_recall("spleen") + best_recall("lymph_node")) / 12, 1]
    )
    assert best_accuracy({"colon": 1, "skin_1": 1}) == (1 + best_recall("skin_1")) / 2
