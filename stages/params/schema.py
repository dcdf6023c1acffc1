"""What params.yaml may hold: one class a section, one field a key, with its type and range.

Every key is required, so that what a run used is written in the file and nowhere else.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
OpenShare = Annotated[float, Field(gt=0, lt=1)]
Tolerance = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Gene = Annotated[str, Field(pattern="^ENSG[0-9]{11}$")]
Views = Annotated[int, Field(ge=1, le=8)]


def _check_weights(value: str) -> str:
    if value in ("embedded", "imagenet") or value.endswith(".weights.h5"):
        return value
    raise ValueError("embedded, imagenet or the path to a .weights.h5 file")


def _check_pattern(value: str) -> str:
    try:
        groups = re.compile(value).groups
    except re.error as error:
        raise ValueError(f"a regular expression ({error})") from None
    if groups != 1:
        raise ValueError("a regular expression with one group in round brackets")
    return value


def _check_no_secret(value: dict[str, Any]) -> dict[str, Any]:
    secret = re.compile("key|secret|token|passw|passphrase|connection_string|credential", re.I)
    found = [name for name in value if secret.search(name)]
    if found:
        # params.yaml is in Git; the value must not get into the message either.
        raise PydanticCustomError(
            "secret",
            "no credentials in a file that Git tracks; give {name} as the library's environment "
            "variable or in its file",
            {"name": found[0]},
        )
    return value


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
    url: Annotated[str, Field(pattern="^https?://[^/]+")]


class Fetch(Section):
    """Where the images come from."""

    source: str | list[str]
    watch: str
    sha256: dict[str, Digest]
    cache: Annotated[str, Field(min_length=1)]
    storage_options: Annotated[dict[str, Any], AfterValidator(_check_no_secret)]
    phantom: Phantom
    limits: Limits
    hpa: Hpa


class Split(Section):
    """How images are checked and divided."""

    val_fraction: OpenShare
    test_fraction: OpenShare
    min_per_class: Count
    max_rejected: Share
    max_pixels: Count
    min_side: Count
    max_aspect: Annotated[float, Field(ge=1)]
    metadata: str | None
    group_pattern: Annotated[str, AfterValidator(_check_pattern)] | None
    on_leak: Literal["report", "drop", "fail"]


class Scratch(Section):
    """The network trained from scratch, and its training."""

    input_size: Annotated[int, Field(ge=16, le=1024)]
    width: Count
    blocks: Annotated[int, Field(ge=1, le=6)]
    dropout: Share
    epochs: Count
    patience: Count
    zoom: Share
    stain_jitter: Annotated[float, Field(ge=0, le=2)]
    label_smoothing: Share
    views: Views


class Pretrained(Section):
    """The backbone, the head on top of it, and their training."""

    backbone: Literal["mobilenet_v2_035", "mobilenet_v2"]
    weights: Annotated[str, AfterValidator(_check_weights)]
    sha256: Digest | None
    views: Views
    epochs: Count
    patience: Count
    dropout: Share
    l2: Annotated[float, Field(ge=0)]
    fine_tune_epochs: Annotated[int, Field(ge=0)]
    fine_tune_layers: Count
    fine_tune_lr_factor: Positive

    @model_validator(mode="after")
    def _embedded_weights_fit_one_backbone(self) -> "Pretrained":
        if self.weights == "embedded" and self.backbone != "mobilenet_v2_035":
            raise ValueError(
                "weights that fit the backbone: the embedded ones are of mobilenet_v2_035; "
                "set pretrained.weights to imagenet or to a file"
            )
        return self


class Evaluate(Section):
    """How intervals are computed."""

    bootstrap: Annotated[int, Field(ge=100)]


class Tsne(Section):
    """The two-dimensional map and the measured overlap of training and test."""

    perplexity: Positive
    neighbours: Count
    random_splits: Annotated[int, Field(ge=20)]


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
