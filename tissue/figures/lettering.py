"""How names of classes are written in figures: in a font that has their letters, and short.

DejaVu Sans comes with matplotlib and has Latin, Greek, Cyrillic and more. For other letters an
installed font is looked for; where none has them, they are written by their sounds or numbers.
"""

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import matplotlib
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

LONGEST = 24  # letters of a name; longer names are cut to leave room for the figure
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
SOUND = re.compile(r"(?:LETTER|SYLLABLE) (?:SMALL )?([A-Z]+)")


def label_names(names: Iterable[str]) -> dict[str, str]:
    """Return how each name is written: with letters that can be drawn, and at most 24 of them.

    A long name loses its end, or its middle where two would be the same. What is the same even so,
    as two names that sound alike in letters without a font, is numbered.
    """
    drawn = {name: drawable(name) for name in names}
    cut = {name: _cut(text) for name, text in drawn.items()}
    often = Counter(cut.values())
    short = {
        name: text if often[text] == 1 else _cut(drawn[name], keep=LONGEST // 2)
        for name, text in cut.items()
    }
    taken = Counter(short.values())
    numbers = {text: itertools.count(1) for text in taken}
    return {
        name: text if taken[text] == 1 else f"{text[: LONGEST - 5]} ({next(numbers[text])})"
        for name, text in short.items()
    }


def _cut(text: str, *, keep: int = 0) -> str:
    """Return a text of at most `LONGEST` letters, of which `keep` are its last."""
    if len(text) <= LONGEST:
        return text
    return text[: LONGEST - 1 - keep] + ELLIPSIS + text[len(text) - keep :]


def drawable(name: str) -> str:
    """Return a name in letters that some font has."""
    if fallback(_missing(name)) is not None or not _missing(name):
        return name
    return "".join(one if one not in _missing(name) else _spelled(one) for one in name).strip()


def _spelled(letter: str) -> str:
    """Return a letter by its sound, as in `ka`, or by its number, as in `U+809D`."""
    found = SOUND.search(unicodedata.name(letter, ""))
    return found[1].lower() if found else f"U+{ord(letter):04X} "


def families(names: Iterable[str]) -> list[str]:
    """Return the font families that have the letters of these names, for `font.family`."""
    found = [fallback(_missing(name)) for name in names]
    fonts = sorted({font for font in found if font is not None})
    return ["DejaVu Sans", *(FT2Font(font).family_name for font in fonts)]


def font_of(text: str) -> str:
    """Return the file of a font that has the letters of a text."""
    return fallback(_missing(text)) or str(_dejavu())


def _dejavu() -> Path:
    return Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")


@cache
def _letters(font: str) -> frozenset[int]:
    return frozenset(FT2Font(font).get_charmap())


def _missing(text: str) -> str:
    """Return the letters that DejaVu Sans does not have, each once."""
    if text.isascii():
        return ""
    letters = _letters(str(_dejavu()))
    return "".join(sorted({one for one in text if one.isprintable() and ord(one) not in letters}))


@cache
def fallback(letters: str) -> str | None:
    """Return the first installed font, by name, that has all of these letters."""
    if not letters:
        return None
    entries: Sequence[font_manager.FontEntry] = font_manager.fontManager.ttflist
    for entry in sorted(entries, key=lambda one: (one.name, one.style != "normal", one.fname)):
        try:
            if set(map(ord, letters)) <= _letters(entry.fname):
                return entry.fname
        except (OSError, RuntimeError):  # a font that was removed or is damaged
            continue
    return None
