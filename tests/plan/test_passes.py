"""What a pass of an engine takes: at its limits, and beside what can be reckoned by hand."""

from dataclasses import replace

import pytest

from cordee.core.errors import UsageError
from cordee.hw.accelerator import accelerators
from cordee.plan.costs.pass_work import PassWork
from cordee.plan.costs.passes import Batch, Passes
from cordee.plan.costs.serving_calibration import ServingCalibration
from cordee.plan.costs.units import reached
from cordee.plan.deployment import Deployment, Drafting, Engine, Precision, Scheduling
from cordee.plan.model import Attention, named
from cordee.plan.serving.memory import holding, request_bytes, weight_bytes
from cordee.plan.validation.serving_results import serving_model
from cordee.plan.work.passes import scoring

IDEAL = ServingCalibration(
    matmul=1, matmul_8=1, matmul_4=1, edge=0, stream=1, expert=1, cache=1, attention=1, vector=0,
    kernel_s=0, launch_s=0, collective_s=0, link=1, network=1, imbalance=1, pass_s=0,
    sequence_s=0, request_s=0, prefill=1,
)  # fmt: skip


def deployment(model: str = "Llama-3.1-8B", chip: str = "H100", **given: object) -> Deployment:
    found = accelerators().find(chip)
    return Deployment(model=named(model), chip=found, **given)  # type: ignore[arg-type]


def seconds(one: Deployment, batch: Batch, calibration: ServingCalibration = IDEAL) -> float:
    return Passes(PassWork(one, one.engine), calibration, exact=True).seconds(batch)


def test_a_token_alone_takes_as_long_as_the_weights_take_to_be_read() -> None:
    one = deployment()
    read = one.model.parameters - one.model.vocabulary * one.model.hidden  # the first table is not
    least = 2 * read / 3.35e12
    assert seconds(one, Batch(given=1, seen=1)) == pytest.approx(least, rel=0.02)


def test_a_long_prompt_takes_as_long_as_its_arithmetic() -> None:
    one = deployment()
    took = seconds(one, Batch(read=8192, met=4096))
    table = one.model.vocabulary * one.model.hidden
    flops = 2 * 8192 * (one.model.parameters - 2 * table)
    flops += 32 * 4 * 32 * 128 * 8192 * 4096
    assert took == pytest.approx(flops / 9.894e14, rel=0.06)


def test_eight_bits_halve_the_time_of_a_token() -> None:
    half = seconds(deployment(precision=Precision(name="fp8")), Batch(given=1, seen=1))
    whole = seconds(deployment(), Batch(given=1, seen=1))
    # The logits stay in 16 bits.
    assert 0.5 < half / whole < 0.58


def test_rows_are_brought_into_eight_bits_by_kernels_of_their_own() -> None:
    alone = replace(IDEAL, kernel_s=1e-3)
    whole, half = (
        seconds(deployment(precision=Precision(name=name)), Batch(given=1, seen=1), alone)
        for name in ("bf16", "fp8")
    )
    # Queries, keys, values; attention out; mlp in; mlp out: of 32 layers.
    assert half - whole == pytest.approx(4 * 32 * 1e-3, rel=0.1)


def test_tokens_are_brought_into_eight_bits_once_and_not_for_each_expert() -> None:
    moving = replace(IDEAL, vector=1e4)
    took = {
        name: seconds(
            deployment("Mixtral-8x7B", precision=Precision(name=name)),
            Batch(read=1024, met=512),
            moving,
        )
        for name in ("bf16", "fp8")
    }
    # Of a layer: attention's two products and what goes into the experts, in and out (2 + 1 bytes); the rows that
    # come out of each expert's first product too; and copies for two experts, which are half as large.
    hidden, rows = 4096, 2 * 1024
    narrowed = 3 * (1024 * (hidden + hidden + hidden) + rows * 14336)
    saved = (1024 + rows) * hidden
    more = 32 * (narrowed - saved) * 1e4 / 3.35e12
    assert took["fp8"] - took["bf16"] == pytest.approx(more, rel=0.01)


def test_a_pass_over_a_short_prompt_waits_for_launches_from_python() -> None:
    hosts = replace(IDEAL, launch_s=1e-4)
    batch = Batch(read=16, met=8)
    recorded, launched = (
        seconds(deployment(scheduling=Scheduling(recorded=recorded)), batch, hosts)
        for recorded in (True, False)
    )
    assert launched == pytest.approx(6 * recorded, rel=0.01)
    given = Batch(given=1, seen=1)
    assert seconds(deployment(scheduling=Scheduling(recorded=False)), given, hosts) < recorded / 2
    assert seconds(deployment(scheduling=Scheduling(captured=False)), given, hosts) > recorded


def test_of_a_long_prompt_every_token_is_scored_and_those_chosen_are_looked_at() -> None:
    one = replace(
        deployment("DeepSeek-V3", "H200", precision=Precision(name="fp8")),
        model=serving_model("DeepSeek-V3.2"),
    )
    near, far = (
        seconds(one, Batch(read=1024, met=n)) - seconds(one, Batch(read=1024, met=8192))
        for n in (16384, 24576)
    )
    # As many are looked at; the index meets each: 64 heads of 128 numbers in 61 layers, in 8 bits.
    more = 61 * 1024 * 8192 * 2 * 64 * 128 / (2 * 9.894e14)
    assert near == pytest.approx(more, rel=0.01)
    assert far == pytest.approx(2 * more, rel=0.01)


def mixer(name: str) -> Attention:
    found = serving_model(name).layers[-1].attention
    assert found
    return found


def test_heads_that_are_missing_in_a_kernel_are_reckoned_all_the_same() -> None:
    whole, cut = (scoring(mixer("DeepSeek-V3.2"), Engine(tensor=tensor), 64) for tensor in (1, 8))
    assert whole.latent_flops == 2 * cut.latent_flops
    assert whole.flops == 8 * cut.flops
    assert scoring(mixer("DeepSeek-V3"), Engine(tensor=8), 64).latent_flops == 0


def test_experts_in_eight_bits_are_as_slow_on_blackwell_as_they_were_measured() -> None:
    for chip, dtype, part in (("B200", "fp8", 0.3), ("B200", "fp4", 1.0), ("H200", "fp8", 1.0)):
        assert reached(accelerators().find(chip).generation, dtype).experts == part


def test_tokens_behind_cost_what_their_keys_and_values_take_to_be_read() -> None:
    one = deployment()
    more = seconds(one, Batch(given=8, seen=9000)) - seconds(one, Batch(given=8, seen=1000))
    assert more == pytest.approx(8 * 8000 * 32 * 2 * 8 * 128 * 2 / 3.35e12, rel=0.01)


def test_a_window_ends_what_is_read() -> None:
    one = deployment("GPT-OSS-20B")
    near, far = (seconds(one, Batch(given=8, seen=n)) for n in (100_000, 200_000))
    half = 12 * 8 * 100_000 * 2 * 8 * 64 * 2 / 3.35e12
    assert far - near == pytest.approx(half, rel=0.02)


def test_a_few_tokens_meet_few_experts_and_many_meet_all() -> None:
    one = deployment(
        "DeepSeek-V3", "H200", precision=Precision(name="fp8"), engine=Engine(tensor=8)
    )
    one_token, many = (seconds(one, Batch(given=n, seen=1)) for n in (1, 256))
    active, whole = one.model.active_parameters, one.model.parameters
    # Of attention, what makes short vectors is not shared out, and 16-bit logits are not small.
    assert one_token == pytest.approx(active / 8 / 4.8e12, rel=0.25)
    assert many == pytest.approx(whole / 8 / 4.8e12, rel=0.25)


def test_short_vectors_are_kept_whole_on_every_chip_and_states_do_not_grow() -> None:
    one = deployment("DeepSeek-V3", engine=Engine(tensor=8))
    assert request_bytes(one, one.engine, 1000) == 1000 * 61 * 576 * 2
    grouped = deployment("Llama-3.1-70B", engine=Engine(tensor=8))
    assert request_bytes(grouped, grouped.engine, 1000) == 1000 * 80 * 2 * 128 * 2


def test_chips_that_share_products_wait_for_one_another() -> None:
    slow = replace(IDEAL, collective_s=1e-3)
    one = deployment(engine=Engine(tensor=2))
    more = seconds(one, Batch(given=1, seen=1), slow) - seconds(one, Batch(given=1, seen=1))
    # Two sums in each of 32 layers, each of two turns, and the logits.
    assert more == pytest.approx((2 * 2 * 32 + 1) * 1e-3, rel=0.01)


def test_tokens_sent_to_experts_on_more_chips_wait_longer() -> None:
    waits = replace(IDEAL, collective_s=1e-3)
    two, eight = (
        seconds(one, Batch(given=1, seen=1), waits) - seconds(one, Batch(given=1, seen=1))
        for n in (2, 8)
        for one in [deployment("Mixtral-8x7B", engine=Engine(data=n, expert=n))]
    )
    # To experts and back in 32 layers, to one other chip or to seven.
    assert two == pytest.approx(64 * 1e-3, rel=0.01)
    assert eight == pytest.approx(4 * two, rel=0.01)


def test_guessed_tokens_make_a_pass_longer_and_give_more() -> None:
    drafting = Drafting(tokens=3, acceptance=0.8)
    assert drafting.per_pass(0.5) == pytest.approx(1 + 0.8 + 0.8**2 + 0.8**3)
    assert Drafting(tokens=1).per_pass(0.5) == pytest.approx(1.5)
    plain, guessing = deployment(), deployment(drafting=drafting)
    batch = Batch(given=4, seen=100)
    assert seconds(plain, batch) < seconds(guessing, batch) < 1.3 * seconds(plain, batch)


def test_weights_of_all_chips_add_up_to_the_model() -> None:
    one = deployment("Llama-3.1-70B", engine=Engine(tensor=4))
    assert 4 * weight_bytes(one, one.engine) == pytest.approx(2 * one.model.parameters, rel=0.01)
    few = deployment("Qwen3-235B-A22B", precision=Precision(name="fp8"), engine=Engine(tensor=8))
    assert 8 * weight_bytes(few, few.engine) == pytest.approx(few.model.parameters, rel=0.05)


def test_what_is_left_beside_weights_is_for_keys_and_values() -> None:
    one = deployment(precision=Precision(name="fp8"))
    held = holding(one, one.engine, 4096)
    assert held.fits
    assert held.cache < 0.9 * 80 * 2**30 - held.weights
    assert not holding(deployment("Llama-3.1-70B"), Engine(), 4096).fits


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Precision(name="fp3"), "dtype fp3: one of bf16"),
        (
            lambda: Precision(name="fp8").products(accelerators().find("910B3")),
            "910B3 does not multiply in fp8: --dtype one of .*w8a8",
        ),
        (lambda: Engine(tensor=3).check(named("Llama-3.1-8B")), "by 2 they do"),
        (lambda: Engine(expert=2, data=2).check(named("Llama-3.1-8B")), "has no experts"),
        (lambda: Engine(pipeline=64).check(named("Llama-3.1-8B")), "at most 32"),
        (lambda: Drafting(tokens=2, acceptance=1.0), "from 0 to below 1"),
    ],
)
def test_what_cannot_be_is_refused_with_a_way_out(make: object, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        make()  # type: ignore[operator]
