"""Servers on this machine, for tests: of files over HTTP, with faults on demand."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MOST_REQUESTS = 2000


@dataclass
class Site:
    """What an HTTP server has, what it is to do wrong, and what it was asked for.

    `faults` holds for a path what happens to the next requests for it, one each: a status, a
    status with the seconds of a Retry-After, or `cut`: half of the body, then the end.
    """

    files: dict[str, bytes]
    faults: dict[str, list[int | tuple[int, str] | str]] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    conditions: bool = True  # whether If-Range is heeded
    tags: bool = True
    headers: dict[str, str] = field(default_factory=dict)  # sent beside every file
    url: str = ""
    asked: list[tuple[float, str, dict[str, str]]] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def paths(self) -> list[str]:
        """Every path asked for, in order."""
        return [path for _, path, _ in self.asked]

    def fault(self, path: str) -> int | tuple[int, str] | str | None:
        """Take the next fault of a path."""
        with self.lock:
            waiting = self.faults.get(path)
            return waiting.pop(0) if waiting else None


class Handler(BaseHTTPRequestHandler):
    site: Site
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        site, path = self.site, self.path
        with site.lock:
            site.asked.append((time.monotonic(), path, dict(self.headers)))
            assert len(site.asked) < MOST_REQUESTS
        fault = site.fault(path)
        if isinstance(fault, (int, tuple)):
            status, *after = (fault,) if isinstance(fault, int) else fault
            self._head(status, {"Retry-After": after[0]} if after else {}, 0)
        elif path in site.redirects:
            self._head(302, {"Location": site.redirects[path]}, 0)
        elif path not in site.files and f"{path}/" in site.files:
            self._head(301, {"Location": f"{path}/"}, 0)
        elif path not in site.files:
            self._head(404, {}, 0)
        else:
            self._send(site.files[path], cut=fault == "cut")

    do_HEAD = do_GET  # noqa: N815 - its name in http.server

    def _send(self, body: bytes, *, cut: bool) -> None:
        site, start, status = self.site, 0, 200
        tag = f'"{hash(body)}"'
        headers = site.headers | ({"ETag": tag} if site.tags else {})
        if site.tags and self.headers.get("If-None-Match") == tag:
            self._head(304, headers, 0)
            return
        asked = self.headers.get("Range", "")
        same = not site.conditions or self.headers.get("If-Range", tag) == tag
        if site.ranges and asked and same:
            start, status = int(asked.removeprefix("bytes=").partition("-")[0]), 206
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        rest = body[start:]
        self._head(status, headers, len(rest))
        if self.command == "HEAD":
            return
        self.wfile.write(rest[: len(rest) // 2] if cut else rest)
        self.wfile.flush()
        if cut:
            self.close_connection = True
            return
        with site.lock:
            site.finished.append(self.path)

    def _head(self, status: int, headers: dict[str, str], length: int) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    """Serve a site on 127.0.0.1 at `site.url`."""
    handler = type("OneSite", (Handler,), {"site": site})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        site.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
