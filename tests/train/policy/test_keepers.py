"""Who keeps parts of a model for a host that may fall?"""

from dataclasses import replace

from cordee.train.policy.comers import seated
from cordee.train.policy.effects import Copies, Note, Seat
from cordee.train.policy.keepers import ALONE, Keepers, homes, keepers
from cordee.train.policy.membership import Membership
from cordee.train.policy.succession import known, recalled
from cordee.train.policy.trust import Checks
from cordee.train.policy.workers import Limits, Report, Worker


def test_each_host_gives_its_parts_to_the_next_one_of_a_ring() -> None:
    columns, hosts = [[0], [1], [2]], {0: 0, 1: 1, 2: 4}
    assert keepers(columns, hosts) == {0: 1, 1: 2, 2: 0}
    assert homes(columns, hosts) == {0: {0, 1}, 1: {1, 4}, 2: {4, 0}}


def test_workers_of_the_next_host_have_as_many_parts_to_keep_each() -> None:
    hosts = {0: 0, 1: 1, 2: 0, 3: 1}
    assert keepers([[0], [1], [2], [3]], hosts) == {0: 1, 1: 0, 2: 3, 3: 2}
    assert keepers([[0], [2], [1]], hosts) == {0: 1, 2: 1, 1: 0}


def test_a_part_that_two_hosts_have_is_given_to_no_other_one() -> None:
    assert keepers([[0, 3], [1, 2]], {0: 0, 1: 1, 2: 1, 3: 2}) == {1: 3}


def test_a_host_without_members_keeps_parts_only_where_all_members_are_on_one() -> None:
    assert keepers([[0], [1]], {0: 0, 1: 2, 7: 1}) == {0: 1, 1: 0}
    assert keepers([[0], [1]], {0: 0, 1: 0, 7: 1}) == {0: 7, 1: 7}
    assert keepers([[0], [1]], {0: 0, 1: 0}) == {}


def workers(hosts: dict[int, int], places: dict[int, int]) -> dict[int, Worker]:
    return {n: Worker(n, 0.0, place=places.get(n), host=host) for n, host in hosts.items()}


def test_who_gives_what_to_whom_is_told_when_it_changes() -> None:
    made = Keepers()
    places = {0: 0, 1: 1}
    assert made.decide(workers({0: 0, 1: 1}, places), (0, 1), 2) == [Copies(((0, 1), (1, 0)))]
    assert made.decide(workers({0: 0, 1: 1, 2: 0}, places), (0, 1), 2) == []
    places[2] = 1  # on the other host's place, after that fell
    assert made.decide(workers({0: 0, 2: 0}, places), (0,), 2) == []  # it has no state yet
    assert made.homes == {0: {0, 1}, 1: {1, 0}}
    told = made.decide(workers({0: 0, 2: 0}, places), (0, 2), 2)
    assert told == [Copies(((0, None), (2, None))), Note("one-host", ALONE)]
    assert made.decide(workers({0: 0, 2: 0}, places), (0, 2), 2) == []  # it is said once
    told = made.decide(workers({0: 0, 2: 0, 3: 1}, places), (0, 2), 2)
    assert told == [Copies(((0, 3), (2, 3)))]


def test_nothing_is_told_where_each_member_has_all_of_the_model() -> None:
    assert Keepers().decide(workers({0: 0, 1: 1}, {0: 0, 1: 0}), (0, 1), 1) == []


def test_a_place_goes_to_one_on_a_host_that_has_the_part() -> None:
    there = workers({0: 0, 3: 1, 4: 2, 5: 0}, {0: 0})
    limits = Limits(shards=4, workers=2, replica=2)
    assert seated(there.values(), limits, {1: {2, 3}}) == [Seat(4, 1)]
    there = workers({0: 0, 3: 1, 5: 0}, {0: 0})
    assert seated(there.values(), limits, {1: {2, 3}}) == [Seat(3, 1)]


def test_another_coordinator_knows_which_hosts_have_parts() -> None:
    made = Membership(Limits(shards=4, workers=2, replica=2))
    for number in (0, 1):
        made.joined(number, 0.0, host=number)
        made.ready(number, 0.0)
    for number in (0, 1):
        made.reported(number, made.epoch, Report(0, reduced=False, held=()), 0.0)
    before = replace(known(made, 0, {}, None), placed=((0, 0), (1, 1)))
    again = recalled(made.limits, Checks(), before)
    assert again.keepers.homes == {0: {0, 1}, 1: {1, 0}}
