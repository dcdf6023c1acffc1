"""Broken and malicious input: told by name, never a traceback, never out of bounds."""

import io
import json
import re
import subprocess
import sys
import tarfile
import time
import tracemalloc
import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stages import fetch, split
from tests.hostile import ARCHIVES, FETCH, IMAGES, PARAMS, ROOT, good, image_file, memory, picture
from tissue.common.errors import InputError
from tissue.images.decoding import UnreadableImageError, decode
from tissue.sources.archives import open_archive
from tissue.sources.local import list_images

MOST_SECONDS = 10
MOST_MEMORY = 2_000_000_000
SPLIT = PARAMS.split


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What became of every archive, in a process of its own."""
    command = [sys.executable, "-m", "tests.hostile", str(tmp_path_factory.mktemp("hostile"))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_corpus_is_large_enough() -> None:
    assert len(ARCHIVES) + sum(bool(reason) for _, reason in IMAGES.values()) >= 40


@pytest.mark.parametrize("name", ARCHIVES)
def test_archive_is_refused_or_read_and_told_by_name(name: str, outcomes: dict[str, Any]) -> None:
    case, outcome = ARCHIVES[name], outcomes["cases"][name]
    assert outcome["traceback"] == ""
    assert outcome["seconds"] < MOST_SECONDS
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
    assert outcomes["memory"] < MOST_MEMORY


def test_what_a_member_says_is_all_that_is_unpacked(tmp_path: Path) -> None:
    path = ARCHIVES["says it is small"].make(tmp_path)  # of 1000 bytes, and holds 60 MB
    with ExitStack() as closing:
        members = open_archive(path, limits=FETCH.limits, closing=closing)
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
    start = time.perf_counter()
    try:
        (image,), _, _ = decode(content, SPLIT, sizes=(64,))
        received = ""
        assert image.shape == (64, 64, 3)
    except UnreadableImageError as error:
        received = str(error)
    assert time.perf_counter() - start < MOST_SECONDS
    assert bool(received) == bool(reason)
    assert re.search(reason, received), received


def test_bad_images_are_listed_and_the_rest_goes_on(tmp_path: Path) -> None:
    """All images at once, from a folder through both stages."""
    source = tmp_path / "source"
    (source / "liver").mkdir(parents=True)
    for name in IMAGES:
        (source / "liver" / name).write_bytes(image_file(name))
    for number in range(12):
        for class_name in ("liver", "skin"):
            path = source / class_name / f"good {number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(100 + number + 50 * (class_name == "skin")))
    out = tmp_path / "data/split"
    Path("/proc/self/clear_refs").write_text("5")  # what tests before this one held is not counted
    before = memory("VmRSS")
    changed = FETCH.model_copy(update={"source": str(source)})
    params = PARAMS.model_copy(update={"fetch": changed, "image_size": 64})
    fetch.run(params, tmp_path, workers=1)

    def run(**changes: Any) -> None:
        wanted = SPLIT.model_copy(update=changes)
        split.run(params.model_copy(update={"split": wanted}), tmp_path, workers=1)

    with pytest.raises(InputError, match=r"at most 5% unreadable images .*Received: \d+ of \d+"):
        run()
    assert not out.exists()
    run(max_rejected=0.8)
    bad = {f"liver/{name}" for name, (_, reason) in IMAGES.items() if reason}
    rejected = pd.read_csv(out / "rejected.csv")
    assert set(rejected["id"]) == bad
    assert rejected["reason"].str.len().min() > 5
    assert json.loads((tmp_path / "metrics/split.json").read_text())["rejected"] == len(bad)
    kept = pd.concat([pd.read_csv(out / f"{part}.csv") for part in ("train", "val", "test")])
    assert len(kept) == 24 + len(IMAGES) - len(bad)
    assert memory("VmHWM") - before < MOST_MEMORY


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in good().items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _tar(mode: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in good().items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


VALID_ARCHIVES = {".zip": _zip(), ".tar": _tar("w"), ".tar.gz": _tar("w:gz")}
VALID_IMAGES = [picture(5, kind) for kind in ("JPEG", "PNG", "TIFF", "BMP", "WEBP")] + [
    picture(5, "JPEG", progressive=True),
    picture(5, "TIFF", compression="tiff_lzw"),
]


@st.composite
def mutated(draw: st.DrawFn, contents: list[bytes]) -> bytes:
    """Change, cut, double or insert a few places of one of the files."""
    content = bytearray(draw(st.sampled_from(contents)))
    for _ in range(draw(st.integers(1, 4))):
        # Headers and directories are at the ends, and worth most of the attention.
        near = draw(st.sampled_from([64, 600, len(content)]))
        place = draw(st.integers(0, min(near, max(len(content) - 1, 0))))
        place = len(content) - place if draw(st.booleans()) else place
        match draw(st.sampled_from(["set", "set", "set", "insert", "delete", "cut", "double"])):
            case "set":
                content[place : place + 1] = draw(st.binary(min_size=1, max_size=8))
            case "insert":
                content[place:place] = draw(st.binary(max_size=40))
            case "delete":
                del content[place : place + draw(st.integers(1, 40))]
            case "cut":
                del content[place:]
            case "double":
                content += content[place:]
    return bytes(content)


FUZZ = settings(
    max_examples=250, deadline=MOST_SECONDS * 1000, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip


@FUZZ
@given(st.sampled_from(sorted(VALID_ARCHIVES)).flatmap(
    lambda kind: st.tuples(st.just(kind), mutated([VALID_ARCHIVES[kind]]))
))  # fmt: skip
def test_mutated_archive_is_read_or_refused(tmp_path: Path, case: tuple[str, bytes]) -> None:
    path = tmp_path / f"mutated{case[0]}"
    path.write_bytes(case[1])
    try:
        with ExitStack() as closing:
            images = list_images([str(path)], sha256={}, limits=FETCH.limits, closing=closing)
            assert all(isinstance(image.read(), bytes) for image in images)
        told = ""
    except InputError as refused:
        told = str(refused)
    assert not told or (path.name in told and "Received: " in told)
    assert {file.name for file in tmp_path.iterdir()} <= {f"mutated{k}" for k in VALID_ARCHIVES}


@FUZZ
@given(mutated(VALID_IMAGES))
@pytest.mark.filterwarnings("ignore")
def test_mutated_image_is_decoded_or_refused(content: bytes) -> None:
    try:
        limits = SPLIT.model_copy(update={"max_pixels": 10**6, "min_side": 4})
        (image,), _, _ = decode(content, limits, sizes=(32,))
        told = str(image.shape)
    except UnreadableImageError as refused:
        told = str(refused)
    assert told
