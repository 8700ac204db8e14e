"""Figures as reports of plans write them."""

from math import exp

KWH_J = 3.6e6


def days_text(days: float, off: float) -> str:
    """With the interval that a logarithm of `off` makes."""
    factor = exp(off)
    return f"{days:,.1f} ({days / factor:,.1f} to {days * factor:,.1f})"


def cost_text(found: tuple[float, float] | None) -> str:
    """Dollars, from the lowest price to the highest."""
    if found is None:
        return "no price known"
    low, high = found
    return f"{low:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}"


def energy_text(found: float | None) -> str:
    """Joules, as MWh."""
    if found is None:
        return "-"
    mwh = found / KWH_J / 1000
    return f"{mwh:,.0f}" if mwh >= 100 else f"{mwh:,.3g}"
