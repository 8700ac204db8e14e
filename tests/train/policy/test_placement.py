"""How many workers can hosts run, when some are full, broken or have fallen?"""

from cordee.train.policy.placement import FUTILE_MOST, Host, place, room


def test_hosts_without_a_limit_have_room_for_all() -> None:
    assert room([Host(0, most=2), Host(1)]) is None
    assert room([Host(0, most=2), Host(1, most=1)]) == 3
    assert room([]) == 0


def test_a_host_on_which_workers_end_early_has_room_for_those_that_run_there() -> None:
    broken = Host(1, running={4}, futile=FUTILE_MOST)
    assert room([Host(0, most=2), broken]) == 3
    assert place([Host(0, most=2), broken], 9) == [0, 0]
