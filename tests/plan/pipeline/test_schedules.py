"""Schedules of pipelines: formulas, passes one by one, and what is published of them."""

import pytest

from cordee.core.errors import UsageError
from cordee.plan.pipeline.bubbles import Pipe, Seconds, bubble_s
from cordee.plan.pipeline.orders import orders
from cordee.plan.pipeline.schedules import (
    counted,
    offered,
    offers,
    schedule,
    schedules,
    schedules_named,
)
from cordee.plan.pipeline.simulation import Ran, Stuck, peak, run
from cordee.plan.validation.pipelines import rates

NAMES = tuple(schedules())
PLAIN = Seconds(forward=1.0, inputs=1.0, weights=1.0)
LIKE_A_MODEL = Seconds(forward=1.0, inputs=1.27, weights=0.81)
RECKONED_AGAIN = Seconds(forward=1.0, inputs=2.3, weights=0.7)


def ran(name: str, stages: int, micro_batches: int, each: Seconds, chunks: int = 1) -> Ran:
    """A stage takes `each`, whatever it is cut into."""
    row = schedule(name)
    turns = orders(name, stages, micro_batches, chunks)
    cut = 1 if row.copies > 1 else row.pieces * chunks
    return run(turns, [each * (1 / (row.pieces * chunks))] * stages * cut)


def lost_s(name: str, stages: int, micro_batches: int, each: Seconds, *, together: bool) -> float:
    pipe = Pipe(
        schedule=schedule(name),
        stages=stages,
        chunks=1,
        micro_batches=micro_batches,
        together=together,
    )
    return bubble_s(pipe, each, each * (stages - 1))


@pytest.mark.parametrize("each", [PLAIN, LIKE_A_MODEL, RECKONED_AGAIN])
@pytest.mark.parametrize("micro_batches", [16, 30])
@pytest.mark.parametrize("stages", [2, 6, 8])
@pytest.mark.parametrize("name", NAMES)
def test_a_step_takes_what_its_passes_take_one_by_one(
    name: str, stages: int, micro_batches: int, each: Seconds
) -> None:
    took = ran(name, stages, micro_batches, each)
    work = micro_batches * each.total
    assert lost_s(name, stages, micro_batches, each, together=True) == pytest.approx(
        took.whole_s - work
    )
    assert lost_s(name, stages, micro_batches, each, together=False) == pytest.approx(
        took.longest_s - work
    )


@pytest.mark.parametrize("name", [name for name in NAMES if schedule(name).pairs])
def test_what_pairs_save_is_counted_for_each_pair_there_is(name: str) -> None:
    each = Seconds(forward=1.0, inputs=1.27, weights=0.81, saved=0.4)
    work = 24 * (each.total - each.saved)
    took = ran(name, 8, 24, each).whole_s - work
    assert lost_s(name, 8, 24, each, together=True) == pytest.approx(took)


@pytest.mark.parametrize("name", [name for name in NAMES if schedule(name).cuts])
@pytest.mark.parametrize(("stages", "chunks"), [(4, 2), (8, 3)])
def test_chunks_in_turns_lose_less_by_as_many_as_they_are(
    name: str, stages: int, chunks: int
) -> None:
    took = ran(name, stages, 3 * stages, LIKE_A_MODEL, chunks).whole_s
    pipe = Pipe(schedule=schedule(name), stages=stages, chunks=chunks, micro_batches=3 * stages)
    lost = took - 3 * stages * LIKE_A_MODEL.total
    assert bubble_s(pipe, LIKE_A_MODEL, LIKE_A_MODEL * (stages - 1)) == pytest.approx(lost)
    whole = lost_s(name, stages, 3 * stages, LIKE_A_MODEL, together=True)
    assert lost == pytest.approx(whole / chunks)


@pytest.mark.parametrize("name", ["zb-h1", "zb-h2"])
@pytest.mark.parametrize("micro_batches", [2, 5, 8])
def test_with_few_micro_batches_there_is_less_to_put_off(name: str, micro_batches: int) -> None:
    took = ran(name, 8, micro_batches, LIKE_A_MODEL).longest_s
    lost = took - micro_batches * LIKE_A_MODEL.total
    assert lost_s(name, 8, micro_batches, LIKE_A_MODEL, together=False) == pytest.approx(lost)


@pytest.mark.parametrize("late", [0.0, 0.9, 1.0, 6.0])
@pytest.mark.parametrize("stages", [4, 6])
@pytest.mark.parametrize("name", NAMES)
def test_a_chip_keeps_at_most_what_the_table_says(name: str, stages: int, late: float) -> None:
    row = schedule(name)
    most = max(peak(turns, late if row.splits else 0.0) for turns in orders(name, stages, 24))
    waiting = counted(row.beside, stages) + late * counted(row.late, stages)
    assert most == pytest.approx(max(counted(row.kept, stages), waiting), rel=0.02)


def test_bubble_rates_are_those_that_the_paper_of_zero_bubbles_has() -> None:
    found = list(rates(0))
    assert len(found) == 12
    for rate in found:
        assert rate.reckoned == pytest.approx(rate.published, abs=6e-5)


@pytest.mark.parametrize("times", [0.5, 0.8, 1.2, 1.5])
@pytest.mark.parametrize("name", [name for name in NAMES if schedule(name).copies == 1])
def test_where_stages_are_not_alike_a_formula_promises_too_little_rather_than_too_much(
    name: str, times: float
) -> None:
    # The last piece of the model takes so many times as long as the others.
    pieces = schedule(name).pieces
    piece = LIKE_A_MODEL * (1 / pieces)
    took = run(orders(name, 8, 32), [*[piece] * (8 * pieces - 1), piece * times]).whole_s
    last = piece * (pieces - 1 + times)
    slowest = last if times > 1 else LIKE_A_MODEL
    pipe = Pipe(schedule=schedule(name), stages=8, chunks=1, micro_batches=32)
    others = LIKE_A_MODEL * 7 + last + slowest * -1.0
    found = 32 * slowest.total + bubble_s(pipe, slowest, others)
    assert 0.999 * took < found < 1.07 * took


def test_an_order_in_which_a_pass_waits_for_ever_is_refused() -> None:
    turns = orders("1f1b", 2, 4)
    with pytest.raises(Stuck, match="chip 0 waits for ever"):
        run([turns[0], turns[1][1:]], [PLAIN, PLAIN])


def test_all_names_every_schedule_and_an_unknown_one_is_refused() -> None:
    assert schedules_named(["all"]) == NAMES
    assert schedules_named(["zb-v", "zb-v"]) == ("zb-v",)
    with pytest.raises(UsageError, match="schedule = 'gpipe': one of 1f1b, zb-h1"):
        schedules_named(["gpipe"])


def test_software_offers_schedules_that_there_are() -> None:
    assert {one.schedule for one in offers()} <= set(NAMES)
    assert offered("mindspeed") == ("1f1b", "dualpipev-whole", "dualpipev")
    assert offered("megatron-bridge") == ("1f1b",)
