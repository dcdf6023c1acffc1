"""What params.yaml may hold: one class a section, one field a key, with its type and range.

Every key is required, so that what a run used is written in the file and nowhere else.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

Count = Annotated[int, Field(ge=1)]
Text = Annotated[str, Field(min_length=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
OpenShare = Annotated[float, Field(gt=0, lt=1)]
Tolerance = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Gene = Annotated[str, Field(pattern="^ENSG[0-9]{11}$")]
Views = Annotated[int, Field(ge=1, le=8)]
# As in stages/models/backbones.py, which would bring Keras in.
BACKBONES = (
    "mobilenet",
    "mobilenet_v2",
    "mobilenet_v2_075",
    "mobilenet_v2_050",
    "mobilenet_v2_035",
    "mobilenet_v3_small",
    "mobilenet_v3_large",
    "efficientnet_v2_b0",
    "efficientnet_v2_b1",
    "efficientnet_v2_b2",
    "efficientnet_v2_b3",
    "convnext_tiny",
    "resnet50",
    "densenet121",
)


def _check_backbone(value: str) -> str:
    if value in BACKBONES or value.endswith(".onnx"):
        return value
    raise ValueError(f"{', '.join(BACKBONES)}, or the path to an .onnx file")


def _check_weights(value: str) -> str:
    if value in ("embedded", "imagenet", "onnx") or value.endswith(".weights.h5"):
        return value
    raise ValueError("embedded, imagenet, onnx or the path to a .weights.h5 file")


def _check_strides(value: list[int]) -> list[int]:
    if value and value == sorted(set(value)):
        return value
    raise ValueError("one or more strides in rising order, each once")


def _check_pattern(value: str) -> str:
    try:
        groups = re.compile(value).groups
    except re.error as error:
        raise ValueError(f"a regular expression ({error})") from None
    if groups != 1:
        raise ValueError("a regular expression with one group in round brackets")
    return value


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield str(name)
            yield from _names(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _names(inner)


# A user of SSH is none; a name before the @ of HTTP is a token; a signature opens one file to all.
SECRET = re.compile(
    r"://[^/@]*:[^/@]*@|^https?://[^/@]*@|[?&](sig|token|access_token|x-(amz|goog)-signature)=",
    re.IGNORECASE,
)


def _check_address(value: str) -> str:
    if SECRET.search(value):
        raise PydanticCustomError("secret", "a URL without credentials in a file that Git tracks")
    return value


def _check_storage(value: str) -> str:
    if value.partition("://")[0] in ("file", "local"):
        raise ValueError(
            "a URL that all machines reach; where they share a file system, storage is null"
        )
    return _check_address(value)


def _check_no_secret(value: dict[str, Any]) -> dict[str, Any]:
    names = "key|secret|token|passw|passphrase|connection_string|credential|auth|sas|signature"
    secret = re.compile(names, re.I)
    found = [name for name in _names(value) if secret.search(name)]
    if found:
        # params.yaml is in Git, and messages are in logs.
        raise PydanticCustomError(
            "secret",
            "no credentials in a file that Git tracks; give {name} as the library's environment "
            "variable or in its file",
            {"name": found[0]},
        )
    return value


Address = Annotated[Text, AfterValidator(_check_address)]


class Section(BaseModel):
    """A block of params.yaml: unknown keys and wrong types are errors, values cannot be changed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Phantom(Section):
    """How many cores the phantom draws, and their side in pixels."""

    train_per_class: Count
    test_per_class: Annotated[int, Field(ge=0)]
    size: Annotated[int, Field(ge=32, le=4096)]


class Limits(Section):
    """The most that a source may hold before it counts as an attack or a mistake."""

    members: Count
    member_bytes: Count
    archive_bytes: Count
    ratio: Count


class Hpa(Section):
    """Which images of the Human Protein Atlas, and how they are asked for."""

    genes: Annotated[list[Gene], Field(min_length=1)]
    train_per_class: Count
    test_per_class: Count
    requests_per_second: Annotated[float, Field(gt=0, le=2)]
    contact: str
    url: Annotated[str, AfterValidator(_check_address), Field(pattern="^https?://[^/]+")]


class Fetch(Section):
    """Where the images come from."""

    source: Address | Annotated[list[Address], Field(min_length=1)]
    watch: Annotated[str, AfterValidator(_check_address)]
    sha256: dict[str, Digest]
    cache: Text
    storage_options: Annotated[dict[str, Any], AfterValidator(_check_no_secret)]
    phantom: Phantom
    limits: Limits
    hpa: Hpa


class Crops(Section):
    """The crops that are kept beside each whole image."""

    count: Annotated[int, Field(ge=0)]
    zoom: Annotated[int, Field(ge=2, le=16)]

    @model_validator(mode="after")
    def _fit_into_the_image(self) -> "Crops":
        if self.count > self.zoom**2:
            raise ValueError(
                f"count: at most zoom * zoom = {self.zoom**2}, which fill the image; "
                f"here it is {self.count}"
            )
        return self


class Split(Section):
    """How images are checked and divided."""

    val_fraction: OpenShare
    test_fraction: OpenShare
    min_per_class: Count
    max_rejected: Share
    max_pixels: Count
    min_side: Count
    max_aspect: Annotated[float, Field(ge=1)]
    shard_size: Count
    crops: Crops
    metadata: str | None
    group_pattern: Annotated[str, AfterValidator(_check_pattern)] | None
    on_leak: Literal["report", "drop", "fail"]


class Scratch(Section):
    """The network trained from scratch, and its training."""

    input_size: Annotated[int, Field(ge=16, le=1024)]
    progressive: list[Annotated[float, Field(ge=0.25, lt=1)]]
    stem_width: Count
    stem_layers: Annotated[int, Field(ge=1, le=4)]
    width: Count
    max_width: Count
    blocks: Annotated[int, Field(ge=1, le=6)]
    pooling: Literal["average", "average_max", "all_blocks"]
    dropout: Share
    epochs: Count
    warm_up: Annotated[int, Field(ge=0)]
    lr_factor: Positive
    weight_decay: Annotated[float, Field(ge=0, lt=1)]
    average: Fraction
    patience: Count
    zoom: Share
    stain_jitter: Annotated[float, Field(ge=0, le=2)]
    mixup: Annotated[float, Field(ge=0, le=2)]
    label_smoothing: Share
    views: Views
    calibration_jitter: Annotated[float, Field(ge=0, le=2)]


class Onnx(Section):
    """What a backbone in an ONNX file wants as input, and how its output is read."""

    mean: Annotated[list[float], Field(min_length=3, max_length=3)]
    std: Annotated[list[Positive], Field(min_length=3, max_length=3)]
    tokens: Literal["class", "mean"]
    output: str | None


class Pretrained(Section):
    """The backbone, the head on top of it, and their training."""

    backbone: Annotated[str, AfterValidator(_check_backbone)]
    weights: Annotated[str, AfterValidator(_check_weights)]
    sha256: Digest | None
    onnx: Onnx
    strides: Annotated[list[Literal[2, 4, 8, 16, 32]], AfterValidator(_check_strides)]
    views: Views
    stainings: Annotated[int, Field(ge=0, le=8)]
    stain_jitter: Annotated[float, Field(ge=0, le=2)]
    hidden: Annotated[int, Field(ge=0)]
    epochs: Count
    patience: Count
    dropout: Share
    l2: Annotated[float, Field(ge=0)]
    fine_tune_epochs: Annotated[int, Field(ge=0)]
    fine_tune_layers: Count
    fine_tune_lr_factor: Positive
    fine_tune_decay: Annotated[float, Field(gt=0, le=1)]
    fine_tune_zoom: Share
    fine_tune_stain_jitter: Annotated[float, Field(ge=0, le=2)]
    fine_tune_average: Fraction
    fine_tune_copies: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _embedded_weights_fit_one_backbone(self) -> "Pretrained":
        if self.weights == "embedded" and self.backbone != "mobilenet_v2_035":
            raise ValueError(
                "weights that fit the backbone: the embedded ones are of mobilenet_v2_035; "
                "set pretrained.weights to imagenet or to a file"
            )
        return self

    @model_validator(mode="after")
    def _an_onnx_file_holds_its_weights_and_stays_frozen(self) -> "Pretrained":
        in_file = self.backbone.endswith(".onnx")
        if in_file != (self.weights == "onnx"):
            raise ValueError(
                "weights: onnx with an .onnx backbone, which holds its own, and with no other; "
                f"here weights is {self.weights} and backbone {self.backbone}"
            )
        if in_file and self.strides != [32]:
            raise ValueError(
                "strides: [32] with an .onnx backbone, which has one output; here it is "
                f"{self.strides}"
            )
        if in_file and self.fine_tune_epochs:
            raise ValueError(
                "fine_tune_epochs: 0 with an .onnx backbone, which can be run but not trained; "
                f"here it is {self.fine_tune_epochs}"
            )
        return self


class Engine(Section):
    """Where `split` and `embed` do their work."""

    kind: Literal["local", "ray"]
    address: Annotated[str, Field(min_length=1)]
    storage: Annotated[str, Field(pattern="^[a-z0-9]+://."), AfterValidator(_check_storage)] | None
    storage_options: Annotated[dict[str, Any], AfterValidator(_check_no_secret)]


class Evaluate(Section):
    """How intervals are computed, and how many errors are shown."""

    bootstrap: Annotated[int, Field(ge=100)]
    heat_maps: Count


class Tsne(Section):
    """The two-dimensional map and the measured overlap of training and test."""

    perplexity: Positive
    neighbours: Count
    random_splits: Annotated[int, Field(ge=60)]  # fewer could not reach p < 0.05
    max_images: Annotated[int, Field(ge=100)]


class Compare(Section):
    """What a change may cost: for each metric, how far it may fall."""

    tolerance: dict[Annotated[str, Field(pattern=r"^[^.]+(\.[^.]+)+$")], Tolerance]


class Params(Section):
    """All of params.yaml."""

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    lr: Positive
    batch_size: Count
    image_size: Annotated[int, Field(ge=32, le=1024)]
    threads: Count
    engine: Engine
    fetch: Fetch
    split: Split
    scratch: Scratch
    pretrained: Pretrained
    evaluate: Evaluate
    tsne: Tsne
    compare: Compare


def known_keys(section: type[BaseModel] = Params) -> dict[str, Any]:
    """Return the keys of a section, nested as in params.yaml."""
    fields = {name: field.annotation for name, field in section.model_fields.items()}
    return {
        name: known_keys(kind) if isinstance(kind, type) and issubclass(kind, BaseModel) else None
        for name, kind in fields.items()
    }
