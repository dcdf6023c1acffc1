"""The schema of the section `fetch` of params.yaml, with what `advanced.fetch` adds to it."""

from typing import Annotated

from pydantic import Field
from pydantic.types import NonNegativeInt, PositiveInt

from tissue.config import types
from tissue.config.types import Section


class Phantom(Section):
    """The number of images that the phantom draws, and their side in pixels."""

    train_per_class: PositiveInt
    test_per_class: NonNegativeInt
    size: Annotated[int, Field(ge=32, le=4096)]


class Limits(Section):
    """The most that an archive may hold before it counts as an attack or a mistake."""

    members: PositiveInt
    directory_bytes: PositiveInt
    member_bytes: PositiveInt
    archive_bytes: PositiveInt
    ratio: PositiveInt


class Labels(Section):
    """A table with a row for each image, and the names of its columns.

    `label` is the column of the class, or a list of one column for each class, of which each row
    has a 1 in one and 0 in all others. `names` are those of classes, by what the table calls them.
    """

    table: types.LocalPath
    image: types.Text
    label: types.Text | Annotated[list[types.Text], Field(min_length=2)]
    split: types.Text | None = None
    group: types.Text | None = None
    names: dict[str | int, types.Text] | None = None


class Hpa(Section):
    """Images of the Human Protein Atlas, and how they are requested."""

    genes: types.LocalPath
    train_per_class: PositiveInt
    test_per_class: PositiveInt
    requests_per_second: Annotated[float, Field(gt=0, le=2)]
    contact: str
    url: Annotated[types.Url, Field(pattern="^https?://[^/]+")]


class Slides(Section):
    """The tiles that are cut from whole slides."""

    mpp: types.Scale
    size: Annotated[int, Field(ge=32, le=4096)]
    most: PositiveInt


class Fetch(Section):
    """The source of the images."""

    source: types.Source | Annotated[list[types.Source], Field(min_length=1)]
    watch: types.Url
    copy_images: Annotated[bool, Field(alias="copy")]  # pydantic has a method `copy`
    class_level: PositiveInt | None
    labels: Labels | None
    slides: Slides
    mpp: types.Scale | None
    sha256: dict[str, types.Digest]
    cache: types.LocalPath
    storage_options: types.StorageOptions
    outside_links: bool
    phantom: Phantom
    limits: Limits
    hpa: Hpa
