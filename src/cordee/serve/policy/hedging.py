"""When a first token is so late that a second replica is asked too (Dean and Barroso, The Tail at Scale, 2013)."""

from collections.abc import Sequence

ENOUGH = 50
"""First tokens that must have been seen before any is called late."""
QUANTILE, FACTOR = 0.95, 2.0


def hedge_after_s(first_tokens_s: Sequence[float]) -> float | None:
    """How long to wait for a first token before asking elsewhere: twice what 95 % take. None: never."""
    if len(first_tokens_s) < ENOUGH:
        return None
    ordered = sorted(first_tokens_s)
    return max(0.05, FACTOR * ordered[int(QUANTILE * (len(ordered) - 1))])


def may_hedge(hedged: int, requests: int, most_share: float = 0.05) -> bool:
    """Only a small share, so that a slow fleet is not made slower."""
    return hedged < 1 + most_share * requests
