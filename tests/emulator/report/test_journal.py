"""Journals of HCCL are read with the traces of their processes."""

import json
from pathlib import Path

import pytest

from cordee.core.errors import UsageError
from cordee.emulator.trace.reading import join, read
from cordee.emulator.trace.records import Message

HEADER = {
    "trace": 2,
    "process": 7,
    "rank": 0,
    "zero": 5.5,
    "began": "2026-01-01T00:00:00+00:00",
    "command": ["python"],
    "versions": {},
}
OPERATION = {
    "operation": 3,
    "what": "HcclAllReduce",
    "group": "world",
    "identity": "feed",
    "ranks": 2,
    "rank": 1,
    "chip": 4,
    "stream": 9,
    "bytes": 64,
    "code": 0,
    "ns": [1_000_000_000, 2_000_000_000, 2_500_000_000, 3_000_000_000],
}


def write(path: Path, *lines: dict[str, object], cut: str = "") -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + cut)
    return path


def test_operations_belong_to_the_process_of_their_number(tmp_path: Path) -> None:
    trace = write(tmp_path / "rank0-7.jsonl", HEADER)
    other = write(tmp_path / "rank1-8.jsonl", HEADER | {"process": 8, "rank": 1})
    journal = write(tmp_path / "collectives-7.jsonl", {"journal": 1, "process": 7}, OPERATION)
    first, second = read(journal, trace, other)
    (operation,) = first.operations
    assert (operation.number, operation.rank, operation.chip) == (3, 1, 4)
    assert (operation.issued_s, operation.begun_s, operation.met_s) == (1, 2, 2.5)
    assert not second.operations


def test_a_joined_trace_says_the_same(tmp_path: Path) -> None:
    parts = [
        write(tmp_path / "a.jsonl", {"journal": 1, "process": 7}, OPERATION),
        write(tmp_path / "b.jsonl", HEADER),
    ]
    join(parts, tmp_path / "whole.jsonl")
    assert read(tmp_path / "whole.jsonl") == read(*parts)


def test_messages_and_what_never_came_are_read(tmp_path: Path) -> None:
    never = OPERATION | {"operation": 0, "ns": [1, 0, 0, 2], "code": 5, "sends": [[1, 64]]}
    (process,) = read(
        write(tmp_path / "a.jsonl", HEADER, {"journal": 1, "process": 7}, never, cut='{"oper')
    )
    (operation,) = process.operations
    assert (operation.begun_s, operation.met_s, operation.code) == (None, None, 5)
    assert operation.messages == (Message(True, 1, 64),)


def test_of_an_operation_that_was_seen_running_the_last_line_counts(tmp_path: Path) -> None:
    seen = [OPERATION | {"ns": [1, 2, 0, 10**9 * n], "open": True} for n in (3, 4)]
    header = {"journal": 1, "process": 7}
    (cut_off,) = read(write(tmp_path / "a.jsonl", HEADER, header, *seen))
    assert [(o.ended_s, o.is_open) for o in cut_off.operations] == [(4, True)]
    ended = OPERATION | {"ns": [1, 2, 3, 5 * 10**9]}
    (process,) = read(write(tmp_path / "b.jsonl", HEADER, header, *seen, ended))
    assert [(o.ended_s, o.is_open) for o in process.operations] == [(5, False)]


def test_a_journal_of_another_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="version 9, not 1"):
        read(write(tmp_path / "a.jsonl", {"journal": 9, "process": 7}))
