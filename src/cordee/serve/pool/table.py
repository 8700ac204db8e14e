"""The state of a service as tables in a terminal."""

from collections.abc import Iterator
from typing import Any

from rich.table import Table

from cordee.core.pages.numbers import plural
from cordee.core.tables import table


def shown(state: dict[str, Any]) -> Iterator[Table | str]:
    """Tables of pools and replicas, then what happened last."""
    gateway = state["gateway"]
    requests = gateway["requests"]
    yield (
        f"{plural(gateway['streams'], 'request')} under way, {gateway['queued']} wait, "
        f"{gateway['tokens_per_s']:.0f} tokens/s; {requests['ok']} answered, "
        f"{requests['failed']} failed, {gateway['failovers']} moved\n"
    )
    for pool in state["pools"]:
        title = f"{pool['name']}: {pool['model']}, {pool['role']}, share {pool['share']:g}"
        on_chips = any(replica["chips"] for replica in pool["replicas"])
        words = ("replica", "state", "pid", *(("chips",) if on_chips else ()))
        made = table(words, ("requests", "tokens/s", "cache", "restarts"), (), title)
        for replica in pool["replicas"]:
            made.add_row(
                replica["name"],
                replica["state"],
                str(replica["pid"] or ""),
                *((", ".join(map(str, replica["chips"])),) if on_chips else ()),
                str(replica["running"]),
                f"{replica['tokens_per_s']:.0f}",
                f"{replica['kv_used']:.0%}",
                str(replica["restarts"]),
            )
        yield made
    for event in state["events"][-8:]:
        moved = f" ({plural(event['moved'], 'request')} moved)" if event.get("moved") else ""
        yield f"{event['kind']:14} {event['replica']}: {event['text']}{moved}"
