"""What must not be in Git or on a terminal: passwords, tokens and signatures, in URLs above all."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

# Names of options and of parts of a query. `sig` is Azure's, `Policy` and `Key-Pair-Id` are those
# of CloudFront, `x-amz-...` and `x-goog-...` those of signed URLs of S3 and GCS.
NAME = re.compile(
    r"(?<![a-z])key|key(?![a-z])|(access|account|api|private)[_-]?key|secret|token|passw|"
    r"passphrase|credential|connection_?string|auth(?!or\b|ors\b)|signature|cookie|policy|session|"
    r"sessid|accessid|hmac|hdn(ts|ea)|bearer|x-(amz|goog)-|"
    r"(?<![a-z])(jwt|otp|pass|pw|pwd|sas|sid|sig)(?![a-z])",
    re.IGNORECASE,
)
HIDDEN = "***"
# Who the user of an SSH URL is is no secret. A name before the @ of an HTTP URL is a token. Paths
# lose one of the two slashes, and people leave the scheme out, or write `\`. Numbers of letters are
# bounded where a search starts anew at each letter of a word.
_START = r"(?P<start>(?P<scheme>[a-z][a-z0-9+.-]{1,30}):[/\\]+|(?<![^\s'\"])//)"
_USER = re.compile(_START + r"(?P<user>[^/\\?#\s]*)@", re.IGNORECASE)
# A password with a / ? or # in it, which belongs to no URL: what follows the colon is no port.
_PASSWORD = re.compile(
    _START + r"(?P<user>[^/\\?#\s:@\[]*:(?!\d*(?:[/\\?#\s'\"),;:\]>}]|$))[^\s@]+)", re.IGNORECASE
)
_WITHOUT_SLASHES = re.compile(r"(?<![^\s'\"(:])[\w.+-]+:(?![/\\])[^\s/@]{1,1000}(?=@[\w.-])")
# Up to its value, which may be a URL with further pairs. People write `:` in a query, too.
_PAIR = re.compile(
    r"(?:[?&#;,~]|(?<![^\s'\"{(\[-]))(?P<name>[^=&#;,~\s?'\":]{1,200}) ?= ?|"
    r"[?&](?P<query>[^=&#;,~\s?'\":]+):"
)
_VALUE = re.compile(r"[^&#;\s]*[^&#;\s'\":,)\]}]")
_HEADER = re.compile(
    r"(?P<start>(?P<quote>['\"])(?P<name>[\w .-]+)(?P=quote): ?|"
    r"(?<![\w-])(?P<header>(?:proxy-)?authorization|(?:set-)?cookie|x-[\w-]+): ?)"
    r"(?P<value>b?'[^']*'|\"[^\"]*\"|(?:(?:basic|bearer|digest) +)?[^\s'\"{\[]+)",
    re.IGNORECASE,
)
# A name before the @ of an FTP or Hugging Face URL that is no name of a person
_TOKEN = re.compile(r"(?=\D*\d)(?=[\d_-]*[a-z])[\w-]{20,}", re.IGNORECASE)
# What is known by its form: of AWS, GitHub, GitLab, Slack and Hugging Face, a JWT, a private key
_KNOWN = re.compile(
    r"\b(?:A[KS]IA[0-9A-Z]{16}|gh[opsur]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}|"
    r"xox[abprs]-[\w-]{10,}|hf_\w{30,}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*)|"
    r"(?<=\bBearer )[\w.~+/=-]{6,}|-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*"
)
# From the start of a word, or a long one would be searched from each of its letters
_ENCODED = re.compile(r"(?<![^\s'\"])[^\s'\"]*%[0-9a-f]{2}[^\s'\"]*", re.IGNORECASE)


def redact(text: str) -> str:
    """Return a text with *** in place of what is secret in the URLs, headers and options in it."""
    while (hidden := _ENCODED.sub(_decode, _redact_plain(text))) != text:
        text = hidden
    return text


def _redact_plain(text: str) -> str:
    text = _KNOWN.sub(HIDDEN, text)
    text = _USER.sub(lambda found: _start(found, _is_secret_user(found), "@"), text)
    text = _PASSWORD.sub(lambda found: _start(found, HIDDEN not in found["user"]), text)
    text = _WITHOUT_SLASHES.sub(HIDDEN, text)
    text = _redact_pairs(text)
    return _HEADER.sub(
        lambda found: _start(found, _is_secret_name(found["name"] or found["header"])), text
    )


def _redact_pairs(text: str) -> str:
    parts, at = list[str](), 0
    while found := _PAIR.search(text, at):
        value = _VALUE.match(text, found.end()) if _is_secret_pair(found) else None
        parts += [text[at : found.end()], HIDDEN if value else ""]
        at = value.end() if value else found.end()
    return "".join([*parts, text[at:]])


def _decode(found: re.Match[str]) -> str:
    """Return a word as it is, or redacted where only its decoded form shows a secret."""
    text = unquote(found[0])
    hidden = redact(text)
    return found[0] if hidden == text else hidden


def _start(found: re.Match[str], is_secret: bool, end: str = "") -> str:
    return f"{found['start']}{HIDDEN}{end}" if is_secret else found[0]


def _is_secret_user(found: re.Match[str]) -> bool:
    last = (found["scheme"] or "").lower().rpartition("+")[2]
    if last in ("ftp", "ftps", "hf") and _TOKEN.fullmatch(found["user"]):
        return True
    return ":" in found["user"] or last in ("http", "https", "ws", "wss")


def _is_secret_pair(found: re.Match[str]) -> bool:
    # Outside of a URL, `key=value` is how messages describe any pair.
    return _is_secret_name(found["name"] or found["query"]) and found[0].strip(" =") != "key"


def _is_secret_name(name: str) -> bool:
    return bool(NAME.search(unquote(name)))


def has_secret(text: str) -> bool:
    """Return whether a URL, or a text with URLs in it, holds something secret."""
    return redact(text) != text


def secret_options(options: Any) -> Iterator[str]:
    """Yield the names of options, however nested, that are secret or whose value holds a secret.

    Raises:
        RecursionError: if they hold themselves, as by an alias of YAML.
    """
    if isinstance(options, dict):
        for name, value in options.items():
            if _is_secret_name(str(name)) or _is_secret_text(value) or has_secret(str(name)):
                yield redact(str(name))
            else:
                yield from secret_options(value)
    elif isinstance(options, (list, tuple)):
        # A header may be a pair: its name and its value.
        if len(options) == 2 and isinstance(options[0], str) and _is_secret_name(options[0]):
            yield options[0]
            return
        for value in options:
            if _is_secret_text(value):
                yield redact(_text(value))
            yield from secret_options(value)


def _is_secret_text(value: Any) -> bool:
    return isinstance(value, (str, bytes)) and has_secret(_text(value))


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
