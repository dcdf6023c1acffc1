"""Sources on web servers: the same bytes as from a folder, in spite of faults."""

import gzip
import hashlib
import socket
import time
from contextlib import suppress
from email.utils import formatdate
from itertools import pairwise
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import requests

from tests.servers import Site, serving
from tests.source_examples import (
    FORMS,
    as_folder,
    as_tar,
    as_zip,
    fetched,
    halves,
    manifest_of,
    tree,
)
from tissue.common.errors import InputError
from tissue.sources import cache, remote_folders, web
from tissue.sources.cache import ATTEMPTS, DownloadCache


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "CHUNK", 64)


@pytest.fixture
def archive(site: Site, tmp_path: Path) -> Path:
    """An archive that the server has as /a.zip."""
    made = as_zip(tree(), tmp_path / "made/a.zip")
    site.files["/a.zip"] = made.read_bytes()
    return made


def assert_same_as_local(url: str, local: Path, tmp_path: Path, **changes: Any) -> None:
    expected = fetched(local, tmp_path / "expected")
    assert fetched(url, tmp_path, **changes) == expected


@pytest.mark.parametrize("form", ["zip", "tar.gz"])
def test_archive(form: str, site: Site, tmp_path: Path) -> None:
    local = FORMS[form](tree(), tmp_path / "made")
    site.files[f"/x/{local.name}"] = local.read_bytes()
    assert_same_as_local(f"{site.url}/x/{local.name}", local, tmp_path)


@pytest.mark.parametrize("path", ["/api/files/x.zip/content", "/ndownloader/files/4711"])
@pytest.mark.parametrize("header", ['attachment; filename="x.zip"', ""])
@pytest.mark.parametrize("form", ["zip", "tar", "tar.gz"])
def test_archive_without_its_suffix_in_the_address(
    path: str, header: str, form: str, site: Site, tmp_path: Path
) -> None:
    local = FORMS[form](tree(), tmp_path / "made")
    site.files[path] = local.read_bytes()
    site.headers["Content-Disposition"] = header.replace("x.zip", local.name)
    found = manifest_of(site.url + path, tmp_path)
    assert len(found) == len(tree())
    if header:
        assert set(found["source"]) == {local.name}


def test_scheme_in_capitals(site: Site, archive: Path, tmp_path: Path) -> None:
    assert_same_as_local(f"{site.url.replace('http', 'HTTP')}/a.zip", archive, tmp_path)


@pytest.mark.parametrize("scheme", ["http", "HTTP"])
def test_folder(scheme: str, site: Site, tmp_path: Path) -> None:
    local = as_folder(tree(), tmp_path / "made/images")
    for path in [local, *local.rglob("*")]:
        name = path.relative_to(local.parent).as_posix()
        if path.is_file():
            site.files[f"/{name}"] = path.read_bytes()
        else:
            entries = sorted(each.name + "/" * each.is_dir() for each in path.iterdir())
            links = "".join(f'<a href="{entry}">{entry}</a>' for entry in entries)
            site.files[f"/{name}/"] = f"<html><body>{links}</body></html>".encode()
    assert_same_as_local(f"{site.url.replace('http', scheme)}/images/", local, tmp_path)


def test_several_parts(site: Site, tmp_path: Path) -> None:
    parts = halves(tree(), tmp_path / "made")
    site.files["/0.zip"] = (parts / "0.zip").read_bytes()
    got = fetched([f"{site.url}/0.zip", parts / "1.zip"], tmp_path)
    assert got == fetched(parts, tmp_path / "expected")


@pytest.mark.parametrize("fault", [429, (429, "0"), (429, "soon"), 500, "cut"])
def test_faults_are_survived(fault: Any, site: Site, archive: Path, tmp_path: Path) -> None:
    site.faults["/a.zip"] = [fault, fault]
    assert_same_as_local(f"{site.url}/a.zip", archive, tmp_path)
    assert len(site.requests) == 3


@pytest.mark.usefixtures("small_chunks")
def test_cut_body_is_resumed(site: Site, archive: Path, tmp_path: Path) -> None:
    site.faults["/a.zip"] = ["cut"]
    assert_same_as_local(f"{site.url}/a.zip", archive, tmp_path)
    assert site.requests[1].headers["Range"] == f"bytes={archive.stat().st_size // 2}-"


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("lacking", ["ranges", "tags"])
def test_cut_body_is_downloaded_anew_where_it_cannot_be_resumed(
    lacking: str, site: Site, archive: Path, tmp_path: Path
) -> None:
    site.faults["/a.zip"] = ["cut"]
    setattr(site, lacking, False)
    assert_same_as_local(f"{site.url}/a.zip", archive, tmp_path)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("conditions", [True, False])
def test_halves_of_two_versions_are_not_joined(
    conditions: bool, site: Site, archive: Path, tmp_path: Path
) -> None:
    site.conditions = conditions
    site.faults["/a.zip"] = ["cut", *[503] * ATTEMPTS]
    with pytest.raises(InputError, match="What has arrived is kept"):
        fetched(f"{site.url}/a.zip", tmp_path)
    assert not (tmp_path / "data/raw").exists()
    site.faults.clear()
    as_zip(tree(per_class=3), archive)
    site.files["/a.zip"] = archive.read_bytes()
    count = len(site.requests)
    assert_same_as_local(f"{site.url}/a.zip", archive, tmp_path)
    assert "Range" in site.requests[count].headers, "nothing was kept that could have been joined"


@pytest.mark.usefixtures("small_chunks")
def test_packed_archive_that_a_server_calls_encoded(site: Site, tmp_path: Path) -> None:
    local = as_tar(tree(), tmp_path / "a.tar.gz")
    site.files["/a.tar.gz"] = local.read_bytes()
    site.headers["Content-Encoding"] = "gzip"
    site.faults["/a.tar.gz"] = ["cut"]
    sha256 = {"a.tar.gz": hashlib.sha256(local.read_bytes()).hexdigest()}
    assert_same_as_local(f"{site.url}/a.tar.gz", local, tmp_path, sha256=sha256)
    assert "Range" in site.requests[1].headers


@pytest.mark.usefixtures("small_chunks")
def test_encoded_file_is_decoded_and_never_resumed(site: Site, tmp_path: Path) -> None:
    content = b"".join(hashlib.sha256(bytes([n])).digest() for n in range(200))
    site.files["/a"] = gzip.compress(content)
    site.headers["Content-Encoding"] = "gzip"
    site.faults["/a"] = ["cut"]
    target = DownloadCache(tmp_path, "source", most=10**9).file("a")
    with web.open_session() as session:
        assert web.download(session, f"{site.url}/a", target)
    assert target.path.read_bytes() == content
    assert "Range" not in site.requests[1].headers


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize(
    ("version", "condition"),
    [
        ({"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}, "If-Modified-Since"),
        ({"ETag": 'W/"1"'}, "If-None-Match"),
    ],
)
def test_versions_other_than_a_strong_tag(
    version: dict[str, str], condition: str, site: Site, archive: Path, tmp_path: Path
) -> None:
    site.tags, site.conditions, site.headers = False, False, version
    site.faults["/a.zip"] = ["cut"]
    target = DownloadCache(tmp_path, "source", most=10**9).file("a")
    with web.open_session() as session:
        for _ in range(2):
            assert web.download(session, f"{site.url}/a.zip", target)
    assert target.path.read_bytes() == archive.read_bytes()
    (value,) = version.values()
    # A weak tag does not promise the same bytes, so that nothing may be joined to them.
    assert site.requests[1].headers.get("If-Range") == (None if value.startswith("W/") else value)
    assert site.requests[2].headers[condition] == value


@pytest.mark.usefixtures("archive")
def test_unchanged_file_is_not_sent_again(site: Site, tmp_path: Path) -> None:
    first = fetched(f"{site.url}/a.zip", tmp_path)
    assert fetched(f"{site.url}/a.zip", tmp_path) == first
    assert site.sent == ["/a.zip"]


def test_changed_file_is_fetched(site: Site, archive: Path, tmp_path: Path) -> None:
    fetched(f"{site.url}/a.zip", tmp_path)
    site.files["/a.zip"] = as_zip(tree(per_class=3), archive).read_bytes()
    assert_same_as_local(f"{site.url}/a.zip", archive, tmp_path)


@pytest.mark.usefixtures("archive")
def test_retry_after_is_respected(site: Site, tmp_path: Path) -> None:
    site.faults["/a.zip"] = [(429, "1")]
    fetched(f"{site.url}/a.zip", tmp_path)
    assert site.requests[1].time - site.requests[0].time >= 1


@pytest.mark.parametrize("date", [False, True])
def test_very_long_retry_after_is_reported(date: bool, site: Site, tmp_path: Path) -> None:
    after = formatdate(time.time() + 7200, usegmt=True) if date else "7200"
    site.faults["/a.zip"] = [(503, after)]
    with pytest.raises(InputError, match=r"come back in 7(200|19\d) s"):
        fetched(f"{site.url}/a.zip", tmp_path)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_refusal_is_reported_at_once(status: int, site: Site, tmp_path: Path) -> None:
    site.faults["/a.zip"] = [status]
    with pytest.raises(InputError, match=str(status)):
        fetched(f"{site.url}/a.zip", tmp_path)
    assert len(site.requests) == 1


def test_no_server(tmp_path: Path) -> None:
    with serving(Site({})) as gone:
        url = gone.url
    with pytest.raises(InputError, match="Connection refused"):
        fetched(f"{url}/a.zip", tmp_path)


def test_file_with_a_wrong_digest_is_downloaded_again(
    site: Site, archive: Path, tmp_path: Path
) -> None:
    site.files["/a.zip"] = b"something else"
    sha256 = {"a.zip": hashlib.sha256(archive.read_bytes()).hexdigest()}
    with pytest.raises(InputError, match="expected sha256"):
        fetched(f"{site.url}/a.zip", tmp_path, sha256=sha256)
    assert not (tmp_path / "data/raw").exists()
    site.files["/a.zip"] = archive.read_bytes()
    assert_same_as_local(f"{site.url}/a.zip", archive, tmp_path, sha256=sha256)


def test_rate_holds_for_redirections_and_further_attempts(site: Site, tmp_path: Path) -> None:
    site.files["/b"] = b"content"
    site.redirects["/a"] = "/b"
    site.faults["/b"] = [500, "cut"]
    start = time.monotonic()
    with web.open_session(per_second=20, contact="me@example.org") as session:
        assert web.download(
            session, f"{site.url}/a", DownloadCache(tmp_path, "source", most=10**9).file("a")
        )
    times = [start, *(request.time for request in site.requests)]
    assert site.paths() == ["/a", "/b"] * 3
    assert min(b - a for a, b in pairwise(times)) >= 1 / 20
    assert "me@example.org" in site.requests[0].headers["User-Agent"]


@pytest.mark.parametrize("wait", ["9" * 5000, "Fri, 31 Dec 99999 23:59:59 GMT", "\xb2"])
def test_a_wait_that_is_no_time(wait: str, site: Site, archive: Path, tmp_path: Path) -> None:
    site.faults["/a.zip"] = [(503, wait)]
    assert_same_as_local(f"{site.url}/a.zip", archive, tmp_path)


@pytest.mark.parametrize("coding", ["undefined", "idna", "utf-8"])
def test_a_name_in_a_coding_that_decodes_nothing(
    coding: str, site: Site, archive: Path, tmp_path: Path
) -> None:
    site.files["/files/1"] = archive.read_bytes()
    site.headers["Content-Disposition"] = f"attachment; filename*={coding}''%ff.zip"
    fetched(f"{site.url}/files/1", tmp_path)


@pytest.mark.parametrize(
    ("written", "number"),
    [("12", 12), ("9" * 5000, None), ("\xb2", None), ("-1", None), ("", None)],
)
def test_sizes_that_a_server_announces(written: str, number: int | None) -> None:
    assert web._number(written) == number


class Endless(dict):
    """Every folder of this server holds two more."""

    def __contains__(self, path: object) -> bool:
        return str(path).endswith("/")

    def __getitem__(self, path: str) -> bytes:
        return b'<a href="a/">a/</a><a href="b/">b/</a>'


def test_pages_that_lead_to_pages_for_ever(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_folders, "MOST_FOLDERS", 20)
    site.files = Endless()
    with pytest.raises(InputError, match="pages that lead to pages for ever"):
        fetched(f"{site.url}/x/", tmp_path)
    assert len(site.requests) < 50


@pytest.mark.parametrize("packed", [False, True])
def test_a_page_without_end(
    packed: bool, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_folders, "PAGE", 100_000)
    page = b" " * 200_000
    site.files["/x/"] = gzip.compress(page) if packed else page
    site.headers = {"Content-Encoding": "gzip"} if packed else {}
    with pytest.raises(InputError, match="a folder of at most 100,000 bytes"):
        fetched(f"{site.url}/x/", tmp_path)


@pytest.mark.parametrize("page", ["<a" + " " * 50_000, "<a " * 50_000, "<a" + 9_000 * "\n  b"])
def test_a_page_on_which_finding_links_takes_hours(page: str, site: Site, tmp_path: Path) -> None:
    local = as_zip(tree(), tmp_path / "made/a.zip")
    site.files["/x/"] = f'{page}<A class="b"\n href="a.zip">'.encode()
    site.files["/x/a.zip"] = local.read_bytes()
    assert_same_as_local(f"{site.url}/x/", local.parent, tmp_path)


@pytest.mark.parametrize("kind", ["drip", "in time"])
def test_headers_that_come_byte_by_byte(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "HEAD", 0.3 if kind == "drip" else 30)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):  # the other side has had enough
                connection.recv(10_000)
                connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                for _ in range(100 if kind == "drip" else 10):
                    connection.sendall(b"x")
                    time.sleep(0.02)
                connection.sendall(b"\r\nContent-Length: 0\r\n\r\n")

        Thread(target=answer, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        with web.open_session() as session:
            if kind == "drip":
                with pytest.raises(requests.ReadTimeout):
                    session.get(url, timeout=5)
            else:
                assert session.get(url, timeout=5).headers["X"] == "x" * 10


def test_caches_are_locked_in_one_order(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs that name the same sources in another order would wait for each other."""
    orders: list[list[str]] = []
    monkeypatch.setattr(cache, "_lock", lambda root, source: orders[-1].append(source))
    sources = [f"{site.url}/{name}.zip" for name in "bca"]
    for order in (sources, sources[::-1]):
        orders.append([])
        with pytest.raises(InputError):
            fetched(order, tmp_path)
        orders[-1] = orders[-1][:3]
    assert orders == [sorted(sources)] * 2
