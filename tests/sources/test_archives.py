"""Damaged archives: an error or the same images, never other bytes."""

import errno
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.source_examples import FORMS, as_tar, as_zip, picture, tree
from tests.sources.test_local import read
from tissue.common.errors import InputError
from tissue.sources import archives


@pytest.mark.parametrize("form", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize("damage", ["empty", "garbage", "cut", "other kind"])
def test_damaged_archive(form: str, damage: str, tmp_path: Path) -> None:
    source = FORMS[form](tree(), tmp_path)
    content = source.read_bytes()
    other = (as_tar if form == "zip" else as_zip)(
        tree(), tmp_path / ("x.tar" if form == "zip" else "x.zip")
    )
    source.write_bytes(
        {
            "empty": b"",
            "garbage": np.random.default_rng(1).bytes(3000),
            "cut": content[: len(content) // 2 - 100],
            "other kind": other.read_bytes(),
        }[damage]
    )
    with pytest.raises(InputError, match=r"images\.(zip|tar|tar\.gz): expected"):
        read(source)


@pytest.mark.parametrize("form", ["zip", "stored zip", "tar.gz"])
def test_any_flipped_byte_is_noticed_or_harmless(form: str, tmp_path: Path) -> None:
    files = {f"liver/{number}.png": picture(number) for number in range(4)}
    source = FORMS[form](files, tmp_path)
    content = source.read_bytes()
    for position in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[position] ^= 0x5A
        source.write_bytes(damaged)
        try:
            received = read(source)
        except InputError:
            continue
        # Names, dates and the like may have changed, the images not.
        assert set(received.values()) <= set(files.values()), position


def test_no_space_to_inflate_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, content: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    path = as_tar(tree(), tmp_path / "a.tar.gz")
    monkeypatch.setattr(archives.tempfile, "TemporaryFile", Full)
    with pytest.raises(InputError, match=r"a\.tar\.gz: expected space in .*TMPDIR"):
        read(path)
