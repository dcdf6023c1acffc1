"""Access to the file systems of fsspec by URL."""

from collections.abc import Mapping
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs

from tissue.common.errors import InputError

EXTRAS = {
    "s3": "s3", "s3a": "s3",
    "gs": "gcs", "gcs": "gcs",
    "az": "azure", "abfs": "azure", "abfss": "azure", "adl": "azure",
    "ssh": "ssh", "sftp": "ssh",
}  # fmt: skip
# By default sshfs trusts any host; with `()` it looks the host up in ~/.ssh/known_hosts.
DEFAULTS: dict[str, dict[str, Any]] = {"ssh": {"known_hosts": ()}, "sftp": {"known_hosts": ()}}


def connect(url: str, options: Mapping[str, Any]) -> tuple[AbstractFileSystem, str]:
    """Return the file system of a URL, and the path in it.

    Raises:
        InputError: if the protocol is unknown, its library is missing, or it does not connect.
    """
    # Of a chain such as simplecache::ssh://host, fsspec takes options by protocol after the first.
    first, *others = [one.partition("://")[0] for one in url.split("::")]
    known = {**DEFAULTS.get(first, {}), **options}
    for one in others:
        if one in DEFAULTS:
            known[one] = {**DEFAULTS[one], **known.get(one, {})}
    protocol = others[-1] if others else first
    try:
        return url_to_fs(url, **known)
    except ImportError as error:
        extra = EXTRAS.get(protocol)
        install = f"pip install -r requirements/{extra}.txt" if extra else "Install its library"
        raise InputError(
            f"{url}: expected the library that reads {protocol}:// to be installed. Received: "
            f"{error}. Run: {install}."
        ) from None
    except Exception as error:  # each library has errors of its own
        raise read_error(url, error) from error


def read_error(url: str, error: Exception) -> InputError:
    """Return the `InputError` that reports a URL that could not be read."""
    return InputError(
        f"{url}: expected to read it. Received: {type(error).__name__}: {error}. "
        "Check the address and your credentials; what has arrived is kept."
    )
