"""Parts of layers that are reckoned again: what they free, what they cost, and when a plan takes them."""

from dataclasses import replace

import pytest
from tests.plan.commands import Command

from cordee.core.errors import UsageError
from cordee.hw import accelerators
from cordee.plan import train
from cordee.plan.calibration.table import calibration, kind_of
from cordee.plan.costs.seconds import Costs
from cordee.plan.kept import kept_bytes
from cordee.plan.layout import Job, Layout, Program
from cordee.plan.memory import memory
from cordee.plan.model import named
from cordee.plan.recomputation import ladder, parts
from cordee.plan.step_work import work_of
from cordee.plan.training import step

ASK = Command("train")
H100 = accelerators().find("H100")


def job(*again: str, model: str = "DeepSeek-V3", **others: object) -> Job:
    degrees = {"chips": 256, "pipeline": 16, "expert": 16, "recompute_parts": again} | others
    layout = Layout(**degrees)  # type: ignore[arg-type]
    return Job(model=named(model), layout=layout, sequence=4096, batch=512)


def seconds(one: Job) -> float:
    known = calibration().find(kind_of(H100, "megatron-bridge", one.model), H100.name)
    return step(work_of(one, H100), Costs(H100, known, one.program)).seconds


def per_token(*again: str, model: str = "DeepSeek-V3") -> float:
    """Bytes of the last layer."""
    one = job(*again, model=model)
    return kept_bytes(one, one.model.layers[-1]) / 4096


@pytest.mark.parametrize(
    ("part", "numbers"),
    [
        ("layernorm", 2 * 7168),
        ("moe_act", 8 * 2048),
        ("moe_tokens", 8 * 7168),
        ("mlp_act", 2048),
        ("shared_experts", 3 * 2048),
        ("mla_up_proj", 128 * (192 + 192 + 128) + 1536 + 512 + 64),
        ("core_attn", 2 * 128),  # a sum of each head, in fp32
        ("moe", 8 * (7168 + 3 * 2048) + 3 * 2048),
    ],
)
def test_a_part_frees_what_it_gave(part: str, numbers: int) -> None:
    assert per_token() - per_token(part) == pytest.approx(2 * numbers)


@pytest.mark.parametrize("part", parts())
def test_a_part_costs_time_and_less_than_whole_layers(part: str) -> None:
    plain, again, whole = (seconds(one) for one in (job(), job(part), job(recompute="full")))
    assert plain < again < whole


@pytest.mark.parametrize("part", ["layernorm", "moe_act", "mla_up_proj", "mlp", "moe"])
def test_a_part_takes_less_memory_and_more_than_whole_layers(part: str) -> None:
    plain, again, whole = (
        memory(one).activations for one in (job(), job(part), job(recompute="full"))
    )
    assert whole < again < plain


def test_parts_of_parts_cost_nothing_more() -> None:
    assert seconds(job("moe", "moe_act")) == seconds(job("moe"))


def test_layers_that_are_not_done_again_as_a_whole_may_do_parts_again() -> None:
    some = job(recompute="full", recompute_layers=2)
    more = replace(some, layout=replace(some.layout, recompute_parts=("moe_act",)))
    assert memory(more).activations < memory(some).activations
    assert seconds(some) < seconds(more) < seconds(job(recompute="full"))


def test_products_in_8_bits_keep_what_came_into_them_in_8_bits() -> None:
    one = job()
    narrow = replace(one, program=Program(dtype="fp8"))
    layer = one.model.layers[-1]
    # Behind the first norm and the short vectors', into experts and out of both functions; a router reads 16 bits.
    numbers = 7168 + (1536 + 512 + 64) + 8 * (7168 + 2048) + 2048
    saved = kept_bytes(one, layer) - kept_bytes(narrow, layer)
    assert saved == pytest.approx(4096 * numbers)
    stored = replace(narrow, program=Program(dtype="fp8", narrow_function=True))
    more = kept_bytes(narrow, layer) - kept_bytes(stored, layer)
    assert more == pytest.approx(4096 * (8 + 1) * 2 * 2048)


def test_a_software_has_ways_for_parts_of_layers_that_a_model_has() -> None:
    def found(model: str, stack: str, *, beside: bool = False) -> tuple[str, ...]:
        return [*ladder(named(model), stack, beside=beside), ((), None)][-2][0]

    assert "mla_up_proj" in found("DeepSeek-V3", "megatron-lm")
    assert found("Llama-3.1-70B", "megatron-lm") == ("mlp",)
    assert found("Llama-3.1-70B", "mindspeed") == ("mlp_act", "layernorm")
    assert "moe_tokens" not in found("DeepSeek-V3", "mindspeed")
    assert "moe_tokens" in found("DeepSeek-V3", "mindspeed", beside=True)


def test_a_search_does_no_more_again_than_it_takes() -> None:
    plans = train("DeepSeek-V3", "H100", chips=512).outcomes[0].plans
    with_parts = [plan for plan in plans if plan.job.layout.recompute_parts]
    assert with_parts
    for plan in with_parts[:20]:
        plain = replace(plan.job.layout, recompute_parts=())
        assert not memory(replace(plan.job, layout=plain)).fits(H100)
        whole = replace(plan.job, layout=replace(plain, recompute="full"))
        assert plan.step.seconds < seconds(whole)
    some = [plan for plan in plans if plan.job.layout.recompute_layers]
    assert some
    assert all(plan.memory.fits(H100) for plan in some)


def test_what_is_to_be_done_again_can_be_said() -> None:
    ask = ("DeepSeek-V3", "--chip", "H100", "--chips", "1024", "--top", "3")
    found = ASK.planned(*ask, "--recompute", "moe_act,layernorm", "--recompute", "mla_up_proj")
    plans = found["chips"][0]["plans"]
    assert {tuple(plan["layout"]["recompute_parts"]) for plan in plans} == {
        ("moe_act", "layernorm", "mla_up_proj")
    }
    assert any("--recompute-modules moe_act" in remark for remark in found["remarks"])
    whole = ASK.planned(*ask, "--recompute", "full")["chips"][0]["plans"]
    assert {plan["layout"]["recompute"] for plan in whole} == {"full"}
    python = train("DeepSeek-V3", "H100", chips=1024, recompute="full").outcomes[0]
    assert python.best.job.layout.recompute == "full"


def test_a_name_that_no_part_has_is_refused_with_the_nearest() -> None:
    said = ASK.refused("DeepSeek-V3", "--chip", "H100", "--chips", "64", "--recompute", "mla_up")
    assert said.startswith("--recompute mla_up: no part of a layer: did you mean mla_up_proj?")
    for again in ("full,moe", "none,moe"):
        words = ("DeepSeek-V3", "--chip", "H100", "--chips", "64", "--recompute", again)
        assert "stands alone" in ASK.refused(*words)
    dense = ("Llama-3.1-8B", "--chip", "H100", "--chips", "64", "--recompute", "moe_act")
    assert ASK.refused(*dense) == "--recompute moe_act: Llama-3.1-8B has not experts"
    with pytest.raises(UsageError, match="did you mean layernorm"):
        job("layer_norm")
    with pytest.raises(UsageError, match="has not latent attention; leave it out"):
        job("mla_up_proj", model="Qwen3-235B-A22B", pipeline=1).check()
