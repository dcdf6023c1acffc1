"""What lies at an address: the files of a bucket, a file server or a web server."""

import re
from collections.abc import Mapping
from typing import Any

import aiohttp
from fsspec import AbstractFileSystem

from tissue.common.errors import InputError
from tissue.common.filesystems import read_error

WEB = ("http://", "https://")
# Folders in folders, all folders and all files of a web server, and bytes of the page of one folder
DEEPEST, MOST_FOLDERS, MOST_FILES, PAGE = 30, 1000, 1_000_000, 60_000_000
Info = Mapping[str, Any]


class _Page(aiohttp.ClientResponse):
    """The page of a folder on a web server, as long as it has a size that can be read."""

    async def read(self) -> bytes:
        """Return its bytes, unpacked."""
        found = bytearray()
        async for chunk in self.content.iter_any():
            found += chunk
            if len(found) > PAGE:
                self.close()
                raise InputError(
                    f"{self.url}: expected the list of a folder of at most {PAGE:,} bytes. "
                    "Received: more. Give the address of a smaller folder, or of an archive."
                )
        self._body = bytes(found)
        return self._body

    async def text(self, encoding: str | None = None, errors: str = "strict") -> str:
        """Return its text, in which no tag holds another one and white space is short.

        The pattern by which fsspec finds links takes seconds for a thousand blanks in a tag, and
        eight times as long for twice as many.
        """
        text = await super().text(encoding, errors)
        return re.sub(r"\s{9,}", " ", text).replace("<", "><")


async def open_pages(**options: Any) -> aiohttp.ClientSession:
    """Return what asks a web server for the pages of folders, for fsspec."""
    return aiohttp.ClientSession(response_class=_Page, **options)


def list_files(fs: AbstractFileSystem, root: str, *, url: str) -> dict[str, Info]:
    """Return what is known of the file `root`, or of all files below it, by relative path.

    Raises:
        InputError: if there is none, it cannot be listed, or a web server has too many folders.
    """
    try:
        # Pages can lead to further pages for ever, other listings cannot.
        found = _walk(fs, root, url) if url.startswith(WEB) else fs.find(root, detail=True)
    except InputError:
        raise
    except Exception as error:  # each library has errors of its own
        raise read_error(url, error) from error
    if not found:
        raise InputError(f"{url}: expected a file or a folder with files. Received: none there.")
    start = root.rstrip("/")
    return {
        path.removeprefix(start).lstrip("/") or path.rpartition("/")[2]: {**info, "name": path}
        for path, info in sorted(found.items())
        if info.get("type", "file") == "file"
    }


def _walk(fs: AbstractFileSystem, root: str, url: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number, (_, folders, files) in enumerate(fs.walk(root, detail=True, maxdepth=DEEPEST)):
        found |= {info["name"]: info for info in files.values()}
        if number + len(folders) > MOST_FOLDERS or len(found) > MOST_FILES:
            raise InputError(
                f"{url}: expected at most {MOST_FOLDERS:,} folders and {MOST_FILES:,} files. "
                "Received: more, or pages that lead to pages for ever. Give the address of the "
                "folder with the images."
            )
    return found or fs.find(root, maxdepth=1, detail=True)
