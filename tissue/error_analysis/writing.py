"""The folder of predictions and of what explains them."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from tissue.common.files import atomic_write, write_table
from tissue.data.shards import write_array
from tissue.error_analysis.analysis import Analysis
from tissue.error_analysis.table import SHOWN_COLUMNS

if TYPE_CHECKING:
    from tissue.error_analysis.gradcam import Decisions


def shown_errors(errors: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return at most `most` errors to show, in their order, renumbered.

    Each class of each model keeps its share, and the most confident errors of each are taken.
    """
    ranked = errors.sort_values(["confidence", "id"], ascending=[False, True])
    ids = ranked.groupby(["model", "class"])["id"]
    share = (ids.cumcount() + 0.5) / ids.transform("size")
    rows = share.sort_index().sort_values(kind="stable").index[:most]
    return errors.loc[rows.sort_values()].reset_index(drop=True)


def write_predictions(
    tables: Mapping[str, pd.DataFrame],
    analysis: Analysis,
    shown: pd.DataFrame,
    decisions: "Decisions",
    folder: Path,
) -> None:
    """Write the folder of predictions and what explains them.

    Args:
        tables: by model, as from `prediction_tables`.
        analysis: of the tables.
        shown: the errors with a heat map.
        decisions: their heat maps and branches.
        folder: replaced by the new one.
    """
    with atomic_write(folder) as partial:
        partial.mkdir()
        for name, table in tables.items():
            write_table(table, partial / f"{name}.csv")
        write_table(analysis.errors, partial / "errors.csv")
        write_table(analysis.suspects, partial / "suspects.csv")
        write_table(analysis.confused.causes, partial / "confused_causes.csv")
        write_table(analysis.confused.measures, partial / "confused_measures.csv")
        branches = dict(zip(("whole", "crops"), decisions.branches.T, strict=True))
        table = shown.assign(**branches)[list(SHOWN_COLUMNS)]
        write_table(table, partial / "gradcam.csv")
        write_array(partial / "gradcam.npy", decisions.heat)
