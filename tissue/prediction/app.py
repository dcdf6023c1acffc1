"""The page of `python -m tissue app`: what Gradio shows, and what it asks."""

import dataclasses
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tissue.common.errors import InputError
from tissue.common.names import one_line
from tissue.config.schema import Params
from tissue.prediction.answers import answer_line, answer_text, append_answers
from tissue.prediction.inputs import list_pictures, read_picture_batches
from tissue.prediction.neighbours import FindNeighbours
from tissue.prediction.predictor import Predictor
from tissue.sources.archives import Member, is_archive
from tissue.sources.file_names import FORMULA

TITLE = "Which organ is this?"
HEADING = f"""# {TITLE}
Drop pictures or archives (.zip, .tar) of them. Everything stays on this machine: files are kept
in a temporary folder until the command ends."""
COLUMNS = {"picture": "35%", "answer": "65%"}  # and their widths
CHOOSE = "Choose a row of the table."
QUEUE = "model"  # which all events share, so that one picture is answered at a time


class Asked(NamedTuple):
    """A picture that was given: the uploaded file, its name there, and the row of the answer."""

    upload: str
    name: str
    row: dict[str, Any]


class Explained(NamedTuple):
    """Why a picture got its answer: a heading, a figure, and training images with captions."""

    heading: str
    heat: NDArray[np.uint8] | None
    near: list[tuple[NDArray[np.uint8], str]]


class App:
    """The predictor, as the events of the page call it."""

    def __init__(
        self, params: Params, predictor: Predictor, heat: Path, find: FindNeighbours
    ) -> None:
        """Answer with a predictor that draws into the folder `heat`, and find neighbours."""
        self._params, self._predictor, self._heat, self._find = params, predictor, heat, find
        self._quick = dataclasses.replace(predictor, draw_heat=None)

    def answer_uploads(self, uploads: Sequence[str]) -> Iterator[list[Asked]]:
        """Yield all answers so far, as `predict` gives them, batch by batch."""
        asked, names = list[Asked](), Counter[str]()
        for upload in uploads:
            for batch in self._answer_one(upload, alone=len(uploads) == 1):
                for one in batch:
                    name = one.row["id"]
                    names[name] += 1
                    if names[name] > 1:  # of two folders
                        one.row["id"] = f"{name} ({names[name]})"
                asked += batch
                yield asked

    def _answer_one(self, upload: str, *, alone: bool) -> Iterator[list[Asked]]:
        path = Path(upload)
        inside = f"{path.name}/" if is_archive(path) and not alone else ""
        with ExitStack() as closing:
            try:
                members = self._members(upload, closing)
            except InputError as error:
                # Nothing has checked this name, and both begin a cell of the table.
                name = one_line(f"./{path.name}" if FORMULA.match(path.name) else path.name)
                reason = one_line(str(error).replace(path.as_posix(), name))
                yield [Asked(upload, "", {"id": name, "refused": reason})]
                return
            for batch in read_picture_batches(members, self._params):
                rows = self._quick.answer(batch)
                yield [Asked(upload, row["id"], row | {"id": inside + row["id"]}) for row in rows]

    def _members(self, upload: str, closing: ExitStack) -> list[Member]:
        limits = self._params.fetch.limits
        return list_pictures([upload], limits=limits, closing=closing)

    def explain_answer(self, one: Asked) -> Explained:
        """Return why a picture got its answer; of one that cannot be read, only the heading."""
        heading = answer_line(one.row)
        if "distance" not in one.row:
            return Explained(heading, None, [])
        with ExitStack() as closing:
            members = self._members(one.upload, closing)
            wanted = [member for member in members if member.name == one.name]
            ((picture,),) = read_picture_batches(wanted, self._params)
        self._predictor.answer([picture])
        heat = None
        for drawn in self._heat.rglob("*.png"):  # none of a picture that is refused
            heat = np.asarray(Image.open(drawn).convert("RGB"))
            drawn.unlink()
        features = self._predictor.pretrained(picture.pixels).features
        near = [] if features is None else self._find(features)
        captions = [f"{each.label}, donor {each.donor}: {each.id}" for each in near]
        images = [each.image for each in near]
        return Explained(heading, heat, list(zip(images, captions, strict=True)))


def make_page(app: App, folder: Path) -> gr.Blocks:
    """Return the page, which loads nothing from elsewhere; tables go into the folder."""
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        asked = gr.State([])
        gr.Markdown(HEADING)
        files = gr.File(file_count="multiple", label="Pictures and archives", height=160)
        tree = gr.UploadButton("Choose a folder", file_count="directory")
        status = gr.Textbox(label="Progress", value="Nothing was asked yet.")
        table = gr.Dataframe(
            headers=list(COLUMNS), column_widths=list(COLUMNS.values()), type="array",
            label="Answers", interactive=False, wrap=True, buttons=[],
        )  # fmt: skip
        save = gr.DownloadButton("Save the table as CSV", interactive=False)
        heading = gr.Textbox(label="Why", value=CHOOSE)
        heat = gr.Image(label="Heat map", show_label=False, buttons=["download", "fullscreen"])
        near = gr.Gallery(
            label="Training images most like it", columns=5, height="auto", buttons=[]
        )
        shown, why = [asked, status, table, save], [heading, heat, near]
        for event, given in ((files.upload, files), (tree.upload, tree)):
            answered = event(partial(_answer, app, folder), given, shown, concurrency_id=QUEUE)
            answered.then(partial(_explain_alone, app), asked, why, concurrency_id=QUEUE)

        def explain_row(event: gr.SelectData, answers: list[Asked]) -> Explained:
            # By name: whoever sorts the table moves its rows.
            return app.explain_answer({one.row["id"]: one for one in answers}[event.row_value[0]])

        table.select(explain_row, asked, why, concurrency_id=QUEUE)
    return page


def _answer(app: App, folder: Path, uploads: list[str]) -> Iterator[tuple]:
    found: list[Asked] = []
    for found in app.answer_uploads(uploads):
        rows = [[one.row["id"], answer_text(one.row)] for one in found]
        yield found, f"{len(found)} so far", rows, gr.skip()
    path = Path(tempfile.mkdtemp(dir=folder), "predictions.csv")
    append_answers([one.row for one in found], path, new=True)
    refused = sum(bool(one.row["refused"]) for one in found)
    done = f"answered {len(found) - refused}, refused {refused}"
    yield found, done, gr.skip(), gr.update(value=path, interactive=True)


def _explain_alone(app: App, answers: list[Asked]) -> Explained:
    return app.explain_answer(answers[0]) if len(answers) == 1 else Explained(CHOOSE, None, [])
