"""Does a slow worker get fewer shards, without another bit?"""

from pathlib import Path

import pytest
from tests.train.jobs import SMALL, Fault, job


def test_a_worker_that_becomes_slow_keeps_one_shard_and_the_job_its_bits(
    undisturbed: str, tmp_path: Path
) -> None:
    slow: Fault = {
        "worker": 1,
        "step": 2,
        "at": "forward",
        "do": "sleep",
        "for_s": 0.6,
        "each": True,
    }
    program = (str(SMALL), "--shard-s", "0.1")
    ended = job(tmp_path, *program, options=("-n", "2"), faults=(slow,))
    assert ended.code == 0, ended.err
    assert ended.of("plan")[0]["owners"] == [0, 0, 1, 1]
    (moved,) = [event for event in ended.of("commit") if "owners" in event]
    assert moved["owners"] == [0, 0, 0, 1]
    assert moved["last"] == 1
    assert "worker 1 takes" in ended.out
    assert set(ended.digests) == {undisturbed}
    assert ended.steps == list(range(20))


@pytest.mark.slow
def test_where_all_come_together_and_wait_the_links_are_measured(tmp_path: Path) -> None:
    slow: Fault = {
        "worker": 1,
        "step": 24,
        "at": "reduce",
        "do": "sleep",
        "for_s": 1.5,
        "each": True,
    }
    ended = job(tmp_path, str(SMALL), "--steps", "32", options=("-n", "3"), faults=(slow,))
    assert ended.code == 0, ended.err
    pairs = [(event["worker"], event["other"]) for event in ended.of("probed")]
    assert sorted(pairs) == [(0, 1), (0, 2), (1, 2)]
    assert all(event["bytes_per_s"] > 0 for event in ended.of("probed"))
    (found,) = ended.of("link")
    assert "slow" in found["text"]
    assert len(ended.digests) == 3
