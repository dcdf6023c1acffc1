"""Write both models as ONNX files, with what their users must know, and compare their answers."""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from tissue.backbones.embedding import is_onnx, load_embedder
from tissue.common.files import read_json
from tissue.config.schema import Params, Pretrained
from tissue.data.features import read_network
from tissue.data.index import PREPARATION_FILE, read_classes, read_index, stratified_sample
from tissue.data.raw import find_places, list_originals, open_place, read_original
from tissue.images.decoding import decode_rgb
from tissue.images.scales import known_fields
from tissue.portable.export import Frozen, export_pretrained, export_scratch
from tissue.portable.picture import Prepared
from tissue.portable.running import Portable
from tissue.training.inference import is_fine_tuned
from tissue.training.model_file import temperature_of
from tissue.training.novelty import Novelty

MEASURED = 36  # test pictures at most, since each takes a tenth of a second
PREPROCESSING = (
    "picture: RGB uint8 (height, width, 3), upright. The file pads and shrinks it, cuts crops, "
    "averages its views and applies the temperature."
)
# Of the weights of keras.applications; those of the others are Apache-2.0.
LICENCES = {"resnet50": "MIT", "convnext_tiny": "MIT", "densenet121": "BSD-3-Clause"}


def export_models(
    models: Mapping[str, keras.Model], novelty: Novelty, params: Params, root: Path
) -> None:
    """Write `data/models/{scratch,pretrained}.onnx`.

    Args:
        models: both of them, by name.
        novelty: the distance from training.
        params: those that both were trained with.
        root: the folder that contains `data`.
    """
    prepared = read_json(root / "data/split" / PREPARATION_FILE)
    recorded = read_network(root / "data/embed")
    settings = Pretrained.model_validate(params.pretrained.model_dump(mode="json") | recorded)
    how = Prepared.of(prepared)
    path, views = root / "data/models/scratch.onnx", params.scratch.views
    about = _metadata(path, root, views=views) | {"licence": _licence(root)}
    export_scratch(models["scratch"], path, how, count=views, metadata=about)
    pretrained, path = models["pretrained"], root / "data/models/pretrained.onnx"
    if is_onnx(settings) or is_fine_tuned(pretrained):
        backbone = load_embedder(settings, image_size=how.size)
    else:
        backbone = pretrained.get_layer("backbone")
    views = settings.views
    about = _metadata(path, root, views=views) | {"licence": _licence(root, settings)}
    frozen = Frozen(backbone, novelty)
    export_pretrained(pretrained, path, how, count=views, metadata=about, frozen=frozen)


def _metadata(path: Path, root: Path, *, views: int) -> dict[str, str]:
    split = root / "data/split"
    images = pd.concat([read_index(split / f"{part}.csv") for part in ("train", "val")])
    digest = hashlib.sha256("\n".join(sorted(images["sha256"])).encode())
    temperature = temperature_of(path.with_suffix(".keras"))
    shown = known_fields(images)
    field = [float(f"{one:.6g}") for one in (shown.min(), shown.max())] if len(shown) else None
    return {
        "classes": json.dumps(read_classes(split)),
        "preprocessing": PREPROCESSING,
        "prepared": (split / PREPARATION_FILE).read_text(encoding="utf-8"),
        "views": str(views),
        "temperature": f"{temperature:.6g}, applied",
        "field": json.dumps(field),
        "training_images_sha256": digest.hexdigest(),
    }


def _licence(root: Path, settings: Pretrained | None = None) -> str:
    parts = ["Apache-2.0"]
    if settings:
        each = [
            f"{key}: {'its own' if is_onnx(settings) else LICENCES.get(key, 'Apache-2.0')}"
            for key in settings.backbones
        ]
        parts.append("weights of the backbone: " + ", ".join(each))
    sources = read_index(root / "data/split/train.csv", ["source"])["source"]
    if others := sorted(set(sources) - {"phantom"}):
        parts.append(
            f"trained on images of {', '.join(others)}, whose terms hold (the column licence of "
            "manifest.csv, where their source names one)"
        )
    return "; ".join(parts)


def measure_portable(
    tables: Mapping[str, pd.DataFrame], params: Params, root: Path
) -> dict[str, dict[str, float]]:
    """Return by how much the ONNX files answer test pictures differently from the pipeline.

    They shrink the originals of `data/raw` themselves.

    Args:
        tables: predictions of both models, as `prediction_tables` returns them.
        params: `seed` and `threads` are used.
        root: the folder that contains `data`.

    Returns:
        By model: `n` pictures, at most 36, a sample of each class; the largest `change` of a
        probability; and the `other` answers.
    """
    manifest = read_index(root / "data/raw/manifest.csv")
    originals = {one.id: one for one in list_originals(manifest)}
    places, opened = find_places(manifest, root / "data/raw"), cache(open_place)
    measured = {}
    for name, table in tables.items():
        tests = table[table["split"] == "test"].reset_index(drop=True)
        rows = stratified_sample(tests, ["class"], most=MEASURED, seed=params.seed)
        model = Portable(root / f"data/models/{name}.onnx", threads=params.threads)
        columns = [f"p_{label}" for label in model.classes]
        changes, others = [], 0
        for _, row in tests.iloc[rows].iterrows():
            one = originals[row["id"]]
            content = read_original(one, opened(places[one.file]))
            expected = row[columns].to_numpy(np.float64)
            rgb, _, _ = decode_rgb(content, params.split, mpp=one.scale)
            found = model(np.asarray(rgb)).probabilities
            changes.append(np.abs(found - expected).max())
            others += int(found.argmax() != expected.argmax())
        measured[name] = {"n": len(rows), "change": float(max(changes)), "other": others}
    return measured
