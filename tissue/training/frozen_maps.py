"""Maps below the trained layers of a backbone, computed once instead of in every epoch."""

from collections.abc import Callable, Sequence

import keras
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from tissue.common.errors import InputError
from tissue.training.batches import Batches

Maps = NDArray[np.float16] | dict[str, NDArray[np.float16]]


def cut_below_trained(backbone: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Cut a backbone in two: from images to maps, and from maps to features. Both share its layers.

    The cut is the highest one below all trained layers where the layers above need a single map, as
    between two residual blocks.

    Raises:
        InputError: if the only such map is the image.
    """
    *scaling, network = backbone.layers[1:]
    # Operations, since residual sums are no layers in some backbones; and their calls, since the
    # `output` of an inner model is not the tensor in this network.
    steps = network.operations
    calls = [step._inbound_nodes[0] for step in steps]
    trained = [i for i, step in enumerate(steps) if getattr(step, "trainable_variables", None)]
    for number in range(min(trained), 1, -1):
        below = {id(tensor): tensor for call in calls[:number] for tensor in call.output_tensors}
        needed = {id(tensor) for call in calls[number:] for tensor in call.input_tensors}
        needed &= set(below)
        if len(needed) == 1:
            maps = below[needed.pop()]
            break
    else:
        raise InputError(
            "advanced.pretrained.fine_tune_copies: expected 0 where no layer below the trained "
            "ones has maps that could be kept. Give 0, or fewer "
            "advanced.pretrained.fine_tune_layers."
        )
    images = keras.Input(backbone.input_shape[1:])
    scaled = images
    for layer in scaling:
        scaled = layer(scaled)
    kept = keras.Input(maps.shape[1:])
    # training=False as in `build_backbone`.
    return (
        keras.Model(images, keras.Model(network.inputs, maps)(scaled, training=False)),
        keras.Model(kept, keras.Model(maps, network.output)(kept, training=False), name="backbone"),
    )


def compute_maps(lower: keras.Model, copies: Sequence[Batches]) -> list[Maps]:
    """Return the maps float16 (N, ...) of the images, and crops if any, of each copy.

    float16 halves the memory, and its rounding is far below the changes by training.
    """

    def maps_of(images: NDArray[np.uint8]) -> NDArray[np.float16]:
        maps = lower.predict_on_batch(images.reshape(-1, *images.shape[-3:])).astype(np.float16)
        return maps.reshape(*images.shape[:-3], *maps.shape[1:])

    computed = []
    total = sum(map(len, copies))
    with tqdm(total=total, desc="fine_tune, maps", unit="batch", disable=None) as progress:
        for batches in copies:
            parts = []
            for number in range(len(batches)):
                parts.append(keras.tree.map_structure(maps_of, batches[number][0]))
                progress.update()
            joined = keras.tree.map_structure(lambda *arrays: np.concatenate(arrays), *parts)
            computed.append(joined)
    return computed


def pick_copy(copies: Sequence[Maps]) -> Callable[[NDArray[np.int64], np.random.Generator], Maps]:
    """Return a transform of row numbers (N,) to maps, each of a copy that is drawn anew."""

    def transform(rows: NDArray[np.int64], rng: np.random.Generator) -> Maps:
        drawn = rng.integers(len(copies), size=len(rows))

        def rows_of(*maps: NDArray[np.float16]) -> NDArray[np.float16]:
            return np.stack([maps[copy][row] for copy, row in zip(drawn, rows, strict=True)])

        return keras.tree.map_structure(rows_of, *copies)

    return transform
