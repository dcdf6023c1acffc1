"""Sources on servers: the same bytes as from a folder, in spite of faults."""

import gzip
import hashlib
import time
from collections.abc import Iterator
from email.utils import formatdate
from itertools import pairwise
from pathlib import Path
from typing import Any

import fsspec
import pytest

from stages import fetch
from tests.servers import Site, serving
from tests.sources.test_sources import DEFAULT, as_folder, as_tar, as_zip, snapshot, tree
from tissue.common.errors import InputError
from tissue.config.schema import Fetch
from tissue.sources import storage, web
from tissue.sources.cache import Shelf


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "BACK_OFF", 0.01)
    monkeypatch.setattr(storage, "BACK_OFF", 0.01)


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "PIECE", 64)


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(Site({})) as served:
        yield served


def settings(source: str | list[str], cache: Path, **changes: Any) -> Fetch:
    return DEFAULT.model_copy(update={"source": source, "cache": str(cache), **changes})


def fetched(source: str | list[str], tmp_path: Path, **changes: Any) -> dict[str, bytes]:
    """What fetch writes, without the times."""
    chosen = settings(source, tmp_path / "cache", **changes)
    fetch.run(chosen, seed=1, workers=1, out=tmp_path / "raw")
    return {name: content for name, (content, _) in snapshot(tmp_path / "raw").items()}


def from_disk(source: Path, tmp_path: Path) -> dict[str, bytes]:
    return fetched(str(source), tmp_path / "expected")


def index_page(names: list[str]) -> bytes:
    links = "".join(f'<a href="{name}">{name}</a>' for name in names)
    return f"<html><body>{links}</body></html>".encode()


class TestHttp:
    @pytest.mark.parametrize("make", [as_zip, as_tar])
    def test_archive(self, make: Any, site: Site, tmp_path: Path) -> None:
        (tmp_path / "made").mkdir()
        archive = make(tree(), tmp_path / "made" / ("a.zip" if make is as_zip else "a.tar.gz"))
        site.files[f"/x/{archive.name}"] = archive.read_bytes()
        got = fetched(f"{site.url}/x/{archive.name}", tmp_path)
        assert got == from_disk(archive, tmp_path)

    def test_scheme_in_capitals(self, site: Site, tmp_path: Path) -> None:
        archive = as_zip(tree(), tmp_path / "made/a.zip")
        site.files["/a.zip"] = archive.read_bytes()
        url = site.url.replace("http", "HTTP")
        assert fetched(f"{url}/a.zip", tmp_path) == from_disk(archive, tmp_path)

    @pytest.mark.parametrize("scheme", ["http", "HTTP"])
    def test_folder(self, scheme: str, site: Site, tmp_path: Path) -> None:
        files = tree()
        folder = as_folder(files, tmp_path / "made" / "images")
        site.files |= {f"/images/{name}": content for name, content in files.items()}
        folders = {str(Path(name).parent) for name in files} | {"", "train", "test"}
        for inner in folders - {"."}:
            below = {
                name.removeprefix(inner).lstrip("/").partition("/") for name in files
                if name.startswith(f"{inner}/" if inner else "")
            }  # fmt: skip
            page = index_page(sorted({a + b for a, b, _ in below}))
            site.files[f"/images/{inner}/".replace("//", "/")] = page
        url = site.url.replace("http", scheme)
        assert fetched(f"{url}/images/", tmp_path) == from_disk(folder, tmp_path)

    def test_several_parts(self, site: Site, tmp_path: Path) -> None:
        files = tree()
        names = sorted(files)
        one = as_zip({name: files[name] for name in names[::2]}, tmp_path / "made/1.zip")
        two = as_zip({name: files[name] for name in names[1::2]}, tmp_path / "made/2.zip")
        site.files["/1.zip"] = one.read_bytes()
        got = fetched([f"{site.url}/1.zip", str(two)], tmp_path)
        assert got == fetched([str(one), str(two)], tmp_path / "expected")

    @pytest.mark.parametrize("fault", [429, (429, "0"), (429, "soon"), 500, "cut"])
    def test_faults_are_survived(self, fault: Any, site: Site, tmp_path: Path) -> None:
        archive = as_zip(tree(), tmp_path / "made/a.zip")
        site.files["/a.zip"] = archive.read_bytes()
        site.faults["/a.zip"] = [fault, fault]
        assert fetched(f"{site.url}/a.zip", tmp_path) == from_disk(archive, tmp_path)
        assert len(site.asked) == 3

    @pytest.mark.usefixtures("small_pieces")
    def test_cut_body_is_resumed(self, site: Site, tmp_path: Path) -> None:
        archive = as_zip(tree(), tmp_path / "made/a.zip")
        site.files["/a.zip"] = archive.read_bytes()
        site.faults["/a.zip"] = ["cut"]
        assert fetched(f"{site.url}/a.zip", tmp_path) == from_disk(archive, tmp_path)
        assert site.asked[1][2]["Range"] == f"bytes={archive.stat().st_size // 2 // 64 * 64}-"

    @pytest.mark.usefixtures("small_pieces")
    @pytest.mark.parametrize("lacking", ["ranges", "tags"])
    def test_cut_body_is_redone_where_it_cannot_be_resumed(
        self, lacking: str, site: Site, tmp_path: Path
    ) -> None:
        archive = as_zip(tree(), tmp_path / "made/a.zip")
        site.files["/a.zip"] = archive.read_bytes()
        site.faults["/a.zip"] = ["cut"]
        setattr(site, lacking, False)
        assert fetched(f"{site.url}/a.zip", tmp_path) == from_disk(archive, tmp_path)

    @pytest.mark.usefixtures("small_pieces")
    @pytest.mark.parametrize("conditions", [True, False])
    def test_halves_of_two_versions_are_not_joined(
        self, conditions: bool, site: Site, tmp_path: Path
    ) -> None:
        site.conditions = conditions
        old = as_zip(tree(per_class=2), tmp_path / "made/old.zip").read_bytes()
        archive = as_zip(tree(per_class=3), tmp_path / "made/a.zip")
        site.files["/a.zip"] = old
        site.faults["/a.zip"] = ["cut", *[503] * web.ATTEMPTS]
        with pytest.raises(InputError, match="What has arrived is kept"):
            fetched(f"{site.url}/a.zip", tmp_path)
        assert not (tmp_path / "raw").exists()
        site.faults.clear()
        site.files["/a.zip"] = archive.read_bytes()
        asked = len(site.asked)
        assert fetched(f"{site.url}/a.zip", tmp_path) == from_disk(archive, tmp_path)
        assert "Range" in site.asked[asked][2], "nothing was kept that could have been joined"

    @pytest.mark.usefixtures("small_pieces")
    def test_packed_archive_that_a_server_calls_encoded(self, site: Site, tmp_path: Path) -> None:
        archive = as_tar(tree(), tmp_path / "a.tar.gz")
        site.files["/a.tar.gz"] = archive.read_bytes()
        site.headers["Content-Encoding"] = "gzip"
        site.faults["/a.tar.gz"] = ["cut"]
        sha256 = {"a.tar.gz": hashlib.sha256(archive.read_bytes()).hexdigest()}
        got = fetched(f"{site.url}/a.tar.gz", tmp_path, sha256=sha256)
        assert got == from_disk(archive, tmp_path)
        assert "Range" in site.asked[1][2]

    @pytest.mark.usefixtures("small_pieces")
    def test_encoded_file_is_decoded_and_never_resumed(self, site: Site, tmp_path: Path) -> None:
        content = b"".join(hashlib.sha256(bytes([n])).digest() for n in range(200))
        site.files["/a"] = gzip.compress(content)
        site.headers["Content-Encoding"] = "gzip"
        site.faults["/a"] = ["cut"]
        slot = Shelf(tmp_path).slot("a")
        with web.open_session() as session:
            assert web.download(session, f"{site.url}/a", slot)
        assert slot.path.read_bytes() == content
        assert "Range" not in site.asked[1][2]

    @pytest.mark.usefixtures("small_pieces")
    @pytest.mark.parametrize(
        ("version", "condition"),
        [
            ({"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}, "If-Modified-Since"),
            ({"ETag": 'W/"1"'}, "If-None-Match"),
        ],
    )
    def test_versions_other_than_a_strong_tag(
        self,
        version: dict[str, str],
        condition: str,
        site: Site,
        tmp_path: Path,
    ) -> None:
        site.tags, site.conditions, site.headers = False, False, version
        content = as_zip(tree(), tmp_path / "made/a.zip").read_bytes()
        site.files["/a"], site.faults["/a"] = content, ["cut"]
        slot = Shelf(tmp_path).slot("a")
        with web.open_session() as session:
            for _ in range(2):
                assert web.download(session, f"{site.url}/a", slot)
        assert slot.path.read_bytes() == content
        (value,) = version.values()
        # A weak tag does not promise the same bytes, so that nothing may be joined to them.
        assert site.asked[1][2].get("If-Range") == (None if value.startswith("W/") else value)
        assert site.asked[2][2][condition] == value

    def test_unchanged_file_is_not_sent_again(self, site: Site, tmp_path: Path) -> None:
        site.files["/a.zip"] = as_zip(tree(), tmp_path / "made/a.zip").read_bytes()
        first = fetched(f"{site.url}/a.zip", tmp_path)
        assert fetched(f"{site.url}/a.zip", tmp_path) == first
        assert site.finished == ["/a.zip"]

    def test_changed_file_is_fetched(self, site: Site, tmp_path: Path) -> None:
        site.files["/a.zip"] = as_zip(tree(), tmp_path / "made/a.zip").read_bytes()
        fetched(f"{site.url}/a.zip", tmp_path)
        archive = as_zip(tree(per_class=3), tmp_path / "made/a.zip")
        site.files["/a.zip"] = archive.read_bytes()
        assert fetched(f"{site.url}/a.zip", tmp_path) == from_disk(archive, tmp_path)

    def test_retry_after_is_respected(self, site: Site, tmp_path: Path) -> None:
        site.files["/a.zip"] = as_zip(tree(), tmp_path / "made/a.zip").read_bytes()
        site.faults["/a.zip"] = [(429, "1")]
        fetched(f"{site.url}/a.zip", tmp_path)
        assert site.asked[1][0] - site.asked[0][0] >= 1

    def test_very_long_retry_after_is_told(self, site: Site, tmp_path: Path) -> None:
        site.faults["/a.zip"] = [(429, "7200")]
        with pytest.raises(InputError, match="come back in 7200 s"):
            fetched(f"{site.url}/a.zip", tmp_path)

    def test_retry_after_may_be_a_date(self, site: Site, tmp_path: Path) -> None:
        site.faults["/a.zip"] = [(503, formatdate(time.time() + 7200, usegmt=True))]
        with pytest.raises(InputError, match=r"come back in 7(200|19\d) s"):
            fetched(f"{site.url}/a.zip", tmp_path)

    @pytest.mark.parametrize("status", [401, 403, 404])
    def test_refusal_is_told_at_once(self, status: int, site: Site, tmp_path: Path) -> None:
        site.faults["/a.zip"] = [status]
        with pytest.raises(InputError, match=str(status)):
            fetched(f"{site.url}/a.zip", tmp_path)
        assert len(site.asked) == 1

    def test_no_server(self, site: Site, tmp_path: Path) -> None:
        with serving(Site({})) as gone:
            url = gone.url
        with pytest.raises(InputError, match="Connection refused"):
            fetched(f"{url}/a.zip", tmp_path)

    def test_wrong_digest_is_told_and_fetched_again(self, site: Site, tmp_path: Path) -> None:
        site.files["/a.zip"] = b"something else"
        archive = as_zip(tree(), tmp_path / "made/a.zip")
        sha256 = {"a.zip": hashlib.sha256(archive.read_bytes()).hexdigest()}
        with pytest.raises(InputError, match="expected sha256"):
            fetched(f"{site.url}/a.zip", tmp_path, sha256=sha256)
        assert not (tmp_path / "raw").exists()
        site.files["/a.zip"] = archive.read_bytes()
        got = fetched(f"{site.url}/a.zip", tmp_path, sha256=sha256)
        assert got == from_disk(archive, tmp_path)


class TestRate:
    def test_holds_for_redirections_and_further_attempts(self, site: Site, tmp_path: Path) -> None:
        site.files["/b"] = b"content"
        site.redirects["/a"] = "/b"
        site.faults["/b"] = [500, "cut"]
        start = time.monotonic()
        with web.open_session(per_second=20, contact="me@example.org") as session:
            assert web.download(session, f"{site.url}/a", Shelf(tmp_path).slot("a"))
        times = [start, *(when for when, _, _ in site.asked)]
        assert site.paths() == ["/a", "/b"] * 3
        assert min(b - a for a, b in pairwise(times)) >= 1 / 20
        assert "me@example.org" in site.asked[0][2]["User-Agent"]


class TestShelf:
    @pytest.mark.parametrize("name", ["../a", "/a", "a/../../b", "", "a\0b"])
    def test_names_that_lead_out(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="leads out of the download cache"):
            Shelf(tmp_path).slot(name)


class TestStorage:
    @pytest.fixture
    def bucket(self) -> Iterator[Any]:
        fs = fsspec.filesystem("memory")
        fs.store.clear()
        yield fs
        fs.store.clear()

    @pytest.mark.parametrize("form", ["folder", "archive", "folder of archives"])
    def test_same_bytes_as_local(self, form: str, bucket: Any, tmp_path: Path) -> None:
        files = tree()
        local = tmp_path / "made" / "images"
        if form == "folder":
            as_folder(files, local)
        else:
            local = as_zip(files, local / "a.zip")
            local = local.parent if form == "folder of archives" else local
        if form != "archive":
            (local / ".old").mkdir()
            as_zip(tree(per_class=1), local / ".old/a.zip")
        bucket.put(str(local), "/store/" + local.name, recursive=True)
        assert fetched(f"memory://store/{local.name}", tmp_path) == from_disk(local, tmp_path)

    def test_files_taken_away_there_go_here(self, bucket: Any, tmp_path: Path) -> None:
        local = as_folder(tree(), tmp_path / "made" / "images")
        bucket.put(str(local), "/images", recursive=True)
        fetched("memory://images", tmp_path)
        bucket.rm("/images/train/colon/0.png")
        (local / "train/colon/0.png").unlink()
        assert fetched("memory://images", tmp_path) == from_disk(local, tmp_path)

    def test_nothing_there(self, bucket: Any, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="memory://nowhere"):
            fetched("memory://nowhere", tmp_path)

    def test_interrupted_download_goes_on(
        self, bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        archive = as_zip(tree(), tmp_path / "made/a.zip")
        bucket.put(str(archive), "/a.zip")
        monkeypatch.setattr(storage, "PIECE", 100)
        pieces, whole = [], fsspec.implementations.memory.MemoryFile.read

        def read(self: Any, size: int = -1) -> bytes:
            pieces.append(size)
            if len(pieces) == 5:
                raise ConnectionResetError("dropped")
            return whole(self, size)

        monkeypatch.setattr(fsspec.implementations.memory.MemoryFile, "read", read)
        got = fetched("memory://a.zip", tmp_path)
        monkeypatch.undo()
        assert len(pieces) == archive.stat().st_size // 100 + 3
        assert got == from_disk(archive, tmp_path)

    def test_unknown_protocol(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="nosuch"):
            fetched("nosuch://a.zip", tmp_path)

    def test_missing_library_is_named(self, tmp_path: Path) -> None:
        if "gcsfs" in fsspec.available_protocols():
            pytest.skip("gcsfs is installed")
        with pytest.raises(InputError, match=r"pip install -r requirements-gcs\.txt"):
            fetched("gs://bucket/a.zip", tmp_path)


@pytest.mark.parametrize("name", ["phantom", "hpa"])
def test_drawn_and_atlas_images_stand_alone(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"expected {name} to stand alone"):
        fetched([name, "a.zip"], tmp_path)


def test_options_that_no_source_heeds_are_refused(site: Site, tmp_path: Path) -> None:
    site.files["/a.zip"] = as_zip(tree(), tmp_path / "a.zip").read_bytes()
    message = r"fetch\.storage_options: expected none .*Received: headers, with http"
    for source in (f"{site.url}/a.zip", [f"{site.url}/folder/", str(tmp_path / "a.zip")]):
        with pytest.raises(InputError, match=message):
            fetched(source, tmp_path, storage_options={"headers": {"Referer": "x"}})
    assert not site.asked
