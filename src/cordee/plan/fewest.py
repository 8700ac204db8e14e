"""How many chips something takes that does not fit on those there are."""

from collections.abc import Callable

MOST = 64
"""How many times as many as was guessed are tried."""


def fewest(guess: int, unit: int, holds: Callable[[int], bool]) -> int | None:
    """About the fewest chips from `guess` on, in multiples of `unit`, that hold it; None where none tried do."""
    chips = first = -(-max(guess, 1) // unit) * unit
    while chips <= MOST * first:
        if holds(chips):
            return chips
        chips = -(-max(chips * 9 // 8, chips + unit) // unit) * unit
    return None
