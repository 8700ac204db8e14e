"""Steps of training and memory with zero-bubble and dual pipelines."""

from dataclasses import replace

import pytest

from cordee.hw import accelerators
from cordee.plan.costs import Calibration, Costs
from cordee.plan.layout import Job, Layout, Program
from cordee.plan.memory import Memory, kept_bytes, memory, waiting_bytes
from cordee.plan.model import from_config, named
from cordee.plan.pipeline.orders import orders
from cordee.plan.pipeline.schedules import schedules
from cordee.plan.pipeline.simulation import peak
from cordee.plan.shares import shares
from cordee.plan.stages import stages_of, times_of
from cordee.plan.step_work import work_of
from cordee.plan.training import Step, step
from cordee.plan.validation.pipelines import kept, runs, samples, speeds
from cordee.plan.work import Matmul, forward_operators, weight_gradients

A100 = accelerators().find("A100")
GPT = from_config(
    {"model_type": "mpt", "n_embd": 12288, "n_layer": 96, "n_head": 96, "vocab_size": 51200},
    "GPT-3",
)


def job(schedule: str = "1f1b", model: str = "Llama-3.1-8B", **degrees: object) -> Job:
    usual: dict[str, object] = {"chips": 32, "pipeline": 8, "schedule": schedule}
    layout = Layout(**(usual | degrees))  # type: ignore[arg-type]
    found = Job(model=named(model), layout=layout, sequence=4096, batch=layout.data * 32)
    found.check()
    return found


def stepped(one: Job) -> Step:
    return step(work_of(one, A100), Costs(A100, Calibration(), one.program))


def test_gradients_of_weights_take_the_products_of_a_forward_pass() -> None:
    one = job()
    forward = forward_operators(one, one.model.layers[0])
    products, gradients = (
        sum(op.flops for op in side if isinstance(op, Matmul))
        for side in (forward, weight_gradients(one, forward))
    )
    assert gradients == pytest.approx(products)


def test_passes_are_those_of_a_whole_stage_whatever_they_are_split_into() -> None:
    found = {}
    for name in ("1f1b", "zb-h1"):
        one = job(name)
        costs = Costs(A100, Calibration(), one.program)
        work = work_of(one, A100)
        found[name], _ = stages_of(work, costs, times_of(work, costs))
    assert found["zb-h1"].seconds.total == pytest.approx(found["1f1b"].seconds.total)
    assert found["1f1b"].seconds.weights == 0
    # arxiv.org/abs/2401.10241, section 2.3: T_W < T_F < T_B.
    seconds = found["zb-h1"].seconds
    assert seconds.weights < seconds.forward < seconds.inputs


def test_the_less_a_schedule_waits_the_less_it_loses() -> None:
    lost = [stepped(job(name)).bubble_s for name in ("1f1b", "zb-h1", "zb-h2")]
    assert lost == sorted(lost, reverse=True)
    assert stepped(job("zb-v")).bubble_s < lost[1]


def test_stages_that_do_not_wait_for_all_lose_less_with_zb_h2() -> None:
    one = job("zb-h2")
    alone = replace(one, program=replace(one.program, waits_for_all=False))
    assert stepped(alone).bubble_s < stepped(one).bubble_s


def mixture(schedule: str, *, hidden: bool) -> Job:
    one = job(schedule, "Qwen3-30B-A3B", expert=4)
    return replace(one, program=Program(overlaps_experts=hidden))


@pytest.mark.parametrize("name", ["dualpipe", "dualpipev", "dualpipev-whole"])
def test_pairs_hide_the_way_of_tokens_to_experts(name: str) -> None:
    shown, hidden = (stepped(mixture(name, hidden=hidden)) for hidden in (False, True))
    assert hidden.passes.exposed < 0.7 * shown.passes.exposed
    assert hidden.seconds < shown.seconds
    # What has no pair beside it hides nothing.
    assert hidden.bubble_s > shown.bubble_s - 32 * (shown.passes.exposed - hidden.passes.exposed)


def test_a_dense_model_gains_nothing_by_pairs_but_fewer_bubbles() -> None:
    plain, dual = stepped(job()), stepped(job("dualpipev"))
    assert dual.passes.total == pytest.approx(plain.passes.total)
    assert dual.bubble_s < plain.bubble_s


def test_what_waits_for_gradients_of_weights_is_what_the_paper_counts() -> None:
    layout = Layout(chips=8, pipeline=8, schedule="zb-h1")
    one = Job(model=GPT, layout=layout, sequence=2048, batch=8)
    # arxiv.org/abs/2401.10241, table 1: 32 s b h.
    assert waiting_bytes(one, GPT.layers[0]) == pytest.approx(32 * 2048 * 12288)


def needs(name: str, **degrees: object) -> Memory:
    return memory(job(name, **degrees))


@pytest.mark.parametrize(
    ("name", "times"), [("zb-h1", 1), ("zb-h2", 15 / 8), ("zb-v", 1), ("dualpipe", 9 / 8)]
)
def test_activations_are_those_that_are_published(name: str, times: float) -> None:
    plain = needs("1f1b").activations
    assert needs(name).activations == pytest.approx(times * plain, rel=0.01)


@pytest.mark.parametrize("recompute", ["none", "full"])
def test_chunks_keep_what_the_chips_of_a_simulation_keep(recompute: str) -> None:
    one = job("zb-h1", chunks=2, recompute=recompute)
    layer = one.model.layers[0]
    late = waiting_bytes(one, layer) / kept_bytes(one, layer)
    most = max(peak(turns, late) for turns in orders("zb-h1", 8, 32, 2))
    # Two layers are a chunk; one layer at a time is whole again.
    again = kept_bytes(one, layer, "none") if recompute == "full" else 0.0
    kept_here = 1.02 * (2 * kept_bytes(one, layer) * most + again)
    assert memory(one).activations == pytest.approx(kept_here, rel=0.01)


def test_layers_that_are_reckoned_again_are_whole_until_their_gradients_are() -> None:
    assert needs("1f1b", recompute="full").activations < needs("1f1b").activations / 4
    assert needs("zb-h1", recompute="full").activations > needs("zb-h1").activations / 2


def test_dualpipe_has_weights_twice_and_shares_out_optimizer_states_over_both() -> None:
    plain, dual = shares(job()), shares(job("dualpipe"))
    more = plain.layer_bytes / 2 * 4 + 128256 * 4096  # four layers, and the other table
    assert dual.dense_parameters - plain.dense_parameters == pytest.approx(more, rel=1e-3)
    assert dual.optimizer_parameters < 1.2 * plain.optimizer_parameters


def test_the_chip_with_first_and_last_layers_has_the_logits_too() -> None:
    assert needs("zb-v").buffers > needs("zb-h1").buffers


def test_every_schedule_has_a_step_and_says_its_name() -> None:
    for name in schedules():
        found = stepped(job(name))
        assert found.seconds > 0
        assert sum(found.parts.values()) == pytest.approx(found.seconds, rel=1e-3)
        assert (name in found.job.layout.words) == (name != "1f1b")


def test_zero_bubbles_gain_what_was_measured_within_six_percent_of_a_step() -> None:
    # arxiv.org/abs/2401.10241, table 4; nothing is fitted to it.
    first = None
    for one in samples():
        if one.schedule == "1f1b":
            first = one
        assert first
        gain = one.reckoned / first.reckoned / (one.published / first.published)
        assert abs(gain - 1) < (0.07 if one.schedule == "interleaved" else 0.06)
        assert abs(one.reckoned / one.published - 1) < 0.2


def test_what_zero_bubbles_keep_more_is_what_was_measured() -> None:
    found = {(one.setting.model, one.schedule): one for one in kept()}
    for model in ("1.5B", "6.2B", "14.6B", "28.3B"):
        plain, twice = found[model, "1f1b"], found[model, "zb-2p"]
        published, reckoned = (
            twice.published - plain.published,
            twice.reckoned - plain.reckoned,
        )
        assert reckoned == pytest.approx(published, rel=0.2)


def test_the_training_that_is_published_of_dualpipe_fits_as_it_says_and_not_without_parts() -> None:
    run = next(one for one in runs() if one.schedule == "dualpipe")
    chip = accelerators().find(run.chip)
    published = run.job(named(run.model), run.micro_batch)
    assert memory(published).fits(chip)
    whole = replace(published, layout=replace(published.layout, recompute_parts=()))
    assert not memory(whole).fits(chip)
    wide = replace(published, program=replace(published.program, dtype="bf16"))
    assert not memory(wide).fits(chip)


def test_a_chip_with_the_tables_has_fewer_layers_where_they_do_not_divide() -> None:
    # 61 layers over 16 stages: 4 each, but 1 on the last, which is on the first one's chip.
    layout = Layout(chips=256, pipeline=16, schedule="dualpipe", expert=16)
    assert layout.at_ends(61) == pytest.approx(5 / 8)
    assert layout.at_ends(64) == 1
    assert replace(layout, schedule="1f1b").at_ends(61) == 1


def test_runs_with_dual_pipelines_are_nearer_than_with_1f1b() -> None:
    for one in runs():
        planned, plain = speeds(one)
        assert abs(planned / one.tokens_per_s_per_chip - 1) < 0.25
        assert plain < planned
