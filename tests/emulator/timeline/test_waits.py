"""Who is charged with whose wait."""

from collections import Counter

import pytest
from tests.emulator.timeline.journals import GROUP, late, operation, process

from cordee.emulator.timeline import Wait, timeline
from cordee.emulator.trace.records import Message, Process


def waits(processes: list[Process]) -> tuple[Wait, ...]:
    found = timeline(processes)
    assert found is not None
    return found.waits


def caused_s(processes: list[Process]) -> dict[str, float]:
    found: Counter[str] = Counter()
    for wait in waits(processes):
        for cause in wait.causes:
            found[cause] += wait.caused_s  # type: ignore[assignment]
    return dict(found)


def test_the_last_is_charged_with_the_wait_of_each_of_the_others() -> None:
    found = waits(late(rank=2, delay_s=0.03))
    assert [(wait.sufferer, wait.causes) for wait in found] == [
        ("rank 0", ("rank 2",)),
        ("rank 1", ("rank 2",)),
    ]
    assert [wait.span.length_s for wait in found] == pytest.approx([0.03, 0.03])


def test_every_collective_has_its_own_last_rank() -> None:
    first = [operation(rank, 0.01 * rank, 0.01, 0.02, ranks=2) for rank in (0, 1)]
    second = [
        operation(rank, 1 + 0.05 * (1 - rank), 1.05, 1.06, number=2, ranks=2) for rank in (0, 1)
    ]
    pairs = zip(first, second, strict=True)
    found = caused_s([process(rank, pair) for rank, pair in enumerate(pairs)])
    assert found == pytest.approx({"rank 1": 0.01, "rank 0": 0.05})


def test_a_rank_alone_waits_for_nobody() -> None:
    assert not waits([process(0, [operation(0, 1, 1, 2, ranks=1)])])


def test_a_rank_that_never_came_is_charged_until_the_others_gave_up() -> None:
    begun = [process(rank, [operation(rank, 1, None, 6, code=507048)]) for rank in (0, 1)]
    before = process(2, [operation(2, 0.1, 0.1, 0.2, number=9)])
    found = caused_s([*begun, before])
    assert found == pytest.approx({"rank 2": 10})


def test_two_that_never_came_share_the_wait_and_are_named_without_a_trace() -> None:
    found = caused_s([process(0, [operation(0, 1, None, 6, code=507048)])])
    assert found == pytest.approx({f"rank 1 of {GROUP}": 2.5, f"rank 2 of {GROUP}": 2.5})


def test_a_rank_killed_after_it_had_come_is_not_charged() -> None:
    known = [operation(0, 1.0, 1.03, 1.04), operation(1, 1.03, 1.03, 1.04)]
    found = caused_s([process(part.rank, [part]) for part in known])
    assert found == pytest.approx({"rank 1": 0.03})


def test_who_comes_after_the_others_gave_up_is_charged_with_their_whole_wait() -> None:
    gave_up = operation(0, 1, None, 3, ranks=2, code=507048)
    came = operation(1, 4, None, 4.5, ranks=2, code=507048)
    assert caused_s([process(0, [gave_up]), process(1, [came])]) == pytest.approx({"rank 1": 2})


def test_an_operation_that_never_had_its_turn_counts_as_not_come() -> None:
    never = operation(1, None, None, 2, ranks=2, code=107003)
    waiting = operation(0, 1, None, 3, ranks=2, code=507048)
    assert caused_s([process(0, [waiting]), process(1, [never])]) == pytest.approx({"rank 1": 2})


def test_a_receiver_that_comes_first_waits_for_its_sender() -> None:
    receives = operation(1, 1.0, None, 1.3, messages=(Message(False, 0, 64),))
    sends = operation(0, 1.25, None, 1.3, messages=(Message(True, 1, 64),))
    found = waits([process(0, [sends]), process(1, [receives])])
    assert [(wait.sufferer, wait.causes) for wait in found] == [("rank 1", ("rank 0",))]
    assert found[0].span.length_s == pytest.approx(0.25)


def test_messages_between_two_ranks_are_paired_in_their_order() -> None:
    sends = [operation(0, t, None, t + 0.1, messages=(Message(True, 1, 8),)) for t in (1.0, 2.0)]
    receives = [
        operation(1, t, None, t + 0.1, messages=(Message(False, 0, 8),)) for t in (1.0, 1.5)
    ]
    found = waits([process(0, sends), process(1, receives)])
    assert [wait.operation for wait in found] == [receives[1]]


def test_a_batch_waits_for_its_latest_peer() -> None:
    batch = operation(0, 1.0, None, 1.5, messages=(Message(True, 1, 8), Message(False, 2, 8)))
    one = operation(1, 1.1, None, 1.5, messages=(Message(False, 0, 8),))
    two = operation(2, 1.4, None, 1.5, messages=(Message(True, 0, 8),))
    found = waits([process(part.rank, [part]) for part in (batch, one, two)])
    assert [(wait.sufferer, wait.causes) for wait in found] == [("rank 0", ("rank 2",))]
    assert found[0].span.length_s == pytest.approx(0.4)


def test_a_message_whose_peer_never_came_is_charged_to_the_peer() -> None:
    lonely = operation(0, 1, None, 5, messages=(Message(False, 1, 8),), code=507048)
    assert caused_s([process(0, [lonely])]) == pytest.approx({f"rank 1 of {GROUP}": 4})
