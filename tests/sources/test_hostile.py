"""Broken and malicious input: a message that names it, never a traceback or a file elsewhere."""

import json
import re
import subprocess
import sys
import tempfile
import time
import tracemalloc
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages import split
from tests.hostile import ARCHIVES, IMAGES, good, image_file, memory, picture
from tests.mutations import FUZZ, MAX_SECONDS, mutated
from tests.pipeline import ROOT
from tests.source_examples import PARAMS, as_folder, as_tar, as_zip, run_fetch
from tissue.common.errors import InputError
from tissue.common.names import SPLITS
from tissue.images.decoding import FORMATS, decode
from tissue.images.kinds import UnreadableImageError
from tissue.sources.archives import open_archive
from tissue.sources.local import list_images

MAX_MEMORY = 2_000_000_000
SPLIT = PARAMS.split
LIMITS = PARAMS.fetch.limits


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The outcome of every archive, in a process of its own."""
    command = [sys.executable, "-m", "tests.hostile", str(tmp_path_factory.mktemp("hostile"))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_corpus_is_large_enough() -> None:
    assert len(ARCHIVES) + sum(bool(reason) for _, reason in IMAGES.values()) >= 40


@pytest.mark.parametrize("name", ARCHIVES)
def test_archive_is_refused_by_name_or_read(name: str, outcomes: dict[str, Any]) -> None:
    case, outcome = ARCHIVES[name], outcomes["cases"][name]
    assert outcome["traceback"] == ""
    assert outcome["seconds"] < MAX_SECONDS
    assert outcome["written"] == []
    assert outcome["output"] == (not case.error)
    if case.error:
        assert re.search(case.error, outcome["error"], re.S), outcome["error"]
        assert re.search(r"hostile\.(zip|tar|tgz)|images", outcome["error"])
        assert "Received: " in outcome["error"]
    else:
        assert outcome["error"] == ""
        assert re.search(case.left_out, outcome["printed"]), outcome["printed"]


def test_archives_take_little_memory(outcomes: dict[str, Any]) -> None:
    assert outcomes["memory"] < MAX_MEMORY


def test_no_more_is_unpacked_than_a_member_states(tmp_path: Path) -> None:
    path = ARCHIVES["says it is small"].make(tmp_path)  # states 1000 bytes, and holds 60 MB
    with ExitStack() as closing:
        members = open_archive(path, limits=LIMITS, closing=closing)
        (large,) = [one for one in members if one.name == "liver/x.bmp"]
        tracemalloc.start()
        with pytest.raises(InputError, match="Bad CRC"):
            large.read()
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most < 5_000_000


@pytest.mark.parametrize("name", IMAGES)
def test_image_is_refused_or_decoded_in_time(name: str) -> None:
    content, reason = image_file(name), IMAGES[name][1]
    start, received = time.perf_counter(), ""
    try:
        (image,), _, _ = decode(content, SPLIT, sizes=(64,))
        assert image.shape == (64, 64, 3)
    except UnreadableImageError as error:
        received = str(error)
    assert time.perf_counter() - start < MAX_SECONDS
    assert bool(received) == bool(reason)
    assert re.search(reason, received), received


def test_bad_images_are_listed_and_the_others_are_kept(tmp_path: Path) -> None:
    """All images at once, from a folder through both stages."""
    files = {f"liver/{name}": image_file(name) for name in IMAGES}
    for number in range(12):
        files[f"liver/good {number}.jpg"] = picture(100 + number)
        files[f"skin/good {number}.jpg"] = picture(150 + number)
    source, out = as_folder(files, tmp_path / "source"), tmp_path / "data/split"
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of earlier tests
    before = memory("VmRSS")
    run_fetch(source, tmp_path)

    def run(**changes: Any) -> None:
        params = {"image_size": 64, "split": SPLIT.model_copy(update=changes)}
        split.run(PARAMS.model_copy(update=params), tmp_path, workers=1)

    with pytest.raises(InputError, match=r"at most 5% unreadable images .*Received: \d+ of \d+"):
        run()
    assert not out.exists()
    run(max_rejected=0.8)
    bad = {f"liver/{name}" for name, (_, reason) in IMAGES.items() if reason}
    rejected = pd.read_csv(out / "rejected.csv")
    assert set(rejected["id"]) == bad
    assert rejected["reason"].str.len().min() > 5
    assert json.loads((tmp_path / "metrics/split.json").read_text())["rejected"] == len(bad)
    kept = pd.concat([pd.read_csv(out / f"{name}.csv") for name in SPLITS])
    assert len(kept) == 24 + len(IMAGES) - len(bad)
    assert memory("VmHWM") - before < MAX_MEMORY


def valid_archive(suffix: str) -> bytes:
    make = as_zip if suffix == ".zip" else as_tar
    with tempfile.TemporaryDirectory() as folder:
        return make(good(), Path(folder, f"a{suffix}")).read_bytes()


VALID_ARCHIVES = {suffix: valid_archive(suffix) for suffix in (".zip", ".tar", ".tar.gz")}
VALID_IMAGES = [picture(5, kind) for kind in FORMATS] + [
    picture(5, "JPEG", progressive=True),
    picture(5, "TIFF", compression="tiff_lzw"),
]


@FUZZ
@given(st.sampled_from(sorted(VALID_ARCHIVES)).flatmap(
    lambda kind: st.tuples(st.just(kind), mutated([VALID_ARCHIVES[kind]]))
))  # fmt: skip
def test_mutated_archive_is_read_or_refused(tmp_path: Path, case: tuple[str, bytes]) -> None:
    path = tmp_path / f"mutated{case[0]}"
    path.write_bytes(case[1])
    message = ""
    try:
        with ExitStack() as closing:
            images = list_images([path], sha256={}, limits=LIMITS, closing=closing)
            assert all(isinstance(image.read(), bytes) for image in images)
    except InputError as error:
        message = str(error)
    assert not message or (path.name in message and "Received: " in message)
    assert {file.name for file in tmp_path.iterdir()} <= {f"mutated{k}" for k in VALID_ARCHIVES}


@FUZZ
@given(mutated(VALID_IMAGES))
@pytest.mark.filterwarnings("ignore")
def test_mutated_image_is_decoded_or_refused(content: bytes) -> None:
    try:
        limits = SPLIT.model_copy(update={"max_pixels": 10**6, "min_side": 4})
        (image,), _, _ = decode(content, limits, sizes=(32,))
        outcome = str(image.shape)
    except UnreadableImageError as error:
        outcome = str(error)
    assert outcome
