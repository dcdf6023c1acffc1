"""params.yaml: what is accepted, and the messages about what is not."""

import hashlib
import importlib.util
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.conftest import run
from tests.pipeline import ROOT
from tissue.common.errors import InputError
from tissue.config.loading import check_named_files, known_keys, load_params
from tissue.config.schema import Params

PARAMS = ROOT / "params.yaml"
COMMITTED = PARAMS.read_text(encoding="utf-8")
DIGEST = "0" * 64
PAIR = {"pretrained.backbone": "[efficientnet_lite0, efficientnet_lite1]"}
ONNX = {"pretrained.backbone": "models/uni.onnx", "pretrained.weights": "onnx"}


def load(key: str, written: str) -> Params:
    """The committed parameters with another value of one key, as it would be written there."""
    return load_params(PARAMS, {key: written})


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
    def test_its_keys_are_those_of_the_sections(self, tmp_path: Path) -> None:
        params, values = load_params(PARAMS), without_advanced()
        assert params.model_dump() == values
        YAML().dump(values, tmp_path / "flat.yaml")
        assert load_params(tmp_path / "flat.yaml") == params

    def test_the_schema_knows_the_keys_of_the_file_and_no_others(self) -> None:
        def key_paths(values: Any, known: Any) -> set[str]:
            if known is None:
                return {""}
            assert set(values) == set(known)
            return {f".{key}{end}" for key in known for end in key_paths(values[key], known[key])}

        paths = key_paths(without_advanced(), known_keys())
        assert {".lr", ".fetch.hpa.url", ".scratch.width", ".pretrained.onnx.mean"} <= paths

    @pytest.mark.parametrize(
        ("added", "key"),
        [
            ("scratch.width", "scratch.width"),
            ("advanced.scratch.epochs", "scratch.epochs"),
            ("fetch.storage_options", "fetch.storage_options"),
            ("advanced.lr", "lr"),
        ],
    )
    def test_a_key_that_stands_twice(self, added: str, key: str) -> None:
        message = rf"\n  {key}: expected once\. Received: also advanced\.{key}\. Delete one\.$"
        with pytest.raises(InputError, match=message):
            load(added, "{}" if key.endswith("options") else "1")

    @pytest.mark.parametrize(
        ("key", "written", "message"),
        [
            ("evaluate", "1000", "evaluate: expected keys and values. Received: 1000"),
            ("advanced.scratch", "5", "advanced.scratch: expected keys and values. Received: 5"),
            ("advanced", "all", "advanced: expected keys and values. Received: 'all'"),
            ("advanced.split.corps", "4", "advanced.split.corps: unknown key. Did you mean crops?"),
            (
                "advanced.scratch.widht", "16",
                "advanced.scratch.widht: unknown key. Did you mean width?",
            ),
            (
                "advanced.split.crops.count", "5",
                "advanced.split.crops: expected count: at most zoom * zoom = 4, which fill the "
                "image; here it is 5. Received: {'count': 5, 'zoom': 2}",
            ),
        ],
    )  # fmt: skip
    def test_messages_name_the_key_as_in_the_file(
        self, key: str, written: str, message: str
    ) -> None:
        with pytest.raises(InputError, match=rf"\n  {re.escape(message)}$"):
            load(key, written)


@pytest.mark.parametrize(
    "written", ["1e-4", "1e-04", "1E-4", "1.0e-4", "1.e-4", "0.0001", "0.1e-3"]
)
def test_learning_rate_is_a_number_however_it_is_written(written: str, tmp_path: Path) -> None:
    text = re.sub(r"\nlr: \S+", f"\nlr: {written}", COMMITTED)
    (tmp_path / "params.yaml").write_text(text)
    assert load_params(tmp_path / "params.yaml").lr == load("lr", written).lr == 1e-4


@pytest.mark.parametrize("value", [1e-3, 1e-5, 3e-7])
def test_numbers_that_dvc_writes_are_numbers(value: float, tmp_path: Path) -> None:
    from dvc.utils.serialize import modify_yaml

    path = tmp_path / "params.yaml"
    path.write_text(COMMITTED, encoding="utf-8")
    with modify_yaml(str(path)) as values:  # as `dvc exp run -S key=value`
        values["lr"] = values["advanced"]["pretrained"]["penalty"] = value
    params = load_params(path)
    assert (params.lr, params.pretrained.penalty) == (value, value)


def test_dvc_reads_the_urls_that_it_writes(tmp_path: Path) -> None:
    """With the C parser of ruamel.yaml.clib it does not, in lists and mappings on one line."""
    from dvc.utils.serialize import load_yaml, modify_yaml

    path, url = tmp_path / "params.yaml", "https://lab.example.org/me"
    path.write_text(f"source: [{url}, s3://bucket/images]\n{COMMITTED}", encoding="utf-8")
    with modify_yaml(str(path)) as values:
        values["fetch"]["hpa"]["contact"] = url
    read = load_yaml(str(path))
    assert read["fetch"]["hpa"]["contact"] == url
    assert read["source"] == [url, "s3://bucket/images"]


@pytest.mark.parametrize(
    ("key", "written"),
    [
        ("lr", "1"),
        ("fetch.source", "[a.zip, b.tar.gz]"),
        ("fetch.source", "../somewhere/else"),
        ("fetch.source", "ssh://me@host/images"),  # the user of SSH is no secret
        ("fetch.sha256", f"{{a.zip: '{DIGEST}'}}"),
        ("split.metadata", "donors.csv"),
        ("advanced.split.max_rejected", "0"),
        ("fetch.phantom.test_per_class", "0"),
        ("pretrained.backbone", "efficientnet_lite2"),
        ("pretrained.weights", "a/b.weights.h5"),
        ("pretrained.sha256", f"'{DIGEST}'"),
        ("pretrained.fine_tune_epochs", "3"),
        ("advanced.scratch.progressive", "[]"),
        ("advanced.scratch.average", "1"),
    ],
)
def test_other_good_values(key: str, written: str) -> None:
    params = load(key, written)
    assert isinstance(params.lr, float)
    assert params.seed == 17


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
        ("fetch.sha256", "{a.zip: abc}", "match", "'abc'"),
        ("fetch.phantom.size", "8", "greater than or equal to 32", "8"),
        ("split.val_fraction", "1.0", "less than 1", "1.0"),
        ("split.val_fraction", "0", "greater than 0", "0"),
        ("scratch.views", "9", "less than or equal to 8", "9"),
        ("advanced.scratch.average", "17", "less than or equal to 1", "17"),
        ("advanced.scratch.blocks", "0", "greater than or equal to 1", "0"),
        ("advanced.scratch.progressive", "0.5", "list", "0.5"),
        ("advanced.scratch.progressive", "[0.1]", "greater than or equal to 0.25", "[0.1]"),
        ("advanced.scratch.progressive", "[0.5, 1.1]", "less than or equal to 1", "[0.5, 1.1]"),
        ("pretrained.backbone", "[mobilenet_v2]", "one backbone, or two", "['mobilenet_v2']"),
        ("pretrained.backbone", "a.pt", "densenet121, or the path to an .onnx file", "'a.pt'"),
        ("pretrained.weights", "random", ".weights.h5", "'random'"),
        ("pretrained.sha256", "abc", "match", "'abc'"),
        ("advanced.pretrained.onnx.mean", "[0.5, 0.5]", "3 items", "[0.5, 0.5]"),
        ("advanced.pretrained.onnx.std", "[1, 0, 1]", "greater than 0", "[1, 0, 1]"),
        ("advanced.pretrained.onnx.tokens", "first", "'class' or 'mean'", "'first'"),
        ("evaluate.bootstrap", "3", "greater than or equal to 100", "3"),
        ("advanced.tsne.random_splits", "119", "greater than or equal to 120", "119"),
    ],
)
def test_wrong_value_names_key_expected_and_received(
    key: str, written: str, expected: str, received: str
) -> None:
    with pytest.raises(InputError) as caught:
        load(key, written)
    lines = str(caught.value).splitlines()[1:]
    assert len({line.split(":")[0].strip() for line in lines}) == 1
    message, _, found = lines[0].partition(" Received: ")
    assert re.match(rf"  {key}(\.a\.zip)?: expected ", message)
    assert expected in " ".join(lines)
    assert found == received


class TestSecrets:
    @pytest.mark.parametrize("key", ["engine.storage", "fetch", "advanced.fetch.hpa.url"])
    def test_passwords_are_hidden_in_messages_about_something_else(self, key: str) -> None:
        with pytest.raises(InputError, match="expected") as caught:
            load(key, "S3://me:hunter2@bucket/x")
        assert "hunter2" not in str(caught.value)

    @pytest.mark.parametrize("key", ["advanced.fetch.storage_options", "engine.storage_options"])
    def test_secrets_are_refused_at_any_depth(self, key: str) -> None:
        with pytest.raises(InputError, match=rf"{key}: expected no credentials") as caught:
            load(key, "{client: [{aws_secret_access_key: hunter2}]}")
        assert "give aws_secret_access_key as" in str(caught.value)
        assert "hunter2" not in str(caught.value)

    @pytest.mark.parametrize("key", ["fetch.source", "fetch.watch", "engine.storage"])
    @pytest.mark.parametrize(
        "url",
        [
            "https://me:hunter2@host/x.zip", "s3://AKIA:hunter2@bucket/x",
            "https://hunter2@host/x.zip", "ftp://me:hunter2@host/x",
            "https://host/x.zip?se=2027&sig=hunter2", "https://host/x?X-Amz-Signature=hunter2",
        ],
    )  # fmt: skip
    def test_passwords_in_urls_are_refused_and_not_repeated(self, key: str, url: str) -> None:
        for value in [url, f"[phantom, '{url}']"] if key == "fetch.source" else [url]:
            with pytest.raises(
                InputError, match=rf"{key}: expected a value without cred"
            ) as caught:
                load(key, value)
            assert "hunter2" not in str(caught.value)
            assert str(caught.value).count("expected") == 1

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("fetch.labels", "{table: 'URL', image: a, label: b}"), ("split.metadata", "URL"),
            ("pretrained.weights", "URL"), ("engine.address", "ray://me:hunter2@host"),
            ("advanced.fetch.cache", "URL"), ("fetch.hpa.genes", "URL"),
            ("fetch.hpa.contact", "URL"),
            ("advanced.pretrained.onnx.output", "URL"), ("fetch.sha256", f"{{'URL': '{DIGEST}'}}"),
            ("compare.tolerance", "{'URL.a': 0.1}"),
        ],
    )  # fmt: skip
    def test_they_are_refused_where_no_url_belongs(self, key: str, value: str) -> None:
        with pytest.raises(InputError, match="expected a value without credentials") as caught:
            load(key, value.replace("URL", "https://me:hunter2@host/a.weights.h5"))
        assert "hunter2" not in str(caught.value)
        assert load("split.group_pattern", "donor_key=(.*)").split.group_pattern

    @pytest.mark.parametrize("letter", [r"\0", r"\e", r"\u202e", r"\u2028", r"\r"])
    def test_control_characters(self, letter: str) -> None:
        with pytest.raises(InputError, match=r"fetch\.source: expected text without control"):
            load("fetch.source", f'"a{letter}b"')


@pytest.mark.parametrize(
    "written",
    [
        "seed: " + "9" * 5000, "seed: 0x" + "f" * 5000, "seed: !!float a", "seed: !!int a",
        "seed: !!bool a", "seed: 2020-99-99", "seed: " + "[" * 500, "seed: &a [*a]",
        "seed: !!python/object/apply:os.getcwd []", "? [a]\n: 1", "null: 1", "seed: *b",
        "\tseed: 1",
        "advanced: {fetch: {storage_options: &a {x: *a}}}", "<<: 5", "seed: 1\nseed: 2", "\x01",
        'split: {group_pattern: "' + "(" * 999 + ")" * 999 + '"}',
        'split: {group_pattern: "(a{99999999999})"}', "threads: 99999999999999999999",
        "evaluate: {bootstrap: 1000000000000}",
    ],
)  # fmt: skip
def test_odd_yaml(written: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(written)
    with pytest.raises(InputError, match=r"expected|Add the key"):
        load_params(path)


def test_aliases_that_are_many_more_items_than_lines(tmp_path: Path) -> None:
    """Nine lines of YAML stand for 10^8 items, which a message must not write."""
    lines = [f"k0: &a0 [{','.join(['x'] * 9)}]"]
    lines += [f"k{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    path = tmp_path / "params.yaml"
    path.write_text("\n".join([*lines, COMMITTED.replace("source: phantom", "source: *a8")]))
    with pytest.raises(InputError) as caught:
        load_params(path)
    assert len(str(caught.value)) < 10_000


def test_a_file_that_is_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_text("a" * 2_000_000)
    for name, received in (("pipe", "a pipe or"), ("large", "Received: more"), ("", "a folder")):
        with pytest.raises(InputError, match=received):
            load_params(tmp_path / name)


class TestBackbone:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"pretrained.backbone": "mobilenet_v2"}, "weights: packaged with efficientnet_lite0"),
            (
                {"pretrained.backbone": "efficientnet_lite1", "pretrained.weights": "imagenet"},
                r"weights: packaged with .*here weights is imagenet and backbone .*_lite1",
            ),
            ({"pretrained.weights": "onnx"}, r"weights: onnx with an \.onnx"),
            ({**ONNX, "pretrained.weights": "packaged"}, "weights"),
            ({**ONNX, "pretrained.weights": "imagenet"}, r"weights: onnx with an \.onnx"),
            ({**ONNX, "pretrained.weights": "a.weights.h5"}, r"weights: onnx with an \.onnx"),
            ({**ONNX, "pretrained.fine_tune_epochs": "1"}, r"fine_tune_epochs: 0 with an \.onnx"),
            ({**PAIR, "pretrained.fine_tune_epochs": "1"}, "fine_tune_epochs: 0 with .* two backb"),
            (
                {**PAIR, "pretrained.weights": "a.weights.h5"},
                "weights: packaged with two backbones",
            ),
        ],
    )
    def test_its_settings_fit_each_other(self, changes: dict[str, str], message: str) -> None:
        with pytest.raises(InputError, match=rf"\n  pretrained: expected {message}"):
            load_params(PARAMS, changes)

    def test_two_backbones(self) -> None:
        params = load_params(PARAMS, PAIR)
        assert params.pretrained.backbones == ["efficientnet_lite0", "efficientnet_lite1"]
        with pytest.raises(InputError, match=r"engine\.kind: expected local with two backbones"):
            load_params(PARAMS, {**PAIR, "engine.kind": "ray"})

    def test_an_onnx_file_holds_its_weights(self) -> None:
        pretrained = load_params(PARAMS, ONNX).pretrained
        assert (pretrained.backbone, pretrained.weights) == ("models/uni.onnx", "onnx")

    def test_a_missing_package_is_reported_before_the_first_stage(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        changes = {"pretrained.backbone": "efficientnet_lite0", "pretrained.weights": "packaged"}
        params = load_params(PARAMS, changes)
        check_named_files(params)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(InputError, match="expected the package efficientnet-lite0-pytorch-mo"):
            check_named_files(params)

    def test_weights_in_a_file_need_its_digest(self, tmp_path: Path) -> None:
        path = tmp_path / "a.weights.h5"
        path.write_bytes(b"weights")
        digest = hashlib.sha256(b"weights").hexdigest()
        changes = {"pretrained.weights": str(path)}
        with pytest.raises(InputError, match=rf"pretrained\.sha256: expected the .*{digest}"):
            load_params(PARAMS, changes)
        assert load_params(PARAMS, {**changes, "pretrained.sha256": digest}).pretrained.sha256

    @pytest.mark.parametrize(
        ("changes", "key"),
        [
            ({"fetch.source": "hpa", "fetch.hpa.genes": "genes.txt"}, "fetch.hpa.genes"),
            ({"split.metadata": "donors.csv"}, "split.metadata"),
            ({"pretrained.weights": "a.weights.h5"}, "pretrained.weights"),
            (ONNX, "pretrained.backbone"),
        ],
    )
    def test_named_files_are_checked_before_the_first_stage(
        self, changes: dict[str, str], key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        params = load_params(PARAMS, changes)
        monkeypatch.chdir(tmp_path)
        message = rf"{key}: expected a file\. Received: .*does not exist"
        with pytest.raises(InputError, match=message):
            check_named_files(params)
        (tmp_path / changes[key]).parent.mkdir(exist_ok=True)
        (tmp_path / changes[key]).touch()
        check_named_files(params)


class TestFile:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("learning_rate: 1\n" + COMMITTED, r"learning_rate: unknown key\. Known here: seed, l"),
            ("batchsize: 3\n" + COMMITTED, r"batchsize: unknown key\. Did you mean batch_size\?"),
            (COMMITTED.replace("\nlr:", "\n# lr:"), r"\n  lr: expected a value\. Received: nothin"),
            (
                COMMITTED.replace("\n    width: ", "\n    # width: "),
                r"\n  scratch\.width: expected a value\. Received: nothing\. Add the key\.$",
            ),
            (
                COMMITTED.replace("\nlr: ", "\nlr: a").replace("bootstrap: 1", "bootstrap: a"),
                r"\n  evaluate\.bootstrap: .*\n  lr: ",
            ),
            ("3: 4\n" + COMMITTED, "3"),
            ("", "expected keys and values"),
            ("just a text", r"expected keys and values\. Received: 'just a text'"),
            ("- a\n- b\n", "expected keys and values"),
            ("lr: [1, 2", "expected YAML"),
            ("lr: 1\n\tseed: 2\n", "expected YAML"),
            (COMMITTED + "lr: 0.1\n", "expected YAML"),
            ("lr: !!python/object:os.system x\n", "expected YAML"),
            (COMMITTED.replace("phantom", "ph\udce4ntom"), "expected YAML"),  # no UTF-8
        ],
    )
    def test_a_wrong_file_and_its_message(self, text: str, message: str, tmp_path: Path) -> None:
        path = tmp_path / "params.yaml"
        path.write_text(text, encoding="utf-8", errors="surrogateescape")
        with pytest.raises(InputError, match=message) as caught:
            load_params(path)
        assert "params.yaml" in str(caught.value)

    def test_a_missing_file_names_the_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(InputError, match=r"params\.yaml: expected .*no such file in .*root of"):
            load_params()

    def test_a_change_that_is_no_yaml(self) -> None:
        with pytest.raises(InputError, match=r"lr: expected YAML\. Received: .*\[1"):
            load("lr", "[1")

    def test_the_environment_overrides_the_kind_of_engine(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ENGINE_KIND", "local")
        assert load("engine.kind", "ray").engine.kind == "local"
        monkeypatch.setenv("ENGINE_KIND", "cloud")
        with pytest.raises(InputError, match=r"engine\.kind: expected 'local' or 'ray'"):
            load_params(PARAMS)

    def test_values_cannot_be_changed(self) -> None:
        with pytest.raises(ValueError, match="frozen"):
            load_params(PARAMS).lr = 1.0  # type: ignore[misc]

    def test_loading_imports_neither_tensorflow_nor_pandas(self) -> None:
        slow = {"tensorflow", "keras", "sklearn", "pandas", "dvc"}
        program = (
            "import sys; import tissue.config.command;"
            "from tissue.config.loading import load_params; load_params();"
            f"print(*sorted({slow!r} & set(sys.modules)))"
        )
        assert run(sys.executable, "-c", program, cwd=ROOT).strip() == ""


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("{table: a.csv, image: id, label: x, spilt: y}", "unknown key. Did you mean split?"),
        ("{table: a.csv, image: id}", "fetch.labels.label: expected a value. Received: nothing"),
        ("a.csv", "fetch.labels: expected keys and values. Received: 'a.csv'"),
    ],
)
def test_keys_of_labels(written: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        load("fetch.labels", written)


def test_home_folders_are_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert load("fetch.source", "~/images").fetch.source == "/home/me/images"
    assert load("fetch.source", "[~/a.zip, b]").fetch.source == ["/home/me/a.zip", "b"]
    assert load("split.metadata", "~/donors.csv").split.metadata == "/home/me/donors.csv"
    labels = load("fetch.labels", "{table: ~/a.csv, image: id, label: dx}").fetch.labels
    assert labels is not None
    assert labels.table == "/home/me/a.csv"
