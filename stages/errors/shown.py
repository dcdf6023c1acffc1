"""Which errors are shown one by one, with Grad-CAM, where there are too many for all."""

import pandas as pd

SHOWN_COLUMNS = ("model", "id")  # of gradcam.csv: row i has map i


def shown_errors(errors: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return at most `most` errors, in their order, with row numbers of their own.

    Each class of each model keeps its share, of which those are taken that were made with most
    confidence.

    Args:
        errors: a row an error: `model`, `class`, `id` and `confidence`.
        most: how many.
    """
    surest = errors.sort_values(["confidence", "id"], ascending=[False, True])
    alike = surest.groupby(["model", "class"])["id"]
    share = (alike.cumcount() + 0.5) / alike.transform("size")
    rows = share.sort_index().sort_values(kind="stable").index[:most]
    return errors.loc[rows.sort_values()].reset_index(drop=True)
