"""Files from web servers: downloads are resumed, and tried again when a server is busy.

The `Retry` of urllib3 cannot do this: it does not see that a body is cut, its second attempt comes
at once, it shortens a long Retry-After, and its attempts would pass by the rate limit.
"""

import re
import socket
import time
from collections.abc import Iterator
from email.message import Message
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from threading import Event, Timer
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import InvalidSchema, InvalidURL, MissingSchema, SSLError
from urllib3.exceptions import HTTPError, InvalidHeader
from urllib3.util.retry import Retry

from tissue.common.errors import InputError
from tissue.sources.archives import is_archive
from tissue.sources.cache import MAX_WAIT, CachedFile, IncompleteError, retry

TIMEOUT = (15, 60)  # seconds until connected, and between two chunks of the body
HEAD = 120.0  # seconds until all headers of a response have come
CHUNK = 1 << 18  # bytes
WRONG_ADDRESS = (InvalidSchema, InvalidURL, MissingSchema, SSLError)
BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
ENCODING = "Content-Encoding"
PACKED = frozenset({".gz", ".tgz"})
ARCHIVE_STARTS = {b"PK\3\4": ".zip", b"PK\5\6": ".zip", b"\x1f\x8b": ".tar.gz"}
TAR_MARK = slice(257, 262)
FIRST_CHUNKS = 8  # of a body that are waited for to see what it is
USER_AGENT = "tissue-of-origin"


class _Punctual:
    """A connection whose server may not send the headers of a response byte by byte for days."""

    sock: socket.socket

    def getresponse(self) -> Any:
        """Return the response.

        Raises:
            TimeoutError: if its headers are not complete in time.
        """
        late = Event()

        def give_up() -> None:
            late.set()
            self.sock.shutdown(socket.SHUT_RDWR)

        (timer := Timer(HEAD, give_up)).start()
        try:
            # A connection that ends within the headers looks like a response without a body.
            return super().getresponse()  # type: ignore[misc]
        finally:
            timer.cancel()
            if late.is_set():
                raise TimeoutError("headers of a response without end")


class PunctualAdapter(HTTPAdapter):
    """Waits for the headers of a response no longer than `HEAD`."""

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """Return the connections of a host, or of the proxy that leads to it."""
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        if not issubclass(pool.ConnectionCls, _Punctual):
            name = pool.ConnectionCls.__name__  # which messages show
            pool.ConnectionCls = type(name, (_Punctual, pool.ConnectionCls), {})
        return pool


class RateLimitedAdapter(PunctualAdapter):
    """Sends no more requests than a rate allows, redirections and further attempts included.

    The interval runs from the end of one request to the start of the next. It starts with a pause,
    so that the rate also holds for the server, and for a program that is killed and started again.
    """

    def __init__(self, per_second: float) -> None:
        super().__init__()
        self._interval = 1 / per_second
        self._next = time.monotonic() + self._interval

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> Any:
        """Send a request when its time has come."""
        time.sleep(max(0.0, self._next - time.monotonic()))
        try:
            return super().send(request, *args, **kwargs)
        finally:
            self._next = time.monotonic() + self._interval


def open_session(*, per_second: float | None = None, contact: str = "") -> requests.Session:
    """Return a session for `download`.

    Args:
        per_second: maximum number of requests per second; None for no limit.
        contact: e-mail or web address of the user, sent to the server; may be empty.
    """
    session = requests.Session()
    adapter = PunctualAdapter() if per_second is None else RateLimitedAdapter(per_second)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    agent = f"{USER_AGENT} ({contact})" if contact else USER_AGENT
    session.headers["User-Agent"] = f"{agent} {requests.utils.default_user_agent()}"
    # A compressed body has another size than the announced one.
    session.headers["Accept-Encoding"] = "identity"
    return session


def download(session: requests.Session, url: str, target: CachedFile) -> bool:
    """Download a file to the cache, unless it is there already and has not changed.

    Returns:
        Whether the server has the file (False: status 404 or 410).

    Raises:
        InputError: if the server refuses, or several attempts make no progress.
    """
    try:
        return retry(partial(_attempt, session, url, target), target, final=WRONG_ADDRESS)
    except (IncompleteError, requests.RequestException) as error:
        hint = "What has arrived is kept: run it again later."
        if isinstance(error, WRONG_ADDRESS):
            hint = "Check the address."
        elif isinstance(error, IncompleteError) and error.wait > MAX_WAIT:
            hint = f"The server asks to come back in {error.wait:.0f} s."
        raise InputError(f"{url}: expected to download it. Received: {error}. {hint}") from None


def archive_name(session: requests.Session, url: str) -> str:
    """Return the name of the archive that an address without its suffix gives; empty if none.

    Zenodo and figshare send the name beside the file. Where a server does not, the first bytes tell
    the kind.
    """
    try:
        with session.get(url, stream=True, timeout=TIMEOUT) as response:
            header = Message()
            header["Content-Disposition"] = response.headers.get("Content-Disposition", "")
            if response.status_code != 200:
                return ""
            start = b""
            for chunk in islice(_body(response), FIRST_CHUNKS):
                start += chunk
                if len(start) >= TAR_MARK.stop:
                    break
    except (IncompleteError, requests.RequestException):
        return ""  # downloading or listing it says what is wrong
    try:
        given = header.get_filename() or ""
    except ValueError:  # a coding that decodes nothing
        given = ""
    name = PurePosixPath(given.replace("\\", "/")).name
    if name and is_archive(Path(name)):
        return name
    suffix = next((one for magic, one in ARCHIVE_STARTS.items() if start.startswith(magic)), "")
    suffix = ".tar" if start[TAR_MARK] == b"ustar" else suffix
    return f"{PurePosixPath(urlsplit(url).path).name or 'archive'}{suffix}" if suffix else ""


def _attempt(session: requests.Session, url: str, target: CachedFile) -> bool:
    offset, version = target.resumable()
    headers = {}
    if offset:
        headers = {"Range": f"bytes={offset}-", "If-Range": version}
    elif current := target.version():
        is_tag = current.startswith(('"', "W/"))
        headers = {"If-None-Match" if is_tag else "If-Modified-Since": current}
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == 304:
            return True
        if response.status_code in (404, 410):
            return False
        _check_status(response, url)
        if target.path.suffix.lower() in PACKED:
            # Some servers call the packing of an archive an encoding, which would be undone here.
            response.raw.headers.pop(ENCODING, None)
            response.headers.pop(ENCODING, None)
        if response.status_code in (206, 416):
            size = _total_size(response, offset, version, target)
        else:
            version = _version(response)
            # Sizes and ranges are those of the encoded bytes, not of the decoded ones.
            encoded = response.headers.get(ENCODING, "identity") != "identity"
            size = None if encoded else _number(response.headers.get("Content-Length", ""))
            target.restart("" if encoded or version.startswith("W/") else version)
        target.write(_body(response), version=version, size=size)
    return True


def _body(response: requests.Response) -> Iterator[bytes]:
    """Yield what has arrived as it arrives: a full chunk may take a slow server hours."""
    try:
        while chunk := response.raw.read1(CHUNK, decode_content=True):
            yield chunk
    except HTTPError as error:
        raise IncompleteError(str(error)) from None


def _check_status(response: requests.Response, url: str) -> None:
    if response.status_code in BUSY:
        try:
            wait = Retry().parse_retry_after(response.headers.get("Retry-After", "0"))
        except (InvalidHeader, ValueError, OverflowError):  # neither seconds nor a date
            wait = 0.0
        raise IncompleteError(f"HTTP status {response.status_code}", wait)
    if response.status_code not in (200, 206, 416):
        raise InputError(
            f"{url}: expected HTTP status 200. Received: {response.status_code} {response.reason}. "
            "Check the address, and the credentials in ~/.netrc if it needs any."
        )


def _total_size(
    response: requests.Response, offset: int, version: str, target: CachedFile
) -> int | None:
    """Return the announced size of a file of which the rest is sent, unless it does not fit."""
    part = response.headers.get("Content-Range", "").removeprefix("bytes ")
    start, _, size = part.partition("/")
    reason = ""
    if response.status_code == 416:
        reason = "another size than before"
    elif start.partition("-")[0] != str(offset):
        reason = f"bytes {start} instead of {offset}-"
    elif _version(response) not in ("", version):  # from a server that ignores If-Range
        reason = "a part of another version"
    if reason:
        target.restart("")
        raise IncompleteError(reason)
    return _number(size)


def _version(response: requests.Response) -> str:
    return response.headers.get("ETag") or response.headers.get("Last-Modified") or ""


def _number(text: str) -> int | None:
    # Longer ones are no sizes, and Python reads no number of over 4,300 digits.
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None
