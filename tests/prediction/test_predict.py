"""`predict`: the answers of the pipeline for the same pictures, and refusal instead of guessing."""

import io
import shutil
import signal
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

from tests.conftest import run
from tests.hostile import ARCHIVES, OUT, good, picture
from tests.pipeline import ROOT
from tissue.commands import predict
from tissue.common.errors import InputError
from tissue.config.loading import load_params
from tissue.prediction import heat
from tissue.prediction.classifier import load_classifier
from tissue.prediction.distance import fit_training_distance
from tissue.prediction.inputs import list_pictures, read_picture_batches
from tissue.prediction.predictor import (
    RANKS,
    answer_line,
    answer_row,
    answers_table,
    load_predictor,
    reason_to_refuse,
)

PARAMS = load_params(ROOT / "params.yaml")


def listed(source: Path) -> list[str]:
    with ExitStack() as closing:
        found = list_pictures(source, limits=PARAMS.fetch.limits, closing=closing)
        return [member.name for member in found]


class TestInputs:
    def write(self, files: dict[str, bytes], folder: Path) -> Path:
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return folder

    def archive(self, files: dict[str, bytes], path: Path) -> Path:
        with zipfile.ZipFile(path, "w") as made:
            for name, content in files.items():
                made.writestr(name, content)
        return path

    def test_picture_folder_archive_and_folder_of_archives(self, tmp_path: Path) -> None:
        folder = self.write(good() | {"notes.txt": b"x", ".hidden.jpg": b"x"}, tmp_path / "a")
        names = ["liver/0.jpg", "skin/0.jpg"]
        assert listed(folder) == names
        assert listed(folder / names[0]) == ["0.jpg"]
        assert listed(self.archive(good(), tmp_path / "b.zip")) == names
        (tmp_path / "c").mkdir()
        (tmp_path / "b.zip").rename(tmp_path / "c/b.zip")
        (tmp_path / "c/.old").mkdir()
        self.archive(good(), tmp_path / "c/.old/b.zip")
        assert listed(tmp_path / "c") == [f"b.zip/{name}" for name in names]
        self.write({"overview.jpg": picture()}, tmp_path / "c")
        with pytest.raises(InputError, match=r"Received: both, e\.g\. b\.zip\."):
            listed(tmp_path / "c")

    def test_pictures_need_no_class(self, tmp_path: Path) -> None:
        flat = {"a.png": picture(kind="PNG"), "b/c/d/e.jpg": picture()}
        assert listed(self.write(flat, tmp_path)) == ["a.png", "b/c/d/e.jpg"]

    def test_nothing_to_read(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no such file"):
            listed(tmp_path / "nosuch.jpg")
        with pytest.raises(InputError, match=r"expected pictures .* Received: 1 other"):
            listed(self.write({"a.txt": b"x"}, tmp_path / "folder"))

    @pytest.mark.parametrize("name", [name for name, case in ARCHIVES.items() if OUT in case.error])
    def test_archives_that_lead_out_are_not_read(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=ARCHIVES[name].error):
            listed(ARCHIVES[name].make(tmp_path))

    def test_decoding_is_that_of_split(self, tiny: Path) -> None:
        params = load_params(tiny / "params.yaml")
        (archive,) = (tiny / "data/raw").glob("*.zip")
        index = pd.read_csv(tiny / "data/split/test.csv").reset_index().set_index("id")["index"]
        images = np.load(tiny / "data/split/test.npy")
        crops = np.load(tiny / "data/split/test_crops.npy")
        with ExitStack() as closing:
            members = list_pictures(archive, limits=params.fetch.limits, closing=closing)
            wanted = [member for member in members if member.name in index.index]
            assert len(wanted) == len(images)
            for one in (one for batch in read_picture_batches(wanted, params) for one in batch):
                assert np.array_equal(one.image, images[index[one.id]])
                assert np.array_equal(one.crops, crops[index[one.id]])

    def test_a_damaged_picture_is_told_and_the_others_are_read(self, tmp_path: Path) -> None:
        folder = self.write(good() | {"bad.jpg": picture()[:300]}, tmp_path)
        with ExitStack() as closing:
            members = list_pictures(folder, limits=PARAMS.fetch.limits, closing=closing)
            (batch,) = read_picture_batches(members, PARAMS)
        assert [bool(one.problem) for one in batch] == [True, False, False]
        assert batch[1].image.shape == (PARAMS.image_size, PARAMS.image_size, 3)


class TestNovelty:
    def test_the_limit_is_that_of_other_donors(self) -> None:
        rng = np.random.default_rng(0)
        donors = rng.normal(size=(60, 40))
        features = np.repeat(donors, 6, axis=0) + rng.normal(size=(360, 40)) * 0.02
        features = np.abs(features).astype(np.float32)
        by_donor = fit_training_distance(features, pd.Series(np.repeat(np.arange(60), 6)), seed=0)
        by_image = fit_training_distance(features, pd.Series(np.arange(360)), seed=0)
        assert by_donor.limit > 2 * by_image.limit
        another = np.abs(rng.normal(size=(100, 40))).astype(np.float32)
        assert (by_donor.distances(another) > 1).mean() < 0.1
        assert (by_image.distances(another) > 1).mean() > 0.9

    def test_what_lies_elsewhere_is_far(self) -> None:
        rng = np.random.default_rng(1)
        features = rng.gamma(2, size=(300, 30)).astype(np.float32)
        training = fit_training_distance(features, pd.Series(np.arange(300)), seed=0)
        same = rng.gamma(2, size=(300, 30)).astype(np.float32)
        assert (training.distances(same) > 1).mean() < 0.05
        assert (training.distances(same * 20) > 1).all()

    def test_one_donor_alone(self) -> None:
        features = np.random.default_rng(2).random((20, 8), np.float32)
        training = fit_training_distance(features, pd.Series(["d"] * 20), seed=0)
        assert np.isfinite(training.distances(features)).all()
        nearly = fit_training_distance(features, pd.Series(["d"] * 19 + ["e"]), seed=0)
        assert nearly.limit == training.limit


class TestAnswers:
    CLASSES = ("colon", "kidney", "liver", "lung")

    def test_the_three_most_probable(self) -> None:
        shares = np.array([0.1, 0.2, 0.6, 0.1], np.float32)
        row = answer_row("a.jpg", shares, self.CLASSES, distance=0.5, refused="")
        assert [row[rank] for rank in RANKS] == ["liver", "kidney", "colon"]
        assert answer_line(row) == "a.jpg: liver 60.0%, kidney 20.0%, colon 10.0%"

    def test_two_classes_alone(self) -> None:
        row = answer_row("a", np.array([0.3, 0.7]), self.CLASSES[:2], distance=0.5, refused="")
        assert answer_line(row) == "a: kidney 70.0%, colon 30.0%"
        assert answers_table([row])["third"].isna().all()

    def test_reasons(self) -> None:
        assert reason_to_refuse(0.3, 0.9) == ""
        assert reason_to_refuse(0.001, 0.9).startswith("nearly no tissue: 0.1%")
        assert reason_to_refuse(0.3, 1.2).startswith("unlike the training images: distance 1.20")

    def test_a_refused_picture_has_no_class(self) -> None:
        row = answer_row("a", np.eye(4)[0], self.CLASSES, distance=2.0, refused="unlike")
        assert "predicted" not in row
        assert answer_line(row) == "a: refused: unlike"


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


class TestCommand:
    @pytest.mark.parametrize("model", ["pretrained", "scratch"])
    def test_answers_are_those_of_the_pipeline(
        self, model: str, tiny: Path, source: Path, tmp_path: Path
    ) -> None:
        out, where = tmp_path / "answers.csv", tmp_path / "heat"
        command = ["python", "-m", "tissue", "predict", str(source), "--model", model]
        said = run(*command, "--output", str(out), "--gradcam", str(where), cwd=tiny)
        found = pd.read_csv(out).set_index("id")
        assert len(found) == 16 + 5
        odd = found[found.index.str.startswith("odd/")]
        assert odd["refused"].notna().all()
        assert odd["predicted"].isna().all()
        assert "odd/white.png: refused: nearly no tissue" in said
        assert "odd/broken.png: refused: cannot be read: is not a JPEG, PNG" in said
        answered = found[found["refused"].isna()]
        assert len(answered) > 0.7 * 16
        expected = pd.read_csv(tiny / f"data/predictions/{model}.csv").set_index("id")
        expected = expected.loc[answered.index]
        assert np.allclose(answered["confidence"], expected["confidence"], atol=1e-4)
        for rank, share in (("second", "second_confidence"), ("third", "third_confidence")):
            shares = [expected.at[i, f"p_{name}"] for i, name in answered[rank].items()]
            assert np.allclose(answered[share], shares, atol=1e-4)
        drawn = {path.relative_to(where).as_posix() for path in where.rglob("*.png")}
        assert drawn == {f"{name}.png" for name in answered.index}

    def test_targets_are_checked_before_anything_else(self, tmp_path: Path) -> None:
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
    def test_what_was_answered_is_kept_when_it_is_interrupted(
        self,
        sent: signal.Signals,
        status: int,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        request: pytest.FixtureRequest,
    ) -> None:
        class Predictor:
            def answer(self, batch: list[str]) -> list[dict[str, Any]]:
                shares, classes = np.array([0.7, 0.3]), ["colon", "liver"]
                return [answer_row(id_, shares, classes, distance=1.0, refused="") for id_ in batch]

        def batches(*_: object) -> Iterator[list[str]]:
            yield ["a.jpg", "b.jpg"]
            signal.raise_signal(sent)

        monkeypatch.setattr(
            "tissue.prediction.predictor.load_predictor", lambda *_, **__: Predictor()
        )
        monkeypatch.setattr(predict, "read_batches", batches)
        request.addfinalizer(lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))
        monkeypatch.chdir(tmp_path)
        shutil.copy2(ROOT / "params.yaml", tmp_path)
        for name in ("models/pretrained.keras", *predict.NEEDED):
            (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "data" / name).touch()
        Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
        Path("out.csv").write_text("answers of before")
        with pytest.raises(SystemExit) as ended:
            predict.main(["a.png", "--output", "out.csv"])
        assert ended.value.code == status
        found = pd.read_csv("out.partial.csv")
        assert found[["id", "predicted"]].to_numpy().tolist() == [
            ["a.jpg", "colon"],
            ["b.jpg", "colon"],
        ]
        assert Path("out.csv").read_text() == "answers of before"
        assert "stopped after 2 pictures; out.partial.csv holds" in capsys.readouterr().err

    def test_long_names_are_shortened_and_stay_different(self) -> None:
        long = "\N{CJK UNIFIED IDEOGRAPH-809D}" * 80  # three bytes each
        names = [f"a/{long}{i}.jpg" for i in range(2)]
        short = {heat._file_name(name) for name in names}
        assert len(short) == 2
        assert all(name.startswith("a/") and len(name.encode()) <= 202 for name in short)
        assert heat._file_name("a/b.jpg") == "a/b.jpg"

    def test_a_name_is_drawn_as_it_is_written(self, tmp_path: Path) -> None:
        path = tmp_path / "core$1_$2.png"
        heat._draw(np.zeros((8, 8, 3), np.uint8), np.zeros((1, 28, 28), np.uint8), ["colon"], path)
        assert path.read_bytes().startswith(b"\x89PNG")

    def test_nothing_readable_ends_with_1(self, tiny: Path, tmp_path: Path) -> None:
        (tmp_path / "broken.png").write_bytes(b"not a picture")
        command = ["python", "-m", "tissue", "predict", str(tmp_path / "broken.png")]
        said = run(*command, "--output", str(tmp_path / "out.csv"), cwd=tiny, expect=1)
        assert "none of the pictures could be read" in said

    def test_without_data_it_says_what_to_pull(self, tiny: Path, tmp_path: Path) -> None:
        run("git", "clone", "--quiet", str(tiny), "clone", cwd=tmp_path)
        clone = tmp_path / "clone"
        (clone / "data/models").mkdir(parents=True)
        shutil.copy2(tiny / "data/models/pretrained.keras", clone / "data/models")
        said = run("python", "-m", "tissue", "predict", "params.yaml", cwd=clone, expect=1)
        assert said.startswith("predict: expected a trained model")
        wanted = ("classes.json", "images.json", "train.csv")
        pull = " ".join(["data/embed", *(f"data/split/{name}" for name in wanted)])
        assert f"Run `dvc pull {pull}`, or" in said

    def test_whoever_reads_its_answers_may_go(self, tiny: Path, tmp_path: Path) -> None:
        command = f"python -m tissue predict data/raw --output {tmp_path / 'o.csv'} | head -1"
        said = run("sh", "-c", command, cwd=tiny)
        assert "Error" not in said
        assert (tmp_path / "o.partial.csv").exists()

    def test_a_model_of_other_classes(self, tiny: Path, tmp_path: Path) -> None:
        clone = tmp_path / "clone"
        shutil.copytree(tiny, clone, symlinks=True)
        path = clone / "data/split/classes.json"
        text = path.read_text().replace("colon", "rectum")
        path.unlink()
        path.write_text(text)
        params = load_params(tiny / "params.yaml")
        with pytest.raises(InputError, match=r"12 here; colon, rectum are not in both\. Run"):
            load_predictor(params, model="scratch", gradcam=None, data=clone / "data")

    def test_other_parameters_than_those_of_the_model(self, tiny: Path, tmp_path: Path) -> None:
        clone = tmp_path / "clone"
        shutil.copytree(tiny, clone, symlinks=True)
        params = (clone / "params.yaml").read_text()
        (clone / "params.yaml").write_text(params.replace("image_size: 48", "image_size: 64"))
        command = [
            "python",
            "-m",
            "tissue",
            "predict",
            str(clone / "data/raw"),
            "--model",
            "scratch",
        ]
        said = run(*command, cwd=clone, expect=1)
        assert "image_size was 48, and is 64 now" in said
        assert not (clone / "predictions.csv").exists()

    def test_a_model_of_images_of_another_size(self, tiny: Path) -> None:
        params = load_params(tiny / "params.yaml", {"image_size": "64"})
        with pytest.raises(InputError, match=r"a model that takes \[\(None, 64, 64, 3\)\]"):
            load_classifier("scratch", params, tiny / "data/models")

    @pytest.mark.parametrize("model", ["pretrained", "scratch"])
    def test_other_features_than_those_in_the_cache(self, model: str, tiny: Path) -> None:
        params = load_params(tiny / "params.yaml", {"pretrained.views": "4"})
        said = r"data/embed: expected what is made with .* pretrained\.views was 2, and is 4 now"
        with pytest.raises(InputError, match=said):
            load_predictor(params, model=model, gradcam=None, data=tiny / "data")
        params = load_params(tiny / "params.yaml", {"split.crops.zoom": "3"})
        said = r"data/split: expected what is made with .* split\.crops was .* and is .*'zoom': 3"
        with pytest.raises(InputError, match=said):
            load_predictor(params, model=model, gradcam=None, data=tiny / "data")
