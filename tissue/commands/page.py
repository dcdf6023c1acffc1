"""Make a page that answers in a browser: `python -m tissue page`, called by `make page`.

Writes `page/site`: the page, the pretrained model as ONNX, and ONNX Runtime Web, which npm has put
into `page/node_modules`. Copy the folder to any web server: it answers on the machine of whoever
opens it, and no picture leaves that machine.
"""

import json
import shutil
from pathlib import Path

from tissue.common.errors import InputError
from tissue.common.files import atomic_write, write_text
from tissue.config.command import command, parser_of
from tissue.images.quality import BLANK
from tissue.portable.running import Portable

RUNTIME = (
    "ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm",
)  # fmt: skip


def run(model: Path, *, pages: Path = Path("page"), out: Path = Path("page/site")) -> None:
    """Write the folder `out` with a model, the page in `pages` and the runtime of npm.

    Raises:
        InputError: if the model or the runtime is missing.
    """
    runtime = pages / "node_modules/onnxruntime-web/dist"
    if missing := [name for name in RUNTIME if not (runtime / name).is_file()]:
        raise InputError(
            f"expected ONNX Runtime Web in {runtime}. Received: no {missing[0]}. Run `make page`, "
            "or `npm ci --prefix page`."
        )
    opened = Portable(model)
    about = {"classes": opened.classes, "blank": BLANK, "licence": opened.metadata["licence"]}
    with atomic_write(out) as partial:
        partial.mkdir()
        for path in (
            pages / "index.html",
            pages / "page.mjs",
            *(runtime / name for name in RUNTIME),
        ):
            shutil.copyfile(path, partial / path.name)
        shutil.copyfile(model, partial / "model.onnx")
        write_text(json.dumps(about), partial / "model.json")
    print(f"page: {out} is ready for a web server; python -m http.server --directory {out}")


def main(arguments: list[str] | None = None) -> None:
    """Run the command with these arguments, or those of the process."""
    parser = parser_of("page", __doc__)
    parser.add_argument("--model", type=Path, default="data/models/pretrained.onnx", metavar="FILE")
    options = parser.parse_args(arguments)
    with command("page"):
        run(options.model)
