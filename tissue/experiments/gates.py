"""Whether metrics stay within their tolerances."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import NamedTuple

from tissue.common.errors import InputError
from tissue.experiments.revisions import Change

ROUNDING = 1e-9  # slack for floating point: metrics have four decimals


class Check(NamedTuple):
    """A metric with a tolerance, before and after; `old` is None where it is new."""

    key: str
    old: float | None
    new: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether it is new, or has not fallen by more than its tolerance."""
        return self.old is None or self.old - self.new <= self.tolerance + ROUNDING

    @property
    def agrees(self) -> bool:
        """Whether it is not new, and has neither fallen nor risen by more than its tolerance."""
        return self.old is not None and abs(self.old - self.new) <= self.tolerance + ROUNDING


def check_gates(metrics: Sequence[Change], tolerance: Mapping[str, float]) -> list[Check]:
    """Compare each metric that has a tolerance with its old value.

    Raises:
        InputError: if the workspace has no such metric, since a gate must not pass for lack of one.
    """
    by_key = {change.key: change for change in metrics}
    checks = []
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
        checks.append(Check(key, old, float(change.new), allowed))
    return checks
