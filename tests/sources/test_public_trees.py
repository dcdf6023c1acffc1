"""Folders of public data sets, with drawn pictures under their names: what a first try leads to.

Each either is read as it is meant, or stops with a sentence that names the parameter, and is read
as it is meant once that is set.
"""

import zlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest

from stages import split
from tests.source_examples import PARAMS, Tree, as_folder, as_zip, manifest_of, picture
from tissue.common.errors import InputError
from tissue.common.names import SPLITS
from tissue.config.fetch import Labels
from tissue.data.index import read_index

KINDS = {".tif": "TIFF", ".png": "PNG"}
SMALL = PARAMS.split.model_copy(update={"min_per_class": 1, "min_side": 8})
Counts = dict[str, int]  # images by <split>/<class>


class DataSet(NamedTuple):
    """Files of a data set; what the first try says, if it stops; the settings then; the images."""

    files: Tree
    says: str
    settings: dict[str, Any]
    images: Counts
    pattern: str | None = None  # split.group_pattern, and the groups that it gives
    groups: int = 0


def drawn(names: Iterable[str]) -> Tree:
    return {
        name: picture(zlib.crc32(name.encode()), KINDS.get(Path(name).suffix, "JPEG"), 32)
        for name in names
    }


def below(folders: Iterable[str], name: str, count: int = 4) -> Tree:
    """Pictures below each of the folders; {} in their name is the folder, {:d} their number."""
    return drawn(
        f"{folder}/{name.format(folder.rpartition('/')[2].replace('_', ''), number)}"
        for folder in folders
        for number in range(count)
    )


def table(header: str, rows: Iterable[str]) -> bytes:
    return "\n".join([header, *rows, ""]).encode()


def nct(folder: str, name: str) -> Tree:
    return below((f"{folder}/{one}" for one in ("ADI", "BACK", "DEB")), name)


def breakhis() -> Tree:
    top = "BreaKHis_v1/histology_slides/breast"
    patients = (
        "benign/SOB/adenosis/SOB_B_A_14-22549AB", "benign/SOB/fibroadenoma/SOB_B_F_14-14134",
        "benign/SOB/adenosis/SOB_B_A_14-22549CD", "malignant/SOB/papillary/SOB_M_PC_14-9146",
        "malignant/SOB/ductal_carcinoma/SOB_M_DC_14-2523",
        "malignant/SOB/lobular_carcinoma/SOB_M_LC_14-12204",
    )  # fmt: skip
    folders = (f"{top}/{one}/{zoom}X" for one in patients for zoom in (40, 400))
    return below(folders, "SOB_{}-{:03d}.png", 2) | {f"{top}/README.txt": b"x"}


def pcam() -> Tree:
    train, test = (below([name], "f38a6374c348f90b{1:08d}.tif", 6) for name in ("train", "test"))
    rows = (f"f38a6374c348f90b{number:08d},{number % 2}" for number in range(6))
    # The names of both parts differ in the real set; here a table that lists only one of them.
    test = {name.replace("f38a", "a7ea"): content for name, content in test.items()}
    return train | test | {
        "train_labels.csv": table("id,label", rows), "sample_submission.csv": b"id,label\na7,0\n",
    }  # fmt: skip


def ham() -> Tree:
    parts = [f"HAM10000_images_part_{number}" for number in (1, 2)]
    images = below(parts[:1], "ISIC_002{1}.jpg", 6) | below(parts[1:], "ISIC_003{1}.jpg", 6)
    names = [Path(name).stem for name in images]
    rows = (f"HAM_{at // 2},{name},{('nv', 'mel')[at // 6]}" for at, name in enumerate(names))
    return images | {
        "HAM10000_metadata.csv": table("lesion_id,image_id,dx", rows),
        "hmnist_8_8_L.csv": b"pixel0000,label\n1,2\n",
    }


def mhist() -> Tree:
    images = below(["images"], "MHIST_{1:03d}.png", 10)
    rows = (
        f"{Path(name).name},{('HP', 'SSA')[at % 2]},{at % 8},{'test' if at > 5 else 'train'}"
        for at, name in enumerate(images)
    )
    header = "Image Name,Majority Vote Label,Number of Annotators who Selected SSA,Partition"
    return images | {"annotations.csv": table(header, rows), "Agreement.pdf": b"%PDF"}


def chest_xray(top: str = "chest_xray") -> Tree:
    found = Tree()
    for part, count in (("train", 6), ("val", 2), ("test", 3)):
        for name, file in (("NORMAL", "IM-01-{1:04d}.jpeg"), ("PNEUMONIA", "p{1}_bacteria_1.jpeg")):
            found |= below([f"{top}/{part}/{name}"], file, count)
    return found


def again(files: Tree, start: str) -> Tree:
    """The same files once more in a folder, as archives of Kaggle have them."""
    return files | {f"{start}/{name}": content for name, content in files.items()}


def idc() -> Tree:
    patients = ("10253", "8863", "9037", "12751")
    folders = (f"{patient}/{name}" for patient in patients for name in "01")
    return below(folders, "idx5_x{1}01_y1001_class{0}.png", 3)


def bach() -> Tree:
    top = "ICIAR2018_BACH_Challenge/Photos"
    folders = (f"{top}/{name}" for name in ("Benign", "InSitu", "Invasive", "Normal"))
    return below(folders, "{0}{1:03d}.tif") | {f"{top}/microscopy_ground_truth.csv": b"b001.tif,B"}


def nih() -> Tree:
    images = below(["images_001/images"], "0000{1}_000.png", 6)
    images |= below(["images_002/images"], "0133{1}_000.png", 6)
    rows = (f"{Path(name).name},{('Mass', 'Hernia')[at % 2]}" for at, name in enumerate(images))
    return images | {"Data_Entry_2017.csv": table("Image Index,Finding Labels", rows)}


LUNG_AND_COLON = ("colon_aca", "colon_n", "lung_aca", "lung_n", "lung_scc")
SETS = {
    "NCT-CRC-HE": DataSet(
        nct("NCT-CRC-HE-100K", "{}-TCGA-{:04d}.tif"), "", {}, {"/ADI": 4, "/BACK": 4, "/DEB": 4}
    ),
    "NCT-CRC-HE with CRC-VAL": DataSet(
        nct("NCT-CRC-HE-100K", "{}-TCGA-{:04d}.tif") | nct("CRC-VAL-HE-7K", "{}-AAAF{:04d}.tif"),
        r"class_level: 2 means 3 classes: ADI, BACK, DEB.*CRC-VAL-HE-7K may be a split",
        {"class_level": 2}, {"/ADI": 8, "/BACK": 8, "/DEB": 8},
    ),
    "LC25000": DataSet(
        below(
            (f"lung_colon_image_set/{one.partition('_')[0]}_image_sets/{one}"
             for one in LUNG_AND_COLON), "{}{}.jpeg",
        ),
        r"class_level: 2 means 5 classes: colon_aca, colon_n, lung_aca, lung_n, lung_scc",
        {"class_level": 2}, dict.fromkeys((f"/{name}" for name in LUNG_AND_COLON), 4),
    ),
    "BreakHis": DataSet(
        breakhis(), r"class_level: 1 means 2 classes: benign, malignant.*group_pattern",
        {"class_level": 1}, {"/benign": 12, "/malignant": 12}, r"/(SOB_._[^/]+)/", 6,
    ),
    "PatchCamelyon of Kaggle": DataSet(
        pcam(), r"sample_submission\.csv, train_labels\.csv\. If one .*-S .fetch\.labels=",
        {"labels": {"table": "train_labels.csv", "image": "id", "label": "label"}},
        {"/0": 3, "/1": 3},
    ),
    "HAM10000": DataSet(
        ham(), r"part_1, .*part_2, which look like parts of one set.*HAM10000_metadata\.csv",
        {"labels": {
            "table": "HAM10000_metadata.csv", "image": "image_id", "label": "dx",
            "group": "lesion_id",
        }},
        {"/nv": 6, "/mel": 6},
    ),
    "Chest X-Ray": DataSet(
        chest_xray(), "", {},
        {f"{part}/{name}": count for part, count in (("train", 6), ("val", 2), ("test", 3))
         for name in ("NORMAL", "PNEUMONIA")},
    ),
    "Chest X-Ray twice": DataSet(
        again(chest_xray(), "chest_xray"),
        r"each image once\. Received: 22 in chest_xray/chest_xray .*fetch\.source", {}, {},
    ),
    "BACH": DataSet(
        bach(), "", {}, dict.fromkeys(("/Benign", "/InSitu", "/Invasive", "/Normal"), 4)
    ),
    "Kather 2016": DataSet(
        below(
            (f"Kather_texture_2016_image_tiles_5000/{name}" for name in ("01_TUMOR", "08_EMPTY")),
            "1{1}009_CRC-Prim-HE-{0}_009.tif_Row_301_Col_151.tif",
        ),
        "", {}, {"/01_TUMOR": 4, "/08_EMPTY": 4},
    ),
    "IDC": DataSet(
        idc(), r"class_level: 2 means 2 classes: 0, 1; ", {"class_level": 2}, {"/0": 12, "/1": 12},
        r"^([0-9]+)/", 4,
    ),
    "IDC twice": DataSet(
        again(idc(), "IDC_regular_ps50_idx5"), r"24 in IDC_regular_ps50_idx5 that also", {}, {}
    ),
    "MHIST": DataSet(
        mhist(), r"two classes or more.*annotations\.csv\. If one .*-S .fetch\.labels=",
        {"labels": {
            "table": "annotations.csv", "image": "Image Name", "label": "Majority Vote Label",
            "split": "Partition",
        }},
        {"train/HP": 3, "train/SSA": 3, "test/HP": 2, "test/SSA": 2},
    ),
    "NIH ChestX-ray": DataSet(
        nih(), r"images_001, images_002, which look like parts.*Data_Entry_2017\.csv",
        {"labels": {
            "table": "Data_Entry_2017.csv", "image": "Image Index", "label": "Finding Labels",
        }},
        {"/Hernia": 6, "/Mass": 6},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("make", [as_folder, as_zip])
def test_a_first_try_is_right_or_leads_there(name: str, make: Any, tmp_path: Path) -> None:
    given = SETS[name]
    source = make(given.files, tmp_path / ("set.zip" if make is as_zip else "set"))
    if given.says:
        with pytest.raises(InputError, match=f"(?s){given.says}"):
            manifest_of(source, tmp_path)
    if not given.images:
        return
    settings = dict(given.settings)
    if "labels" in settings:
        tables = as_folder(given.files, tmp_path / "unpacked")  # a table is a file of its own
        path = tables / settings["labels"]["table"]
        settings["labels"] = Labels(**{**settings["labels"], "table": str(path)})
    manifest = manifest_of(source, tmp_path, **settings)
    assert Counter(manifest["split"] + "/" + manifest["class"]) == given.images
    if make is as_folder:
        chosen = SMALL.model_copy(update={"group_pattern": given.pattern})
        params = PARAMS.model_copy(update={"image_size": 32, "split": chosen})
        split.run(params, tmp_path, workers=0)
        parts = [read_index(tmp_path / f"data/split/{part}.csv") for part in SPLITS]
        assert all(set(part["class"]) == set(manifest["class"]) for part in parts)
        index = pd.concat(parts)
        assert len(index) == len(manifest)
        if given.pattern:
            assert index["group"].nunique() == given.groups
