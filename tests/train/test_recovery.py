"""Does a job go on where it was, bit for bit, whatever becomes of a worker and when?"""

from pathlib import Path

import pytest
from tests.train.jobs import Fault, job

POINTS = ("forward", "backward", "reduce", "vote", "voted", "apply")


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_the_same_parameters_come_out_whatever_the_number_of_workers(
    workers: int, undisturbed: str, tmp_path: Path
) -> None:
    ended = job(tmp_path, options=("-n", str(workers)))
    assert ended.code == 0, ended.err
    assert ended.digests == [undisturbed] * workers
    assert ended.steps == list(range(20))


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_worker_costs_no_step_and_no_bit(
    point: str, undisturbed: str, tmp_path: Path
) -> None:
    ended = job(tmp_path, faults=({"worker": 1, "step": 5, "at": point},))
    assert ended.code == 0, ended.err
    assert len(ended.of("lost")) == 1
    (recovery,) = ended.of("recovered")
    assert (recovery["workers"], recovery["noticed_by"]) == ([1], "its connection")
    assert recovery["pause_s"] > recovery["formed_s"] >= 0
    assert set(ended.digests) == {undisturbed}
    assert ended.steps == list(range(20))


@pytest.mark.parametrize("point", ["forward", "reduce", "voted"])
def test_a_stopped_worker_is_evicted_and_costs_no_bit(
    point: str, undisturbed: str, tmp_path: Path
) -> None:
    fault: Fault = {"worker": 1, "step": 5, "at": point, "do": "stop"}
    ended = job(tmp_path, options=("-n", "3", "--silent-s", "1.5"), faults=(fault,))
    assert ended.code == 0, ended.err
    assert "worker 1 is evicted" in ended.out
    assert set(ended.digests) == {undisturbed}
    assert ended.steps == list(range(20))


def test_one_that_hangs_in_its_own_code_is_evicted(undisturbed: str, tmp_path: Path) -> None:
    fault: Fault = {"worker": 2, "step": 5, "at": "forward", "do": "sleep", "for_s": 60}
    ended = job(tmp_path, options=("-n", "3", "--hang-s", "1"), faults=(fault,))
    assert ended.code == 0, ended.err
    assert [event["reason"] for event in ended.of("evicted")] == ["hangs in its own code"]
    assert set(ended.digests) == {undisturbed}


def test_one_that_dies_after_the_last_step_does_not_keep_the_others(
    undisturbed: str, tmp_path: Path
) -> None:
    ended = job(tmp_path, faults=({"worker": 1, "step": 19, "at": "apply"},))
    assert ended.code == 0, ended.err
    assert ended.digests == [undisturbed] * 2


def test_two_that_die_at_once_and_the_first_of_all_are_no_loss(
    undisturbed: str, tmp_path: Path
) -> None:
    faults: tuple[Fault, ...] = (
        {"worker": 0, "step": 4, "at": "reduce"},
        {"worker": 1, "step": 4, "at": "reduce"},
    )
    ended = job(tmp_path, faults=faults)
    assert ended.code == 0, ended.err
    assert set(ended.digests) == {undisturbed}
    assert ended.steps == list(range(20))


@pytest.mark.parametrize("point", ["epoch", "form"])
def test_one_that_dies_while_the_others_gather_again_is_no_loss(
    point: str, undisturbed: str, tmp_path: Path
) -> None:
    faults: tuple[Fault, ...] = (
        {"worker": 0, "step": 4, "at": "reduce"},
        {"worker": 2, "step": 4, "at": point},
    )
    ended = job(tmp_path, faults=faults)
    assert ended.code == 0, ended.err
    assert set(ended.digests) == {undisturbed}


@pytest.mark.parametrize(
    "then",
    [
        (),
        ({"worker": 3, "step": 0, "at": "fed"},),
        ({"worker": 2, "step": 0, "at": "feed"},),
    ],
    ids=["undisturbed", "the-joiner-dies", "its-source-dies"],
)
def test_a_job_that_needs_all_waits_for_one_that_gets_the_state_of_a_member(
    then: tuple[Fault, ...], undisturbed: str, tmp_path: Path
) -> None:
    faults: tuple[Fault, ...] = ({"worker": 1, "step": 2, "at": "reduce"}, *then)
    ended = job(tmp_path, options=("-n", "3", "--min", "3", "--spares", "1"), faults=faults)
    assert ended.code == 0, ended.err
    assert any("joins" in event["reason"] for event in ended.of("epoch"))
    assert set(ended.digests) == {undisturbed}
    assert ended.steps == list(range(20))


def test_one_that_hangs_while_the_others_gather_again_is_evicted_and_no_bit_is_lost(
    undisturbed: str, tmp_path: Path
) -> None:
    hangs: Fault = {"worker": 1, "step": 5, "at": "forward", "do": "sleep", "for_s": 60.0}
    dies: Fault = {"worker": 2, "step": 5, "at": "reduce", "do": "kill"}
    ended = job(tmp_path, options=("-n", "3", "--hang-s", "1"), faults=(hangs, dies))
    assert ended.code == 0, ended.err
    evicted = [(event["worker"], event["reason"]) for event in ended.of("evicted")]
    assert (1, "hangs in its own code") in evicted
    assert set(ended.digests) == {undisturbed}
    assert ended.steps == list(range(20))
