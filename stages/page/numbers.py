"""How numbers are written on the page."""

import pandas as pd


def percent(share: float) -> str:
    """0.8472 as 84.7%."""
    return f"{100 * share:.1f}%"


def points(difference: float) -> str:
    """A difference of shares in percentage points: 0.236 as +23.6, with a real minus sign."""
    # Adding zero takes the sign from a zero.
    return f"{round(100 * difference, 1) + 0.0:+.1f}".replace("-", "\N{MINUS SIGN}")


def decimal(value: float) -> str:
    """Three decimals, with a real minus sign."""
    return f"{value:.3f}".replace("-", "\N{MINUS SIGN}")


def p_value(p: float) -> str:
    """p = 0.31, p = 0.032, and p < 0.001 below that; the line does not break inside."""
    text = "p < 0.001" if p < 0.001 else f"p = {p:.{2 if p >= 0.1 else 3}f}"
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def count(number: int) -> str:
    """1080 as 1,080."""
    return f"{int(number):,}"


def spread(values: pd.Series, digits: int) -> str:
    """Median and the range of the middle 80%: `0.62 (0.31 to 0.80)`."""
    low, middle, high = (float(values.quantile(q)) for q in (0.1, 0.5, 0.9))
    return f"{middle:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"
