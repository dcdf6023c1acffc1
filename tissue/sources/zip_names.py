"""Names in zip archives whose encoding is not stated.

The format allows UTF-8, with a flag, and code page 437. Packers on Windows without the flag use the
code page of the machine instead: the names say which, since most bytes make no sense in the others.
The names have to be decoded before they are divided at `\\`, since the second byte of a letter may
be that of the backslash.
"""

import re
import unicodedata
import zipfile
from collections.abc import Callable, Sequence

from tissue.common.errors import InputError
from tissue.common.names import printable

UTF8_FLAG = 0x800
DEFAULT = "cp437"
EXAMPLES = 3  # names in a message
WORDS = re.compile(r"[^\W\d_]+")


def _in(encoding: str, first: int, last: int) -> Callable[[str], bool]:
    """Return whether letters are among the common ones of an encoding, by their first byte."""

    def is_common(text: str) -> bool:
        try:
            return all(first <= letter.encode(encoding)[0] <= last for letter in text)
        except UnicodeEncodeError:
            return False

    return is_common


def _is_japanese(text: str) -> bool:
    # Kana and the kanji of level 1; 0x81 is punctuation such as the mark that repeats a kanji
    return _in("cp932", 0x81, 0x98)(text) and not any("\uff61" <= one <= "\uff9f" for one in text)


def _is_cyrillic(text: str) -> bool:
    return all("CYRILLIC" in unicodedata.name(letter, "") for letter in text)


# What the letters outside ASCII have to be, so that names are read in this encoding. Traditional
# and simplified Chinese and Korean share bytes; where several fit, the user has to decide.
CANDIDATES: dict[str, Callable[[str], bool]] = {
    "cp932": _is_japanese,
    "gbk": _in("gb2312", 0xB0, 0xD7),
    "big5": _in("big5", 0xA4, 0xC6),
    "euc_kr": _in("euc_kr", 0xB0, 0xC8),
    "cp866": _is_cyrillic,
}


def decode_names(members: Sequence[zipfile.ZipInfo]) -> tuple[list[str], str]:
    """Return the names of the members, with `/` between folders, and the encoding of odd ones.

    The encoding is empty where all names are ASCII or UTF-8, flagged or not, or in the default.

    Raises:
        InputError: if names fit no encoding, or several.
    """
    odd = {raw for one in members if (raw := _raw(one)) and not _is_utf8(raw)}
    encoding = _encoding_of(sorted(odd)) if odd else DEFAULT
    names = []
    for one in members:
        raw = _raw(one)
        # Windows' Python has already turned `\` to `/` in `filename`.
        name = raw.decode(encoding if raw in odd else "utf-8") if raw else one.orig_filename
        names.append(name.partition("\0")[0].replace("\\", "/"))
    return names, "" if encoding == DEFAULT else encoding


def _raw(member: zipfile.ZipInfo) -> bytes:
    """Return the bytes of a name without the flag, empty with it."""
    return b"" if member.flag_bits & UTF8_FLAG else member.orig_filename.encode(DEFAULT)


def _is_utf8(raw: bytes) -> bool:
    # Names are often UTF-8 even where the flag for it is not set.
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _encoding_of(names: Sequence[bytes]) -> str:
    readings = {
        encoding: [raw.decode(encoding) for raw in names[:EXAMPLES]]
        for encoding, fits in CANDIDATES.items()
        if all(_fits(raw, encoding, fits) for raw in names)
    }
    if len(readings) == 1:
        return next(iter(readings))
    if not readings and all(_fits(raw, DEFAULT, _is_latin) for raw in names):
        return DEFAULT
    shown = "; ".join(f"as {name}: {', '.join(texts)}" for name, texts in readings.items())
    raise InputError(
        "expected names in UTF-8. Received: names in an encoding that the archive does not state"
        f"{', read ' + printable(shown) if shown else f', e.g. {names[0]!r}'}. Pack the folder "
        "again with UTF-8 names, as 7-Zip does with the parameter cu=on, or unpack it and name the "
        "folder."
    )


def _fits(raw: bytes, encoding: str, fits: Callable[[str], bool]) -> bool:
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        return False
    if "/" in text and "\\" in text:
        return False  # no packer uses both, so the second is half of a letter
    foreign = [letter for letter in text if not letter.isascii()]
    letters = "".join(filter(str.isalpha, foreign))
    others = {unicodedata.category(letter)[0] for letter in foreign if not letter.isalpha()}
    # Brackets and digits of full width belong to East Asian names.
    allowed = others <= ({"P", "N"} if encoding != DEFAULT else set())
    return bool(letters) and allowed and fits(letters) and _is_unmixed(text)


def _is_latin(text: str) -> bool:
    return all("LATIN" in unicodedata.name(letter, "") for letter in text)


def _is_unmixed(text: str) -> bool:
    """Return whether no word has both Latin and Cyrillic letters."""
    return not any(
        any(map(_is_latin, word)) and any(map(_is_cyrillic, word)) for word in WORDS.findall(text)
    )
