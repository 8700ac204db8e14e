"""Which chips of a computer get workers?"""

from cordee.train.chips import REST_S, Chips


def test_each_worker_gets_a_chip_of_its_own_as_long_as_there_are_some() -> None:
    chips = Chips([4, 5])
    assert [chips.take(worker, 0.0) for worker in (0, 1, 2)] == [4, 5, 4]
    chips.leave(1)
    assert chips.take(3, 0.0) == 5
    assert chips.most(0.0) is None


def test_without_chips_workers_get_none() -> None:
    chips = Chips([])
    assert chips.take(0, 0.0) is None
    assert chips.most(0.0) is None
    assert chips.rest(0, 0.0) == 0.0


def test_a_chip_that_reckons_wrongly_is_not_used_again() -> None:
    chips = Chips([4, 5])
    chips.take(0, 0.0)
    chips.distrust(0)
    chips.leave(0)
    assert chips.most(0.0) == 1
    assert chips.take(1, 1e9) == 5


def test_a_chip_whose_link_fails_again_and_again_rests_twice_as_long_each_time() -> None:
    chips, now_s = Chips([4, 5]), 0.0
    chips.take(0, now_s)
    for worker, times in ((1, 1), (2, 2), (3, 4)):
        assert chips.take(worker, now_s) == 5
        assert chips.rest(worker, now_s) == times * REST_S
        chips.leave(worker)
        now_s += times * REST_S
        assert chips.most(now_s - 0.1) == 1
        assert chips.most(now_s) is None


def test_a_chip_that_rests_is_taken_only_where_there_is_no_other() -> None:
    chips = Chips([4])
    chips.take(0, 0.0)
    chips.rest(0, 0.0)
    chips.leave(0)
    assert chips.most(1.0) == 0
    assert chips.take(1, 1.0) == 4
