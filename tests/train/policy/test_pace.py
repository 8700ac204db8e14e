"""Do shards move away from a slow worker, come back, and stay where they are otherwise?"""

import random

from cordee.train.policy.pace import EVICT_STEPS, STEPS, Late, Move, Pace, TooSlow
from cordee.train.policy.shards import even

MEMBERS = (0, 1, 2)


def run(
    pace: Pace, owners: tuple[int, ...], trace: list[dict[int, float]]
) -> tuple[tuple[int, ...], list[Move | TooSlow]]:
    """A job of which a trace says how long each member takes for a shard in each step."""
    made: list[Move | TooSlow] = []
    for step, shard_s in enumerate(trace):
        for member in set(owners):
            came_s = 100 * step + owners.count(member) * shard_s[member]
            pace.arrived(member, shard_s[member], came_s)
        pace.late()
        found = pace.stepped(owners, sorted(set(owners)))
        if isinstance(found, Move):
            owners = found.owners
        if found is not None:
            made.append(found)
    return owners, made


def steps(count: int, *shard_s: float) -> list[dict[int, float]]:
    return [dict(enumerate(shard_s))] * count


def evenly(shards: int) -> tuple[int, ...]:
    return tuple(even(shards, MEMBERS))


def test_one_three_times_slower_gets_fewer_shards_and_all_of_them_back_when_it_is_fast_again() -> (
    None
):
    pace = Pace()
    owners, made = run(pace, evenly(9), steps(20, 1.0, 1.0, 3.0))
    assert [owners.count(member) for member in MEMBERS] == [4, 4, 1]
    (move,) = made
    assert isinstance(move, Move)
    assert move.text == (
        "worker 2 takes 3.0 times as long for a shard as others do: it gets 1 of 9 shards"
    )
    owners, made = run(pace, owners, steps(20, 1.0, 1.0, 1.0))
    assert owners == evenly(9)
    assert [move.text for move in made] == ["all are about as fast: shards are spread evenly"]


def test_noise_moves_nothing() -> None:
    dice = random.Random(0)
    trace = [{member: dice.uniform(0.8, 1.25) for member in MEMBERS} for _ in range(2000)]
    assert run(Pace(), evenly(12), trace) == (evenly(12), [])


def test_one_step_in_which_someone_was_slow_moves_nothing() -> None:
    trace = steps(20, 1.0, 1.0, 1.0) + steps(STEPS - 2, 1.0, 1.0, 9.0) + steps(20, 1.0, 1.0, 1.0)
    assert run(Pace(), evenly(9), trace) == (evenly(9), [])


def test_one_on_the_edge_does_not_make_shards_go_to_and_fro() -> None:
    dice = random.Random(1)
    trace = [{0: 1.0, 1: 1.0, 2: dice.uniform(1.3, 1.7)} for _ in range(2000)]
    _, made = run(Pace(), evenly(9), trace)
    assert len(made) <= 2


def test_where_there_is_nothing_to_give_away_nothing_moves() -> None:
    owners, made = run(Pace(), evenly(3), steps(EVICT_STEPS, 1.0, 1.0, 3.0))
    assert owners == evenly(3)
    assert made == []


def test_one_that_is_too_slow_for_one_shard_is_to_leave() -> None:
    owners, made = run(Pace(), evenly(9), steps(STEPS + 5 + EVICT_STEPS, 1.0, 1.0, 50.0))
    assert owners.count(2) == 1
    assert isinstance(made[-1], TooSlow)
    assert made[-1].worker == 2
    assert made[-1].text == "takes 50.0 times as long for a shard as others do"


def test_who_came_last_is_named_with_how_long_the_first_one_waited() -> None:
    pace = Pace()
    for member, now_s in ((1, 5.0), (0, 5.25), (2, 7.0)):
        pace.arrived(member, 1.0, now_s)
    assert pace.late() == Late(2, 2.0, 7.0)
    assert pace.late() is None


def test_shards_stay_where_they_are_if_that_is_asked_for() -> None:
    assert run(Pace(moves=False), evenly(9), steps(50, 1.0, 1.0, 9.0)) == (evenly(9), [])
