"""The images of all splits embedded chunk by chunk, on this machine or on a cluster."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from tissue.backbones.embedding import Embedder, embed_batch, is_onnx, load_embedder, prefetch
from tissue.chunks.files import Files
from tissue.chunks.running import ROWS, Chunk
from tissue.common.runtime import set_up
from tissue.common.stains import augment_stains, views_per_staining
from tissue.config.schema import Pretrained
from tissue.data.features import STAINED
from tissue.data.index import Dataset
from tissue.data.shards import create_array, read_rows, shard_path, shards_of, write_array

BATCH = 32


class EmbedJob(BaseModel, frozen=True):
    """All that a process needs to know to embed chunks of images.

    Attributes:
        settings: the network, views and stainings.
        image_size: side of the images, in pixels.
        seed: of the stainings.
        threads: of the network.
        files: names of the inputs of a chunk that the network is loaded from, the one that is
            given by path first; empty where the network finds its files itself.
    """

    settings: Pretrained
    image_size: int
    seed: int
    threads: int
    files: list[str]


def embedding_chunks(datasets: Mapping[str, Dataset], job: EmbedJob) -> list[Chunk]:
    """Cut datasets, by split or `STAINED` for the training images again, into chunks.

    They are for `embed_chunk`; none of them spans two files of an array.
    """
    chunks = []
    for name, dataset in datasets.items():
        stained = name == STAINED
        split = "train" if stained else name
        suffixes = [""] if dataset.crops is None else ["", "_crops"]
        for number, rows in enumerate(map(len, shards_of(dataset.images))):
            arrays = [shard_path(Path(f"{split}{end}.npy"), number).name for end in suffixes]
            for start in range(0, rows, ROWS):
                count = min(ROWS, rows - start)
                arguments = {
                    "arrays": arrays, "start": start, "count": count,
                    "stained": stained, "job": job,
                }  # fmt: skip
                about = f"rows {start} to {start + count - 1} of {arrays[0]}"
                file = f"{name}-{number:04}-{start:08}.npy"
                chunks.append(Chunk(file, about, count, arguments))
    return chunks


def embed_chunk(
    out: Path,
    inputs: Files,
    *,
    arrays: Sequence[str],
    start: int,
    count: int,
    stained: bool,
    job: EmbedJob,
) -> None:
    """Write the features of some images, float32 (count, views, D).

    Args:
        out: .npy file to write.
        inputs: files by name: the arrays, and what the network is loaded from.
        arrays: name of the array of images uint8 (N, S, S, 3) and, if there are crops, of the array
            of crops uint8 (N, C, S, S, 3).
        start: number of the first row.
        count: number of rows.
        stained: whether the images are restained by `augment_stains`.
        job: the network, views and stains.
    """
    network = _load_network(json.dumps([job.model_dump(), inputs._asdict()], sort_keys=True))
    settings = job.settings
    copies = settings.stainings if stained else 1
    views = views_per_staining(settings.views, copies) if stained else settings.views
    restain = partial(augment_stains, stainings=copies, jitter=settings.stain_jitter, seed=job.seed)

    def batches() -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8] | None]]:
        for first in range(start, start + count, BATCH):
            rows = slice(first, min(first + BATCH, start + count))
            images, *crops = (read_rows(inputs.open(name), rows) for name in arrays)
            batch = images, crops[0] if crops else None
            yield from restain(*batch) if stained else [batch]

    features = [embed_batch(network, *batch, views=views) for batch in prefetch(batches())]
    by_copy = [np.concatenate(features[copy::copies]) for copy in range(copies)]
    write_array(out, np.concatenate(by_copy, axis=1))


@lru_cache(maxsize=1)
def _load_network(described: str) -> Embedder:
    # One per process: loading takes seconds, running a chunk not many more.
    job_values, inputs = json.loads(described)
    job = EmbedJob.model_validate(job_values)
    set_up(seed=job.seed, threads=job.threads)
    with Files(**inputs).local_copies(job.files) as paths:
        settings = job.settings
        if job.files:
            key = "backbone" if is_onnx(settings) else "weights"
            settings = settings.model_copy(update={key: str(paths[job.files[0]])})
        return load_embedder(settings, image_size=job.image_size, threads=job.threads)


def clear_network() -> None:
    """Free the network that `embed_chunk` has loaded in this process."""
    _load_network.cache_clear()


def join_chunks(name: str, dataset: Dataset, chunks: Sequence[Path], out: Path) -> None:
    """Write `<name>.npy` to the folder `out`, the features of a dataset from its chunks in order.

    It is split into as many files as the array of the images.
    """
    for number, images in enumerate(shards_of(dataset.images)):
        prefix = f"{name}-{number:04}-"
        features = [
            np.load(chunk, mmap_mode="r", allow_pickle=False)
            for chunk in chunks
            if chunk.name.startswith(prefix)
        ]
        path, shape = shard_path(out / f"{name}.npy", number), (len(images), *features[0].shape[1:])
        array = create_array(path, features[0].dtype, shape)
        np.concatenate(features, out=array)
