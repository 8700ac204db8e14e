"""Does a model that several workers hold together train on when one of them is gone?"""

from functools import cache
from pathlib import Path

import pytest
from tests.train.jobs import SMALL, Ended, Fault, job

SHARDED = SMALL.with_name("sharded.py")
STEPS = list(range(12))


@cache
def undisturbed(folder: Path, *words: str) -> frozenset[str]:
    """The digests of both parts of the model after a run of one replica in which nothing failed."""
    ended = job(folder, str(SHARDED), *words, options=("-n", "2"))
    assert ended.code == 0, ended.err
    return frozenset(ended.digests)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("undisturbed")


def went_on(ended: Ended) -> None:
    """Without a restart, and without losing a step."""
    assert ended.code == 0, ended.err
    assert ended.of("restart") == []
    assert ended.steps == STEPS


@pytest.mark.parametrize(
    ("kind", "point"),
    [
        ("data", "forward"),
        *(
            pytest.param("data", point, marks=pytest.mark.slow)
            for point in ("backward", "reduce", "voted", "apply")
        ),
        *(
            pytest.param(kind, point, marks=pytest.mark.slow)
            for kind in ("tensor", "pipeline")
            for point in ("forward", "backward", "reduce")
        ),
    ],
)
def test_two_replicas_of_two_lose_one_worker_and_no_bit(
    kind: str, point: str, elsewhere: Path, tmp_path: Path
) -> None:
    fault: Fault = {"worker": 1, "step": 4, "at": point}
    ended = job(tmp_path, str(SHARDED), "--kind", kind, options=("-n", "4"), faults=(fault,))
    went_on(ended)
    assert [event["workers"] for event in ended.of("recovered")] == [[1]]
    assert set(ended.digests) == undisturbed(elsewhere / kind, "--kind", kind)


@pytest.mark.slow
@pytest.mark.parametrize("point", ["forward", "reduce"])
def test_the_replica_is_whole_again_with_a_spare_that_gets_its_part(
    point: str, elsewhere: Path, tmp_path: Path
) -> None:
    fault: Fault = {"worker": 2, "step": 2, "at": point}
    ended = job(
        tmp_path,
        str(SHARDED),
        *("--shard-s", "0.1"),
        options=("-n", "4", "--spares", "1"),
        faults=(fault,),
    )
    went_on(ended)
    last = ended.of("plan")[-1]
    assert [len(team) for team in last["teams"]] == [2, 2]
    assert set(ended.digests) == undisturbed(elsewhere / "data", "--kind", "data")


@pytest.mark.slow
@pytest.mark.parametrize("do", ["stop", "sleep"])
def test_one_that_hangs_is_found_although_the_rest_of_its_replica_waits_for_it(
    do: str, elsewhere: Path, tmp_path: Path
) -> None:
    fault: Fault = {"worker": 1, "step": 4, "at": "forward", "do": do, "for_s": 60}
    options = ("-n", "4", "--silent-s", "3", "--hang-s", "3")
    ended = job(tmp_path, str(SHARDED), options=options, faults=(fault,))
    went_on(ended)
    assert [event["worker"] for event in ended.of("evicted")] == [1]
    assert set(ended.digests) == undisturbed(elsewhere / "data", "--kind", "data")


@pytest.mark.slow
def test_one_left_of_each_of_two_replicas_makes_a_new_one(elsewhere: Path, tmp_path: Path) -> None:
    faults: tuple[Fault, ...] = tuple(
        {"worker": number, "step": 4, "at": "reduce"} for number in (0, 1)
    )
    ended = job(tmp_path, str(SHARDED), options=("-n", "4"), faults=faults)
    went_on(ended)
    assert set(ended.digests) == undisturbed(elsewhere / "data", "--kind", "data")


@pytest.mark.parametrize(
    ("worker", "point"),
    [
        (1, "forward"),
        *(
            pytest.param(worker, point, marks=pytest.mark.slow)
            for worker, point in ((0, "backward"), (1, "reduce"), (0, "voted"), (1, "apply"))
        ),
    ],
)
def test_one_replica_alone_gets_the_part_that_is_lost_from_memory_without_a_restart(
    worker: int, point: str, elsewhere: Path, tmp_path: Path
) -> None:
    fault: Fault = {"worker": worker, "step": 4, "at": point}
    ended = job(tmp_path, str(SHARDED), options=("-n", "2"), faults=(fault,))
    assert ended.code == 0, ended.err
    assert ended.of("restart") == []
    assert ended.of("evicted") == []
    assert set(ended.steps) == set(STEPS)
    assert len(ended.steps) <= len(STEPS) + 1  # one step may be made again
    assert set(ended.digests) == undisturbed(elsewhere / "data", "--kind", "data")


@pytest.mark.slow
def test_all_parts_are_of_one_step_when_all_workers_die_at_once(
    elsewhere: Path, tmp_path: Path
) -> None:
    faults: tuple[Fault, ...] = tuple(
        {"worker": number, "step": 4, "at": "reduce"} for number in range(4)
    )
    ended = job(tmp_path, str(SHARDED), options=("-n", "4"), faults=faults)
    assert ended.code == 0, ended.err
    assert {event["step"] for event in ended.of("resumed")} <= {3, 4}
    assert set(ended.digests) == undisturbed(elsewhere / "data", "--kind", "data")


def test_a_job_whose_workers_make_no_whole_replicas_is_refused(tmp_path: Path) -> None:
    ended = job(tmp_path, str(SHARDED), options=("-n", "3"))
    assert ended.code == 1
    assert "3 workers are no whole replicas of 2: give another --workers" in ended.err
