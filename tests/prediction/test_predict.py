"""The command `predict`: answers as in the pipeline, and refusals instead of guesses."""

import io
import json
import re
import shutil
import signal
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from PIL import Image, ImageDraw

from benchmarks.foreign_organs import draw_foreign
from tests.conftest import run
from tests.invoke import invoke
from tests.pipeline import ROOT
from tissue.commands import predict
from tissue.common.errors import InputError
from tissue.config.loading import load_params
from tissue.config.schema import Params
from tissue.metrics.predictions import class_shares, pool_cases
from tissue.portable.running import Answer
from tissue.prediction.answers import answer_row
from tissue.prediction.inputs import Picture, read_picture_batches
from tissue.prediction.predictor import load_predictor
from tissue.sources.archives import Member
from tissue.training.novelty import REFUSED


def odd_pictures() -> dict[str, bytes]:
    """Noise, a gradient, a white sheet, a page of text, and a file that is no picture."""
    rng = np.random.default_rng(3)
    across = np.tile(np.linspace(0, 255, 96, dtype=np.uint8), (96, 1))
    page = Image.new("RGB", (300, 300), "white")
    for line in range(10, 290, 14):
        ImageDraw.Draw(page).text((5, line), "a quick brown fox jumps over the lazy dog", "black")
    pictures = {
        "noise": Image.fromarray(rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)),
        "gradient": Image.fromarray(np.stack([across, across.T, across // 2], axis=2)),
        "white": Image.new("RGB", (96, 96), "white"),
        "text": page,
    }
    made = {}
    for name, image in pictures.items():
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        made[f"odd/{name}.png"] = buffer.getvalue()
    return made | {"odd/broken.png": b"not a picture"}


@pytest.fixture(scope="module")
def source(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A third of the test images of `tiny` and five other pictures, as an archive."""
    path = tmp_path_factory.mktemp("source") / "pictures.zip"
    (raw,) = (tiny / "data/raw").glob("*.zip")
    with zipfile.ZipFile(raw) as images, zipfile.ZipFile(path, "w") as made:
        for name in sorted(name for name in images.namelist() if name.startswith("test/"))[::3]:
            made.writestr(name, images.read(name))
        for name, content in odd_pictures().items():
            made.writestr(name, content)
    return path


@pytest.mark.parametrize("model", ["pretrained", "scratch"])
def test_answers_are_those_of_the_pipeline(
    model: str, tiny: Path, source: Path, tmp_path: Path
) -> None:
    out, figures = tmp_path / "answers.csv", tmp_path / "heat"
    options = ("--model", model, "--output", str(out), "--gradcam", str(figures))
    printed = invoke("predict", str(source), *options, cwd=tiny)
    found = pd.read_csv(out).set_index("id")
    assert len(found) == 16 + 5
    odd = found[found.index.str.startswith("odd/")]
    assert odd["refused"].notna().all()
    assert odd["predicted"].isna().all()
    assert "odd/white.png: refused: nearly no tissue" in printed
    assert "odd/broken.png: refused: cannot be read: is not a JPEG, PNG" in printed
    answered = found[found["refused"].isna()]
    assert len(answered) > 0.7 * 16
    expected = pd.read_csv(tiny / f"data/predictions/{model}.csv").set_index("id")
    expected = expected.loc[answered.index]
    assert np.allclose(answered["confidence"], expected["confidence"], atol=1e-4)
    for rank, share in (("second", "second_confidence"), ("third", "third_confidence")):
        shares = [expected.at[i, f"p_{name}"] for i, name in answered[rank].items()]
        assert np.allclose(answered[share], shares, atol=1e-4)
    errors = pd.read_csv(tiny / "data/predictions/errors.csv").query("model == @model")
    both = errors.set_index("id")["distance"].to_frame("analysed").join(found, how="inner")
    assert len(both) > 0
    assert np.allclose(both["analysed"], both["distance"], rtol=1e-3)
    drawn = {path.relative_to(figures).as_posix() for path in figures.rglob("*.png")}
    assert drawn == {f"{name}.png" for name in answered.index}


def test_organs_of_no_class_are_refused_and_known_ones_answered(tiny: Path) -> None:
    """Drawn at 96 pixels, of which the network sees 48: enough to refuse much of it."""
    params = load_params(tiny / "params.yaml")
    predictor = load_predictor(params, model="pretrained", data=tiny / "data")
    foreign = [image for _, image in draw_foreign(96, seed=1, donors=8)]
    (raw,) = (tiny / "data/raw").glob("*.zip")
    with zipfile.ZipFile(raw) as archive:
        names = sorted(name for name in archive.namelist() if name.startswith("test/"))
        known = [archive.read(name) for name in names]
    refused = {}
    for kind, contents in (("foreign", foreign), ("known", known)):
        members = [Member(f"{i}.jpg", partial(bytes, image)) for i, image in enumerate(contents)]
        rows = [
            row
            for batch in read_picture_batches(members, params)
            for row in predictor.answer(batch)
        ]
        refused[kind] = np.mean([row["distance"] > 1 for row in rows])
    # Of 48 known images 5 % are refused; 3 standard deviations of the binomial above are 14 %.
    assert refused["known"] <= REFUSED + 3 * np.sqrt(REFUSED * (1 - REFUSED) / len(known))
    assert refused["foreign"] > REFUSED + 3 * np.sqrt(REFUSED * (1 - REFUSED) / len(foreign))
    assert refused["foreign"] > 2 * refused["known"]


def test_targets_are_checked_before_anything_else(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/kept.jpg").touch()
    with pytest.raises(SystemExit, match=r"--output: expected the name of a file.*a folder"):
        predict.main(["nowhere", "--output", str(tmp_path / "mine")])
    with pytest.raises(SystemExit, match=r"--gradcam: expected the name of a folder.*a file"):
        predict.main(["nowhere", "--gradcam", str(tmp_path / "mine/kept.jpg")])
    with pytest.raises(SystemExit, match=r"--output: expected a name .* \.csv.*kept\.jpg"):
        predict.main([str(tmp_path / "mine"), "--output", str(tmp_path / "mine/kept.jpg")])
    for option in ("--output", "--gradcam"):
        below = str(tmp_path / "mine/kept.jpg/more/out.csv")
        with pytest.raises(SystemExit, match=rf"{option}: expected a place .*kept\.jpg is no"):
            predict.main(["nowhere", option, below])
    assert (tmp_path / "mine/kept.jpg").exists()


@pytest.mark.parametrize(
    ("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"]
)
def test_an_interruption_keeps_the_answers(
    sent: signal.Signals, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Predictor:
        def reading_params(self, params: Params) -> Params:
            return params

        def answer(self, batch: list[Picture]) -> list[dict[str, Any]]:
            answer = Answer(np.array([0.7, 0.3], np.float32), tissue=0.3, distance=1.0)
            return [answer_row(picture.id, answer, ["colon", "liver"]) for picture in batch]

    def batches(*_: object) -> Iterator[list[Picture]]:
        yield [Picture("a.jpg"), Picture("b.jpg")]
        signal.raise_signal(sent)

    monkeypatch.setattr(predict, "load_predictor", lambda *_, **__: Predictor())
    monkeypatch.setattr(predict, "read_picture_batches", batches)
    shutil.copy2(ROOT / "params.yaml", tmp_path)
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may ignore it
    try:
        printed = invoke("predict", "a.png", "--output", "out.csv", cwd=tmp_path, expect=status)
    finally:
        signal.signal(signal.SIGINT, handler)
    found = pd.read_csv(tmp_path / "out.csv")
    expected = [["a.jpg", "colon"], ["b.jpg", "colon"]]
    assert found[["id", "predicted"]].to_numpy().tolist() == expected
    assert "b.jpg: colon 70.0%" in printed


def test_one_start_answers_files_and_patterns_and_adds_to_a_table(
    tiny: Path, source: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(source) as archive:
        archive.extractall(tmp_path / "all")
    out = tmp_path / "out.csv"
    pattern = (tmp_path / "all/test/c*/*.jpg").as_posix()
    first, second, *_ = sorted(Path("/").glob(pattern[1:]))
    invoke("predict", str(first), "--output", str(out), cwd=tiny)
    again = invoke("predict", str(second), "--output", str(out), cwd=tiny, expect=1)
    assert "Received: " in again
    assert "which exists. Give another name, or --append" in again
    printed = invoke("predict", pattern, str(source), "--output", str(out), "--append", "--json",
                     cwd=tiny)  # fmt: skip
    answers = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    table = pd.read_csv(out)
    assert table["id"].tolist() == [first.name, *(answer["id"] for answer in answers)]
    # Of several sources, the path of each stands in front.
    assert {second.as_posix(), f"{source.as_posix()}/odd/white.png"} <= set(table["id"])
    texts = table.astype(str).set_index("id")
    assert texts.loc[first.name].tolist() == texts.loc[first.as_posix()].tolist()
    assert sum("predicted" in answer for answer in answers) == table["predicted"].count() - 1
    (tmp_path / "mine.csv").write_text("my,table\n")
    refused = invoke("predict", pattern, "--output", str(tmp_path / "mine.csv"), "--append",
                     cwd=tiny, expect=1)  # fmt: skip
    assert "expected a table that predict wrote" in refused
    nothing = invoke("predict", "nowhere/*.png", "--output", "new.csv", cwd=tiny, expect=1)
    assert "expected a pattern that matches pictures" in nothing


def test_pictures_of_a_folder_get_one_answer(tiny: Path, tmp_path: Path) -> None:
    # Each donor of training has two images of a class, and of testing one.
    index = pd.read_csv(tiny / "data/split/train.csv", dtype=str).head(24)
    index["case"] = "cases/" + index["class"] + "_" + index["group"]
    (raw,) = (tiny / "data/raw").glob("*.zip")
    with zipfile.ZipFile(raw) as images, zipfile.ZipFile(tmp_path / "all.zip", "w") as made:
        for row in index.itertuples():
            made.writestr(f"{row.case}/{Path(row.id).name}", images.read(row.id))
        made.writestr("cases/odd/broken.png", b"not a picture")
    shutil.copy2(tiny / "params.yaml", tmp_path)
    (tmp_path / "data").symlink_to(tiny / "data")
    invoke("predict", "all.zip", "--output", "each.csv", cwd=tmp_path)
    printed = invoke("predict", "all.zip", "--by-folder", "--output", "cases.csv", cwd=tmp_path)
    each, cases = (
        pd.read_csv(path, keep_default_na=False, na_values={"distance": "", "confidence": ""})
        for path in (tmp_path / "each.csv", tmp_path / "cases.csv")
    )
    each, cases = each.set_index("id"), cases.set_index("id")
    assert set(cases.index) == {*index["case"], "cases/odd"}
    assert cases.at["cases/odd", "refused"].startswith("cases/odd/broken.png: cannot be read")
    table = pd.read_csv(tiny / "data/predictions/pretrained.csv").set_index("id")
    names, shares = class_shares(table.loc[index["id"]])
    of = index["case"] + "/" + index["id"].map(lambda name: Path(name).name)
    refused = (each.loc[of, "refused"] != "").to_numpy()
    for case, row in cases.drop("cases/odd").iterrows():
        of_case = (index["case"] == case).to_numpy()
        counted = of_case & ~refused
        assert row["pictures"] == counted.sum()
        assert row["distance"] == pytest.approx(each.loc[of[of_case], "distance"].mean(), rel=1e-4)
        if not counted.any():
            assert "unlike the training images" in row["refused"]
            continue
        (pooled,) = pool_cases(shares[counted], np.zeros(counted.sum(), int))
        assert row["predicted"] == names[pooled.argmax()]
        assert row["confidence"] == pytest.approx(pooled.max(), abs=1e-3)
        assert (f"{refused[of_case].sum()} of" in row["warning"]) == bool(refused[of_case].any())
    assert cases["pictures"].max() > 1
    assert f"predict: answered {(cases['refused'] == '').sum()}, refused" in printed


@pytest.mark.parametrize("other", ["--watch", "--gradcam"])
def test_one_answer_for_a_folder_excludes_what_answers_each(other: str, tmp_path: Path) -> None:
    more = [other, *(["heat"] if other == "--gradcam" else [])]
    printed = invoke("predict", ".", "--by-folder", *more, cwd=tmp_path, expect=1)
    assert "--by-folder: expected to answer once for all pictures" in printed
    assert f"Received: {other} as well" in printed


def with_metadata(tiny: Path, to: Path, **changes: Any) -> Path:
    """A folder with the pretrained model of `tiny`, other metadata, and a picture without scale."""
    (to / "data/models").mkdir(parents=True)
    model = onnx.load(tiny / "data/models/pretrained.onnx")
    known = {one.key: one.value for one in model.metadata_props}
    prepared = json.loads(known["prepared"]) | changes.pop("prepared", {})
    changes = {key: json.dumps(value) for key, value in changes.items()}
    onnx.helper.set_model_props(model, known | changes | {"prepared": json.dumps(prepared)})
    onnx.save(model, to / "data/models/pretrained.onnx")
    shutil.copy2(tiny / "params.yaml", to)
    (raw,) = (tiny / "data/raw").glob("*.zip")
    with zipfile.ZipFile(raw) as archive:
        names = [name for name in archive.namelist() if "/liver/" in name]
        (to / "core.jpg").write_bytes(archive.read(names[0]))
    return to


def test_a_picture_of_another_scale_is_answered_with_a_warning(tiny: Path, tmp_path: Path) -> None:
    folder = with_metadata(tiny, tmp_path, field=[100.0, 120.0])
    with Image.open(folder / "core.jpg") as core:
        core.save(folder / "core.png", dpi=(50_800, 50_800))  # 96 pixels of half a micrometre
    printed = invoke("predict", "core.png", "core.jpg", "--output", "a.csv", cwd=folder)
    fine, unknown = pd.read_csv(folder / "a.csv", keep_default_na=False)["warning"]
    assert fine == (
        "shows 48 micrometres, training images 100 to 120: everything looks 2.1 times as large"
    )
    assert unknown == ""
    assert f"; warning: {fine}" in printed
    printed = invoke("predict", "core.jpg", "--mpp", "2", "--output", "b.csv", cwd=folder)
    assert "shows 192 micrometres" in printed
    assert "everything looks 1.6 times as small" in printed
    printed = invoke("predict", "core.jpg", "--mpp", "1.1", "--output", "c.csv", cwd=folder)
    assert "warning" not in printed


def test_a_model_of_one_field_brings_pictures_to_it(tiny: Path, tmp_path: Path) -> None:
    folder = with_metadata(tiny, tmp_path, field=[96.0, 96.0], prepared={"split.field": 96.0})
    with Image.open(folder / "core.jpg") as core:
        core.load()
        fine = core.resize((192, 192), Image.Resampling.BICUBIC)
        fine.save(folder / "core.png", dpi=(50_800, 50_800))
        fine.save(folder / "half.png")  # at the scale of --mpp it shows twice the field
        wide = Image.new("RGB", (160, 120), "white")
        wide.paste(core, (32, 12))
        wide.save(folder / "wide.png")
    printed = invoke("predict", "core.jpg", "--output", "a.csv", cwd=folder, expect=1)
    assert "its micrometres per pixel are not known" in printed
    invoke("predict", "core.jpg", "core.png", "half.png", "wide.png", "--mpp", "1", "--output",
           "b.csv", cwd=folder)  # fmt: skip
    table = pd.read_csv(folder / "b.csv", keep_default_na=False)
    assert (table["warning"] == "").all()
    core, fine, half, wide = table["distance"]
    assert wide == core
    # Crops show that its pixels were made up, so it is only much more alike than its middle.
    assert abs(fine - core) < abs(half - core) / 2


def test_tensorflow_stays_out_without_heat_maps(tiny: Path, source: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from tissue.commands.predict import main; "
        "main(sys.argv[1:]); print('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    printed = run("python", "-c", code, str(source), "--output", str(tmp_path / "o.csv"), cwd=tiny)
    assert printed.endswith("False\n")


def test_nothing_readable_ends_with_1(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    arguments = (str(tmp_path / "broken.png"), "--output", str(tmp_path / "out.csv"))
    printed = invoke("predict", *arguments, cwd=tiny, expect=1)
    assert "none of the pictures could be read" in printed


def test_without_a_model_it_says_what_to_pull(tiny: Path, tmp_path: Path) -> None:
    shutil.copy2(tiny / "params.yaml", tmp_path)
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    arguments = ("a.png", "--model", "scratch", "--gradcam", "heat")
    printed = invoke("predict", *arguments, cwd=tmp_path, expect=1)
    assert printed.startswith("predict: expected a trained model")
    pull = "data/models/pretrained.onnx data/models/scratch.keras data/models/scratch.onnx"
    assert f"Run `dvc pull {pull}`, or" in printed


def test_the_reader_of_its_answers_may_leave(tiny: Path, tmp_path: Path) -> None:
    command = f"python -m tissue predict data/raw --output {tmp_path / 'o.csv'} | head -1"
    assert "Error" not in run("sh", "-c", command, cwd=tiny)
    assert (tmp_path / "o.csv").exists()


def test_models_of_different_classes(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    model = onnx.load(tiny / "data/models/scratch.onnx")
    onnx.helper.set_model_props(model, {"classes": '["colon"]'})
    onnx.save(model, tmp_path / "models/scratch.onnx")
    shutil.copy2(tiny / "data/models/pretrained.onnx", tmp_path / "models")
    params = load_params(tiny / "params.yaml")
    with pytest.raises(
        InputError, match=r"of the same classes .* Received: one of 1 and one of 12"
    ):
        load_predictor(params, model="scratch", data=tmp_path)


def test_heat_maps_need_the_parameters_of_the_model(tiny: Path, tmp_path: Path) -> None:
    params = load_params(tiny / "params.yaml", {"advanced.split.crops.zoom": "3"})
    text = r"heat maps: .* split\.crops was .* and is .*'zoom': 3"
    with pytest.raises(InputError, match=text):
        load_predictor(params, model="scratch", gradcam=tmp_path, data=tiny / "data")


def test_the_call_in_the_guide_gives_the_same(tiny: Path, tmp_path: Path) -> None:
    """Python without this project: the code of docs/predicting.md as it stands there."""
    guide = (ROOT / "docs/predicting.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(import json.*?)```", guide, re.DOTALL)
    (raw,) = (tiny / "data/raw").glob("*.zip")
    name = pd.read_csv(tiny / "data/split/test.csv")["id"][0]
    with zipfile.ZipFile(raw) as archive:
        (tmp_path / "core.jpg").write_bytes(archive.read(name))
    shutil.copy2(tiny / "data/models/pretrained.onnx", tmp_path)
    (tmp_path / "call.py").write_text(code)
    printed = run("python", "-I", "call.py", cwd=tmp_path)
    modules = {line.split()[1].partition(".")[0] for line in code.splitlines() if "import" in line}
    assert modules == {"json", "numpy", "onnxruntime", "PIL"}
    expected = pd.read_csv(tiny / "data/predictions/pretrained.csv").set_index("id").loc[name]
    label, share, distance, _ = printed.split()
    assert label == expected["predicted"]
    assert float(share) == pytest.approx(expected["confidence"], abs=1e-3)
    assert float(distance) > 0


def test_a_saved_model_of_keras_takes_a_picture(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last code of docs/predicting.md as it stands there."""
    guide = (ROOT / "docs/predicting.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(import keras.*?)```", guide, re.DOTALL)
    (raw,) = (tiny / "data/raw").glob("*.zip")
    expected = pd.read_csv(tiny / "data/predictions/pretrained.csv").query("split == 'test'")
    with zipfile.ZipFile(raw) as archive:
        (tmp_path / "core.jpg").write_bytes(archive.read(expected["id"].iloc[0]))
    shutil.copy2(tiny / "data/models/pretrained.keras", tmp_path)
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(code, found)
    columns = [name for name in expected if name.startswith("p_")]
    assert np.abs(found["probabilities"] - expected[columns].iloc[0].to_numpy(float)).max() < 0.02
