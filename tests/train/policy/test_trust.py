"""Who is believed where members have reckoned differently, or oddly?"""

from collections.abc import Mapping
from dataclasses import replace

from cordee.train.policy.trust import (
    KNOWN_LEAST,
    SKIPPED_MOST,
    Agreed,
    Ask,
    Checks,
    Guilty,
    Norms,
    Opinion,
    Stop,
    Trust,
    Vote,
    other_for,
)

RIGHT, WRONG = Opinion(3, 111, 2.0), Opinion(3, 222, 2.0)
NAN = Opinion(3, 333, None, "nonfinite")


def states(*digests: int) -> dict[int, Vote]:
    return {number: Vote(state) for number, state in enumerate(digests)}


def shards(opinions: Mapping[int, tuple[Opinion, ...]], members: int = 3) -> dict[int, Vote]:
    return {number: Vote(opinions=opinions.get(number, ())) for number in range(members)}


def test_members_with_the_same_parameters_are_believed() -> None:
    assert Trust().verdict(4, states(7, 7, 7)) == Agreed()


def test_one_with_other_parameters_than_most_is_guilty() -> None:
    verdict = Trust().verdict(4, states(7, 7, 8))
    assert verdict == Guilty((2,), "has other parameters at step 4 than the others have")


def test_two_that_differ_make_their_last_step_again_and_the_one_that_gets_another_state_is_guilty() -> (
    None
):
    trust, votes = Trust(), states(7, 8)
    ask = trust.verdict(4, votes)
    assert isinstance(ask, Ask)
    assert ask.redo
    redone = {0: replace(votes[0], redone=7), 1: replace(votes[1], redone=7)}
    verdict = trust.verdict(4, redone)
    assert verdict == Guilty((1,), "has other parameters at step 4 than its last step gives")


def test_two_that_differ_whatever_they_do_end_the_job() -> None:
    votes = {0: Vote(7, 7), 1: Vote(8, 8)}
    assert isinstance(Trust().verdict(4, votes), Stop)
    assert isinstance(Trust().verdict(4, {0: Vote(7, 0), 1: Vote(8, 0)}), Stop)


def test_one_that_has_just_come_is_no_witness_for_who_fed_it() -> None:
    trust = Trust()
    assert trust.verdict(3, states(7, 7, 7)) == Agreed()
    votes = {0: Vote(7), 1: Vote(8), 3: Vote(8)}  # 2 is gone; 3 was fed by 1
    assert isinstance(trust.verdict(4, votes), Ask)
    redone = {0: Vote(7, 7), 1: Vote(8, 7), 3: Vote(8, 0)}
    verdict = trust.verdict(4, redone)
    assert verdict == Guilty((1, 3), "has other parameters at step 4 than its last step gives")


def test_who_has_fed_one_wrongly_is_found_by_two_others_and_both_are_guilty() -> None:
    trust = Trust()
    assert trust.verdict(3, states(7, 7, 7)) == Agreed()
    votes = {0: Vote(7), 1: Vote(8), 2: Vote(7), 3: Vote(8), 4: Vote(8)}
    verdict = trust.verdict(4, votes)
    assert verdict == Guilty((1, 3, 4), "has other parameters at step 4 than the others have")


def test_one_that_has_come_is_a_witness_once_it_had_the_parameters_of_all() -> None:
    trust = Trust()
    assert trust.verdict(3, states(7, 7)) == Agreed()
    assert trust.verdict(4, states(8, 8, 8)) == Agreed()
    assert isinstance(trust.verdict(5, states(9, 1, 9)), Guilty)


def test_a_third_decides_who_computed_a_shard_wrongly() -> None:
    trust = Trust()
    ask = trust.verdict(4, shards({0: (WRONG,), 2: (RIGHT,)}))
    assert ask == Ask(((1, 3),), False, "members differ on shard 3")
    verdict = trust.verdict(4, shards({0: (WRONG,), 1: (RIGHT,), 2: (RIGHT,)}))
    assert verdict == Guilty((0,), "computes shard 3 of step 4 otherwise than others do")


def test_where_there_is_no_third_the_one_is_guilty_that_does_not_repeat_what_it_said() -> None:
    trust = Trust()
    ask = trust.verdict(4, shards({0: (WRONG,), 1: (RIGHT,)}, 2))
    assert isinstance(ask, Ask)
    assert ask.shards == ((0, 3), (1, 3))
    verdict = trust.verdict(4, shards({0: (WRONG, RIGHT), 1: (RIGHT, RIGHT)}, 2))
    assert isinstance(verdict, Guilty)
    assert verdict.workers == (0,)
    stuck = trust.verdict(4, shards({0: (WRONG, WRONG), 1: (RIGHT, RIGHT)}, 2))
    assert isinstance(stuck, Stop)


def test_a_program_that_never_computes_the_same_is_not_blamed_on_a_chip() -> None:
    trust, third = Trust(), Opinion(3, 444, 2.0)
    ask = trust.verdict(4, shards({0: (WRONG,), 1: (RIGHT,), 2: (third,)}))
    assert isinstance(ask, Ask)
    assert ask.shards == ((0, 3), (1, 3), (2, 3))
    verdict = trust.verdict(4, shards({0: (WRONG, third), 1: (RIGHT, WRONG), 2: (third, RIGHT)}))
    assert isinstance(verdict, Agreed)
    assert "shards are not compared" in verdict.note
    assert trust.verdict(5, shards({0: (WRONG,), 2: (RIGHT,)})) == Agreed()


def test_two_that_err_on_the_same_shard_are_both_found_as_the_third_repeats_itself() -> None:
    trust, third = Trust(), Opinion(3, 444, 2.0)
    assert isinstance(trust.verdict(4, shards({0: (WRONG,), 1: (RIGHT,), 2: (third,)})), Ask)
    verdict = trust.verdict(4, shards({0: (WRONG, RIGHT), 1: (RIGHT, RIGHT), 2: (third, RIGHT)}))
    assert isinstance(verdict, Guilty)
    assert verdict.workers == (0, 2)


def test_a_gradient_that_is_not_finite_is_computed_elsewhere_first() -> None:
    trust = Trust()
    ask = trust.verdict(4, shards({2: (NAN,)}))
    assert isinstance(ask, Ask)
    assert ask.shards == ((0, 3),)
    verdict = trust.verdict(4, shards({0: (RIGHT,), 2: (NAN,)}))
    assert isinstance(verdict, Guilty)
    assert verdict.workers == (2,)


def test_one_that_is_not_finite_anywhere_is_the_programs_own() -> None:
    votes = shards({0: (NAN,), 2: (NAN,)})
    skipped = Trust().verdict(4, votes)
    assert isinstance(skipped, Agreed)
    assert skipped.skip
    assert "is not finite, whoever computes it" in skipped.note
    stopped = Trust(Checks(nonfinite="stop")).verdict(4, votes)
    assert isinstance(stopped, Stop)
    applied = Trust(Checks(nonfinite="go-on")).verdict(4, votes)
    assert isinstance(applied, Agreed)
    assert not applied.skip


def test_a_program_that_has_no_finite_gradient_any_more_ends() -> None:
    trust = Trust()
    for step in range(SKIPPED_MOST - 1):
        assert isinstance(trust.verdict(step, shards({0: (NAN,), 2: (NAN,)})), Agreed)
    assert isinstance(trust.verdict(SKIPPED_MOST, shards({0: (NAN,), 2: (NAN,)})), Stop)


def test_one_worker_alone_asks_itself_again() -> None:
    ask = Trust().verdict(4, shards({0: (NAN,)}, 1))
    assert isinstance(ask, Ask)
    assert ask.shards == ((0, 3),)
    verdict = Trust().verdict(4, shards({0: (NAN, RIGHT)}, 1))
    assert isinstance(verdict, Agreed)
    assert verdict.skip, "what was added up has it in it"


def test_without_bits_norms_are_compared() -> None:
    near, far = Opinion(3, 0, 2.001), Opinion(3, 0, 900.0)
    about = Opinion(3, 0, 2.0)
    assert Trust().verdict(4, shards({0: (about,), 1: (near,)})) == Agreed()
    verdict = Trust().verdict(4, shards({0: (about,), 1: (near,), 2: (far,)}))
    assert isinstance(verdict, Guilty)
    assert verdict.workers == (2,)


def test_a_spike_is_a_gradient_many_times_as_long_as_usual() -> None:
    norms = Norms()
    assert norms.odd(500.0) == "", "nothing is usual yet"
    for _ in range(20 * KNOWN_LEAST):
        assert norms.odd(1.0) == ""
    assert norms.odd(4.0) == ""
    assert norms.odd(500.0) == "spike"
    assert norms.odd(None) == "nonfinite"


def test_every_shard_and_every_other_member_is_asked_at_times() -> None:
    checks = Checks(shard_every=5)
    due = [step for step in range(500) if checks.shard(step, 8) is not None]
    assert due == list(range(4, 500, 5))
    assert {checks.shard(step, 8) for step in due} == set(range(8))
    assert {other_for(step, 1, (0, 1, 2, 3)) for step in due} == {0, 2, 3}
    assert other_for(4, 1, (1,)) is None
