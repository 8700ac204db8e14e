"""Models with states in place of keys and values: their sizes, what a pass does, and what is kept of a request."""

from typing import Any

import pytest
from tests.plan.commands import Command

from cordee.core.errors import UsageError
from cordee.hw.accelerator import accelerators
from cordee.plan.costs.pass_work import PassWork
from cordee.plan.costs.passes import Batch, Passes
from cordee.plan.costs.serving_calibration import ServingCalibration
from cordee.plan.deployment import Deployment, Engine
from cordee.plan.kept import kept_bytes
from cordee.plan.layout import Job, Layout
from cordee.plan.model import Experts, StateSpace, from_config, named
from cordee.plan.serving.memory import request_bytes
from cordee.plan.training import model_flops
from cordee.plan.work import AttentionCore, Matmul, layer_pass

IDEAL = ServingCalibration(
    matmul=1, matmul_8=1, matmul_4=1, edge=0, stream=1, expert=1, cache=1, attention=1, vector=0,
    kernel_s=0, launch_s=0, collective_s=0, link=1, network=1, imbalance=1, pass_s=0,
    sequence_s=0, request_s=0, prefill=1,
)  # fmt: skip
SMALL = {"hidden_size": 1024, "num_hidden_layers": 4, "num_attention_heads": 16}
SMALL |= {"intermediate_size": 2048, "vocab_size": 32000, "num_key_value_heads": 4}
STATES = {"mamba_n_heads": 32, "mamba_d_head": 64, "mamba_d_state": 128, "mamba_n_groups": 2}
# As transformers 5.24 counts them, on its meta device.
COUNTED: dict[str, tuple[dict[str, Any], int]] = {
    "bamba": ({**SMALL, **STATES, "attn_layer_indices": [2]}, 113_922_848),
    "falcon_h1": (
        {**SMALL, **STATES, "mamba_d_ssm": 2048, "mamba_rms_norm": True, "projectors_bias": True},
        128_654_720,
    ),
    "granitemoehybrid": (
        {**SMALL, **STATES, "shared_intermediate_size": 512, "num_local_experts": 8}
        | {"layer_types": ["mamba", "mamba", "attention", "mamba"], "num_experts_per_tok": 2},
        296_407_840,
    ),
    "jamba": (
        {**SMALL, "num_experts": 4, "attn_layer_period": 4, "attn_layer_offset": 2}
        | {"expert_layer_period": 2, "expert_layer_offset": 1},
        151_088_416,
    ),
    "mamba2": (
        {"hidden_size": 1024, "num_hidden_layers": 4, "vocab_size": 32000, "num_heads": 32}
        | {"head_dim": 64, "state_size": 128, "n_groups": 1, "tie_word_embeddings": False},
        91_941_248,
    ),
    "mamba": (
        {"hidden_size": 1024, "num_hidden_layers": 4, "vocab_size": 32000, "state_size": 16},
        59_438_080,
    ),
}
NANO = named("Nemotron-3-Nano-30B-A3B")


@pytest.mark.parametrize("kind", COUNTED)
def test_models_with_states_have_the_parameters_that_transformers_counts(kind: str) -> None:
    config, parameters = COUNTED[kind]
    assert from_config({"model_type": kind, **config}, kind).parameters == parameters


def test_layers_of_nemotron_have_one_part_each() -> None:
    states, whole, behind = (
        sum(1 for layer in NANO.layers if wanted(layer))
        for wanted in (
            lambda layer: isinstance(layer.attention, StateSpace),
            lambda layer: layer.attention and not isinstance(layer.attention, StateSpace),
            lambda layer: isinstance(layer.mlp, Experts),
        )
    )
    assert (states, whole, behind) == (23, 6, 23)
    assert all(layer.norms == layer.sums == 1 for layer in NANO.layers)


def test_layers_may_be_listed_by_letters_and_by_words() -> None:
    config = {"model_type": "nemotron_h", **SMALL, "mamba_num_heads": 32, "mamba_head_dim": 64}
    config |= {"ssm_state_size": 128, "n_groups": 8}
    letters = from_config(config | {"hybrid_override_pattern": "M-*-"}, "letters")
    words = from_config(
        config | {"layers_block_type": ["mamba", "mlp", "full_attention", "mlp"]}, "words"
    )
    assert letters.layers == words.layers
    with pytest.raises(UsageError, match="hybrid_override_pattern: X: known are mamba"):
        from_config(config | {"hybrid_override_pattern": "MX"}, "mine")
    with pytest.raises(UsageError, match="kind moe, and n_routed_experts is missing"):
        from_config(config | {"hybrid_override_pattern": "ME"}, "mine")


def deployment(**given: Any) -> Deployment:
    return Deployment(model=NANO, chip=accelerators().find("H100"), **given)


def test_what_is_kept_of_a_request_is_states_and_the_keys_of_few_layers() -> None:
    kept = [request_bytes(deployment(), Engine(), tokens) for tokens in (0, 10_000)]
    # 64 heads of 64 x 128 numbers in fp32, and of three tokens what the filter mixes: 64 x 64 and 2 x 8 x 128.
    assert kept[0] == 23 * (64 * 64 * 128 * 4 + 3 * (64 * 64 + 2 * 8 * 128) * 2)
    assert kept[1] - kept[0] == 10_000 * 6 * 2 * 2 * 128 * 2
    # Heads are cut over chips; what groups share is there in each, once there are more chips than groups.
    states = next(one.attention for one in NANO.layers if isinstance(one.attention, StateSpace))
    assert states.state_bytes(16) == 64 * 64 * 128 * 4 / 16 + 3 * (64 * 4 + 2 * 128) * 2


def seconds(one: Deployment, batch: Batch) -> float:
    return Passes(PassWork(one, one.engine), IDEAL, exact=True).seconds(batch)


def test_a_token_given_reads_and_writes_states_whatever_is_behind_it() -> None:
    one = deployment()
    near, far = (seconds(one, Batch(given=64, seen=seen)) for seen in (1000, 9000))
    # Only six layers read keys and values of what is behind: 512 numbers of 2 bytes.
    assert far - near == pytest.approx(64 * 8000 * 6 * 2 * 2 * 128 * 2 / 3.35e12, rel=0.02)
    work = PassWork(one, one.engine)
    moved = sum(reading.state_bytes * layers for reading, layers in work.readings)
    assert moved == 2 * request_bytes(one, Engine(), 0)


def test_a_prompt_twice_as_long_takes_twice_as_long_to_scan() -> None:
    scan = [one for one, _ in PassWork(deployment(), Engine()).scorings if one.token_flops]
    # Within a chunk of 128: 8 groups of 128 numbers, and 64 heads of 64; into and out of states of 128.
    by_hand = 2 * 128 * (8 * 128 + 64 * 64) + 4 * 64 * 64 * 128
    assert [one.token_flops for one in scan] == [by_hand]


def job(model: str, **degrees: Any) -> Job:
    return Job(
        model=named(model), layout=Layout(**({"chips": 8} | degrees)), sequence=8192, batch=8
    )


def test_work_of_a_step_is_six_flops_for_a_parameter_and_token_and_the_scan() -> None:
    one = job("Nemotron-H-56B")
    model = one.model
    met = model.parameters - model.vocabulary * model.hidden  # of the first table, rows are read
    scans = sum(
        operator.flops * count
        for layer, count in model.kinds
        for operator in layer_pass(one, layer).forward
        if isinstance(operator, AttentionCore)
    )
    assert model_flops(one) == pytest.approx(6 * met * one.tokens + 3 * scans * 8, rel=1e-3)


def test_states_are_cut_by_tensor_parallelism_and_groups_at_most_once_for_each_chip() -> None:
    layer = next(one for one in NANO.layers if isinstance(one.attention, StateSpace))
    columns = {}
    for tensor in (1, 8, 16):
        operators = layer_pass(job(NANO.name, chips=16, tensor=tensor), layer).forward
        product = next(one for one in operators if isinstance(one, Matmul))
        columns[tensor] = product.n
    assert columns[1] == 2 * 4096 + 2 * 8 * 128 + 64
    assert columns[8] == columns[1] / 8
    assert columns[16] == (2 * 4096 + 64) / 16 + 2 * 128


def test_for_the_backward_pass_states_themselves_are_not_kept() -> None:
    layer = next(one for one in NANO.layers if isinstance(one.attention, StateSpace))
    # What enters and the norm gives; the first product's 10304 numbers, and twice what heads give.
    each = 2 * (2 * 2688 + 10304 + 2 * 4096)
    assert kept_bytes(job(NANO.name), layer) == 8192 * each


def test_experts_may_get_shorter_vectors_than_the_model_has() -> None:
    model = named("Nemotron-3-Super-120B-A12B")
    experts = next(one.mlp for one in model.layers if isinstance(one.mlp, Experts))
    assert experts.width(model.hidden) == 1024
    assert model.active_parameters == pytest.approx(12.8e9, rel=0.005)  # its name says 12
    assert len(model.mtp_layers) == 1
    assert model.mtp_layers[0].mlp == experts


@pytest.mark.parametrize("name", ["Nemotron-3-Nano-30B-A3B", "Nemotron-H-56B"])
def test_a_service_and_a_run_of_a_model_with_states_are_planned(name: str) -> None:
    serve, train = Command("serve"), Command("train")
    found = serve.planned(
        name, "--chip", "H200", "--chip", "910B3", "--chips", "8", "--tpot", "200"
    )
    assert all(chip["plans"] for chip in found["chips"])
    assert "state-space layers: an extrapolation" in " ".join(found["remarks"])
    found = train.planned(name, "--chip", "H100", "--chip", "910B3", "--chips", "64")
    assert all(chip["plans"] for chip in found["chips"])
    assert "21 to 29 % too fast" in " ".join(found["remarks"])
