"""What programs do beside their layout changes the time of a step, and published recipes say what it is."""

from dataclasses import replace

import pytest

from cordee.core.errors import UsageError
from cordee.hw import accelerators
from cordee.plan.costs import Calibration, Costs, Links
from cordee.plan.costs.links import Group
from cordee.plan.costs.power import powered
from cordee.plan.costs.tiles import lost_to_tiles
from cordee.plan.layout import Job, Layout, Program
from cordee.plan.model import Experts, Layer, Model, named
from cordee.plan.step_work import work_of
from cordee.plan.training import Step, step
from cordee.plan.validation.recipes import LAYOUT
from cordee.plan.validation.results import recipe_of, results
from cordee.plan.work import Collective

H100 = accelerators().find("H100")
MIXTURE = named("Qwen3-30B-A3B")
USUAL = Calibration()


def stepped(
    calibration: Calibration = USUAL, *, model: Model = MIXTURE, expert: int = 16, **program: object
) -> Step:
    job = Job(
        model=model,
        layout=Layout(chips=16, expert=expert),
        sequence=4096,
        batch=256,
        program=Program(**program),  # type: ignore[arg-type]
    )
    return step(work_of(job, H100), Costs(H100, calibration, job.program))


def test_a_result_of_whole_tiles_on_all_cores_loses_nothing() -> None:
    assert lost_to_tiles(256 * 12, 128 * 11, 1, 132) == pytest.approx(1)


def test_one_tile_more_than_cores_takes_another_wave() -> None:
    full, more = (lost_to_tiles(256 * n, 128, 1, 132) for n in (132, 133))
    assert more > 1.3 * full


def test_many_small_products_fill_the_cores_that_one_leaves_idle() -> None:
    assert lost_to_tiles(256, 256, 64, 132) < 0.7 * lost_to_tiles(256, 256, 1, 132)


def test_an_older_kernel_of_attention_is_slower() -> None:
    new, old = (stepped(attention=kernel).passes.attention for kernel in ("", "flash-1"))
    assert old > 2.5 * new


def test_of_two_chips_with_like_cores_that_with_more_power_runs_faster() -> None:
    assert powered(accelerators().find("GB300")) > powered(accelerators().find("B200"))


def test_a_host_starts_what_each_expert_of_its_chip_needs() -> None:
    slow = replace(Calibration(), host_s=1e-4)
    few, many = (stepped(slow, expert=spread).passes.host for spread in (16, 2))
    assert many > 1.5 * few
    assert stepped(slow, dtype="fp8").passes.host > few


def test_biases_of_experts_take_time() -> None:
    biased = named("gpt-oss-120b")
    plain = replace(biased, layers=tuple(map(unbiased, biased.layers)))
    with_biases, without = (stepped(model=one).passes.vector for one in (biased, plain))
    assert with_biases > 1.3 * without


def unbiased(layer: Layer) -> Layer:
    assert isinstance(layer.mlp, Experts)
    return replace(layer, mlp=replace(layer.mlp, expert=replace(layer.mlp.expert, biases=False)))


def test_a_kernel_that_sends_each_chip_a_token_once_moves_fewer_bytes() -> None:
    links = Links(chip=H100, link=1.0, network=1.0)
    group = Group(size=8, within=8)
    copies = Collective("tokens", "exchange", 1e9, "expert")
    once = replace(copies, copies=8, once=True)
    # Of 8 copies to 8 chips at random, 8 x (1 - (7/8)^8) = 5.25 chips get one.
    ratio = links.moving_s(once, group)[0] / links.moving_s(copies, group)[0]
    assert ratio == pytest.approx(5.25 / 8, rel=0.01)
    assert stepped(dispatch="fused").passes.exposed < stepped().passes.exposed


def test_exchanges_beside_work_are_waited_for_less() -> None:
    plain, beside = (stepped(overlaps_experts=beside).passes.exposed for beside in (False, True))
    assert beside < 0.8 * plain


def test_numbers_that_are_scaled_in_blocks_are_cast_and_multiplied_no_faster() -> None:
    tensor, blocks = (stepped(dtype="fp8", blocks=b).seconds for b in (False, True))
    assert blocks > tensor


def test_an_unknown_word_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(UsageError, match="exchange, fused"):
        Program(dispatch="carrier")


def test_every_result_of_megatron_bridge_leads_to_a_recipe() -> None:
    theirs = [one for one in results() if one.stack.startswith("megatron-bridge")]
    found = {one.id: recipe_of(one) for one in theirs}
    assert all(found.values())
    alike = [
        one
        for one in theirs
        if (recipe := found[one.id]) and recipe.layout == [getattr(one, n) for n in LAYOUT]
    ]
    assert len(alike) > 0.85 * len(theirs)


def test_a_recipe_is_found_by_its_layout_before_its_version() -> None:
    # B200, DeepSeek-V3 in 26.04.01: published with the layout that the recipe has from 26.06 on.
    result = next(one for one in results() if one.id == "T0334")
    recipe = recipe_of(result)
    assert recipe is not None
    assert "26.06" in recipe.releases
    assert recipe.overlaps_experts
    assert result.jobs()[0].program.overlaps_experts
