"""A server of files over HTTP on this machine, with faults on demand."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

MAX_REQUESTS = 2000


class Request(NamedTuple):
    time: float
    path: str
    headers: dict[str, str]


@dataclass
class Site:
    """The files of an HTTP server, its faults, and the requests that it received.

    `faults` holds what happens to the next requests for a path, one each: a status, a status with
    a Retry-After, `cut`: half of the body, then the end, or `drip`: a byte now and then.
    """

    files: dict[str, bytes]
    faults: dict[str, list[int | tuple[int, str] | str]] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    conditions: bool = True  # whether If-Range is respected
    tags: bool = True
    headers: dict[str, str] = field(default_factory=dict)  # sent with every file
    url: str = ""
    requests: list[Request] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)  # paths of complete bodies
    lock: threading.Lock = field(default_factory=threading.Lock)

    def paths(self) -> list[str]:
        """Every requested path, in order."""
        return [request.path for request in self.requests]


class Handler(BaseHTTPRequestHandler):
    site: Site
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        site, path = self.site, self.path
        with site.lock:
            site.requests.append(Request(time.monotonic(), path, dict(self.headers)))
            assert len(site.requests) < MAX_REQUESTS
            fault = site.faults[path].pop(0) if site.faults.get(path) else None
        if isinstance(fault, (int, tuple)):
            status, *after = (fault,) if isinstance(fault, int) else fault
            self._head(status, {"Retry-After": after[0]} if after else {}, 0)
        elif path in site.redirects:
            self._head(302, {"Location": site.redirects[path]}, 0)
        elif path in site.files:
            self._send(site.files[path], fault)
        elif f"{path}/" in site.files:
            self._head(301, {"Location": f"{path}/"}, 0)
        else:
            self._head(404, {}, 0)

    do_HEAD = do_GET  # noqa: N815 - its name in http.server

    def _send(self, body: bytes, fault: str | None) -> None:
        site, start, status = self.site, 0, 200
        tag = f'"{hash(body)}"'
        headers = site.headers | ({"ETag": tag} if site.tags else {})
        if site.tags and self.headers.get("If-None-Match") == tag:
            self._head(304, headers, 0)
            return
        wanted = self.headers.get("Range", "")
        same = not site.conditions or self.headers.get("If-Range", tag) == tag
        if site.ranges and wanted and same:
            start, status = int(wanted.removeprefix("bytes=").partition("-")[0]), 206
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        rest = body[start:]
        self._head(status, headers, len(rest))
        if self.command == "HEAD":
            return
        cut = fault == "cut"
        for at in range(len(rest)) if fault == "drip" else ():
            try:
                self.wfile.write(rest[at : at + 1])
            except OSError:  # the other side has had enough
                self.close_connection = True
                return
            time.sleep(0.05)
        self.wfile.write(rest[: len(rest) // 2] if cut else rest)
        self.wfile.flush()
        self.close_connection = cut or self.close_connection
        with site.lock:
            site.sent += [] if cut else [self.path]

    def _head(self, status: int, headers: dict[str, str], length: int) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(length)}.items():
            self.send_header(name, value)
        self.end_headers()


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    """Serve a site on 127.0.0.1 at `site.url`."""
    handler = type("OneSite", (Handler,), {"site": site})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        site.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield site
        finally:
            server.shutdown()
