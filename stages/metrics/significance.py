"""What counts as more than chance."""

SIGNIFICANT = 0.05


def is_beyond_chance(low: float, high: float, p_value: float) -> bool:
    """Whether a difference is more than chance by its interval and by its test.

    McNemar's test takes images as independent, and those of a donor are not: so both decide.
    """
    return p_value < SIGNIFICANT and not low <= 0 <= high
