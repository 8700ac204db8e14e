"""Does a job go on, bit for bit, where a link between two workers carries nothing any more, or little?

What comes over the link is dropped by the kernel. Both ends stay alive, and hear the coordinator.
"""

from pathlib import Path

import pytest
from tests.train.jobs import SMALL, Ended, Fault, job

POINTS = ("forward", "backward", "reduce", "vote", "voted", "apply")
WHERE_SUMS_BEGIN = ("reduce", pytest.param("backward", marks=pytest.mark.slow))
"""All others: test_every_fault_at_every_point.py."""
NAMED = "the link between workers 1 and 2 is down"
KILLED: Fault = {"worker": 0, "step": 5, "at": "reduce"}
"""So that the others form a group without it, and another one is fed."""


def link(point: str, do: str = "link-down", **more: float) -> Fault:
    return {"worker": 1, "step": 5, "at": point, "do": do, "other": 2, **more}


def few_in_ci(*points: str) -> list[object]:
    """All points; those that are not named here only when there is time."""
    return [pytest.param(p, marks=() if p in points else pytest.mark.slow) for p in POINTS]


def named(ended: Ended) -> list[str]:
    return [event["text"] for event in ended.of("down")]


@pytest.mark.parametrize("point", WHERE_SUMS_BEGIN)
def test_a_link_that_is_down_is_named_and_one_end_of_it_leaves(
    point: str, undisturbed: str, tmp_path: Path
) -> None:
    ended = job(tmp_path, faults=(link(point),))
    assert ended.code == 0, ended.err
    assert NAMED in named(ended)
    assert "worker 2 is evicted: it exchanges nothing with worker 1 any more" in ended.out
    assert set(ended.digests) == {undisturbed}
    assert ended.steps == list(range(20))


def test_of_many_with_much_to_send_nobody_is_stuck_for_good(tmp_path: Path) -> None:
    fault: Fault = {"worker": 1, "step": 2, "at": "forward", "do": "link-down", "other": 0}
    wide = str(SMALL.with_name("wide.py"))
    calm = job(tmp_path / "calm", wide, options=("-n", "4"))
    ended = job(tmp_path / "cut", wide, options=("-n", "4"), faults=(fault,))
    assert ended.code == 0, ended.err
    assert set(ended.digests) == set(calm.digests)
    assert ended.steps == list(range(6))


@pytest.mark.parametrize("point", few_in_ci("voted"))
def test_a_link_that_comes_back_costs_no_bit(point: str, undisturbed: str, tmp_path: Path) -> None:
    ended = job(tmp_path, faults=(link(point, for_s=5.0),))
    assert ended.code == 0, ended.err
    assert set(ended.digests) == {undisturbed}
    assert ended.steps == list(range(20))


@pytest.mark.parametrize("point", ["epoch", pytest.param("form", marks=pytest.mark.slow)])
def test_a_link_that_goes_down_while_a_group_is_formed_costs_no_bit(
    point: str, undisturbed: str, tmp_path: Path
) -> None:
    ended = job(tmp_path, faults=(KILLED, link(point)))
    assert ended.code == 0, ended.err
    assert NAMED in named(ended)
    assert set(ended.digests) == {undisturbed}
    assert ended.steps == list(range(20))


@pytest.mark.parametrize(
    "fault",
    [
        {"worker": 2, "step": 0, "at": "feed", "do": "link-down", "other": 3},
        pytest.param(
            {"worker": 3, "step": 0, "at": "fed", "do": "link-down", "other": 2},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["feed", "fed"],
)
def test_one_that_does_not_reach_all_members_is_not_let_in_until_it_does(
    fault: Fault, undisturbed: str, tmp_path: Path
) -> None:
    faults: tuple[Fault, ...] = (KILLED, fault | {"for_s": 12.0})
    ended = job(tmp_path, options=("-n", "3", "--min", "3", "--spares", "1"), faults=faults)
    assert ended.code == 0, ended.err
    assert "worker 3 waits: it does not reach worker 2" in ended.out
    assert any("worker 3 joins" in event["reason"] for event in ended.of("epoch"))
    assert set(ended.digests) == {undisturbed}
    assert ended.steps == list(range(20))


@pytest.mark.parametrize("point", WHERE_SUMS_BEGIN)
def test_a_link_that_is_slow_is_not_taken_to_be_down(
    point: str, undisturbed: str, tmp_path: Path
) -> None:
    ended = job(tmp_path, faults=(link(point, "link-slow", bytes_per_s=100_000),))
    assert ended.code == 0, ended.err
    assert named(ended) == []
    assert ended.of("evicted") == []
    assert ended.digests == [undisturbed] * 3
    assert ended.steps == list(range(20))


@pytest.mark.parametrize("point", few_in_ci())
def test_of_two_members_without_a_link_one_goes_on(
    point: str, undisturbed: str, tmp_path: Path
) -> None:
    fault: Fault = {"worker": 0, "step": 5, "at": point, "do": "link-down", "other": 1}
    ended = job(tmp_path, options=("-n", "2"), faults=(fault,))
    assert ended.code == 0, ended.err
    assert "the link between workers 0 and 1 is down" in named(ended)
    assert set(ended.digests) == {undisturbed}
    assert ended.steps == list(range(20))


SLOWED: Fault = {
    "worker": 1,
    "step": 22,
    "at": "reduce",
    "do": "link-slow",
    "other": 2,
    "bytes_per_s": 50_000,
}


@pytest.mark.slow
def test_a_link_that_is_slow_is_left_for_one_over_another_address(tmp_path: Path) -> None:
    program = (str(SMALL), "--steps", "60")
    calm = job(tmp_path / "calm", *program)
    options = ("-n", "3", "--other-address", "127.0.0.9")
    ended = job(tmp_path / "slow", *program, options=options, faults=(SLOWED,))
    assert ended.code == 0, ended.err
    assert any("is slow" in event["text"] for event in ended.of("link"))
    assert any("over other addresses" in event["reason"] for event in ended.of("epoch"))
    assert ended.of("evicted") == []
    assert set(ended.digests) == set(calm.digests)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_without_another_address_nothing_goes_over_a_slow_link(mode: str, tmp_path: Path) -> None:
    program, options = (str(SMALL), "--steps", "40"), ("-n", "3", "--mode", mode)
    calm = job(tmp_path / "calm", *program, options=options)
    back = SLOWED | {"worker": 2, "other": 1}  # a ring goes one way only
    ended = job(tmp_path / "slow", *program, options=options, faults=(SLOWED, back))
    assert ended.code == 0, ended.err
    reasons = [event["reason"] for event in ended.of("epoch")]
    assert any("neither end adds up, and nothing goes over it" in reason for reason in reasons)
    assert ended.of("evicted") == []
    assert mode == "fast" or set(ended.digests) == set(calm.digests)
    assert len(set(ended.digests)) == 1
