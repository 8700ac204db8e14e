"""Is a worker found whose chip reckons wrongly and says nothing, before its numbers are used?"""

from pathlib import Path

import pytest
from tests.train.jobs import Ended, Fault, job

from cordee.train.policy.shards import even
from cordee.train.policy.trust import Checks

STEP = 5
ALWAYS = Checks(shard_every=1)
SHARDS = 4


def guilty(ended: Ended) -> list[tuple[int, str]]:
    found = [event for event in ended.of("evicted") if event["guilty"]]
    return [(event["worker"], event["reason"]) for event in found]


@pytest.mark.parametrize(
    ("do", "workers"),
    [
        ("flip-parameter", 3),
        ("flip-parameter", 2),
        pytest.param("flip-optimizer", 3, marks=pytest.mark.slow),
        pytest.param("flip-optimizer", 2, marks=pytest.mark.slow),
    ],
)
def test_one_with_a_bit_of_its_state_flipped_is_named_and_evicted(
    do: str, workers: int, undisturbed: str, tmp_path: Path
) -> None:
    fault: Fault = {"worker": 1, "step": STEP, "at": "forward", "do": do}
    ended = job(tmp_path, options=("-n", str(workers)), faults=(fault,))
    assert ended.code == 0, ended.err
    ((worker, reason),) = guilty(ended)
    assert worker == 1
    assert reason.startswith("has other parameters at step ")
    assert set(ended.digests) == {undisturbed}
    assert ended.steps == list(range(20))


@pytest.mark.parametrize("workers", [3, pytest.param(2, marks=pytest.mark.slow)])
def test_one_with_a_bit_of_a_gradient_flipped_is_named_and_evicted(
    workers: int, undisturbed: str, tmp_path: Path
) -> None:
    shard = ALWAYS.shard(STEP, SHARDS)
    assert shard is not None
    wrong = even(SHARDS, range(workers))[shard]
    fault: Fault = {
        "worker": wrong,
        "step": STEP,
        "at": "backward",
        "do": "flip",
        "shard": shard,
    }
    options = ("-n", str(workers), "--recheck-every", "1")
    ended = job(tmp_path, options=options, faults=(fault,))
    assert ended.code == 0, ended.err
    assert guilty(ended) == [
        (wrong, f"computes shard {shard} of step {STEP} otherwise than others do")
    ]
    assert set(ended.digests) == {undisturbed}
    assert ended.steps == list(range(20))


def test_one_that_computes_no_number_where_others_do_is_evicted(
    undisturbed: str, tmp_path: Path
) -> None:
    fault: Fault = {"worker": 1, "step": STEP, "at": "backward", "do": "nan"}
    ended = job(tmp_path, options=("-n", "3"), faults=(fault,))
    assert ended.code == 0, ended.err
    assert [worker for worker, _ in guilty(ended)] == [1]
    assert set(ended.digests) == {undisturbed}


@pytest.mark.slow
def test_a_step_without_a_finite_gradient_anywhere_is_left_out(tmp_path: Path) -> None:
    faults: tuple[Fault, ...] = tuple(
        {"worker": n, "step": STEP, "at": "backward", "do": "nan", "shard": 0, "each": True}
        for n in range(3)
    )
    ended = job(tmp_path, options=("-n", "3"), faults=faults)
    assert ended.code == 1
    assert "8 steps in a row to step 12 have no finite gradient" in ended.err
    skipped = [event["step"] for event in ended.of("commit") if event.get("skipped")]
    assert skipped == list(range(STEP, STEP + 7))
    assert not guilty(ended)
