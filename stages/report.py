"""Put all results on one page: `python -m stages.report`.

Reads what the other stages measured and drew: `metrics/*.json`, the training histories, the
confusions and the pictures below `plots/`, predictions and errors of both models, the images and
tables of `data/split`, and `params.yaml` to show it. Of the models it reads only the digests, so it
needs no TensorFlow. Writes `plots/report.html`, one file that holds its pictures and needs no
network, for a browser, a phone or a printer; and the model card `data/models/pretrained.md`. The
same inputs give the same bytes.

With the default settings it has about 8 MB and takes about 7 s.
"""

from pathlib import Path

from tissue.common.files import atomic_write
from tissue.config.command import run_command
from tissue.config.loading import load_params
from tissue.config.schema import Params
from tissue.report.assembling import render
from tissue.report.consistency import check_results
from tissue.report.model_card import write_card
from tissue.report.reading import read_inputs


def run(params: Params, root: Path = Path()) -> None:
    """Write the page and the model card from the results below `root`.

    Args:
        params: the views of both models, and what the pretrained one was trained with.
        root: the folder that contains `params.yaml`, `data`, `metrics` and `plots`.

    Raises:
        InputError: if a result is missing; the message names it and the stage that makes it.
    """
    inputs = read_inputs(root)
    views = {"scratch": params.scratch.views, "pretrained": params.pretrained.views}
    page = render(inputs, views).encode("utf-8")
    out = root / "plots/report.html"
    with atomic_write(out) as partial:
        partial.write_bytes(page)
    trained_with = {"seed": params.seed, "lr": params.lr, **dict(params.pretrained)}
    write_card(inputs, trained_with, root)
    print(f"report: open {out} in a browser ({len(page) / 1e6:.1f} MB)")


def main() -> None:
    """Run the stage with the parameters of params.yaml."""
    run(load_params())


def check(params: Params) -> None:
    """Check that the results are of one run, where no dvc.lock describes them."""
    check_results(params, Path())


if __name__ == "__main__":
    run_command(main, name="report", doc=__doc__, check=check)
