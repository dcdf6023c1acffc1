"""Does a model that has seen drawings alone know real organs? `python -m benchmarks.drawings`.

Has a model below `data` answer pictures `<organ or class>/<picture>` of a folder or archive,
and prints a table by organ: classes that the atlas numbers count as one organ. *Right* is the share
of all pictures whose most probable class is of their organ, and *right of answered* that of the
pictures that are not refused. The table with `--groups` (columns path and group, such as the
antibody) gives the intervals; without it each picture counts by itself.

Then, from the predictions there, how well the order of difficulty of the drawn classes agrees with
that of the atlas: Spearman's rank correlation of their test recalls with the published ones, with
an interval (Bonett and Wright 2000).

Run: python -m benchmarks.drawings hpa_gray.zip --groups groups.csv
Expected: see benchmarks/results/drawings.md. About a minute for 400 pictures on two cores.
"""

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm, spearmanr

from benchmarks.why import markdown
from tissue.common.names import MODELS, TISSUES
from tissue.config.command import command
from tissue.config.loading import load_params
from tissue.config.schema import Params
from tissue.metrics.intervals import CONFIDENCE, TAIL, share_interval
from tissue.prediction.answers import answer_row
from tissue.prediction.inputs import list_pictures, read_picture_batches
from tissue.prediction.predictor import load_predictor

# Recalls of a fine-tuned VGG16 on 50 images of the atlas in each class, as published.
PUBLISHED = {
    "colon": 0.82, "endometrium_1": 0.72, "endometrium_2": 0.54, "kidney": 0.94, "liver": 0.92,
    "lung": 0.96, "lymph_node": 0.58, "pancreas": 0.90, "skin_1": 0.86, "skin_2": 0.44,
    "small_intestine": 0.62, "spleen": 0.94,
}  # fmt: skip


def ask(source: str, params: Params, *, model: str, data: Path) -> pd.DataFrame:
    """Return id, organ, answer and whether it is refused, of all pictures that can be read."""
    rows = []
    with ExitStack() as closing:
        members = list_pictures([source], limits=params.fetch.limits, closing=closing)
        predictor = load_predictor(params, model=model, data=data)
        for batch in read_picture_batches(members, params):
            for picture in batch:
                if picture.problem:
                    continue
                answer = predictor.ask(picture)
                name = predictor.model.classes[int(answer.probabilities.argmax())]
                refused = bool(answer_row(picture.id, answer, predictor.model.classes)["refused"])
                folder = Path(picture.id).parts[-2]
                rows.append((picture.id, TISSUES.get(folder, folder), TISSUES[name], refused))
    return pd.DataFrame(rows, columns=["id", "organ", "answer", "refused"])


def by_organ(answers: pd.DataFrame) -> pd.DataFrame:
    """Return the table by organ of answers with the column `group`, and a row of all."""
    parts = {str(organ): part for organ, part in answers.groupby("organ")}
    return pd.DataFrame(
        [{"organ": name, **_row(part)} for name, part in [*parts.items(), ("all", answers)]]
    )


def _row(part: pd.DataFrame) -> dict[str, str]:
    right = part["answer"] == part["organ"]
    answered = ~part["refused"]
    wrong = part.loc[~right, "answer"].value_counts(sort=True)
    most = f"{wrong.index[0].replace('_', ' ')}, {wrong.iloc[0]}" if len(wrong) else ""
    if part["organ"].nunique() > 1:
        most = ""
    return {
        "n": str(len(part)),
        "right": _share(right, part["group"]),
        "refused": str(int(part["refused"].sum())),
        "right of answered": _share(right[answered], part.loc[answered, "group"]),
        "most frequent wrong answer": most,
    }


def _share(hits: pd.Series, groups: pd.Series) -> str:
    if not len(hits):
        return ""
    low, high = share_interval(hits.astype(float), groups)
    return f"{hits.mean():.1%} ({low:.0%} to {high:.0%})"


def order_of_difficulty(predictions: Path) -> str:
    """Return the rank correlation of the drawn test recalls with the published ones."""
    table = pd.read_csv(predictions)
    test = table[table["split"] == "test"]
    recalls = (test["class"] == test["predicted"]).groupby(test["class"]).mean()
    published = [PUBLISHED[str(name)] for name in recalls.index]
    rho, n = float(spearmanr(recalls, published).statistic), len(recalls)
    half = norm.ppf(TAIL) * np.sqrt((1 + rho**2 / 2) / (n - 3))
    low, high = np.tanh(np.arctanh(rho) + np.array([-half, half]))
    return f"{rho:.2f} ({CONFIDENCE:.0%} interval {low:.2f} to {high:.2f}, n = {n} classes)"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table and the rank correlation."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", help="folder or archive with <organ or class>/<picture>")
    parser.add_argument("--groups", type=Path, help="CSV with path and group")
    parser.add_argument("--model", choices=MODELS, default="pretrained")
    parser.add_argument("--data", type=Path, default=Path("data"), help="(%(default)s)")
    chosen = parser.parse_args(arguments)
    answers = ask(chosen.source, load_params(), model=chosen.model, data=chosen.data)
    groups = answers["id"]
    if chosen.groups:
        table = pd.read_csv(chosen.groups, dtype=str).set_index("path")["group"]
        groups = answers["id"].map(table)
    found = by_organ(answers.assign(group=groups))
    print(markdown([list(found.columns), *found.to_numpy(str).tolist()]))
    order = order_of_difficulty(chosen.data / f"predictions/{chosen.model}.csv")
    print(f"rank correlation of test recalls on drawings with the published ones: {order}")


if __name__ == "__main__":
    with command("drawings"):
        main()
