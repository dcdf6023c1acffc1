"""params.yaml: what is accepted, and what is said about what is not."""

import hashlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from tests.conftest import run
from tissue.common.errors import InputError
from tissue.config.command import run_command
from tissue.config.loading import check_named_files, load_params
from tissue.config.schema import Params, known_keys

ROOT = Path(__file__).parents[2]
COMMITTED = (ROOT / "params.yaml").read_text(encoding="utf-8")
DIGEST = "0" * 64
Load = Callable[[str], Params]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load a text as params.yaml."""

    def load_text(text: str) -> Params:
        path = tmp_path / "params.yaml"
        path.write_text(text, encoding="utf-8")
        return load_params(path)

    return load_text


def changed(key: str, value: str) -> str:
    """The committed text with the value of one key, `section.name`, as written here."""
    *sections, name = key.split(".")
    start = 0
    for section in sections:
        start = re.compile(rf"^ *{section}:", re.M).search(COMMITTED, start).end()
    # A line of its own, or a part of `{a: 1, b: 2}`.
    entry = re.compile(rf"^( *){name}:.*$|\b{name}: [^,}}]*", re.M).search(COMMITTED, start)
    text = f"{entry[1] or ''}{name}: {value}"
    return COMMITTED[: entry.start()] + text + COMMITTED[entry.end() :]


def rewritten(key: str, value: Any, path: Path) -> None:
    """Write params.yaml as `dvc exp run -S key=value` does."""
    from dvc.utils.serialize import modify_yaml

    path.write_text(COMMITTED, encoding="utf-8")
    with modify_yaml(str(path)) as values:
        *sections, name = key.split(".")
        for section in sections:
            values = values[section]
        values[name] = value


def leaves(value: Any, prefix: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """Every key of nested dictionaries with its value."""
    if not isinstance(value, dict):
        return [(prefix, value)]
    return [leaf for key, item in value.items() for leaf in leaves(item, (*prefix, key))]


def test_committed_file_is_loaded_whole(load: Load) -> None:
    params = load(COMMITTED)
    written = YAML(typ="safe", pure=True).load(COMMITTED)
    free = {"sha256": None, "storage_options": None}  # any keys below
    named = {
        "engine": {**written["engine"], "storage_options": None},
        "fetch": {**written["fetch"], **free},
        "compare": {"tolerance": None},
    }
    assert params.model_dump() == written
    assert {key for key, _ in leaves(known_keys())} == {
        key for key, _ in leaves({**written, **named})
    }


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-3", 1e-3),
        ("1e-4", 1e-4),
        ("1e-5", 1e-5),
        ("1e-05", 1e-5),
        ("1E-5", 1e-5),
        ("1.0e-4", 1e-4),
        ("0.00001", 1e-5),
        ("1.e-3", 1e-3),
        ("1", 1.0),
    ],
)
def test_learning_rate_is_a_number_however_it_is_written(
    load: Load, written: str, value: float
) -> None:
    lr = load(changed("lr", written)).lr
    assert lr == value
    assert isinstance(lr, float)


@pytest.mark.parametrize("value", [1e-3, 1e-4, 1e-5, 3e-7])
def test_learning_rate_set_by_dvc_is_a_number(tmp_path: Path, value: float) -> None:
    path = tmp_path / "params.yaml"
    rewritten("lr", value, path)
    assert load_params(path).lr == value


def test_small_number_in_a_section_set_by_dvc(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    rewritten("pretrained.l2", 1e-5, path)
    assert "1e-05" in path.read_text(encoding="utf-8")
    assert load_params(path).pretrained.l2 == 1e-5


@given(lr=st.floats(min_value=1e-12, max_value=1e3))
def test_any_learning_rate_survives_being_written(
    lr: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(changed("lr", repr(lr)), encoding="utf-8")
    assert load_params(path).lr == lr


@pytest.mark.parametrize(
    ("key", "written"),
    [
        ("fetch.source", "[a.zip, b.tar.gz]"),
        ("fetch.source", "../somewhere/else"),
        ("fetch.sha256", f"{{a.zip: '{DIGEST}'}}"),
        ("split.metadata", "donors.csv"),
        ("split.val_fraction", "0.5"),
        ("split.max_rejected", "0"),
        ("fetch.phantom.test_per_class", "0"),
        ("pretrained.weights", "imagenet"),
        ("pretrained.weights", "a/b.weights.h5"),
        ("pretrained.sha256", f"'{DIGEST}'"),
        ("pretrained.fine_tune_epochs", "3"),
        ("scratch.progressive", "[]"),
    ],
)
def test_other_good_values(load: Load, key: str, written: str) -> None:
    assert load(changed(key, written)).seed == 17


@pytest.mark.parametrize(
    ("key", "written", "expected", "received"),
    [
        ("lr", "fast", "number", "'fast'"),
        ("lr", "'1e-4'", "number", "'1e-4'"),
        ("lr", "0", "greater than 0", "0"),
        ("lr", "-1e-3", "greater than 0", "-0.001"),
        ("lr", ".nan", "finite number", "nan"),
        ("lr", ".inf", "finite number", "inf"),
        ("lr", "true", "number", "True"),
        ("lr", "", "number", "None"),
        ("lr", "[0.1, 0.2]", "number", "[0.1, 0.2]"),
        ("scratch.progressive", "0.5", "list", "0.5"),
        ("scratch.progressive", "[0.5, 1.0]", "less than 1", "[0.5, 1.0]"),
        ("tsne.random_splits", "59", "greater than or equal to 60", "59"),
        ("scratch.progressive", "[0.1]", "greater than or equal to 0.25", "[0.1]"),
        ("seed", "1.5", "integer", "1.5"),
        ("seed", "-1", "greater than or equal to 0", "-1"),
        ("batch_size", "'32'", "integer", "'32'"),
        ("batch_size", "0", "greater than or equal to 1", "0"),
        ("image_size", "5", "greater than or equal to 32", "5"),
        ("image_size", "224.0", "integer", "224.0"),
        ("threads", "two", "integer", "'two'"),
        ("engine.kind", "spark", "'local' or 'ray'", "'spark'"),
        ("engine.storage", "/shared", "text that matches '^[a-z0-9]+://.'", "'/shared'"),
        ("fetch.source", "7", "string", "7"),
        ("fetch.source", "[a.zip, 7]", "string", "['a.zip', 7]"),
        ("fetch.source", "{a: b}", "string", "{'a': 'b'}"),
        ("fetch.phantom.size", "8", "greater than or equal to 32", "8"),
        ("split.val_fraction", "1.0", "less than 1", "1.0"),
        ("split.val_fraction", "0", "greater than 0", "0"),
        ("split.min_per_class", "six", "integer", "'six'"),
        ("split.shard_size", "0", "greater than or equal to 1", "0"),
        ("scratch.views", "9", "less than or equal to 8", "9"),
        ("scratch.blocks", "0", "greater than or equal to 1", "0"),
        ("pretrained.backbone", "vgg16", "mobilenet_v2, mobilenet_v2_075,", "'vgg16'"),
        ("pretrained.backbone", "vgg16", "densenet121, or the path to an .onnx file", "'vgg16'"),
        ("pretrained.backbone", "a.pt", "or the path to an .onnx file", "'a.pt'"),
        ("pretrained.weights", "random", ".weights.h5", "'random'"),
        ("pretrained.onnx.mean", "[0.5, 0.5]", "3 items", "[0.5, 0.5]"),
        ("pretrained.onnx.std", "[1, 0, 1]", "greater than 0", "[1, 0, 1]"),
        ("pretrained.onnx.tokens", "first", "'class' or 'mean'", "'first'"),
        ("pretrained.sha256", "abc", "match", "'abc'"),
        ("evaluate.bootstrap", "3", "greater than or equal to 100", "3"),
        ("evaluate.heat_maps", "0", "greater than or equal to 1", "0"),
        ("tsne.perplexity", "-5", "greater than 0", "-5"),
    ],
)
def test_wrong_value_names_key_expected_and_received(
    load: Load, key: str, written: str, expected: str, received: str
) -> None:
    with pytest.raises(InputError) as caught:
        load(changed(key, written))
    lines = str(caught.value).splitlines()[1:]
    assert len({line.split(":")[0].strip() for line in lines}) == 1
    told, _, found = lines[0].partition(" Received: ")
    assert told.strip().startswith(f"{key}: expected ")
    assert expected in " ".join(lines)
    assert found == received


@pytest.mark.parametrize("key", ["engine.storage", "fetch", "fetch.hpa.url"])
def test_passwords_are_not_repeated_where_something_else_is_wrong(load: Load, key: str) -> None:
    with pytest.raises(InputError) as caught:
        load(changed(key, "S3://me:hunter2@bucket/x"))
    assert "hunter2" not in str(caught.value)


def test_a_user_of_ssh_is_no_secret(load: Load) -> None:
    assert load(changed("fetch.source", "ssh://me@host/images")).fetch.source


def test_wrong_digest_names_the_file(load: Load) -> None:
    with pytest.raises(InputError, match=r"fetch\.sha256\.a\.zip: expected .*Received: 'abc'"):
        load(changed("fetch.sha256", "{a.zip: abc}"))


@pytest.mark.parametrize("key", ["fetch.storage_options", "engine.storage_options"])
def test_secrets_are_refused_at_any_depth(load: Load, key: str) -> None:
    with pytest.raises(InputError, match=r"storage_options: expected no credentials") as caught:
        load(changed(key, "{client: [{aws_secret_access_key: hunter2}]}"))
    assert "give aws_secret_access_key as" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("key", ["fetch.source", "fetch.watch", "engine.storage"])
@pytest.mark.parametrize(
    "url",
    [
        "https://me:hunter2@host/x.zip", "s3://AKIA:hunter2@bucket/x", "https://hunter2@host/x.zip",
        "https://host/x.zip?se=2027&sig=hunter2", "https://host/x?X-Amz-Signature=hunter2",
    ],
)  # fmt: skip
def test_passwords_in_addresses_are_refused_and_not_repeated(
    load: Load, key: str, url: str
) -> None:
    for value in [url, f"[phantom, '{url}']"] if key == "fetch.source" else [url]:
        with pytest.raises(InputError, match=rf"{key}: expected a URL without cred") as caught:
            load(changed(key, value))
        assert "hunter2" not in str(caught.value)
        assert str(caught.value).count("expected") == 1


@pytest.mark.parametrize(
    ("url", "message"),
    [("file:///mnt/lab", "a URL that all machines reach"), ("ftp://me:pw@host/x", "credentials")],
)
def test_storage_that_cannot_be(load: Load, url: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"engine\.storage: expected .*{message}"):
        load(changed("engine.storage", url))


def test_environment_goes_before_the_kind_of_engine(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE_KIND", "local")
    assert load(changed("engine.kind", "ray")).engine.kind == "local"
    monkeypatch.setenv("ENGINE_KIND", "cloud")
    with pytest.raises(InputError, match=r"engine\.kind: expected 'local' or 'ray'"):
        load(COMMITTED)


def test_section_that_is_no_section(load: Load) -> None:
    text = re.sub(r"evaluate:\n(  .*\n)+", "evaluate: 1000\n", COMMITTED)
    with pytest.raises(InputError, match=r"evaluate: expected .*Received: 1000"):
        load(text)


def test_embedded_weights_fit_one_backbone(load: Load) -> None:
    with pytest.raises(InputError, match=r"pretrained: expected weights that fit the backbone"):
        load(changed("pretrained.backbone", "mobilenet_v2"))


def onnx(**values: object) -> str:
    """The committed text with a backbone in an ONNX file and further values below pretrained."""
    text = COMMITTED.replace("backbone: mobilenet_v2_035", "backbone: models/uni.onnx")
    for key, value in {"weights": "onnx", **values}.items():
        text = re.sub(rf"(?<=\n  ){key}: \S+", f"{key}: {value}", text)
    return text


def test_weights_are_averaged_over_a_share_of_the_epochs(load: Load) -> None:
    assert load(changed("scratch.average", "1")).scratch.average == 1
    with pytest.raises(InputError, match=r"scratch\.average: expected less than or equal to 1"):
        load(changed("scratch.average", "17"))


def test_weights_in_a_file_need_its_digest(load: Load, tmp_path: Path) -> None:
    path = tmp_path / "a.weights.h5"
    path.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    text = changed("pretrained.weights", str(path))
    with pytest.raises(InputError, match=rf"pretrained\.sha256: expected the .*{digest}"):
        load(text)
    assert load(re.sub(r"(?<=\n  )sha256: null", f"sha256: {digest}", text)).pretrained.sha256


def test_backbone_in_an_onnx_file(load: Load) -> None:
    pretrained = load(onnx()).pretrained
    assert (pretrained.backbone, pretrained.weights) == ("models/uni.onnx", "onnx")


@pytest.mark.parametrize("weights", ["embedded", "imagenet", "a.weights.h5"])
def test_onnx_file_holds_its_weights(load: Load, weights: str) -> None:
    with pytest.raises(InputError, match=r"pretrained: expected weights"):
        load(onnx(weights=weights))


def test_weights_in_an_onnx_file_need_one(load: Load) -> None:
    with pytest.raises(InputError, match=r"pretrained: expected weights: onnx with an \.onnx"):
        load(changed("pretrained.weights", "onnx"))


def test_onnx_file_has_no_finer_maps(load: Load) -> None:
    text = onnx().replace("strides: [32]", "strides: [16, 32]")
    with pytest.raises(InputError, match=r"pretrained: expected strides: \[32\] with an \.onnx"):
        load(text)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"split.metadata": "donors.csv"}, "split.metadata"),
        ({"pretrained.weights": "a.weights.h5"}, "pretrained.weights"),
        (
            {"pretrained.backbone": "a.onnx", "pretrained.weights": "onnx"},
            "pretrained.backbone",
        ),
    ],
)
def test_named_files_are_looked_for_before_the_first_stage(
    changes: dict[str, str], key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = load_params(ROOT / "params.yaml", changes)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=rf"{key}: expected a file\. Received: .*does not exist"):
        check_named_files(params)
    for name in ("donors.csv", "a.weights.h5", "a.onnx"):
        (tmp_path / name).touch()
    check_named_files(params)


def test_onnx_file_cannot_be_fine_tuned(load: Load) -> None:
    with pytest.raises(InputError, match=r"pretrained: expected fine_tune_epochs: 0 with an \.on"):
        load(onnx(fine_tune_epochs=1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rate: 0.1\n" + COMMITTED, r"learning_rate: unknown key\. Known here: seed, lr,"),
        ("batchsize: 3\n" + COMMITTED, r"batchsize: unknown key\. Did you mean batch_size\?"),
        (
            COMMITTED.replace("  dropout: 0.3", "  drop_out: 0.3\n  dropout: 0.3"),
            r"scratch\.drop_out: unknown key\. Did you mean dropout\?",
        ),
        (
            COMMITTED.replace("phantom: {", "phantom: {siz: 448, "),
            r"fetch\.phantom\.siz: unknown key\. Did you mean size\?",
        ),
        (COMMITTED.replace("\nlr:", "\n# lr:"), r"lr: expected a value\. Received: nothing"),
        (
            COMMITTED.replace("  perplexity:", "  # perplexity:"),
            r"tsne\.perplexity: expected a value\. Received: nothing",
        ),
        ("3: 4\n" + COMMITTED, "3"),
        ("", "expected keys and values"),
        ("just a text", r"expected keys and values\. Received: 'just a text'"),
        ("- a\n- b\n", "expected keys and values"),
        ("lr: [1, 2", "expected YAML"),
        ("lr: 1\n\tseed: 2\n", "expected YAML"),
        (COMMITTED + "lr: 0.1\n", "expected YAML"),
        ("lr: !!python/object:os.system x\n", "expected YAML"),
    ],
)
def test_wrong_file_says_what_is_wrong(load: Load, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load(text)
    assert "params.yaml" in str(caught.value)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(COMMITTED.encode().replace(b"phantom", b"ph\xe4ntom"))
    with pytest.raises(InputError, match="expected YAML"):
        load_params(path)


def test_every_problem_is_told_at_once(load: Load) -> None:
    with pytest.raises(InputError) as caught:
        load(changed("lr", "fast").replace("epochs: 12 ", "epochs: twelve "))
    assert "lr: " in str(caught.value)
    assert "pretrained.epochs: " in str(caught.value)


def test_missing_file_names_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"params\.yaml: expected .*no such file in .*root of"):
        load_params()


def test_values_cannot_be_changed(load: Load) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(COMMITTED).lr = 1.0  # type: ignore[misc]


STAGES = ["fetch", "split", "embed", "train_scratch", "train_pretrained", "evaluate", "tsne"]


@pytest.mark.parametrize("stage", STAGES)
def test_stage_stops_at_a_wrong_parameter_before_tensorflow(stage: str, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(changed("lr", "fast"), encoding="utf-8")
    # As `python -m`, and at its end the modules that were imported.
    program = (
        "import atexit, runpy, sys;"
        f"sys.argv = [{stage!r}];"
        "atexit.register(lambda: print(*sorted({'tensorflow', 'keras'} & set(sys.modules))));"
        f"runpy.run_module('stages.{stage}', run_name='__main__')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stdout.strip() == ""
    assert ended.stderr.splitlines() == [
        f"{stage}: params.yaml:",
        "  lr: expected number. Received: 'fast'",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


def test_loading_imports_neither_tensorflow_nor_pandas() -> None:
    program = (
        "import sys; from tissue.config.loading import load_params; load_params();"
        "print(*sorted({'tensorflow', 'keras', 'pandas', 'dvc'} & set(sys.modules)))"
    )
    assert run(sys.executable, "-c", program, cwd=ROOT).strip() == ""


def test_command_tells_input_errors_and_dumps_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["fetch"])

    def fail(error: Exception) -> Callable[[], None]:
        def main() -> None:
            raise error

        return main

    with pytest.raises(SystemExit, match="fetch: that is wrong") as ended:
        run_command(fail(InputError("that is wrong")), name="fetch", doc=None)
    assert isinstance(ended.value.code, str)  # Python ends with status 1 and prints it
    with pytest.raises(KeyError):
        run_command(fail(KeyError("ours")), name="fetch", doc=None)
    monkeypatch.setattr(sys, "argv", ["fetch", "--nonsense"])
    with pytest.raises(SystemExit) as usage:
        run_command(fail(KeyError("not reached")), name="fetch", doc=None)
    assert usage.value.code == 2
