"""Put all results on one page: `python -m stages.report`.

Reads what the other stages measured and drew: `metrics/*.json`, the training histories, the
confusions and the pictures below `plots/`, predictions and errors of both models, the images and
tables of `data/split`, and `params.yaml` to show it. Of the models only the digest, no TensorFlow.
Writes `plots/report.html`: one file that holds its pictures and needs no network, for a browser,
a phone or a printer. The same inputs give the same bytes.

On the default: a file of about 7 MB in about 7 s.
"""

from pathlib import Path

from stages.cli.running import run_command
from stages.dataset.files import replacing
from stages.page.assembling import render
from stages.page.reading import read_inputs


def run(root: Path = Path(), *, out: Path = Path("plots/report.html")) -> None:
    """Write the page from the results below `root` to `out`.

    Raises:
        ValueError: if a result is missing; the message names it and the stage that makes it.
    """
    page = render(read_inputs(root)).encode("utf-8")
    with replacing(out) as partial:
        partial.write_bytes(page)
    print(f"report: {out}, {len(page) / 1e6:.1f} MB")


def main() -> None:
    """Write the page of this repository."""
    run()


if __name__ == "__main__":
    run_command(main, name="report", doc=__doc__)
