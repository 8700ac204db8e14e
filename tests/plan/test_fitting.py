"""What fits to published speeds make of software that differs."""

from dataclasses import replace

import pytest

from cordee.hw.accelerator import accelerators
from cordee.plan.calibration.fitting import Measured, fit
from cordee.plan.calibration.lineages import lineage_of
from cordee.plan.calibration.table import Kind
from cordee.plan.costs.calibration import Calibration
from cordee.plan.layout import Job, Layout, Program
from cordee.plan.model import model
from cordee.plan.step_work import work_of

TRUE = Calibration(network=0.6)


def test_a_fast_software_on_many_hosts_does_not_make_the_network_look_fast() -> None:
    known = [
        *(_measured("llm-foundry", chips, faster=1.0) for chips in (8, 8, 8, 16)),
        *(_measured("megatron-lm", chips, faster=1.15) for chips in (8, 128, 256, 512)),
    ]
    apart = fit(known, replace(TRUE, network=0.8), apart=True)
    together = fit(known, replace(TRUE, network=0.8))
    assert abs(apart.network - 0.6) < abs(together.network - 0.6)
    assert together.network > 0.8


@pytest.mark.parametrize("stack", ["megatron-bridge", "megatron-core", "mlperf"])
def test_what_is_made_of_megatron_is_of_one_lineage(stack: str) -> None:
    assert lineage_of(stack) == lineage_of("megatron-lm")


def test_a_software_of_which_nothing_is_known_is_by_itself() -> None:
    assert lineage_of("ours") == "ours"


def _measured(stack: str, chips: int, faster: float) -> Measured:
    """As if it ran with `TRUE`, by a software that is so many times as fast."""
    chip = accelerators().find("A100-80-SXM")
    # Gradients are summed up after the passes, so that the network shows.
    job = Job(
        model=model("Llama-2-7B"),
        layout=Layout(chips=chips, zero=1, tensor=4, micro_batch=1),
        sequence=4096,
        batch=chips,
        program=Program(overlaps_gradients=False),
    )
    one = Measured(
        kind=Kind(chip.generation, stack, "dense"),
        chip=chip,
        release="",
        works=(work_of(job, chip),),
        tokens_per_s_per_chip=1.0,
    )
    return replace(one, tokens_per_s_per_chip=faster * one.predicted(TRUE))
