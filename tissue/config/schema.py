"""The schema of params.yaml: one class per section, one field per key, with its type and range.

Every key is required, so that all that a run used is in the file. A key is in its section or, if
few users change it, in the block `advanced`, as `advanced.<section>.<key>`.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.types import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from tissue.common.backbones import PACKAGED
from tissue.config import types
from tissue.config.fetch import Fetch
from tissue.config.types import Section


class Crops(Section):
    """The crops that are kept beside each image."""

    count: NonNegativeInt
    zoom: Annotated[int, Field(ge=2, le=16)]

    @model_validator(mode="after")
    def _fit_into_the_image(self) -> "Crops":
        most = self.zoom**2
        if self.count > most:
            given = f"here it is {self.count}"
            raise ValueError(f"count: at most zoom * zoom = {most}, which fill the image; {given}")
        return self


class Split(Section):
    """How images are checked and divided into splits."""

    val_fraction: types.OpenShare
    test_fraction: types.OpenShare
    min_per_class: PositiveInt
    max_rejected: types.Share
    max_pixels: PositiveInt
    min_side: PositiveInt
    max_aspect: Annotated[float, Field(ge=1)]
    field: types.FieldOfView | None
    shard_size: PositiveInt
    crops: Crops
    metadata: types.LocalPath | None
    group_pattern: types.Pattern | None
    on_leak: Literal["report", "drop", "fail"]
    copies: Literal["link", "report", "off"]


class Scratch(Section):
    """The network that is trained from scratch, and its training."""

    input_size: Annotated[int, Field(ge=16, le=1024)]
    progressive: list[Annotated[float, Field(ge=0.25, le=1)]]
    width: PositiveInt
    max_width: PositiveInt
    blocks: Annotated[int, Field(ge=1, le=6)]
    dropout: types.Share
    epochs: PositiveInt
    epoch_images: NonNegativeInt
    warm_up: NonNegativeInt
    lr_factor: PositiveFloat
    average: types.ShareOrAll
    zoom: types.Share
    stain_jitter: types.StainJitter
    label_smoothing: types.Share
    views: types.Views
    calibration_jitter: types.StainJitter


class Onnx(Section):
    """The input of a backbone in an ONNX file, and how its output is read."""

    mean: Annotated[list[float], Field(min_length=3, max_length=3)]
    std: Annotated[list[PositiveFloat], Field(min_length=3, max_length=3)]
    tokens: Literal["class", "mean"]
    output: str | None


class Pretrained(Section):
    """The backbone, its head, and their training."""

    backbone: types.Backbone
    weights: types.Weights
    sha256: types.Digest | None
    onnx: Onnx
    strides: types.Strides
    views: types.Views
    stainings: Annotated[int, Field(ge=0, le=8)]
    stain_jitter: types.StainJitter
    penalty: PositiveFloat | None
    folds: Annotated[int, Field(ge=2, le=20)]
    fine_tune_epochs: NonNegativeInt
    fine_tune_layers: PositiveInt
    fine_tune_lr_factor: PositiveFloat
    fine_tune_decay: types.ShareOrAll
    fine_tune_zoom: types.Share
    fine_tune_stain_jitter: types.StainJitter
    fine_tune_average: types.ShareOrAll
    fine_tune_copies: NonNegativeInt

    @property
    def backbones(self) -> list[str]:
        """The names of all backbones."""
        return [self.backbone] if isinstance(self.backbone, str) else self.backbone

    @model_validator(mode="after")
    def _fit_the_backbone(self) -> "Pretrained":
        first, *more = self.backbones
        if more and self.weights != "packaged":
            raise ValueError(f"weights: packaged with two backbones; here it is {self.weights}")
        if self.weights == ("imagenet" if first in PACKAGED else "packaged"):
            given = f"here weights is {self.weights} and backbone {first}"
            raise ValueError(
                f"weights: packaged with {', '.join(PACKAGED)}, whose ImageNet weights packages "
                f"carry, and imagenet with others; {given}"
            )
        if first.endswith(".onnx") != (self.weights == "onnx"):
            raise ValueError(
                "weights: onnx with an .onnx backbone, which holds its own, and with no other; "
                f"here weights is {self.weights} and backbone {self.backbone}"
            )
        if self.fine_tune_epochs and (more or first.endswith(".onnx")):
            raise ValueError(
                "fine_tune_epochs: 0 with an .onnx backbone or two backbones, which are not "
                f"trained; here it is {self.fine_tune_epochs}"
            )
        return self


class Engine(Section):
    """Where `split` and `embed` work."""

    kind: Literal["local", "ray"]
    address: types.Text
    storage: types.StorageUrl | None
    storage_options: types.StorageOptions


class Evaluate(Section):
    """The random draws of a test, and the number of errors shown."""

    bootstrap: Annotated[int, Field(ge=100, le=100_000)]  # 5 s with 360 images
    heat_maps: PositiveInt


class Tsne(Section):
    """The t-SNE map and the overlap of training and test."""

    perplexity: PositiveFloat
    neighbours: PositiveInt
    random_splits: Annotated[int, Field(ge=120)]  # fewer could not reach p < 0.05
    max_images: Annotated[int, Field(ge=100)]


class Audit(Section):
    """How often the audit divides the images, and how many it looks at."""

    repeats: PositiveInt
    max_images: Annotated[int, Field(ge=100)]


class Compare(Section):
    """How far each metric may fall in a comparison."""

    tolerance: dict[Annotated[str, Field(pattern=r"^[^.]+(\.[^.]+)+$")], NonNegativeFloat]


class Params(Section):
    """All of params.yaml."""

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    lr: PositiveFloat
    batch_size: PositiveInt
    class_weights: Literal["none", "balanced", "logit_adjusted"]
    image_size: Annotated[int, Field(ge=32, le=1024)]
    threads: Annotated[int, Field(ge=1, le=1024)]
    engine: Engine
    fetch: Fetch
    split: Split
    scratch: Scratch
    pretrained: Pretrained
    evaluate: Evaluate
    tsne: Tsne
    audit: Audit
    compare: Compare
