"""The types of values in params.yaml with their ranges, and the base of its sections."""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from tissue.common.backbones import BACKBONES, PACKAGED
from tissue.common.names import one_line
from tissue.common.secrets import has_secret, secret_options


class Section(BaseModel):
    """A block of params.yaml: strict types, no unknown keys, immutable."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, serialize_by_alias=True
    )

    @field_validator("*")
    @classmethod
    def _check_texts(cls, value: Any, info: ValidationInfo) -> Any:
        # Every text ends in dvc.lock and may be printed. Only a pattern can look like a secret.
        for text in _texts(value):
            if one_line(text) != text:
                raise ValueError("text without control characters")
            if info.field_name != "group_pattern":
                _check_url(text)
        return value


def _texts(value: Any) -> list[str]:
    """Return the texts of a value; options of libraries have a check of their own."""
    if isinstance(value, dict):
        return [text for pair in value.items() for text in pair if isinstance(text, str)]
    return [
        text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)
    ]


def _check_backbone(value: str | list[str]) -> str | list[str]:
    if isinstance(value, list):
        if len(value) == 2 == len(set(value) & set(PACKAGED)):
            return value
        raise ValueError(f"one backbone, or two different ones of {', '.join(PACKAGED)}")
    if value in BACKBONES:
        return value
    if value.endswith(".onnx"):
        return str(Path(value).expanduser())
    raise ValueError(f"{', '.join(BACKBONES)}, or the path to an .onnx file")


def _check_weights(value: str) -> str:
    if value in ("packaged", "imagenet", "onnx") or value.endswith(".weights.h5"):
        return value
    raise ValueError("packaged, imagenet, onnx or the path to a .weights.h5 file")


def _check_strides(value: list[int]) -> list[int]:
    if value and value == sorted(set(value)):
        return value
    raise ValueError("one or more strides in rising order, each once")


def _check_pattern(value: str) -> str:
    try:
        groups = re.compile(value).groups
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"a regular expression ({error})") from None
    if groups != 1:
        raise ValueError("a regular expression with one group in round brackets")
    return value


def _check_url(value: str) -> str:
    if has_secret(value):
        raise PydanticCustomError("secret", "a value without credentials in a file that Git tracks")
    return value


def _check_storage(value: str) -> str:
    if value.startswith(("file://", "local://")):
        raise ValueError(
            "a URL that all machines reach; where they share a file system, storage is null"
        )
    return value


def _check_options(value: dict[str, Any]) -> dict[str, Any]:
    try:
        found = list(secret_options(value))
    except RecursionError:
        raise ValueError("options that do not hold themselves") from None
    for name in found:
        message = (
            "no credentials in a file that Git tracks; give {name} as the library's environment "
            "variable or in its file"
        )
        raise PydanticCustomError("secret", message, {"name": name})
    return value


# `~` is the home folder in a shell only, and no shell reads params.yaml or `-S key=~/value`.
expand = AfterValidator(os.path.expanduser)
Share = Annotated[float, Field(ge=0, lt=1)]
OpenShare = Annotated[float, Field(gt=0, lt=1)]
ShareOrAll = Annotated[float, Field(gt=0, le=1)]
StainJitter = Annotated[float, Field(ge=0, le=2)]
Scale = Annotated[float, Field(ge=0.05, le=20)]  # micrometres per pixel, of light microscopes
FieldOfView = Annotated[float, Field(ge=10, le=100_000)]  # micrometres
Views = Annotated[int, Field(ge=1, le=8)]
Text = Annotated[str, Field(min_length=1)]
LocalPath = Annotated[str, Field(min_length=1), expand]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Backbone = Annotated[str | list[str], AfterValidator(_check_backbone)]
Weights = Annotated[str, AfterValidator(_check_weights), expand]
Strides = Annotated[list[Literal[2, 4, 8, 16, 32]], AfterValidator(_check_strides)]
Pattern = Annotated[str, AfterValidator(_check_pattern)]
Url = str
Source = Annotated[Text, expand]
StorageUrl = Annotated[str, Field(pattern="^[a-z0-9]+://."), AfterValidator(_check_storage)]
StorageOptions = Annotated[dict[str, Any], AfterValidator(_check_options)]
