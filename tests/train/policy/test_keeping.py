"""When is a state kept, and which are removed?"""

from cordee.train.policy.keeping import Rhythm, superfluous


def kept(every: int, steps: list[int]) -> list[int]:
    rhythm, found = Rhythm(every), []
    for step in steps:
        if rhythm.due(step):
            rhythm.last = step
            found.append(step)
    return found


def test_a_state_is_kept_at_multiples() -> None:
    assert kept(1, [1, 2, 3]) == [1, 2, 3]
    assert kept(4, list(range(1, 13))) == [4, 8, 12]


def test_one_that_was_missed_is_made_up_for() -> None:
    assert kept(4, [1, 2, 3, 5, 6, 7, 8]) == [5, 8]


def test_a_job_that_goes_back_keeps_its_new_states() -> None:
    assert kept(1, [1, 2, 3, 2, 3, 4]) == [1, 2, 3, 2, 3, 4]


def test_the_last_two_checkpoints_stay() -> None:
    assert superfluous([10, 20, 30], 30) == [10]
    assert superfluous([10], 10) == []


def test_what_was_not_good_to_go_on_from_does_not_displace_what_is() -> None:
    assert superfluous([40, 30, 21, 20, 10], 21) == [40, 30, 10]
