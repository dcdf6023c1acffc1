"""What must not be in Git or on a terminal: passwords, tokens and signatures, in URLs above all."""

import re
from collections.abc import Iterator
from typing import Any

# Names of options and of parts of a query. `sig` is Azure's, `Policy` and `Key-Pair-Id` are those
# of CloudFront, `x-amz-...` and `x-goog-...` those of signed URLs of S3 and GCS.
NAME = re.compile(
    r"(?<![a-z])key|(access|account|api|private)[_-]?key|secret|token|passw|passphrase|credential|"
    r"connection_?string|auth(?!or\b|ors\b)|signature|cookie|policy|session|accessid|x-(amz|goog)-|"
    r"(?<![a-z])(jwt|pass|pwd|sas|sig)(?![a-z])",
    re.IGNORECASE,
)
HIDDEN = "***"
# Who the user of an SSH URL is is no secret. A name before the @ of an HTTP URL is a token.
_USER = re.compile(
    r"(?P<start>(?P<scheme>[a-z][a-z0-9+.-]*)://)(?P<user>[^/?#\s]*)@", re.IGNORECASE
)
_PAIR = re.compile(r"(?P<start>[?&#;](?P<name>[^=&#;\s?]+)=)(?P<value>[^&#;\s'\"]*[^&#;\s'\":])")


def redact(text: str) -> str:
    """Return a text with *** in place of what is secret in the URLs in it."""
    text = _USER.sub(lambda found: _start(found, _is_secret_user(found)), text)
    return _PAIR.sub(lambda found: _start(found, bool(NAME.search(found["name"])), ""), text)


def _start(found: re.Match[str], is_secret: bool, end: str = "@") -> str:
    return f"{found['start']}{HIDDEN}{end}" if is_secret else found[0]


def _is_secret_user(found: re.Match[str]) -> bool:
    return ":" in found["user"] or found["scheme"].lower() in ("http", "https")


def has_secret(text: str) -> bool:
    """Return whether a URL, or a text with URLs in it, holds something secret."""
    return redact(text) != text


def secret_options(options: Any) -> Iterator[str]:
    """Yield the names of options, however nested, that are secret or whose value holds a secret."""
    if isinstance(options, dict):
        for name, value in options.items():
            if NAME.search(str(name)) or (isinstance(value, str) and has_secret(value)):
                yield str(name)
            else:
                yield from secret_options(value)
    elif isinstance(options, list):
        for value in options:
            if isinstance(value, str) and has_secret(value):
                yield redact(value)
            yield from secret_options(value)
