"""A plan as one page that opens without a network: what it shows, and how it is written."""

from cordee.plan.page.view import (
    Bar,
    Basis,
    Part,
    Plot,
    Ranking,
    Sensitivity,
    View,
    bars,
    bettered,
    price_text,
    source_text,
    write_page,
)

__all__ = [
    "Bar",
    "Basis",
    "Part",
    "Plot",
    "Ranking",
    "Sensitivity",
    "View",
    "bars",
    "bettered",
    "price_text",
    "source_text",
    "write_page",
]
