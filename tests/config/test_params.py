"""params.yaml: what is accepted, and the messages about what is not."""

import hashlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.conftest import run
from tests.pipeline import ROOT
from tissue.common.errors import InputError
from tissue.config.loading import check_named_files, load_params
from tissue.config.schema import Params, known_keys

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
    """The committed text with another value of one key, which is named as in the file."""
    *sections, name = key.split(".")
    start = 0
    for section in sections:
        start = re.compile(rf"^ *{section}:", re.M).search(COMMITTED, start).end()
    # A line of its own, or a part of `{a: 1, b: 2}`.
    entry = re.compile(rf"^( *){name}:.*$|\b{name}: [^,}}]*", re.M).search(COMMITTED, start)
    text = f"{entry[1] or ''}{name}: {value}"
    return COMMITTED[: entry.start()] + text + COMMITTED[entry.end() :]


def onnx(**values: object) -> str:
    """The committed text with a backbone in an ONNX file and other values of `pretrained`."""
    text = COMMITTED.replace("backbone: mobilenet_v2_035", "backbone: models/uni.onnx")
    for key, value in {"weights": "onnx", **values}.items():
        text = re.sub(rf"(?<=\n  ){key}: \S+", f"{key}: {value}", text)
    return text


def without_advanced() -> dict[str, Any]:
    """The committed values, with those of `advanced` in their sections."""

    def merge(values: dict[str, Any], advanced: dict[str, Any]) -> None:
        for key, value in advanced.items():
            if key in values:
                merge(values[key], value)
            else:
                values[key] = value

    values = YAML(typ="safe", pure=True).load(COMMITTED)
    merge(values, values.pop("advanced"))
    return values


class TestAdvanced:
    def test_its_keys_are_those_of_the_sections(self, load: Load, tmp_path: Path) -> None:
        values = without_advanced()
        assert load(COMMITTED).model_dump() == values
        YAML().dump(values, tmp_path / "flat.yaml")
        assert load_params(tmp_path / "flat.yaml") == load(COMMITTED)

    def test_the_schema_knows_the_keys_of_the_file_and_no_others(self) -> None:
        def key_paths(values: Any, known: Any) -> set[str]:
            if known is None:
                return {""}
            assert set(values) == set(known)
            return {f".{k}{end}" for k in known for end in key_paths(values[k], known[k])}

        paths = key_paths(without_advanced(), known_keys())
        assert {".lr", ".fetch.hpa.url", ".scratch.width", ".pretrained.onnx.mean"} <= paths

    @pytest.mark.parametrize(
        ("section", "line", "key"),
        [
            ("scratch", "  width: 16", "scratch.width"),
            ("advanced:\n\n  scratch", "    epochs: 3", "scratch.epochs"),
            ("fetch", "  storage_options: {}", "fetch.storage_options"),
            ("advanced", "  lr: 0.1", "lr"),
        ],
    )
    def test_a_key_that_stands_twice(self, load: Load, section: str, line: str, key: str) -> None:
        *_, name = section.split()
        start = COMMITTED.index("\nadvanced:") if "advanced" in section else 0
        head, found, tail = COMMITTED[start:].partition(f"{name}:\n")
        message = rf"\n  {key}: expected once\. Received: also advanced\.{key}\. Delete one\."
        with pytest.raises(InputError, match=message):
            load(f"{COMMITTED[:start]}{head}{found}{line}\n{tail}")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (
                re.sub(r"\nevaluate:\n(  .*\n)+", "\nevaluate: 1000\n", COMMITTED),
                r"\n  evaluate: expected keys and values\. Received: 1000$",
            ),
            (
                re.sub(r"\n  scratch:\n(    .*\n)+", "\n  scratch: 5\n", COMMITTED),
                r"\n  advanced\.scratch: expected keys and values\. Received: 5$",
            ),
            (
                COMMITTED[: COMMITTED.index("advanced:")] + "advanced: all\n",
                r"\n  advanced: expected keys and values\. Received: 'all'$",
            ),
            (
                COMMITTED.replace("\n    width: ", "\n    widht: "),
                r"\n  advanced\.scratch\.widht: unknown key\. Did you mean width\?",
            ),
            (
                COMMITTED.replace("\n    width: ", "\n    # width: "),
                r"\n  scratch\.width: expected a value\. Received: nothing\. Add the key\.$",
            ),
            (
                COMMITTED.replace("\n    crops:", "\n    corps: 4\n    crops:"),
                r"\n  advanced\.split\.corps: unknown key\. Did you mean crops\?",
            ),
            (
                changed("advanced.split.crops.count", "5"),
                r"\n  advanced\.split\.crops: expected count: at most zoom \* zoom = 4",
            ),
        ],
    )
    def test_messages_name_the_key_as_in_the_file(
        self, load: Load, text: str, message: str
    ) -> None:
        with pytest.raises(InputError, match=message):
            load(text)


class TestNumbers:
    @pytest.mark.parametrize(
        "written", ["1e-4", "1e-04", "1E-4", "1.0e-4", "1.e-4", "0.0001", "0.1e-3"]
    )
    def test_learning_rate_is_a_number_however_it_is_written(
        self, load: Load, written: str
    ) -> None:
        assert load(changed("lr", written)).lr == 1e-4

    def test_a_whole_number_becomes_a_float(self, load: Load) -> None:
        assert isinstance(load(changed("lr", "1")).lr, float)

    @pytest.mark.parametrize(
        ("key", "value"),
        [("lr", 1e-3), ("lr", 1e-5), ("lr", 3e-7), ("advanced.pretrained.l2", 1e-5)],
    )
    def test_what_dvc_writes_is_a_number(self, key: str, value: float, tmp_path: Path) -> None:
        from dvc.utils.serialize import modify_yaml

        path = tmp_path / "params.yaml"
        path.write_text(COMMITTED, encoding="utf-8")
        *sections, name = key.split(".")
        with modify_yaml(str(path)) as values:  # as `dvc exp run -S key=value`
            for section in sections:
                values = values[section]
            values[name] = value
        params = load_params(path)
        assert value == (params.lr if key == "lr" else params.pretrained.l2)


@pytest.mark.parametrize(
    ("key", "written"),
    [
        ("fetch.source", "[a.zip, b.tar.gz]"),
        ("fetch.source", "../somewhere/else"),
        ("fetch.source", "ssh://me@host/images"),  # the user of SSH is no secret
        ("fetch.sha256", f"{{a.zip: '{DIGEST}'}}"),
        ("split.metadata", "donors.csv"),
        ("advanced.split.max_rejected", "0"),
        ("fetch.phantom.test_per_class", "0"),
        ("pretrained.weights", "imagenet"),
        ("pretrained.weights", "a/b.weights.h5"),
        ("pretrained.sha256", f"'{DIGEST}'"),
        ("pretrained.fine_tune_epochs", "3"),
        ("advanced.scratch.progressive", "[]"),
        ("advanced.scratch.average", "1"),
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
        ("lr", ".nan", "finite number", "nan"),
        ("lr", ".inf", "finite number", "inf"),
        ("lr", "true", "number", "True"),
        ("lr", "", "number", "None"),
        ("lr", "[0.1, 0.2]", "number", "[0.1, 0.2]"),
        ("seed", "1.5", "integer", "1.5"),
        ("seed", "-1", "greater than or equal to 0", "-1"),
        ("batch_size", "'32'", "integer", "'32'"),
        ("batch_size", "0", "greater than 0", "0"),
        ("image_size", "5", "greater than or equal to 32", "5"),
        ("engine.kind", "spark", "'local' or 'ray'", "'spark'"),
        ("engine.storage", "/shared", "text that matches '^[a-z0-9]+://.'", "'/shared'"),
        ("engine.storage", "file:///mnt/lab", "a URL that all machines", "'file:///mnt/lab'"),
        ("fetch.source", "7", "string", "7"),
        ("fetch.source", "[a.zip, 7]", "string", "['a.zip', 7]"),
        ("fetch.source", "{a: b}", "string", "{'a': 'b'}"),
        ("fetch.phantom.size", "8", "greater than or equal to 32", "8"),
        ("split.val_fraction", "1.0", "less than 1", "1.0"),
        ("split.val_fraction", "0", "greater than 0", "0"),
        ("scratch.views", "9", "less than or equal to 8", "9"),
        ("advanced.scratch.average", "17", "less than or equal to 1", "17"),
        ("advanced.scratch.blocks", "0", "greater than or equal to 1", "0"),
        ("advanced.scratch.progressive", "0.5", "list", "0.5"),
        ("advanced.scratch.progressive", "[0.1]", "greater than or equal to 0.25", "[0.1]"),
        ("advanced.scratch.progressive", "[0.5, 1.0]", "less than 1", "[0.5, 1.0]"),
        ("pretrained.backbone", "a.pt", "densenet121, or the path to an .onnx file", "'a.pt'"),
        ("pretrained.weights", "random", ".weights.h5", "'random'"),
        ("pretrained.sha256", "abc", "match", "'abc'"),
        ("advanced.pretrained.onnx.mean", "[0.5, 0.5]", "3 items", "[0.5, 0.5]"),
        ("advanced.pretrained.onnx.std", "[1, 0, 1]", "greater than 0", "[1, 0, 1]"),
        ("advanced.pretrained.onnx.tokens", "first", "'class' or 'mean'", "'first'"),
        ("evaluate.bootstrap", "3", "greater than or equal to 100", "3"),
        ("advanced.tsne.random_splits", "59", "greater than or equal to 60", "59"),
    ],
)
def test_wrong_value_names_key_expected_and_received(
    load: Load, key: str, written: str, expected: str, received: str
) -> None:
    with pytest.raises(InputError) as caught:
        load(changed(key, written))
    lines = str(caught.value).splitlines()[1:]
    assert len({line.split(":")[0].strip() for line in lines}) == 1
    message, _, found = lines[0].partition(" Received: ")
    assert message.strip().startswith(f"{key}: expected ")
    assert expected in " ".join(lines)
    assert found == received


def test_wrong_digest_names_the_file(load: Load) -> None:
    with pytest.raises(InputError, match=r"fetch\.sha256\.a\.zip: expected .*Received: 'abc'"):
        load(changed("fetch.sha256", "{a.zip: abc}"))


@pytest.mark.parametrize("key", ["engine.storage", "fetch", "advanced.fetch.hpa.url"])
def test_passwords_are_hidden_in_messages_about_something_else(load: Load, key: str) -> None:
    with pytest.raises(InputError, match="expected") as caught:
        load(changed(key, "S3://me:hunter2@bucket/x"))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("key", ["advanced.fetch.storage_options", "engine.storage_options"])
def test_secrets_are_refused_at_any_depth(load: Load, key: str) -> None:
    with pytest.raises(InputError, match=rf"{key}: expected no credentials") as caught:
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
def test_passwords_in_urls_are_refused_and_not_repeated(load: Load, key: str, url: str) -> None:
    for value in [url, f"[phantom, '{url}']"] if key == "fetch.source" else [url]:
        with pytest.raises(InputError, match=rf"{key}: expected a URL without cred") as caught:
            load(changed(key, value))
        assert "hunter2" not in str(caught.value)
        assert str(caught.value).count("expected") == 1


def test_environment_overrides_the_kind_of_engine(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE_KIND", "local")
    assert load(changed("engine.kind", "ray")).engine.kind == "local"
    monkeypatch.setenv("ENGINE_KIND", "cloud")
    with pytest.raises(InputError, match=r"engine\.kind: expected 'local' or 'ray'"):
        load(COMMITTED)


class TestBackbone:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (changed("pretrained.backbone", "mobilenet_v2"), "weights that fit the backbone"),
            (changed("pretrained.weights", "onnx"), r"weights: onnx with an \.onnx"),
            (onnx(weights="imagenet"), r"weights: onnx with an \.onnx"),
            (onnx(weights="a.weights.h5"), r"weights: onnx with an \.onnx"),
            (onnx(weights="embedded"), "weights"),
            (onnx(fine_tune_epochs=1), r"fine_tune_epochs: 0 with an \.onnx"),
            (onnx().replace("strides: [32]", "strides: [16, 32]"), r"strides: \[32\] with an \.on"),
        ],
    )
    def test_its_settings_fit_each_other(self, load: Load, text: str, message: str) -> None:
        with pytest.raises(InputError, match=rf"\n  pretrained: expected {message}"):
            load(text)

    def test_an_onnx_file_holds_its_weights(self, load: Load) -> None:
        pretrained = load(onnx()).pretrained
        assert (pretrained.backbone, pretrained.weights) == ("models/uni.onnx", "onnx")

    def test_weights_in_a_file_need_its_digest(self, load: Load, tmp_path: Path) -> None:
        path = tmp_path / "a.weights.h5"
        path.write_bytes(b"weights")
        digest = hashlib.sha256(b"weights").hexdigest()
        text = changed("pretrained.weights", str(path))
        with pytest.raises(InputError, match=rf"pretrained\.sha256: expected the .*{digest}"):
            load(text)
        assert load(re.sub(r"(?<=\n  )sha256: null", f"sha256: {digest}", text)).pretrained.sha256


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"split.metadata": "donors.csv"}, "split.metadata"),
        ({"pretrained.weights": "a.weights.h5"}, "pretrained.weights"),
        ({"pretrained.backbone": "a.onnx", "pretrained.weights": "onnx"}, "pretrained.backbone"),
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


def test_changes_are_made_by_key_as_in_the_file() -> None:
    changes = {"lr": "1e-2", "advanced.scratch.progressive": "[0.5]"}
    params = load_params(ROOT / "params.yaml", changes)
    assert (params.lr, params.scratch.progressive) == (0.01, [0.5])
    with pytest.raises(InputError, match=r"lr: expected a value in YAML\. Received: \[1"):
        load_params(ROOT / "params.yaml", {"lr": "[1"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rate: 0.1\n" + COMMITTED, r"learning_rate: unknown key\. Known here: seed, lr,"),
        ("batchsize: 3\n" + COMMITTED, r"batchsize: unknown key\. Did you mean batch_size\?"),
        (
            COMMITTED.replace("phantom: {", "phantom: {siz: 448, "),
            r"fetch\.phantom\.siz: unknown key\. Did you mean size\?",
        ),
        (COMMITTED.replace("\nlr:", "\n# lr:"), r"lr: expected a value\. Received: nothing"),
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
def test_a_wrong_file_and_its_message(load: Load, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load(text)
    assert "params.yaml" in str(caught.value)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(COMMITTED.encode().replace(b"phantom", b"ph\xe4ntom"))
    with pytest.raises(InputError, match="expected YAML"):
        load_params(path)


def test_all_problems_are_reported_at_once(load: Load) -> None:
    with pytest.raises(InputError, match=r"\n  lr: .*\n  pretrained\.epochs: "):
        load(changed("lr", "fast").replace("epochs: 12 ", "epochs: twelve "))


def test_a_missing_file_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"params\.yaml: expected .*no such file in .*root of"):
        load_params()


def test_values_cannot_be_changed(load: Load) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(COMMITTED).lr = 1.0  # type: ignore[misc]


def test_loading_imports_neither_tensorflow_nor_pandas() -> None:
    program = (
        "import sys; from tissue.config.loading import load_params; load_params();"
        "print(*sorted({'tensorflow', 'keras', 'pandas', 'dvc'} & set(sys.modules)))"
    )
    assert run(sys.executable, "-c", program, cwd=ROOT).strip() == ""
