"""The time of a step at its limits, and what it is made of."""

from dataclasses import replace

import pytest

from cordee.hw import accelerators
from cordee.plan.costs import Calibration, Costs, Links
from cordee.plan.costs.links import Group
from cordee.plan.layout import Job, Layout, Program
from cordee.plan.model import from_config, named
from cordee.plan.step_work import work_of
from cordee.plan.training import Step, model_flops, step
from cordee.plan.work import Collective, Matmul, layer_pass

A100 = accelerators().find("A100")
NPU = accelerators().find("910B2")
IDEAL = replace(
    Calibration(), matmul=1.0, edge=1e-9, kernel_s=0.0, host_s=0.0, link=1.0, network=1.0
)
LLAMA = named("Llama-2-7B")
USUAL = Calibration()


def job(**degrees: object) -> Job:
    layout = Layout(**({"chips": 8, "tensor": 8} | degrees))  # type: ignore[arg-type]
    return Job(model=LLAMA, layout=layout, sequence=4096, batch=64)


def stepped(one: Job, calibration: Calibration = USUAL) -> Step:
    return step(work_of(one, A100), Costs(A100, calibration, one.program))


def test_the_flops_of_a_step_are_those_of_the_published_formula() -> None:
    # arxiv.org/abs/2104.04473, section 3 of the appendix: 72 B s l h^2 (1 + s/6h + V/12lh).
    config = {
        "model_type": "mpt",
        "n_embd": 12288,
        "n_layer": 96,
        "n_head": 96,
        "vocab_size": 51200,
    }
    gpt3 = from_config(config, "GPT-3")
    whole = Job(
        model=gpt3, layout=Layout(chips=1), sequence=2048, batch=3, program=Program(causal=False)
    )
    formula = 72 * 3 * 2048 * 96 * 12288**2
    formula *= 1 + 2048 / (6 * 12288) + 51200 / (12 * 96 * 12288)
    assert model_flops(whole) == pytest.approx(formula, rel=1e-3)


def test_backward_has_twice_the_products_of_forward() -> None:
    found = layer_pass(job(), LLAMA.layers[0])
    forward, backward = (
        sum(op.flops for op in side if isinstance(op, Matmul))
        for side in (found.forward, found.backward)
    )
    assert backward == pytest.approx(2 * forward)


def test_a_product_at_the_peak_takes_its_flops_by_the_peak() -> None:
    product = Matmul("large", 8192, 8192, 8192)
    seconds = Costs(A100, IDEAL, Program()).matmul_s(product)
    # 32 x 64 tiles on 108 cores: 18.96 waves, of which the last is nearly full.
    assert seconds == pytest.approx(2 * 8192**3 / 312e12, rel=0.01)


def test_a_product_with_one_row_is_bound_by_memory() -> None:
    product = Matmul("one row", 1, 8192, 8192)
    seconds = Costs(A100, IDEAL, Program()).matmul_s(product)
    assert seconds == pytest.approx(2 * 8192**2 / 2039e9, rel=0.01)


def test_one_chip_has_nobody_to_wait_for() -> None:
    links = Links(chip=A100, link=1.0, network=1.0)
    gather = Collective("g", "gather", 1e9, "tensor")
    assert links.seconds(gather, Group(size=1, within=1)) == 0


def test_a_long_collective_takes_its_bytes_by_the_links_rate() -> None:
    links = Links(chip=A100, link=1.0, network=1.0)
    gather = Collective("g", "gather", 8e12, "tensor")
    assert links.seconds(gather, Group(size=8, within=8)) == pytest.approx(7e12 / 300e9, rel=1e-3)


def test_two_chips_of_a_mesh_have_one_link_and_eight_have_all() -> None:
    links = Links(chip=NPU, link=1.0, network=1.0)
    assert links.within_rate(Group(size=2, within=2)) == pytest.approx(28e9)
    assert links.within_rate(Group(size=8, within=8)) == pytest.approx(196e9)


def test_more_micro_batches_make_the_pipelines_ends_matter_less() -> None:
    short = stepped(job(tensor=1, pipeline=8))
    long = stepped(replace(job(tensor=1, pipeline=8), batch=512))
    assert long.tokens_per_s_per_chip > 1.05 * short.tokens_per_s_per_chip


def test_chunks_shorten_the_pipelines_ends() -> None:
    plain, interleaved = (stepped(job(tensor=1, pipeline=8, chunks=n)) for n in (1, 4))
    assert interleaved.bubble_s < plain.bubble_s / 2


def test_recomputing_whole_layers_costs_a_quarter_to_a_third() -> None:
    plain, again = (stepped(job(recompute=kind)).seconds for kind in ("none", "full"))
    assert 1.2 < again / plain < 1.4


def test_a_slower_host_is_waited_for() -> None:
    quick, slow = (stepped(job(), replace(Calibration(), host_s=s)) for s in (1e-7, 1e-3))
    assert slow.passes.host > quick.passes.host
    assert slow.seconds > 2 * quick.seconds


def test_experts_on_other_nodes_are_reached_over_the_network() -> None:
    model = named("Mixtral-8x7B")
    near, far = (
        Job(
            model=model,
            layout=Layout(chips=64, tensor=tensor, expert=8),
            sequence=4096,
            batch=128,
        )
        for tensor in (1, 8)
    )
    assert stepped(near).passes.exposed > 0
    assert work_of(far, A100).groups["expert"].size == 8
