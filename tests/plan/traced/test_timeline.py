"""Hosts, chips and links over time, by hand."""

import pytest

from cordee.core.errors import UsageError
from cordee.plan.traced.items import fused
from cordee.plan.traced.timeline import Item, Kernel, Meeting, Messages, run


def kernel(chip_s: float, host_s: float = 0.0, *, waits: bool = False) -> Kernel:
    return Kernel("matrix products", chip_s, host_s, waits, 0)


def meeting(number: int, seconds: float, beside: float = 0.0) -> Meeting:
    return Meeting(("all", number), 2, seconds, beside, 0.0, 0)


def message(sender: int, receiver: int, number: int, *, sends: bool) -> Messages:
    key = ("pair", sender, receiver, number)
    return Messages(((key, 0.5),) if sends else (), () if sends else (key,), 0.0, 0)


def test_a_chip_waits_for_a_host_that_is_slower() -> None:
    over = run([[kernel(1.0, 2.0), kernel(1.0, 2.0)]])
    assert over.seconds == 5.0
    assert over.parts["host"] == 3.0


def test_a_host_that_runs_ahead_costs_nothing() -> None:
    over = run([[kernel(5.0, 1.0), kernel(1.0, 2.0), kernel(1.0, 2.0)]])
    assert over.seconds == 8.0
    assert over.parts["host"] == 1.0


def test_a_host_that_asks_for_a_result_starts_anew() -> None:
    over = run([[kernel(5.0, 1.0, waits=True), kernel(1.0, 2.0)]])
    assert over.seconds == 9.0


def test_a_collective_begins_when_all_are_there() -> None:
    over = run([[kernel(1.0), meeting(1, 2.0)], [kernel(4.0), meeting(1, 2.0)]])
    assert over.seconds == 6.0


def test_one_that_runs_beside_is_waited_for_in_the_end() -> None:
    short: list[Item] = [meeting(1, 2.0, beside=1.0), kernel(1.0)]
    assert run([short, short]).seconds == 2.0
    long: list[Item] = [meeting(1, 2.0, beside=1.0), kernel(3.0)]
    assert run([long, long]).seconds == 3.0


def test_the_second_of_two_stages_waits_for_the_first_and_back() -> None:
    first: list[Item] = [
        kernel(1.0), message(0, 1, 1, sends=True), kernel(1.0), message(0, 1, 2, sends=True),
        message(1, 0, 1, sends=False), kernel(2.0), message(1, 0, 2, sends=False), kernel(2.0),
    ]  # fmt: skip
    second: list[Item] = [
        message(0, 1, 1, sends=False), kernel(1.0), message(0, 1, 2, sends=False), kernel(1.0),
        kernel(2.0), message(1, 0, 1, sends=True), kernel(2.0), message(1, 0, 2, sends=True),
    ]  # fmt: skip
    # Forward 0 to 2 and 1.5 to 3.5; backward of the second to 5.5 and 7.5, of the first from 8.0 at the latest.
    over = run([first, second])
    assert over.seconds == 10.0


def test_messages_that_cross_do_not_wait_for_each_other() -> None:
    there, back = ("pair", 0, 1, 1), ("pair", 1, 0, 1)
    left: list[Item] = [Messages(((there, 0.5),), (back,), 0.0, 0)]
    right: list[Item] = [Messages(((back, 0.5),), (there,), 0.0, 0)]
    assert run([left, right]).seconds == 0.5


def test_a_word_that_never_comes_is_named() -> None:
    with pytest.raises(UsageError, match="rank 0 of the trace waits"):
        run([[meeting(1, 1.0)], []])


def test_kernels_between_two_products_are_one_where_they_are_fused() -> None:
    small, large = (Kernel("vector kernels", seconds, 0.1, False, 0) for seconds in (1.0, 3.0))
    value = Kernel("vector kernels", 1.0, 0.1, waits=True, module=0)
    items = [small, large, small, kernel(5.0), small, value, small]
    assert fused(items) == [large, kernel(5.0), small, value, small]
