"""Which steps of a job counted, by what its coordinators wrote down."""

from collections.abc import Iterable
from typing import Any


def committed(events: Iterable[dict[str, Any]]) -> list[int]:
    """Those that were committed, in order; not commits of which only a coordinator knew that was lost."""
    found: list[int] = []
    for event in events:
        if event["kind"] == "succeeded" and event["back"]:
            found = [step for step in found if step < event["step"]]
        if event["kind"] == "commit":
            found.append(event["step"])
    return found
