"""The queue of a deployment, event by event, against what can be reckoned by hand."""

from collections.abc import Callable

import pytest

from cordee.plan.costs.passes import Batch
from cordee.plan.serving.queue import Simulation, Stations
from cordee.plan.serving.replica import Replica, Request, Rules


def second(batch: Batch) -> float:
    """Each pass takes a second, whatever is in it."""
    return 1.0


def rules(pass_s: Callable[[Batch], float] = second, **given: float) -> Rules:
    usual = {"groups": 1, "room": 1e9, "chunk": 8192, "mixed": True, "most": 1000}
    return Rules(pass_s=pass_s, **{**usual, **given})  # type: ignore[arg-type]


def run(
    requests: list[Request], own: Rules, clients: int | None = None
) -> tuple[list[Request], Replica]:
    replica = Replica(own)
    done = Simulation(Stations(decode=[replica]), requests, clients).run()
    return list(done), replica


def test_a_request_alone_takes_one_pass_for_its_prompt_and_one_for_each_further_token() -> None:
    (one,), _ = run([Request(0, 5.0, prompt=100, answer=10)], rules())
    assert one.first_s == pytest.approx(6.0)
    assert one.end_s == pytest.approx(15.0)


def test_a_long_prompt_is_read_in_pieces() -> None:
    (one,), _ = run([Request(0, 0.0, prompt=1000, answer=1)], rules(chunk=256))
    assert one.first_s == pytest.approx(4.0)


def test_who_comes_during_a_stride_is_read_in_the_next_pass() -> None:
    first = Request(0, 0.0, prompt=10, answer=100)
    second_one = Request(1, 10.5, prompt=10, answer=2)
    run([first, second_one], rules())
    assert second_one.first_s == pytest.approx(12.0)
    assert second_one.end_s == pytest.approx(13.0)
    # Its prompt was read beside a token of the first, so that the first lost nothing.
    assert first.end_s == pytest.approx(100.0)


def test_an_engine_that_looks_for_newcomers_every_30_passes_notices_them_late() -> None:
    first = Request(0, 0.0, prompt=10, answer=100)
    second_one, third = (
        Request(n, came, prompt=10, answer=2) for n, came in ((1, 10.5), (2, 31.5))
    )
    run([first, second_one, third], rules(polls=30))
    assert second_one.first_s == pytest.approx(32.0)
    # Behind a pass that read a prompt it looks at once.
    assert third.first_s == pytest.approx(33.0)


def test_a_look_that_nobody_was_there_for_counts_too() -> None:
    first = Request(0, 0.0, prompt=10, answer=100)
    late = Request(1, 65.5, prompt=10, answer=2)
    run([first, late], rules(polls=30))
    assert late.first_s == pytest.approx(92.0)


def test_where_prompts_go_first_the_others_wait_for_a_pass() -> None:
    first = Request(0, 0.0, prompt=10, answer=100)
    run([first, Request(1, 10.5, prompt=10, answer=2)], rules(mixed=False))
    assert first.end_s == pytest.approx(101.0)


def test_prompts_wait_for_others_until_all_groups_have_one_or_long_enough() -> None:
    own = rules(groups=2, gathers=5)
    first = [Request(n, 0.0, prompt=10, answer=100) for n in range(2)]
    second_one, third = (Request(n, came, 10, 2) for n, came in ((2, 11.5), (3, 13.5)))
    last = Request(4, 30.5, 10, 2)
    run([*first, second_one, third, last], own)
    assert [one.first_s for one in first] == pytest.approx([1.0, 2.0])  # a group has none under way
    assert second_one.first_s == third.first_s == pytest.approx(15.0)  # in one pass
    assert last.first_s == pytest.approx(35.0)  # nobody else came: every fifth pass counts


def test_a_group_that_gathers_reads_only_what_it_has_itself() -> None:
    own = rules(groups=2, gathers=5, chunk=10)
    first = [Request(n, 0.0, prompt=10, answer=100) for n in range(2)]
    later = [Request(n, 11.5, prompt=10, answer=50) for n in range(2, 5)]
    run([*first, *later], own)
    # Two groups have three prompts: the third waits again.
    assert [one.first_s for one in later] == pytest.approx([13.0, 13.0, 18.0])


def test_no_more_requests_are_under_way_than_there_is_room_for() -> None:
    requests = [Request(n, 0.0, prompt=100, answer=2) for n in range(3)]
    done, _ = run(requests, rules(room=250))
    assert sorted(one.first_s for one in done)[-1] > sorted(one.first_s for one in done)[0]
    done, _ = run([Request(n, 0.0, prompt=100, answer=2) for n in range(3)], rules(most=1))
    assert [one.first_s for one in done] == pytest.approx([1.0, 3.0, 5.0])


def test_for_want_of_room_the_last_one_is_put_back_and_still_gets_all_its_tokens() -> None:
    requests = [Request(n, 0.0, prompt=100, answer=200) for n in range(3)]
    done, replica = run(requests, rules(room=500))
    assert replica.preempted > 0
    assert all(one.given == 200 for one in done)
    # In the end nothing is kept.
    assert replica.kept == pytest.approx(0)
    assert replica.held == pytest.approx(0)
    assert replica.claimed == pytest.approx(0)


def test_an_engine_that_reserves_room_for_answers_puts_nobody_back() -> None:
    requests = [Request(n, 0.0, prompt=100, answer=200) for n in range(3)]
    _, replica = run(requests, rules(room=650, reserved=1.0))
    assert replica.preempted == 0


def test_two_tokens_in_a_pass_halve_the_passes() -> None:
    (one,), _ = run([Request(0, 0.0, prompt=10, answer=101)], rules(per_pass=2.0))
    assert one.end_s == pytest.approx(51.0)


def test_clients_send_their_next_request_when_they_have_their_answer() -> None:
    requests = [Request(n, 0.0, prompt=10, answer=10) for n in range(6)]
    done, _ = run(requests, rules(), clients=2)
    assert max(one.end_s for one in done) == pytest.approx(30.0, abs=3)
    assert sum(one.arrival_s == 0.0 for one in done) == 2


def test_prompts_read_apart_travel_before_their_second_token() -> None:
    reader = Replica(rules(gives=False))
    giver = Replica(rules())
    stations = Stations(decode=[giver], prefill=[reader], transfer_s=lambda prompt: 3.0)
    (one,) = Simulation(stations, [Request(0, 0.0, prompt=10, answer=3)], None).run()
    assert one.first_s == pytest.approx(4.0)
    assert one.end_s == pytest.approx(6.0)


def test_prompts_read_apart_wait_for_a_copy_that_has_less_under_way_than_it_may() -> None:
    reader = Replica(rules(gives=False, mixed=False, most=None))
    giver = Replica(rules(most=1))
    stations = Stations(decode=[giver], prefill=[reader])
    both = [Request(n, 0.0, prompt=100, answer=11) for n in range(2)]
    Simulation(stations, both, None).run()
    assert both[0].end_s == pytest.approx(11.0)
    assert both[1].first_s == pytest.approx(11.0)


def test_copies_share_what_comes() -> None:
    copies = [Replica(rules(most=1)) for _ in range(2)]
    requests = [Request(n, 0.0, prompt=10, answer=10) for n in range(4)]
    done = Simulation(Stations(decode=copies), requests, None).run()
    assert max(one.end_s for one in done) == pytest.approx(20.0)
