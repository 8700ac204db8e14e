"""Do workers that train by themselves come together again, whoever of them dies or joins, and send little?"""

from pathlib import Path

import pytest
from tests.train.jobs import SMALL, Ended, Fault, job

PROGRAM = (str(SMALL), "--steps", "60", "--shard-s", "0.02")
LOCAL = ("--mode", "local")
PARAMETERS = 10_368  # of that program


def all_alike(ended: Ended, workers: int) -> bool:
    """Whether so many came to the end, with the same parameters, and by the same decisions."""
    rounds: dict[int, set[tuple[object, ...]]] = {}
    for told in ended.of("exchanged"):
        said = (told["fragment"], told["steps"], told["loss"])
        rounds.setdefault(told["round"], set()).add(said)
    return (
        len(ended.digests) == workers
        and len(set(ended.digests)) == 1
        and all(len(said) == 1 for said in rounds.values())
        and sorted(rounds) == list(range(1, len(rounds) + 1))
    )


def test_workers_end_alike_and_send_a_hundredth(tmp_path: Path) -> None:
    ended = job(tmp_path, *PROGRAM, options=("-n", "2", *LOCAL))
    assert ended.code == 0, ended.err
    assert all_alike(ended, 2)
    own_steps = 60 - 6
    of_ddp_bytes = own_steps * 4 * PARAMETERS
    sent_bytes = max(told["sent_bytes"] for told in ended.of("exchanged"))
    assert 0 < sent_bytes < of_ddp_bytes / 40


@pytest.mark.parametrize(
    ("point", "step"),
    [
        ("vote", 10),
        pytest.param("forward", 30, marks=pytest.mark.slow),
        pytest.param("reduce", 10, marks=pytest.mark.slow),
        pytest.param("voted", 10, marks=pytest.mark.slow),
        pytest.param("apply", 10, marks=pytest.mark.slow),
        pytest.param("apply", 6, marks=pytest.mark.slow),
        pytest.param("reduce", 3, marks=pytest.mark.slow),
    ],
)
def test_a_killed_worker_costs_no_round_and_another_one_joins(
    point: str, step: int, tmp_path: Path
) -> None:
    fault: Fault = {"worker": 1, "step": step, "at": point}
    options = ("-n", "3", "--min", "3", "--spares", "1", *LOCAL)
    ended = job(tmp_path, *PROGRAM, options=options, faults=(fault,))
    assert ended.code == 0, ended.err
    assert len(ended.of("lost")) == 1
    assert any("joins" in event["reason"] for event in ended.of("epoch"))
    assert all_alike(ended, 3)


@pytest.mark.slow
@pytest.mark.parametrize("point", ["reduce", "vote", "apply"])
def test_one_that_dies_in_the_last_round_leaves_the_others_alike(
    point: str, tmp_path: Path
) -> None:
    last = len(
        {
            told["round"]
            for told in job(tmp_path / "first", *PROGRAM, options=("-n", "3", *LOCAL)).of(
                "exchanged"
            )
        }
    )
    fault: Fault = {"worker": 1, "step": 6 + last - 1, "at": point}
    ended = job(tmp_path / "second", *PROGRAM, options=("-n", "3", *LOCAL), faults=(fault,))
    assert ended.code == 0, ended.err
    assert len(set(ended.digests)) == 1


def slowed(other: int) -> Fault:
    return {
        "worker": 2,
        "step": 28,
        "at": "reduce",
        "do": "link-slow",
        "other": other,
        "bytes_per_s": 20_000,
    }


SLOWED = (slowed(0), slowed(1))
"""All links of one worker: there is no way around them."""


@pytest.mark.parametrize(
    ("apart", "by_themselves"),
    [("0.01", True), pytest.param("0.00001", False, marks=pytest.mark.slow)],
    ids=["near", "far"],
)
def test_where_a_link_becomes_slow_workers_train_by_themselves_if_they_stay_close(
    apart: str, by_themselves: bool, tmp_path: Path
) -> None:
    program = (*PROGRAM, "--apart", apart)
    options = ("-n", "3", "--mode", "adaptive")
    ended = job(tmp_path, *program, options=options, faults=SLOWED)
    assert ended.code == 0, ended.err
    assert len(set(ended.digests)) == 1
    reasons = [event["reason"] for event in ended.of("epoch")]
    assert any(text.endswith("workers train by themselves") for text in reasons) == by_themselves
    assert bool(ended.of("exchanged")) == by_themselves
    assert len(ended.of("evicted")) == int(not by_themselves)


@pytest.mark.slow
@pytest.mark.parametrize("do", ["kill", "kill-coordinator"])
def test_workers_that_began_to_train_by_themselves_go_on_whoever_dies(
    do: str, tmp_path: Path
) -> None:
    struck: Fault = {"worker": 0, "step": 34, "at": "vote", "do": do}
    options = ("-n", "3", "--min", "3", "--spares", "1", "--mode", "adaptive")
    ended = job(tmp_path, *PROGRAM, options=options, faults=(*SLOWED, struck))
    assert ended.code == 0, ended.err
    assert ended.of("exchanged")
    assert len(ended.digests) == 3
    assert len(set(ended.digests)) == 1


@pytest.mark.slow
def test_one_that_stands_still_is_evicted(tmp_path: Path) -> None:
    fault: Fault = {"worker": 2, "step": 30, "at": "forward", "do": "stop"}
    options = ("-n", "3", "--silent-s", "1.5", *LOCAL)
    ended = job(tmp_path, *PROGRAM, options=options, faults=(fault,))
    assert ended.code == 0, ended.err
    assert "worker 2 is evicted" in ended.out
    assert len(set(ended.digests)) == 1
