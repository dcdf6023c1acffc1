"""Open a page on this machine that answers what is dropped on it: `python -m tissue app`.

Drop pictures or archives, or choose a folder: the answers are those of `predict`. A row of the
table shows why: heat maps, and the five training images most like the picture, with their donors.
The table can be saved as the CSV that `predict` writes.

Needs `pip install -r requirements/app.txt`, and `data/models`, `data/split` and `data/embed`. Only
this machine can open the page, and nothing is sent anywhere. Ctrl-C ends it.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tissue.common.errors import InputError
from tissue.common.names import MODELS
from tissue.config.command import command, parser_of
from tissue.config.loading import load_params
from tissue.config.schema import Params
from tissue.prediction.predictor import load_predictor

HOST = "127.0.0.1"


@contextmanager
def opened(
    params: Params, *, model: str, port: int | None, browser: bool, data: Path = Path("data")
) -> Iterator[Any]:
    """Serve the page as long as the block runs; yields Gradio's page, with its `local_url`.

    Args:
        params: those that the models were trained with.
        model: scratch or pretrained.
        port: of this machine; None is the first free one from 7860.
        browser: whether to show the page in the browser of this machine.
        data: the folder with models, split and embed.

    Raises:
        InputError: if Gradio, a model or what explains its answers is missing or does not fit.
    """
    with tempfile.TemporaryDirectory(prefix="tissue-app-") as name:
        _import_gradio(name)
        folder = Path(name)
        heat = folder / "heat"
        predictor = load_predictor(params, model=model, gradcam=heat, data=data)
        from tissue.prediction.app import App, make_page
        from tissue.prediction.neighbours import neighbours_in

        find = neighbours_in(data, seed=params.seed)
        app = App(predictor.reading_params(params), predictor, heat, find)
        page = make_page(app, folder)
        _launch(page, port=port, browser=browser, largest=params.fetch.limits.archive_bytes)
        yield page
        page.close(verbose=False)


def _launch(page: Any, *, port: int | None, browser: bool, largest: int) -> None:
    """Serve a page to this machine alone; files of at most `largest` bytes can be dropped on it."""
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    # A site whose name leads to this machine would be of one origin with the page, and read it.
    own = Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    try:
        page.launch(
            server_name=HOST, server_port=port, inbrowser=browser, share=False, quiet=True,
            prevent_thread_lock=True, footer_links=[], ssr_mode=False, mcp_server=False,
            app_kwargs={"middleware": [own]}, show_error=True, max_file_size=largest,
        )  # fmt: skip
    except OSError as error:
        raise InputError(
            f"--port: expected a free port of {HOST}. Received: {error}. Give another one."
        ) from None


def _import_gradio(folder: str) -> None:
    """Import Gradio, which reads these variables then: it sends nothing, and keeps files here."""
    for name in [name for name in os.environ if name.startswith("GRADIO_")]:
        del os.environ[name]  # such as the one for a public link
    os.environ |= {
        "GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": folder,
        "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1",
    }  # fmt: skip
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"expected Gradio, which makes the page. Received: {error}. Run `pip install -r "
            "requirements/app.txt`."
        ) from None


def main(arguments: list[str] | None = None) -> None:
    """Run the command with these arguments, or those of the process."""
    parser = parser_of("app", __doc__)
    parser.add_argument("--model", choices=MODELS, default="pretrained", help="(%(default)s)")
    parser.add_argument("--port", type=int, help="(the first free one from 7860)")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    options = parser.parse_args(arguments)
    with (
        command("app"),
        opened(
            load_params(), model=options.model, port=options.port, browser=not options.no_browser
        ) as page,
    ):
        print(f"app: {page.local_url} on this machine; Ctrl-C ends it", flush=True)
        while True:
            time.sleep(3600)
