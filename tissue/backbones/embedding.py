"""Features of images: a frozen network run over their views and crops, chunk by chunk."""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from tissue.backbones.loading import BackboneSpec, Embedder, load_embedder
from tissue.chunks.files import Files
from tissue.chunks.running import ROWS, Chunk
from tissue.common.augmentation import dihedral
from tissue.common.runtime import set_up
from tissue.common.stains import augment_stains, views_per_staining
from tissue.data.features import STAINED
from tissue.data.index import Dataset
from tissue.data.shards import read_rows, shard_path, shards_of

BATCH = 32
Item = TypeVar("Item")


class EmbedJob(BaseModel, frozen=True):
    """All that decides what a chunk of images is embedded to.

    Attributes:
        spec: the network.
        views: dihedral views of each image.
        stainings: of each training image, of the features `STAINED`.
        stain_jitter: standard deviation of the logarithm of the factors on the stains.
        seed: of the stainings.
        threads: of the network.
        files: names, among the inputs of a chunk, of the files that the network is loaded from, the
            first of which is given by path; empty where it finds them itself.
    """

    spec: BackboneSpec
    views: int
    stainings: int
    stain_jitter: float
    seed: int
    threads: int
    files: list[str]


def embed_batch(
    network: Embedder,
    images: NDArray[np.uint8],
    crops: NDArray[np.uint8] | None,
    *,
    views: int,
) -> NDArray[np.float32]:
    """Return features float32 (N, views, D), or (N, views, 2 D) with crops.

    The first D are those of the whole image in its dihedral views. The others are the mean over
    the crops, the same in each view: crops differ enough to need no turning.

    Args:
        network: from images to features.
        images: uint8 (N, S, S, 3).
        crops: uint8 (N, C, S, S, 3), or None.
        views: number of dihedral views.
    """
    batches = network_inputs(images, crops, views=views)
    return pool_views([predict_once(network, batch) for batch in batches], views=views)


def predict_once(network: Embedder, batch: NDArray) -> NDArray[np.float32]:
    """Return what a network gives for a batch, one row for each of its rows.

    A Keras model that was made to be trained on several GPUs runs the whole batch on each of them,
    and gives the rows of the first GPU, then those of the next.
    """
    return network.predict_on_batch(batch)[: len(batch)]


def network_inputs(
    images: NDArray[np.uint8], crops: NDArray[np.uint8] | None, *, views: int
) -> Iterator[NDArray[np.uint8]]:
    """Yield what the network is given: images (N, S, S, 3) in each view, then crop after crop."""
    for view in range(views):
        yield np.ascontiguousarray(dihedral(images, view))
    if crops is not None:
        for crop in range(crops.shape[1]):
            yield np.ascontiguousarray(crops[:, crop])


def pool_views(outputs: Sequence[NDArray[np.float32]], *, views: int) -> NDArray[np.float32]:
    """Return features as `embed_batch` does from the network's output for each of its inputs."""
    whole = np.stack(outputs[:views], axis=1)
    if len(outputs) == views:
        return whole
    crops = np.mean(outputs[views:], axis=0)[:, None]
    return np.concatenate([whole, np.repeat(crops, views, axis=1)], axis=2)


def embedding_chunks(datasets: Mapping[str, Dataset], job: EmbedJob) -> list[Chunk]:
    """Cut all images into chunks for `embed_chunk`, none of them across two files of an array.

    Args:
        datasets: by name, what `split` wrote; as `STAINED` the training images once more.
        job: what is done with them.
    """
    chunks = []
    for name, dataset in datasets.items():
        stained = name == STAINED
        source = "train" if stained else name
        suffixes = [""] if dataset.crops is None else ["", "_crops"]
        for number, rows in enumerate(map(len, shards_of(dataset.images))):
            arrays = [shard_path(Path(f"{source}{end}.npy"), number).name for end in suffixes]
            for start in range(0, rows, ROWS):
                count = min(ROWS, rows - start)
                arguments = {
                    "arrays": arrays, "start": start, "count": count, "stained": stained, "job": job,
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
        inputs: files by name: those of the arrays, and those of the network.
        arrays: name of the array of images uint8 (N, S, S, 3) and, where there are crops, of theirs
            uint8 (N, C, S, S, 3).
        start: number of the first row.
        count: number of rows.
        stained: whether in other stains, as `augment_stains` gives them.
        job: the network, views and stains.
    """
    network = _network(json.dumps([job.model_dump(), inputs._asdict()], sort_keys=True))
    copies = job.stainings if stained else 1
    views = views_per_staining(job.views, copies) if stained else job.views
    batches = [
        slice(at, min(at + BATCH, start + count)) for at in range(start, start + count, BATCH)
    ]

    def prepared() -> Iterator[NDArray[np.uint8]]:
        for rows in batches:
            images, *crops = (read_rows(inputs.open(name), rows) for name in arrays)
            both = images, crops[0] if crops else None
            for other in _restained(*both, job) if stained else [both]:
                yield from network_inputs(*other, views=views)

    outputs = [network.predict_on_batch(batch) for batch in prefetch(prepared())]
    each = len(outputs) // (len(batches) * copies)
    features = [
        pool_views(outputs[i : i + each], views=views) for i in range(0, len(outputs), each)
    ]
    of_each = [np.concatenate(features[number::copies]) for number in range(copies)]
    np.save(out, np.concatenate(of_each, axis=1))


def _restained(
    images: NDArray[np.uint8], crops: NDArray[np.uint8] | None, job: EmbedJob
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8] | None]]:
    return augment_stains(
        images, crops, stainings=job.stainings, jitter=job.stain_jitter, seed=job.seed
    )


def prefetch(items: Iterator[Item]) -> Iterator[Item]:
    """Yield the items; a thread makes the next one while the caller works on the last."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item


@lru_cache(maxsize=1)
def _network(described: str) -> Embedder:
    # One per process: loading takes seconds, running a chunk not many more.
    settings, inputs = json.loads(described)
    job = EmbedJob.model_validate(settings)
    set_up(seed=job.seed, threads=job.threads)
    with Files(**inputs).download(job.files) as paths:
        spec = job.spec
        for first in list(paths.values())[:1]:
            key = "backbone" if spec.is_onnx else "weights"
            spec = spec.model_copy(update={key: str(first)})
        return load_embedder(spec, threads=job.threads)


def clear_network() -> None:
    """Free the network that `embed_chunk` has loaded in this process."""
    _network.cache_clear()


def join_chunks(name: str, dataset: Dataset, chunks: Sequence[Path], out: Path) -> None:
    """Write `<name>.npy` to the folder `out`, the features of a dataset that chunks hold in order.

    It has as many files as the array of the images.
    """
    path = out / f"{name}.npy"
    for number, images in enumerate(shards_of(dataset.images)):
        names = f"{name}-{number:04}-"
        features = [
            np.load(chunk, mmap_mode="r", allow_pickle=False)
            for chunk in chunks
            if chunk.name.startswith(names)
        ]
        shape = (len(images), *features[0].shape[1:])
        array = np.lib.format.open_memmap(shard_path(path, number), "w+", features[0].dtype, shape)
        np.concatenate(features, out=array)
