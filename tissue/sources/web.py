"""Files from web servers: resumed after an interruption, tried again when a server is busy."""

import random
import time
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import InvalidSchema, InvalidURL, MissingSchema, SSLError
from tqdm import tqdm
from urllib3.exceptions import InvalidHeader
from urllib3.util.retry import Retry

from tissue.common.errors import InputError
from tissue.sources.cache import IncompleteError, Slot

ATTEMPTS = 6  # in a row without getting on
BACK_OFF = 1.0  # seconds before the second attempt, doubled before each further one
LONGEST_WAIT = 300.0  # seconds; a server that asks for more is not waited for
TIMEOUT = (15, 60)  # seconds until connected, and between two pieces of the answer
PIECE = 1 << 18  # bytes
PROGRESS = 1 << 20  # bytes that make an attempt count as one that got on
BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
ENCODING = "Content-Encoding"
PACKED = frozenset({".gz", ".tgz"})
USER_AGENT = "tissue-of-origin"


class BusyError(OSError):
    """The server answered, but cannot serve now; `wait` is what it asks for, in seconds."""

    def __init__(self, status: int, wait: float) -> None:
        """Keep what the server said."""
        super().__init__(f"HTTP status {status}")
        self.wait = wait


class Paced(HTTPAdapter):
    """Sends requests no faster than a rate, with redirections and further attempts counted.

    The interval runs from the end of one request to the start of the next, and starts with a pause,
    so that the rate also holds at the server and for a program that is killed and started again.
    """

    def __init__(self, per_second: float) -> None:
        """Pause before the first request, too."""
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
        per_second: most requests a second; None for no limit.
        contact: whom to ask about this client, an e-mail or web address; may be empty.
    """
    session = requests.Session()
    if per_second is not None:
        paced = Paced(per_second)
        session.mount("http://", paced)
        session.mount("https://", paced)
    agent = f"{USER_AGENT} ({contact})" if contact else USER_AGENT
    session.headers["User-Agent"] = f"{agent} {requests.utils.default_user_agent()}"
    # A compressed answer has another size than the one announced.
    session.headers["Accept-Encoding"] = "identity"
    return session


def download(session: requests.Session, url: str, slot: Slot) -> bool:
    """Bring a file into its slot; what is there already and has not changed is not sent again.

    Returns:
        Whether the server has the file (False: status 404 or 410).

    Raises:
        ValueError: if the server refuses, or does not get on in several attempts.
    """
    failures = 0
    while True:
        before = slot.resumable()[0]
        try:
            return _transfer(session, url, slot)
        except (InvalidSchema, InvalidURL, MissingSchema, SSLError) as error:
            raise _failed(url, error, "Check the address.") from None
        except (BusyError, IncompleteError, requests.RequestException) as error:
            got_on = slot.resumable()[0] >= before + PROGRESS
            failures = 1 if got_on else failures + 1
            if failures == ATTEMPTS:
                hint = "What has arrived is kept: run fetch again later."
                raise _failed(url, error, hint) from None
            _wait(url, error, failures)


def _failed(url: str, error: Exception, hint: str) -> InputError:
    return InputError(f"{url}: expected to download it. Received: {error}. {hint}")


def _wait(url: str, error: Exception, failures: int) -> None:
    asked = error.wait if isinstance(error, BusyError) else 0.0
    if asked > LONGEST_WAIT:
        raise _failed(url, error, f"The server asks to come back in {asked:.0f} s.")
    # Jitter keeps several clients from coming back all at once.
    time.sleep(max(asked, BACK_OFF * 2 ** (failures - 1) * random.uniform(1, 1.25)))


def _transfer(session: requests.Session, url: str, slot: Slot) -> bool:
    offset, version = slot.resumable()
    headers: dict[str, str] = {}
    if offset:
        headers = {"Range": f"bytes={offset}-", "If-Range": version}
    elif current := slot.current():
        tag = current.startswith(('"', "W/"))
        headers = {"If-None-Match" if tag else "If-Modified-Since": current}
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        if answer.status_code == 304:
            return True
        if answer.status_code in (404, 410):
            return False
        if answer.status_code == 416:
            slot.restart("")
            raise IncompleteError("another size than before")
        _check_status(answer, url)
        if slot.path.suffix.lower() in PACKED:
            # Some servers call the packing of an archive an encoding, which would be undone here.
            answer.raw.headers.pop(ENCODING, None)
            answer.headers.pop(ENCODING, None)
        if answer.status_code == 206:
            size: int | None = _resumed_size(answer, offset, slot)
            if _version(answer) not in ("", version):  # from a server that ignores If-Range
                slot.restart("")
                raise IncompleteError("a part of another version")
        else:
            offset, version = 0, _version(answer)
            # Sizes and ranges are those of the encoded bytes, not of the ones that are kept.
            encoded = answer.headers.get(ENCODING, "identity") != "identity"
            size = None if encoded else _announced(answer)
            slot.restart("" if encoded or version.startswith("W/") else version)
        _append(answer, slot, offset, size)
    slot.finish(version, size)
    return True


def _check_status(answer: requests.Response, url: str) -> None:
    if answer.status_code in BUSY:
        raise BusyError(answer.status_code, _asked_wait(answer.headers.get("Retry-After", "0")))
    if answer.status_code not in (200, 206):
        raise InputError(
            f"{url}: expected HTTP status 200. Received: {answer.status_code} {answer.reason}. "
            "Check the address, and the credentials in ~/.netrc if it needs any."
        )


def _asked_wait(header: str) -> float:
    try:
        return Retry().parse_retry_after(header)  # seconds or a date
    except InvalidHeader:
        return 0.0


def _version(answer: requests.Response) -> str:
    return answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""


def _announced(answer: requests.Response) -> int | None:
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _resumed_size(answer: requests.Response, offset: int, slot: Slot) -> int | None:
    start, _, size = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
    if start.partition("-")[0] != str(offset):
        slot.restart("")
        raise IncompleteError(f"bytes {start}, where {offset}- was asked for")
    return int(size) if size.isdigit() else None


def _append(answer: requests.Response, slot: Slot, offset: int, size: int | None) -> None:
    with (
        slot.partial.open("ab" if offset else "wb") as file,
        progress_bar(slot.path.name, offset, size) as progress,
    ):
        for piece in answer.iter_content(PIECE):
            file.write(piece)
            progress.update(len(piece))


def progress_bar(name: str, offset: int, size: int | None) -> tqdm:
    """Return a bar over the bytes of a file, shown if it takes more than a moment."""
    return tqdm(
        desc=name, initial=offset, total=size, unit="B", unit_scale=True, unit_divisor=1024,
        delay=2, leave=False, disable=None,
    )  # fmt: skip
