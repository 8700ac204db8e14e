"""How many threads make a step follows from what steps took, and others are tried again."""

from collections import Counter

from cordee.serve.engine.operators.threads import Threads


def chosen(threads: Threads, took_s: dict[int, float], rows: int = 8, steps: int = 96) -> int:
    """What is chosen most where a step takes so long with so many threads."""
    counts: Counter[int] = Counter()
    for _ in range(steps):
        now = threads.of(rows)
        threads.took(rows, now, took_s[now])
        counts[now] += 1
    assert len(counts) == 2  # both are tried
    return counts.most_common(1)[0][0]


def test_all_are_used_where_that_is_faster() -> None:
    assert chosen(Threads(4), {3: 0.004, 4: 0.003}) == 4


def test_one_is_left_out_where_all_get_in_each_others_way() -> None:
    assert chosen(Threads(4), {3: 0.001, 4: 0.002}) == 3


def test_what_changes_is_noticed() -> None:
    threads = Threads(2)
    assert chosen(threads, {1: 0.001, 2: 0.002}) == 1
    assert chosen(threads, {1: 0.003, 2: 0.002}, steps=960) == 2


def test_steps_of_other_sizes_are_looked_at_apart() -> None:
    threads = Threads(2)
    assert chosen(threads, {1: 0.001, 2: 0.002}, rows=1) == 1
    assert chosen(threads, {1: 0.009, 2: 0.005}, rows=100) == 2


def test_a_number_that_is_given_stays() -> None:
    threads = Threads(8, given=3)
    assert {threads.of(rows) for rows in range(1, 200)} == {3}


def test_one_core_makes_every_step() -> None:
    threads = Threads(1)
    assert {threads.of(rows) for rows in range(1, 200)} == {1}


def test_a_step_that_was_held_up_changes_nothing() -> None:
    threads = Threads(2)
    assert chosen(threads, {1: 0.004, 2: 0.003}) == 2
    threads.took(8, 2, 0.9)
    assert threads.of(8) == 2
