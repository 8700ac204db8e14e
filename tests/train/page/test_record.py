"""Does the page say what the journal says, whatever is in it?"""

import itertools
import json
from pathlib import Path

import pytest

from cordee.core.errors import UsageError
from cordee.core.events import Event
from cordee.train.page.curve import MOST
from cordee.train.page.metrics import metrics
from cordee.train.page.record import Record, recorded
from cordee.train.page.report import report


def step(number: int, now_s: float, **more: object) -> Event:
    return {"time_s": now_s, "kind": "commit", "step": number, "epoch": 1, "loss": 1.0, **more}


def job(*more: Event) -> Record:
    """Of two workers, one of which is lost after the third step."""
    record = Record()
    for event in (
        {"time_s": 0.0, "kind": "job", "command": ["train.py"], "workers": 2},
        {"time_s": 1.0, "kind": "worker", "worker": 0, "host": "a", "pid": 10},
        {"time_s": 1.0, "kind": "worker", "worker": 1, "host": "b", "pid": 11},
        {"time_s": 2.0, "kind": "epoch", "epoch": 1, "step": 0, "members": [0, 1], "reason": ""},
        {"time_s": 2.1, "kind": "plan", "epoch": 1, "owners": [0, 0, 1]},
        step(0, 3.0, last=1, waited_s=0.5),
        step(1, 4.0, last=1, waited_s=0.25),
        step(2, 5.0, last=0, waited_s=0.0),
        {"time_s": 5.5, "kind": "lost", "worker": 1, "reason": "its connection closed"},
        {"time_s": 5.6, "kind": "epoch", "epoch": 2, "step": 3, "members": [0], "reason": ""},
        {"time_s": 5.7, "kind": "plan", "epoch": 2, "owners": [0, 0, 0]},
        step(3, 7.0),
        *more,
    ):
        record.see(event)
    return record


def test_it_says_who_took_part_and_who_was_waited_for() -> None:
    record = job()
    first, second = (worker.shown() for worker in record.roster.workers.values())
    assert (record.step, record.epoch, record.roster.members) == (4, 2, [0])
    assert (second["being"], second["ended"], second["lost"]) == (
        "gone",
        "its connection closed",
        True,
    )
    assert (second["waited_s"], second["last"], second["computed"]) == (0.75, 2, 3)
    assert (first["shards"], first["computed"]) == (3, 2 * 3 + 3)


def test_time_without_a_step_counts_from_the_step_before_not_from_when_it_was_noticed() -> None:
    took: Event = {"pause_s": 1.5, "agreed_s": 0.1, "formed_s": 0.1, "restored_s": 0.0}
    what: Event = {"kind": "recovered", "step": 3, "workers": [1], "noticed_by": "x"}
    recovered: Event = {"time_s": 7.0, "members": 1} | what | took
    (shown,) = job(recovered).recoveries
    assert shown["gap_s"] == 2.0


def test_steps_that_are_made_again_after_a_restart_replace_those_before() -> None:
    record = job(step(2, 9.0, loss=7.0))
    assert [(p.last, p.total) for p in record.curve.points] == [(0, 1.0), (1, 1.0), (2, 7.0)]
    assert record.step == 3


def test_a_long_job_has_a_curve_that_stays_short_and_loses_no_step_and_no_spike() -> None:
    record = Record()
    count = 20 * MOST
    for number in range(count):
        record.see(step(number, float(number), loss=100.0 if number == 777 else 1.0))
    points = record.curve.points
    assert len(points) <= MOST
    assert (points[0].first, points[-1].last) == (0, count - 1)
    assert all(b.first == a.last + 1 for a, b in itertools.pairwise(points))
    assert max(point.most for point in points) == 100.0
    assert sum(point.losses for point in points) == count


def test_a_loss_that_is_no_number_leaves_a_gap() -> None:
    record = job(step(4, 8.0, loss=None))
    assert record.curve.points[-1].shown()[4] is None
    assert b"cordee_train_loss NaN" in metrics(record)


def test_prometheus_gets_what_was_sent_and_who_waits() -> None:
    told = metrics(job({"time_s": 8.0, "kind": "sent", "links": [[0, 1, 4096]]})).decode()
    assert 'cordee_train_sent_bytes_total{source="0",target="1"} 4096.0' in told
    assert 'cordee_train_waited_seconds_total{worker="1"} 0.75' in told
    assert "cordee_train_lost_workers_total 1.0" in told
    assert "cordee_train_members 1.0" in told


def test_a_journal_whose_last_line_is_half_written_is_read(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text(json.dumps(step(0, 1.0)) + '\n{"time_s": 2, "ki')
    assert recorded(tmp_path).step == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "No such file or directory: give the folder of a job"),
        ("", "nothing has happened in this job yet"),
        ("what?\n", "line 1 is no event"),
        ("[]\n", "line 1 is no event"),
    ],
)
def test_a_folder_without_a_journal_is_named(text: str | None, said: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "events.jsonl").write_text(text)
    with pytest.raises(UsageError, match=said):
        report(tmp_path, tmp_path / "report.html")


def test_what_a_script_is_called_cannot_break_out_of_the_report(tmp_path: Path) -> None:
    named: Event = {"time_s": 1.0, "kind": "job", "command": ["</script><script>alert(1)//"]}
    (tmp_path / "events.jsonl").write_text(json.dumps(named) + "\n")
    report(tmp_path, tmp_path / "report.html")
    assert "</script><script>alert(1)" not in (tmp_path / "report.html").read_text()
