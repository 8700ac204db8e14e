"""Reads what HCCL wrote down of its operations. docs/trace.md describes the lines."""

from collections.abc import Mapping
from typing import Any

from cordee.emulator.trace.records import Message, Operation

VERSION = 1  # as in runtime/hccl/journal.cpp


def operation(entry: Mapping[str, Any]) -> Operation:
    """The operation that a line describes."""
    issued_s, begun_s, met_s, ended_s = (ns * 1e-9 for ns in entry["ns"])
    return Operation(
        number=entry["operation"],
        what=entry["what"],
        group=entry["group"],
        identity=entry["identity"],
        ranks=entry["ranks"],
        rank=entry["rank"],
        chip=entry["chip"],
        stream=entry["stream"],
        size_bytes=entry["bytes"],
        issued_s=issued_s,
        begun_s=begun_s or None,
        met_s=met_s or None,
        ended_s=ended_s,
        code=entry["code"],
        is_open=entry.get("open", False),
        messages=(
            *(Message(True, *sent) for sent in entry.get("sends", ())),
            *(Message(False, *received) for received in entry.get("receives", ())),
        ),
    )
