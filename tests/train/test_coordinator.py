"""Does a job go on, bit for bit, when its coordinator is killed or stops, whatever the workers are at?"""

from pathlib import Path

import pytest
from tests.train.jobs import Fault, job


def at(point: str, do: str = "kill-coordinator", worker: int = 1, step: int = 5) -> Fault:
    return {"worker": worker, "step": step, "at": point, "do": do}


@pytest.mark.parametrize(
    "point",
    [
        "voted",
        *(
            pytest.param(point, marks=pytest.mark.slow)
            for point in ("forward", "backward", "reduce", "vote", "apply")
        ),
    ],
)
def test_another_coordinator_takes_the_place_of_one_that_is_killed(
    point: str, undisturbed: str, tmp_path: Path
) -> None:
    ended = job(tmp_path, faults=(at(point),))
    assert ended.code == 0, ended.err
    assert "the coordinator is lost: its process was ended by SIGKILL" in ended.out
    assert [event["back"] for event in ended.of("succeeded")] == [[0, 1, 2]]
    assert ended.of("lost") == []
    (recovery,) = ended.of("recovered")
    assert recovery["workers"] == ["coordinator"]
    assert ended.digests == [undisturbed] * 3
    assert ended.steps == list(range(20))


def test_one_that_hangs_while_the_coordinator_is_lost_is_found_by_the_next(
    undisturbed: str, tmp_path: Path
) -> None:
    hangs: Fault = {"worker": 2, "step": 5, "at": "forward", "do": "sleep", "for_s": 60}
    faults = (hangs, at("reduce"))
    ended = job(tmp_path, options=("-n", "3", "--hang-s", "1.5"), faults=faults)
    assert ended.code == 0, ended.err
    assert [event["worker"] for event in ended.of("evicted")] == [2]
    assert set(ended.digests) == {undisturbed}
    assert ended.steps == list(range(20))


@pytest.mark.slow
def test_one_that_is_stopped_is_ended_and_another_one_takes_its_place(
    undisturbed: str, tmp_path: Path
) -> None:
    ended = job(
        tmp_path,
        options=("-n", "3", "--silent-s", "1"),
        faults=(at("reduce", "stop-coordinator"),),
    )
    assert ended.code == 0, ended.err
    assert ended.digests == [undisturbed] * 3
    assert ended.steps == list(range(20))


@pytest.mark.parametrize(
    "faults",
    [
        (at("reduce"), at("epoch", "kill")),
        pytest.param(
            (at("reduce"), at("reduce", "kill", worker=0), at("voted", step=6)),
            marks=pytest.mark.slow,
        ),
        pytest.param((at("epoch", "kill"), at("vote", worker=2)), marks=pytest.mark.slow),
        pytest.param(
            (at("reduce", "kill"), at("epoch", worker=2), at("form", worker=0)),
            marks=pytest.mark.slow,
        ),
        pytest.param(tuple(at("voted", step=step) for step in range(3, 9)), marks=pytest.mark.slow),
    ],
)
def test_a_coordinator_and_workers_may_die_at_once(
    faults: tuple[Fault, ...], undisturbed: str, tmp_path: Path
) -> None:
    ended = job(tmp_path, faults=faults)
    assert ended.code == 0, ended.err
    assert ended.of("succeeded") != []
    assert set(ended.digests) == {undisturbed}
    assert ended.steps == list(range(20))


@pytest.mark.slow
@pytest.mark.parametrize(
    "then", [at("fed", worker=3, step=0), at("feed", worker=2, step=0), at("reduce", step=4)]
)
def test_one_that_was_being_let_in_is_fed_again(
    then: Fault, undisturbed: str, tmp_path: Path
) -> None:
    options = ("-n", "3", "--min", "3", "--spares", "1")
    ended = job(tmp_path, options=options, faults=(at("reduce", "kill", step=2), then))
    assert ended.code == 0, ended.err
    assert ended.of("succeeded") != [] or then["at"] == "reduce"
    assert set(ended.digests) == {undisturbed}
    assert ended.steps == list(range(20))
