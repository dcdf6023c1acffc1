"""The ONNX file against Keras: `python -m benchmarks.portable [name=folder ...]`.

Prints for the test pictures of the source, and for those of each folder, how far the probabilities
of the pretrained model are apart, how many answers differ, and the seconds of processor time that a
picture takes in each, decoding included. Keras gets what `split` decodes; the ONNX file shrinks
pictures itself. At most 24 pictures of each, evenly drawn from the sorted list.
"""

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from threading import Lock

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tissue.common.runtime import set_up
from tissue.config.command import command
from tissue.config.loading import load_params
from tissue.images.reading import read_image
from tissue.portable.running import Portable
from tissue.prediction.inputs import list_pictures, read_picture
from tissue.sources.archives import Member

MOST = 24


def main() -> None:
    """Print the table."""
    params = load_params()
    set_up(seed=params.seed, threads=params.threads)
    from tissue.training.inference import predict_batch
    from tissue.training.saving import load_model

    keras_model = load_model(Path("data/models/pretrained.keras"))
    portable = Portable(Path("data/models/pretrained.onnx"), threads=params.threads)

    def by_keras(member: Member) -> NDArray[np.float32]:
        read = read_image(member.read(), params.split, size=params.image_size)
        crops = read.crops[None] if params.split.crops.count else None
        views = params.pretrained.views
        return predict_batch(keras_model, read.image[None], crops, views=views)[0].mean(axis=0)

    def by_onnx(member: Member) -> NDArray[np.float32]:
        return portable(read_picture(member, params, Lock()).pixels).probabilities

    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    rows = []
    with command("portable"):
        for name, folder in ({"test pictures": "data/raw"} | given).items():
            with ExitStack() as closing:
                limits = params.fetch.limits
                members = list_pictures([folder], limits=limits, closing=closing)
                if name not in given:
                    members = [member for member in members if "/test/" in f"/{member.name}"]
                members = members[:: -(-len(members) // MOST)]
                members = [one for one in members if not read_picture(one, params, Lock()).problem]
                expected, before = _timed(by_keras, members)
                found, after = _timed(by_onnx, members)
            apart = np.abs(found - expected).max(axis=1)
            other = int((found.argmax(axis=1) != expected.argmax(axis=1)).sum())
            rows.append([name, len(members), apart.max(), np.median(apart), other, before, after])
    columns = ["pictures", "n", "largest", "median", "other", "Keras (s)", "ONNX (s)"]
    print(pd.DataFrame(rows, columns=columns).to_string(index=False, float_format="%.2g"))


def _timed(
    answer: Callable[[Member], NDArray[np.float32]], members: list[Member]
) -> tuple[NDArray[np.float32], float]:
    answer(members[0])  # the first call prepares the network
    start = time.process_time()
    answers = np.stack([answer(member) for member in members])
    return answers, (time.process_time() - start) / len(members)


if __name__ == "__main__":
    main()
