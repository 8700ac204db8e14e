"""Memory of a training step, beside peaks that were measured."""

from dataclasses import replace
from statistics import fmean

import pytest

from cordee.hw import accelerators
from cordee.plan.layout import Job, Layout
from cordee.plan.memory import memory
from cordee.plan.model import named
from cordee.plan.validation.results import Result, results

MEASURED = [result for result in results() if result.memory_gib]
GIB = 2**30


def off(result: Result) -> float:
    assert result.memory_gib
    return memory(result.jobs()[0]).allocated / GIB / result.memory_gib - 1


@pytest.mark.parametrize("result", MEASURED, ids=lambda result: result.id)
def test_memory_is_within_5_percent_of_what_the_allocator_had(result: Result) -> None:
    assert abs(off(result)) < 0.05


def test_memory_is_off_by_2_percent_on_average() -> None:
    assert len(MEASURED) > 20
    assert fmean(abs(off(result)) for result in MEASURED) < 0.02


def job(**degrees: object) -> Job:
    layout = Layout(**({"chips": 8} | degrees))  # type: ignore[arg-type]
    return Job(model=named("Llama-3.1-8B"), layout=layout, sequence=8192, batch=64)


def test_sharing_out_more_takes_less_memory() -> None:
    stages = [memory(job(zero=zero)).total for zero in (0, 1, 2, 3)]
    assert stages == sorted(stages, reverse=True)
    # 16 bytes a parameter without, 2 + 4 + 12 / 8 with a shared optimizer.
    optimizer = [memory(job(zero=zero)).optimizer for zero in (0, 1)]
    assert optimizer[0] == pytest.approx(8 * optimizer[1])


def test_recomputing_layers_takes_less_memory() -> None:
    kept, again = (memory(job(recompute=kind)).activations for kind in ("none", "full"))
    assert again < kept / 4


def test_the_first_stage_keeps_a_micro_batch_for_each_stage() -> None:
    one, four = (memory(job(pipeline=n)).activations for n in (1, 4))
    assert four == pytest.approx(one)
    interleaved = memory(job(pipeline=4, chunks=4)).activations
    assert interleaved > four


def test_a_pass_beside_another_one_is_kept_too() -> None:
    one = Job(
        model=named("Qwen3-30B-A3B"), layout=Layout(chips=8, expert=8), sequence=4096, batch=64
    )
    beside = replace(one, program=replace(one.program, overlaps_experts=True))
    assert memory(beside).activations == pytest.approx(2 * memory(one).activations)


def test_a_chip_is_not_filled_to_the_brim() -> None:
    chip = accelerators().find("A100")
    needs = memory(job())
    brim = replace(chip, memory_bytes=int(needs.total) + 1)
    assert not needs.fits(brim)
    assert needs.fits(replace(chip, memory_bytes=int(needs.total * 1.1)))
