"""The command `predict`: answers as in the pipeline, and refusals instead of guesses."""

import io
import shutil
import signal
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

from benchmarks.foreign_organs import draw_foreign
from tests.conftest import run, update_params
from tests.invoke import invoke
from tests.pipeline import ROOT
from tissue.commands import predict
from tissue.common.errors import InputError
from tissue.config.loading import load_params
from tissue.prediction.answers import answer_row
from tissue.prediction.inputs import Picture, read_picture_batches
from tissue.prediction.loading import load_networks
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
    predictor = load_predictor(params, model="pretrained", gradcam=None, data=tiny / "data")
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
        def answer(self, batch: list[Picture]) -> list[dict[str, Any]]:
            shares, classes = np.array([0.7, 0.3]), ["colon", "liver"]
            return [answer_row(picture, shares, classes, distance=1.0) for picture in batch]

    def batches(*_: object) -> Iterator[list[Picture]]:
        yield [Picture("a.jpg", tissue=0.3), Picture("b.jpg", tissue=0.3)]
        signal.raise_signal(sent)

    monkeypatch.setattr("tissue.prediction.predictor.load_predictor", lambda *_, **__: Predictor())
    monkeypatch.setattr(predict, "read_picture_batches", batches)
    shutil.copy2(ROOT / "params.yaml", tmp_path)
    for name in ("models/pretrained.keras", *predict.NEEDED):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).touch()
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    (tmp_path / "out.csv").write_text("earlier answers")
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may ignore it
    try:
        printed = invoke("predict", "a.png", "--output", "out.csv", cwd=tmp_path, expect=status)
    finally:
        signal.signal(signal.SIGINT, handler)
    found = pd.read_csv(tmp_path / "out.partial.csv")
    expected = [["a.jpg", "colon"], ["b.jpg", "colon"]]
    assert found[["id", "predicted"]].to_numpy().tolist() == expected
    assert (tmp_path / "out.csv").read_text() == "earlier answers"
    assert "stopped after 2 pictures; out.partial.csv holds" in printed


def test_nothing_readable_ends_with_1(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    arguments = (str(tmp_path / "broken.png"), "--output", str(tmp_path / "out.csv"))
    printed = invoke("predict", *arguments, cwd=tiny, expect=1)
    assert "none of the pictures could be read" in printed


def test_without_data_it_says_what_to_pull(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "data/models").mkdir(parents=True)
    shutil.copy2(tiny / "data/models/pretrained.keras", tmp_path / "data/models")
    shutil.copy2(tiny / "params.yaml", tmp_path)
    printed = invoke("predict", "params.yaml", cwd=tmp_path, expect=1)
    assert printed.startswith("predict: expected a trained model")
    pull = "data/embed/network.json data/split/classes.json data/split/images.json"
    assert f"Run `dvc pull {pull}`, or" in printed


def test_the_reader_of_its_answers_may_leave(tiny: Path, tmp_path: Path) -> None:
    command = f"python -m tissue predict data/raw --output {tmp_path / 'o.csv'} | head -1"
    assert "Error" not in run("sh", "-c", command, cwd=tiny)
    assert (tmp_path / "o.partial.csv").exists()


def test_a_model_of_other_classes(tiny: Path, tmp_path: Path) -> None:
    data = shutil.copytree(tiny / "data", tmp_path / "data", symlinks=True)
    path = data / "split/classes.json"
    text = path.read_text().replace("colon", "rectum")
    path.unlink()
    path.write_text(text)
    params = load_params(tiny / "params.yaml")
    with pytest.raises(InputError, match=r"12 here; colon, rectum are not in both\. Run"):
        load_predictor(params, model="scratch", gradcam=None, data=data)


def test_other_parameters_than_those_of_the_model(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(tiny / "data")
    shutil.copy2(tiny / "params.yaml", tmp_path)
    update_params(tmp_path / "params.yaml", {"image_size": 64})
    arguments = ("data/raw", "--model", "scratch")
    printed = invoke("predict", *arguments, cwd=tmp_path, expect=1)
    assert "image_size was 48, and is 64 now" in printed
    assert not (tmp_path / "predictions.csv").exists()


def test_a_model_of_images_of_another_size(tiny: Path) -> None:
    params = load_params(tiny / "params.yaml", {"image_size": "64"})
    with pytest.raises(InputError, match=r"a model that takes \[\(None, 64, 64, 3\)\]"):
        load_networks("scratch", params, tiny / "data/models")


@pytest.mark.parametrize("model", ["pretrained", "scratch"])
def test_other_features_than_those_in_the_cache(model: str, tiny: Path) -> None:
    params = load_params(tiny / "params.yaml", {"pretrained.views": "4"})
    text = r"data/embed: expected files made with .* pretrained\.views was 2, and is 4 now"
    with pytest.raises(InputError, match=text):
        load_predictor(params, model=model, gradcam=None, data=tiny / "data")
    params = load_params(tiny / "params.yaml", {"advanced.split.crops.zoom": "3"})
    text = r"data/split: expected files made with .* split\.crops was .* and is .*'zoom': 3"
    with pytest.raises(InputError, match=text):
        load_predictor(params, model=model, gradcam=None, data=tiny / "data")
