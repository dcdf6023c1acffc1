"""What params.yaml may hold: one class per section, one field per key, with its type and range.

Every key is required, so that what a run used is written in the file and nowhere else. A key stands
in its section or, apart from what users change, as `advanced.<section>.<key>`.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tissue.config.types import (
    BackboneName,
    Count,
    CountOrNone,
    Digest,
    NotNegative,
    OpenShare,
    Pattern,
    Positive,
    Share,
    ShareOrAll,
    Source,
    StainJitter,
    StorageOptions,
    StorageUrl,
    Strides,
    Text,
    Url,
    Views,
    Weights,
)


class Section(BaseModel):
    """A block of params.yaml: unknown keys and wrong types are errors, values cannot be changed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Phantom(Section):
    """How many cores the phantom draws, and their side in pixels."""

    train_per_class: Count
    test_per_class: CountOrNone
    size: Annotated[int, Field(ge=32, le=4096)]


class Limits(Section):
    """The most that a source may hold before it counts as an attack or a mistake."""

    members: Count
    member_bytes: Count
    archive_bytes: Count
    ratio: Count


class Hpa(Section):
    """Which images of the Human Protein Atlas, and how they are asked for."""

    genes: Text
    train_per_class: Count
    test_per_class: Count
    requests_per_second: Annotated[float, Field(gt=0, le=2)]
    contact: str
    url: Annotated[Url, Field(pattern="^https?://[^/]+")]


class Fetch(Section):
    """Where the images come from."""

    source: Source | Annotated[list[Source], Field(min_length=1)]
    watch: Url
    sha256: dict[str, Digest]
    cache: Text
    storage_options: StorageOptions
    phantom: Phantom
    limits: Limits
    hpa: Hpa


class Crops(Section):
    """The crops that are kept beside each whole image."""

    count: CountOrNone
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
    group_pattern: Pattern | None
    on_leak: Literal["report", "drop", "fail"]


class Scratch(Section):
    """The network trained from scratch, and its training."""

    input_size: Annotated[int, Field(ge=16, le=1024)]
    progressive: list[Annotated[float, Field(ge=0.25, lt=1)]]
    width: Count
    max_width: Count
    blocks: Annotated[int, Field(ge=1, le=6)]
    dropout: Share
    epochs: Count
    warm_up: CountOrNone
    lr_factor: Positive
    average: ShareOrAll
    zoom: Share
    stain_jitter: StainJitter
    label_smoothing: Share
    views: Views
    calibration_jitter: StainJitter


class Onnx(Section):
    """What a backbone in an ONNX file wants as input, and how its output is read."""

    mean: Annotated[list[float], Field(min_length=3, max_length=3)]
    std: Annotated[list[Positive], Field(min_length=3, max_length=3)]
    tokens: Literal["class", "mean"]
    output: str | None


class Pretrained(Section):
    """The backbone, the head on top of it, and their training."""

    backbone: BackboneName
    weights: Weights
    sha256: Digest | None
    onnx: Onnx
    strides: Strides
    views: Views
    stainings: Annotated[int, Field(ge=0, le=8)]
    stain_jitter: StainJitter
    epochs: Count
    patience: Count
    dropout: Share
    l2: NotNegative
    fine_tune_epochs: CountOrNone
    fine_tune_layers: Count
    fine_tune_lr_factor: Positive
    fine_tune_decay: ShareOrAll
    fine_tune_zoom: Share
    fine_tune_stain_jitter: StainJitter
    fine_tune_average: ShareOrAll
    fine_tune_copies: CountOrNone

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
    address: Text
    storage: StorageUrl | None
    storage_options: StorageOptions


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

    tolerance: dict[Annotated[str, Field(pattern=r"^[^.]+(\.[^.]+)+$")], NotNegative]


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
