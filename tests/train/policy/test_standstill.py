"""Is it found what is wrong where all members wait and nothing moves, and does the job go on?"""

from collections.abc import Sequence

from cordee.train.policy.effects import Begin, Effect, Evict, Note
from cordee.train.policy.membership import Membership
from cordee.train.policy.standstill import BOTH_S, FAILED_S, Look, ends, pairs_of
from cordee.train.policy.workers import Limits, Phase, Report

Pairs = Sequence[tuple[int, int]]
HANG_S = 3.0


class Job:
    """A `Membership` with members that say what they are at, and whom they reach."""

    def __init__(self, members: int = 3, *, moved_bytes: int = 0, ways: int = 1) -> None:
        self.job = Membership(Limits(shards=6, workers=members, silent_s=1e9))
        self.now_s, self.moved_bytes = 0.0, moved_bytes
        for number in range(members):
            self.job.joined(number, 0.0, ways=ways)
            self.job.ready(number, 0.0)
        self.agree()

    def agree(self) -> None:
        for number in self.job.members:
            report = Report(self.job.step, False, ())
            self.job.reported(number, self.job.epoch, report, self.now_s)

    def all_at(self, phase: Phase, *, moved_bytes: int | None = None) -> None:
        for number in self.job.members:
            moved = self.moved_bytes if moved_bytes is None else moved_bytes
            self.job.beat(number, phase, 0.1, self.now_s, moved)

    def after(self, seconds: float) -> list[Effect]:
        self.now_s += seconds
        return self.job.tick(self.now_s)

    def look(self, seconds: float) -> Look:
        (look,) = self.after(seconds)
        assert isinstance(look, Look)
        return look

    def seen(self, look: Look, down: Pairs = ()) -> None:
        """All look, and these are not reached."""
        for pair in [*look.pairs, *((n, n) for n in self.job.members)]:
            self.job.ties.standstill.seen(look.number, pair, reached=pair not in down)

    def answer(self, look: Look, down: Pairs = ()) -> list[Effect]:
        """All have looked, and wait no longer."""
        self.seen(look, down)
        return self.after(HANG_S)

    def look_again(self, look: Look, down: Pairs) -> Look:
        """All have looked, and do so again at once."""
        self.seen(look, down)
        return self.look(0.01)

    def step(self) -> None:
        for number in self.job.members:
            self.job.done(number, self.job.epoch, self.job.step, self.now_s)


def evicted(effects: Sequence[Effect]) -> list[int]:
    return [effect.worker for effect in effects if isinstance(effect, Evict)]


def stuck(members: int = 3, *, moved_bytes: int = 0, ways: int = 1) -> tuple[Job, Look]:
    job = Job(members, moved_bytes=moved_bytes, ways=ways)
    job.all_at("reduce")
    assert job.after(HANG_S / 4) == []
    return job, job.look(0.01)


def again(job: Job) -> Look:
    job.agree()
    job.all_at("form")
    return job.look(0.1)


def test_where_all_wait_and_nothing_moves_each_looks_whom_it_reaches() -> None:
    _, look = stuck()
    assert look.pairs == ((0, 1), (0, 2), (1, 2))


def test_as_long_as_bytes_move_nobody_looks() -> None:
    job = Job()
    job.all_at("reduce")
    for count in range(1, 20):
        assert job.after(0.5) == []
        job.all_at("reduce", moved_bytes=count)


def test_as_long_as_one_computes_nobody_looks() -> None:
    job = Job()
    job.all_at("reduce")
    job.job.beat(2, "compute", 100.0, 0.0)
    assert job.after(10 * HANG_S) == []


def test_of_a_link_that_is_down_in_two_looks_one_end_leaves_at_the_deadline() -> None:
    job, look = stuck()
    look = job.look_again(look, [(1, 2)])
    job.seen(look, [(1, 2)])
    assert job.after(HANG_S - job.now_s - 0.01) == []
    effects = job.after(0.02)
    assert effects[0] == Note("down", "the link between workers 1 and 2 is down")
    assert evicted(effects) == [2]
    assert job.job.members == (0, 1)


def test_after_a_link_that_came_back_the_group_is_formed_again() -> None:
    job, look = stuck()
    note, begin = job.answer(job.look_again(look, [(1, 2)]))
    assert note == Note("down", "the link between workers 1 and 2 is down")
    assert isinstance(begin, Begin)
    assert (begin.members, begin.lost, begin.stuck) == ((0, 1, 2), (), True)


def test_ends_with_other_addresses_use_them_and_nobody_leaves() -> None:
    job, look = stuck(ways=2)
    _, begin = job.answer(job.look_again(look, [(1, 2)]), [(1, 2)])
    assert isinstance(begin, Begin)
    assert (begin.members, begin.ways) == ((0, 1, 2), (0, 1, 1))


def test_one_that_does_not_answer_in_time_is_not_reached() -> None:
    job, look = stuck()
    told = [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2)]
    for pair in told:
        job.job.ties.standstill.seen(look.number, pair, reached=True)
    assert job.after(look.most_s - 0.2) == []
    again = job.look(0.3)
    for pair in told:
        job.job.ties.standstill.seen(again.number, pair, reached=True)
    assert evicted(job.after(again.most_s + 0.1)) == [2]


def test_nobody_leaves_before_the_deadline_although_a_look_has_found_who_it_is() -> None:
    job, look = stuck()
    job.seen(look, [(2, 2)])
    assert job.after(HANG_S - job.now_s - 0.01) == []
    assert evicted(job.after(0.02)) == [2]


def test_where_a_link_that_came_back_is_down_again_the_end_with_the_higher_number_leaves() -> None:
    job, look = stuck()
    job.answer(job.look_again(look, [(0, 1)]))
    effects = job.answer(again(job), [(0, 1)])
    assert effects[0] == Note("down", "the link between workers 0 and 1 is down again")
    assert evicted(effects) == [1]
    assert job.job.members == (0, 2)


def test_of_two_ends_the_one_with_more_broken_links_leaves() -> None:
    down = [(0, 1), (0, 2)]
    job, look = stuck()
    assert evicted(job.answer(job.look_again(look, down), down)) == [0]
    assert ends([(0, 1), (2, 3)]) == (1, 3)


def test_a_link_that_is_down_a_second_time_some_steps_later_is_down_again() -> None:
    job, look = stuck()
    job.answer(job.look_again(look, [(0, 1)]))
    job.agree()
    job.step()
    job.all_at("compute")
    job.all_at("reduce")
    look = job.look_again(job.look(HANG_S / 4 + 0.1), [(0, 1)])
    assert evicted(job.answer(look)) == [1]


def test_another_link_is_down_for_the_first_time() -> None:
    job, look = stuck()
    job.answer(job.look_again(look, [(0, 1)]))
    effects = job.answer(again(job), [(0, 2)])
    assert evicted(effects) == []
    assert isinstance(effects[-1], Begin)


def test_one_whose_own_device_does_not_answer_leaves_at_once() -> None:
    job, look = stuck(moved_bytes=-1)
    effects = job.answer(look, [(1, 1)])
    assert evicted(effects) == [1]
    assert [effect.guilty for effect in effects if isinstance(effect, Evict)] == [True]


def test_where_nothing_is_found_and_nothing_moves_the_group_is_formed_again() -> None:
    job, look = stuck()
    note, begin = job.answer(look)
    assert isinstance(note, Note)
    assert note.text == "nothing moves between members, who reach each other"
    assert isinstance(begin, Begin)


def test_where_nothing_is_found_and_it_is_not_known_what_moves_they_look_again_later() -> None:
    job, look = stuck(moved_bytes=-1)
    assert job.answer(look) == []
    assert job.after(HANG_S) != []
    assert job.job.epoch == 1


def test_a_collective_that_fails_although_nobody_is_gone_is_looked_into_soon() -> None:
    job = Job()
    job.all_at("reduce")
    for number in (0, 2):
        job.job.ties.standstill.failed(number, job.now_s)
    note, begin = job.answer(job.look(FAILED_S + 0.1))
    assert note == Note("down", "the link between workers 0 and 2 is down")
    assert isinstance(begin, Begin)


def test_a_link_is_named_by_both_its_ends_although_one_is_heard_first() -> None:
    job, look = stuck(moved_bytes=-1)
    standstill = job.job.ties.standstill
    for pair in [*look.pairs, (0, 0), (1, 1), (2, 2)]:
        standstill.seen(look.number, pair, reached=True)
    standstill.failed(2, job.now_s)
    assert job.after(0.02) == []
    standstill.failed(1, job.now_s)
    note, *_ = job.after(BOTH_S)
    assert note == Note("down", "the link between workers 1 and 2 is down")


def test_one_for_whom_collectives_fail_again_and_again_leaves() -> None:
    job = Job(moved_bytes=-1)
    job.all_at("reduce")
    job.job.ties.standstill.failed(1, job.now_s)
    (note, _) = job.answer(job.look(FAILED_S + 0.1))
    assert note == Note("down", "the link of worker 1 is down")
    job.agree()
    job.job.ties.standstill.failed(1, job.now_s)
    assert evicted(job.answer(job.look(FAILED_S + 0.1))) == [1]


def test_of_many_members_each_looks_at_few() -> None:
    pairs = pairs_of(range(1000))
    assert len(pairs) < 10_000
    assert {one for one, _ in pairs} == {other for _, other in pairs} == set(range(1000))
