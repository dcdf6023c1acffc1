"""Run the frozen backbone once over all images: `python -m stages.embed`.

Reads `data/split` and the weights of the backbone. Writes `data/embed/`: for training, validation
and test an array of features float32 (images, views, D) and the ids of its rows; and
`network.json`, the parameters that made them. Views are the dihedral turns and mirror images; where
`split` kept crops at a higher magnification, the mean of their features follows that of the whole
image. `train_stained` holds the training images once more, restained, so that the head learns
what does not depend on the stain. The head then trains on these features in seconds, and a change
of its parameters never runs the backbone again.

By default, 1,080 images in 4 views and 4 crops through EfficientNet-Lite0 up to stride 16, and
576 of them again, restained, in 2 views and 4 crops, this takes about 70 s on two idle cores.
"""

from pathlib import Path
from typing import Any

from tissue.backbones.embed_chunks import (
    EmbedJob,
    clear_network,
    embed_chunk,
    embedding_chunks,
    join_chunks,
)
from tissue.backbones.embedding import network_files
from tissue.chunks.running import Work, run_chunks
from tissue.common.files import atomic_write, file_digest, write_json, write_table
from tissue.common.names import SPLITS
from tissue.config.command import run_command
from tissue.config.loading import load_params
from tissue.config.schema import Params
from tissue.data.features import NETWORK_FILE, RECORDED, STAINED
from tissue.data.index import read_split


def run(params: Params, root: Path = Path()) -> None:
    """Embed every image of `data/split` in all views, and training images restained as well.

    Raises:
        InputError: if the weights cannot be found or do not fit the backbone.
    """
    settings, split, out = params.pretrained, root / "data/split", root / "data/embed"
    datasets = {name: read_split(split, name) for name in SPLITS}
    if settings.stainings:
        datasets[STAINED] = datasets["train"]
    image_size, on_ray = datasets["train"].images.shape[1], params.engine.kind == "ray"
    files = {}
    if on_ray or settings.sha256 is None:
        files = network_files(settings, image_size=image_size, download=on_ray)
    job = EmbedJob(
        settings=settings, image_size=image_size, seed=params.seed, threads=params.threads,
        files=list(files) if on_ray else [],
    )  # fmt: skip
    chunks = embedding_chunks(datasets, job)
    arrays = {name: split / name for chunk in chunks for name in chunk.arguments["arrays"]}
    inputs = arrays | files if on_ray else arrays
    work = Work(embed_chunk, chunks, inputs, _state(job, split, arrays, files))
    with (
        run_chunks(work, out, params.engine, workers=0, threads=params.threads) as folder,
        atomic_write(out) as partial,
    ):
        partial.mkdir()
        clear_network()
        written = [folder / chunk.name for chunk in chunks]
        for name, dataset in datasets.items():
            join_chunks(name, dataset, written, partial)
            write_table(dataset.index[["id"]], partial / f"{name}.csv")
        write_json(settings.model_dump(include=set(RECORDED)), partial / NETWORK_FILE)


def _state(
    job: EmbedJob, split: Path, arrays: dict[str, Path], files: dict[str, Path]
) -> list[Any]:
    stats = [(name, path.stat()) for name, path in arrays.items()]
    return [
        job.model_dump(include={"image_size", "seed", "threads", "files"}),
        job.settings.model_dump(include={*RECORDED, "stainings", "stain_jitter"}),
        {name: file_digest(split / f"{name}.csv") for name in SPLITS},
        # The tables do not describe the crops, and the arrays are too large to be read for this.
        [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats],
        # Parameters without a digest hold no more of the network than the name of a file.
        {name: file_digest(path) for name, path in files.items() if path.is_file()},
    ]


def main() -> None:
    """Run the stage with the parameters of params.yaml."""
    run(load_params())


if __name__ == "__main__":
    run_command(main, name="embed", doc=__doc__)
