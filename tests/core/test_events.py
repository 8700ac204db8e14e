"""Do events come to their file and to those who watch, whatever becomes of the file?"""

import json
import os
from pathlib import Path

import pytest

from cordee.core.errors import UsageError
from cordee.core.events import Event, EventFile, Events, event, read


def test_an_event_is_a_line_with_its_time_and_kind(tmp_path: Path) -> None:
    file = tmp_path / "job" / "events.jsonl"
    heard: list[Event] = []
    events = Events(file)
    events.watch(heard.append)
    events.add("commit", step=3, reason="Höhe")
    events.add("commit", step=4)
    events.close()
    (first, second) = read(file)
    assert heard == [first, second]
    assert (first["kind"], first["step"], second["step"]) == ("commit", 3, 4)
    assert isinstance(first["time_s"], float)
    assert "Höhe" in file.read_text("utf-8")


def test_a_number_that_is_none_is_null(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    EventFile(file).write(event("commit", loss=float("nan"), parts=[1.0, float("inf")]))
    assert json.loads(file.read_text())["loss"] is None
    assert json.loads(file.read_text())["parts"] == [1.0, None]


def test_a_file_that_is_moved_away_is_begun_anew(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    written = EventFile(file)
    written.write(event("before"))
    file.rename(tmp_path / "old.jsonl")
    written.write(event("after"))
    assert [one["kind"] for one in read(file)] == ["after"]
    assert [one["kind"] for one in read(tmp_path / "old.jsonl")] == ["before"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is full")
def test_a_disk_that_is_full_costs_lines_and_not_the_job(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "events.jsonl").symlink_to("/dev/full")
    heard: list[Event] = []
    events = Events(tmp_path / "events.jsonl")
    events.watch(heard.append)
    events.add("commit", step=1)
    events.add("commit", step=2)
    assert [one["step"] for one in heard] == [1, 2]
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'events.jsonl'}: No space left on device: lines are lost"
    ]


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Is a directory"):
        EventFile(tmp_path)


def test_a_line_that_is_half_written_is_not_read_yet(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text('{"time_s": 1.0, "kind": "job"}\n{"time_s": 2')
    assert [one["kind"] for one in read(file)] == ["job"]
    file.write_text('{"time_s": 1.0}\n')
    with pytest.raises(UsageError, match=r"events\.jsonl: line 1 is no event"):
        list(read(file))
