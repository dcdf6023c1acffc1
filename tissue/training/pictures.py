"""A trained network as it is saved: a picture of any size in, probabilities out."""

from pathlib import Path

import keras
from keras import ops

from tissue.common.augmentation import VIEWS
from tissue.common.files import read_json
from tissue.data.index import PREPARATION_FILE

NAME = "of_pictures"


def of_pictures(network: keras.Model, split: Path, *, views: int) -> keras.Model:
    """Return a model of pictures in [0, 255] (N, H, W, 3) around a network of prepared images.

    It pads and shrinks them and cuts the crops as `split` does, within one grey level, and averages
    the probabilities of the dihedral views. The network itself is returned if Keras' layers cannot
    prepare its input: the features of an ONNX backbone, crops that are chosen, reflected padding.

    Args:
        network: as it was trained.
        split: the folder that `split` wrote.
        views: number of dihedral views.
    """
    prepared = read_json(split / PREPARATION_FILE)
    side, padding = prepared["image_size"], prepared["split.padding"]
    count, zoom = (prepared["split.crops"][name] for name in ("count", "zoom"))
    has_crops = len(network.inputs) > 1
    if network.name == "head" or padding != "white" or (has_crops and count != zoom**2):
        return network
    picture = keras.Input((None, None, 3), name="picture")
    image = _shrink(picture, side)
    turned = ops.concatenate([_view(image, view) for view in range(views)], axis=0)
    inputs = [turned]
    if has_crops:
        large = _shrink(picture, zoom * side)
        starts = range(0, zoom * side, side)
        crops = [large[:, y : y + side, x : x + side] for y in starts for x in starts]
        inputs.append(ops.tile(ops.stack(crops, axis=1), (views, 1, 1, 1, 1)))
    each = network(inputs if has_crops else turned)
    probabilities = ops.mean(ops.reshape(each, (views, -1, each.shape[-1])), axis=0)
    return keras.Model(picture, probabilities, name=NAME)


def network_in(model: keras.Model) -> keras.Model:
    """Return the network of prepared images in a saved model, which may be that network."""
    if model.name != NAME:
        return model
    return next(layer for layer in model.layers if isinstance(layer, keras.Model))


def _shrink(picture: keras.KerasTensor, side: int) -> keras.KerasTensor:
    shrunk = keras.layers.Resizing(
        side, side, interpolation="bicubic", antialias=True, pad_to_aspect_ratio=True,
        fill_value=255,
    )(picture)  # fmt: skip
    return ops.round(ops.clip(shrunk, 0, 255))


def _view(image: keras.KerasTensor, view: int) -> keras.KerasTensor:
    """Return what `dihedral` does, of a tensor (N, S, S, 3)."""
    turned = ops.rot90(image, view % 4, axes=(1, 2)) if view % 4 else image
    return ops.flip(turned, axis=2) if view >= VIEWS // 2 else turned
