"""Is a slow link named, where all come together and the reduction takes long?"""

from itertools import combinations

from cordee.train.policy.links import (
    DOUBT_STEPS,
    LOST_S,
    QUIET_STEPS,
    STEPS,
    STEPS_LEAST,
    USUAL_STEPS,
    Found,
    Links,
)

MEMBERS = (0, 1, 2, 3)
ALL = list(combinations(MEMBERS, 2))
FAST = 400e6


def known() -> Links:
    links = Links()
    for _ in range(USUAL_STEPS):
        assert links.reduced(0.1, 0.0, MEMBERS) == []
    return links


def probed(rates: dict[tuple[int, int], float]) -> Found:
    links = known()
    for _ in range(STEPS_LEAST):
        pairs = links.reduced(LOST_S, 0.0, MEMBERS)
    assert pairs == ALL
    found = [links.probed(pair, rates.get(pair, FAST)) for pair in pairs]
    assert found[:-1] == [None] * (len(ALL) - 1)
    assert found[-1] is not None
    return found[-1]


def test_reductions_that_take_long_again_and_again_are_looked_into_once() -> None:
    links = known()
    asked = [links.reduced(0.35, 0.0, MEMBERS) for _ in range(QUIET_STEPS)]
    assert [step for step, pairs in enumerate(asked) if pairs] == [STEPS - 1]


def test_after_a_probe_that_named_a_link_it_takes_long_until_the_next_and_else_not() -> None:
    for rates, quiet in (({(1, 3): 2e6}, QUIET_STEPS), ({}, DOUBT_STEPS)):
        links = known()
        links.reduced(1.0, 0.0, MEMBERS)
        for pair in links.reduced(1.0, 0.0, MEMBERS):
            links.probed(pair, rates.get(pair, FAST))
        asked = [links.reduced(1.0, 0.0, MEMBERS) for _ in range(2 * QUIET_STEPS)]
        assert next(step for step, pairs in enumerate(asked) if pairs) == quiet - 1


def test_where_much_time_is_lost_two_are_enough_and_the_second_one_is_not_waited_for() -> None:
    links = known()
    assert links.under_way(60.0, 0.0, MEMBERS) == []
    assert links.reduced(0.7, 0.0, MEMBERS) == []
    assert links.under_way(0.3, 0.0, MEMBERS) == []
    assert links.under_way(0.6, 0.0, MEMBERS) == ALL


def test_of_the_same_members_as_much_is_expected_in_another_group() -> None:
    links = known()
    links.changed(MEMBERS)
    for _ in range(USUAL_STEPS):
        links.reduced(0.1, 0.0, MEMBERS)
    links.changed(MEMBERS)
    assert links.reduced(1.0, 0.0, MEMBERS) == []
    assert links.reduced(1.0, 0.0, MEMBERS) == ALL


def test_where_one_was_waited_for_no_link_is_suspected() -> None:
    links = known()
    assert not any(links.reduced(1.0, 0.9, MEMBERS) for _ in range(3 * STEPS))


def test_one_long_reduction_is_none() -> None:
    links = known()
    for _ in range(10):
        assert links.reduced(1.0, 0.0, MEMBERS) == []
        assert links.reduced(0.1, 0.0, MEMBERS) == []


def test_the_link_of_a_pair_is_named() -> None:
    found = probed({(1, 3): 2e6})
    told = "the link between workers 1 and 3 is slow: 2.0 MB/s, 400.0 MB/s between others"
    assert (found.text, found.ends) == (told, (1, 3))


def test_the_link_of_one_to_all_others_is_named() -> None:
    slow = {pair: 3e6 for pair in ALL if 2 in pair}
    found = probed(slow)
    told = "the link of worker 2 is slow: 3.0 MB/s to others, 400.0 MB/s between them"
    assert (found.text, found.ends) == (told, (2,))


def test_a_pair_that_is_far_slower_than_all_is_named_although_another_link_of_its_end_was_busy() -> (
    None
):
    found = probed({(1, 2): 0.05e6, (0, 1): 40e6, (1, 3): 40e6})
    assert found.ends == (1, 2)


def test_it_is_told_where_no_link_stands_out() -> None:
    found = probed({})
    assert "no link stands out" in found.text
    assert found.ends == ()


def test_a_probe_of_a_group_that_is_no_more_says_nothing() -> None:
    links = known()
    for _ in range(STEPS_LEAST):
        links.reduced(1.0, 0.0, MEMBERS)
    links.changed(MEMBERS[1:])
    assert not any(links.probed(pair, FAST) for pair in ALL)
