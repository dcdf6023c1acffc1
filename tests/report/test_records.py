"""What the script of the page works on: every image once, every error with its explanation."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from tests.report_examples import VIEWS
from tissue.common.errors import InputError
from tissue.common.names import MODELS
from tissue.report.assembling import render
from tissue.report.reading import Inputs
from tissue.report.records import as_json, cause_names, omitted_sentence, records, thumbnail_sides


def test_every_image_is_on_the_page_once(inputs: Inputs, html: str) -> None:
    known = records(inputs)
    images = known["images"]
    assert len(images["id"]) == len(set(images["id"])) == len(set(images["picture"]))
    assert sorted(
        name for name, split in zip(images["id"], images["split"], strict=True) if split == "test"
    ) == sorted(inputs.index["test"]["id"])
    assert all(html.count(picture) == 1 for picture in images["picture"][::97])
    tested = [inputs.tested(model) for model in MODELS]
    wrong = sum(int((one["class"] != one["predicted"]).sum()) for one in tested)
    assert len(known["errors"]) == wrong == len(inputs.errors)
    error, row = known["errors"][7], inputs.errors.iloc[7]
    assert images["id"][error["image"]] == row["id"]
    assert [images["id"][i] for i in error["near"]] == [row[f"neighbour_{k}"] for k in range(1, 6)]
    # Fewer than five training images.
    fewer = replace(inputs, errors=inputs.errors.assign(neighbour_4="", neighbour_5=""))
    near = [images["id"][i] for i in records(fewer)["errors"][7]["near"]]
    assert near == [row[f"neighbour_{k}"] for k in range(1, 4)]


def test_of_many_errors_those_with_a_heat_map_are_shown(inputs: Inputs, html: str) -> None:
    assert omitted_sentence(inputs, records(inputs)) == ""
    some = inputs.errors.index[::9]
    few = replace(
        inputs,
        errors=inputs.errors.loc[some].reset_index(drop=True),
        heat=inputs.heat[some],
        points=inputs.points.iloc[::19],
    )
    known = records(few)
    ids = [known["images"]["id"][error["image"]] for error in known["errors"]]
    assert ids == inputs.errors.loc[some, "id"].tolist()
    assert len(known["images"]["id"]) <= 50 + 6 * len(some)
    omitted = omitted_sentence(few, known)
    assert " of 360 test images and " in omitted
    assert f" and {len(some)} of {len(inputs.errors)} errors (the most confident " in omitted
    assert omitted in render(few, VIEWS)
    assert "the most confident of each model and class" not in html


def test_every_error_needs_a_heat_map(inputs: Inputs) -> None:
    with pytest.raises(InputError, match="a Grad-CAM map for each error") as caught:
        records(replace(inputs, heat=inputs.heat[:-1]))
    assert f"{len(inputs.errors)} errors and {len(inputs.errors) - 1} maps" in str(caught.value)


def test_a_new_donor_is_a_cause_only_where_some_are_new(inputs: Inputs) -> None:
    assert "donor_unseen" not in cause_names(inputs)  # none is in training
    inputs.index["test"].loc[0, "group"] = inputs.index["train"]["group"][0]
    assert "donor_unseen" in cause_names(inputs)
    inputs.index["test"]["group"] = inputs.index["train"]["group"][0]
    assert "donor_unseen" not in cause_names(inputs)


def test_thumbnails_that_are_judged_are_large_and_all_shrink_where_there_are_many() -> None:
    found = []
    for n in (12, 900, 1_080, 3_000, 6_000, 100_000):
        place = pd.Series(range(n))
        sides = thumbnail_sides(place < 3 * n // 4, place < n // 6)
        found.append((sides[0], sides[n // 2], sides[-1]))
    assert found == [
        (224, 224, 96), (224, 224, 96), (224, 96, 96), (96,) * 3, (80,) * 3, (32,) * 3,
    ]  # fmt: skip


def test_json_cannot_end_its_script() -> None:
    text = as_json({"class": "</script><!--"})
    assert "<" not in text
    assert json.loads(text) == {"class": "</script><!--"}
