"""Whether a metric has fallen by more than its tolerance."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import NamedTuple

from stages.cli.running import InputError
from stages.comparing.revisions import Change

ROUNDING = 1e-9  # metrics have four decimals: differences of these are compared with some slack


class Check(NamedTuple):
    """A metric with a tolerance, before and after; None before where it is new."""

    key: str
    old: float | None
    new: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether it has not fallen by more than its tolerance; a new metric cannot have fallen."""
        return self.old is None or self.old - self.new <= self.tolerance + ROUNDING


def check(metrics: Sequence[Change], tolerance: Mapping[str, float]) -> list[Check]:
    """Hold each metric with a tolerance against what it was.

    Raises:
        ValueError: if the workspace has no such metric, since a gate must not pass for lack of one.
    """
    by_key = {change.key: change for change in metrics}
    found = []
    for key, allowed in sorted(tolerance.items()):
        change = by_key.get(key)
        if change is None or not isinstance(change.new, int | float):
            close = get_close_matches(key, set(by_key) - {key})
            if change is not None:
                hint = "Here it has no number: run `dvc repro`, or mend the file in metrics/."
            elif close:
                hint = f"Did you mean {close[0]}? Correct it in params.yaml."
            else:
                hint = "Run `dvc repro` first."
            raise InputError(
                "compare.tolerance: expected the name of a metric in metrics/. Received: "
                f"{key!r}. {hint}"
            )
        old = float(change.old) if isinstance(change.old, int | float) else None
        found.append(Check(key, old, float(change.new), allowed))
    return found
