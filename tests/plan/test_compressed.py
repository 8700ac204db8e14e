"""DeepSeek-V4: entries for several tokens, some of which are looked at, and streams of hidden states."""

import pytest

from cordee.core.errors import UsageError
from cordee.hw.accelerator import accelerators
from cordee.plan.costs.pass_work import PassWork
from cordee.plan.deployment import Deployment, Engine
from cordee.plan.layout import Job, Layout
from cordee.plan.model import CompressedAttention, Experts, from_config, named
from cordee.plan.model.reading import known
from cordee.plan.serving.memory import request_bytes
from cordee.plan.training import model_flops
from cordee.plan.work import AttentionCore, layer_pass

FLASH = named("DeepSeek-V4-Flash")


def deployment() -> Deployment:
    return Deployment(model=FLASH, chip=accelerators().find("H200"))


def test_layers_look_at_a_window_at_chosen_entries_of_4_tokens_or_at_all_of_128() -> None:
    rates = [one.rate for layer in FLASH.layers for one in layer.mixers if _is(one)]
    assert rates == [0, 0, *[4, 128] * 20, 4]


def _is(one: object) -> bool:
    return isinstance(one, CompressedAttention)


def test_of_far_tokens_a_part_of_an_entry_is_kept() -> None:
    kept = [request_bytes(deployment(), Engine(tensor=8), tokens) for tokens in (1_280, 12_800)]
    each = 21 * (512 + 128) / 4 + 20 * 512 / 128  # with keys of the index, where entries are chosen
    assert kept[0] == 2 * (43 * 128 * 512 + 1_280 * each)
    assert kept[1] - kept[0] == pytest.approx(2 * 11_520 * each)


def test_a_token_given_reads_the_window_and_at_most_512_chosen_entries() -> None:
    reads = [one for one, _ in PassWork(deployment(), Engine()).readings]
    assert {one.window for one in reads} == {128, 512 * 4, None}
    near = next(one for one in reads if one.window == 128)
    far = next(one for one in reads if one.window == 2048)
    assert near.size_bytes == 4 * far.size_bytes == 512 * 2
    assert far.index_bytes == 128 * 2 / 4


def test_first_layers_look_up_their_experts() -> None:
    biases = [layer.mlp.router_bias for layer in FLASH.layers if isinstance(layer.mlp, Experts)]
    assert biases == [False] * 3 + [True] * 40


def test_a_step_takes_six_flops_for_a_parameter_that_a_token_meets_and_attention() -> None:
    job = Job(model=FLASH, layout=Layout(chips=8), sequence=4096, batch=8)
    cores = sum(
        operator.flops * count
        for layer, count in FLASH.kinds
        for operator in layer_pass(job, layer).forward
        if isinstance(operator, AttentionCore)
    )
    met = FLASH.active_parameters - FLASH.vocabulary * FLASH.hidden
    assert model_flops(job) == pytest.approx(6 * met * job.tokens + 3 * cores * 8, rel=0.002)


def test_heads_are_cut_into_no_more_parts_than_there_are_groups() -> None:
    assert FLASH.heads == 8
    with pytest.raises(UsageError, match="do not divide by tensor 16"):
        Engine(tensor=16).check(FLASH)


def test_a_list_of_entries_that_is_too_short_is_refused() -> None:
    config = known()["deepseek-v4-flash"].config | {"compress_ratios": [0, 4]}
    with pytest.raises(UsageError, match="compress_ratios has 2 entries for 43 layers"):
        from_config(config, "mine")
