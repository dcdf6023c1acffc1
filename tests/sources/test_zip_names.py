"""Names in zip archives that Windows packed in the code page of the machine."""

import zipfile
from pathlib import Path

import pytest

from tests.source_examples import picture
from tests.sources.test_local import read
from tissue.common.errors import InputError


def placeholder(number: int, name: bytes) -> str:
    return f"{number:03}".ljust(len(name), "~")


def raw_zip(path: Path, names: list[bytes]) -> Path:
    """A zip with the bytes of these names, without the flag of UTF-8."""
    with zipfile.ZipFile(path, "w") as archive:
        for number, name in enumerate(names):
            archive.writestr(zipfile.ZipInfo(placeholder(number, name)), picture(number))
    content = path.read_bytes()
    for number, name in enumerate(names):
        content = content.replace(placeholder(number, name).encode(), name)
    path.write_bytes(content)
    return path


def classes(path: Path) -> set[str]:
    return {id_.split("/")[-2] for id_ in read(path)}


@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        ("cp932", ["十二指腸", "肝臓", "大腸"]),  # the second byte of 十 is that of a backslash
        ("cp932", ["リンパ節", "皮膚"]),
        ("gbk", ["正常", "肿瘤"]),
        ("cp866", ["печень", "Кожа"]),
        ("cp437", ["Milz", "Hämatom", "Nièvre"]),
        ("utf-8", ["十二指腸", "печень", "Hämatom"]),
    ],
)
def test_encodings_without_a_flag(encoding: str, names: list[str], tmp_path: Path) -> None:
    raw = [f"{name}/0{number}.png".encode(encoding) for name in names for number in range(2)]
    assert classes(raw_zip(tmp_path / "a.zip", raw)) == set(names)


def test_letters_are_decoded_before_backslashes_divide_names(tmp_path: Path) -> None:
    raw = [f"{split}\\{name}\\能{split}.png".encode("cp932")
           for split in ("train", "test") for name in ("十二指腸", "肝臓")]  # fmt: skip
    found = read(raw_zip(tmp_path / "a.zip", raw))
    assert {id_.split("/")[1] for id_ in found} == {"十二指腸", "肝臓"}
    assert {id_.split("/")[2] for id_ in found} == {"能train.png", "能test.png"}
    raw = [f"{name}/能.png".encode("cp932") for name in ("colon", "liver")]
    assert set(read(raw_zip(tmp_path / "b.zip", raw))) == {"colon/能.png", "liver/能.png"}


def test_the_encoding_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = [f"{name}/1.png".encode("cp932") for name in ("肝臓", "皮膚")]
    read(raw_zip(tmp_path / "a.zip", raw))
    assert "a.zip: names are read as cp932, since they are not UTF-8" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("간/1.png".encode("euc_kr"), r"a\.zip: .*UTF-8.*as gbk: 埃.*as euc_kr: 간"),
        (b"\xff\xfe\xb1/1.png", r"a\.zip: expected names in UTF-8.*e\.g\. b'"),
    ],
)
def test_doubtful_names_are_asked_for(raw: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read(raw_zip(tmp_path / "a.zip", [raw, b"skin/2.png"]))
