"""Models from a config.json: their parameters are the published ones, and mistakes are named."""

import json
from pathlib import Path
from typing import Any

import pytest

from cordee.core.errors import UsageError
from cordee.plan.model import GroupedAttention, Mlp, from_config, model, named
from cordee.plan.model.reading import Known, known

LLAMA = known()["llama-3.1-8b"].config


@pytest.mark.parametrize("row", known().values(), ids=lambda row: row.name)
def test_a_model_has_the_parameters_that_its_maker_publishes(row: Known) -> None:
    found = named(row.name)
    assert row.parameters or row.billions
    assert found.parameters == (row.parameters or pytest.approx(row.billions * 1e9, rel=0.015))
    assert found.active_parameters <= found.parameters
    assert found.remarks == ()


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("Mixtral-8x7B", 12.9),
        ("Qwen3-30B-A3B", 3.3),
        ("Qwen3-235B-A22B", 22.0),
        ("DeepSeek-V3", 37),
    ],
)
def test_a_token_meets_as_many_parameters_as_the_maker_says(name: str, billions: float) -> None:
    assert named(name).active_parameters / 1e9 == pytest.approx(billions, rel=0.02)


def test_a_cache_of_short_vectors_is_smaller_than_one_of_heads() -> None:
    # arxiv.org/abs/2412.19437: 576 numbers of a token in each of 61 layers.
    assert named("DeepSeek-V3").kv_numbers == 61 * 576
    assert named("Llama-3.1-8B").kv_numbers == 32 * 2 * 8 * 128


def test_half_of_the_layers_of_gemma_2_see_a_window() -> None:
    windows = [layer.attention.window for layer in named("Gemma-2-9B").layers]
    assert windows == [4096, None] * 21


def test_gemma_4_keeps_long_heads_where_all_tokens_are_seen_and_a_window_elsewhere() -> None:
    found = named("Gemma-4-31B")
    kinds = dict.fromkeys(layer.attention for layer in found.layers)
    assert [one.window for one in kinds if one] == [1024, None]
    # 16 heads of 256 numbers, and 4 of 512, keys and values.
    assert [one.kv_numbers for one in kinds if one] == [2 * 16 * 256, 2 * 4 * 512]


def test_small_models_of_gemma_4_borrow_keys_and_get_numbers_of_their_own_in_each_layer() -> None:
    config = {"model_type": "gemma4_text", "hidden_size": 2304, "intermediate_size": 9216}
    config |= {"num_hidden_layers": 30, "num_attention_heads": 8, "num_key_value_heads": 4}
    config |= {"head_dim": 256, "vocab_size": 262144, "hidden_size_per_layer_input": 256}
    found = from_config(
        config | {"num_kv_shared_layers": 10, "use_double_wide_mlp": True}, "gemma-4-small"
    )
    assert found.parameters == 5_657_561_600  # as transformers 5.24 counts it
    # Of 20 layers, each sixth sees all tokens, with heads of 512 numbers.
    assert found.kv_numbers == 17 * 2 * 4 * 256 + 3 * 2 * 4 * 512


def test_values_of_mimo_are_shorter_than_its_keys() -> None:
    far, near = (named("MiMo-V2-Flash").layers[place].attention for place in (0, 1))
    assert far
    assert near
    assert (far.kv_numbers, near.kv_numbers) == (4 * (192 + 128), 8 * (192 + 128))
    assert (far.window, near.window) == (None, 128)


def test_layers_of_step_with_a_window_may_have_more_heads() -> None:
    config = {"model_type": "step3p5", "hidden_size": 4096, "num_hidden_layers": 4}
    config |= {"num_attention_heads": 64, "num_attention_groups": 8, "head_dim": 128}
    config |= {"vocab_size": 128896, "intermediate_size": 11264, "moe_num_experts": 288}
    config |= {"moe_top_k": 8, "moe_intermediate_size": 1280, "share_expert_dim": 1280}
    config |= {"sliding_window": 512, "moe_layers_enum": "3"}
    config |= {"layer_types": ["full_attention", *["sliding_attention"] * 3]}
    config |= {"attention_other_setting": {"num_attention_heads": 96}}
    found = from_config(config, "step")
    assert [layer.attention.heads for layer in found.layers if layer.attention] == [64, 96, 96, 96]
    assert [isinstance(layer.mlp, Mlp) for layer in found.layers] == [True, True, True, False]
    assert found.heads == 32


def test_minimax_m3_looks_at_chosen_blocks_and_keeps_all_tokens() -> None:
    attention = named("MiniMax-M3").layers[-1].attention
    assert isinstance(attention, GroupedAttention)
    assert attention.window == 16 * 128
    assert attention.kept_tokens is None
    assert attention.kv_numbers == 2 * 4 * 128 + 128


def test_a_config_is_read_from_a_file_and_from_its_folder(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    assert model(str(tmp_path)).parameters == model(str(tmp_path / "config.json")).parameters


def test_of_a_model_that_sees_the_part_with_text_is_planned() -> None:
    found = from_config(
        {"model_type": "gemma3", "text_config": LLAMA, "vision_config": {"hidden_size": 1}},
        "seeing",
    )
    assert found.parameters == named("Llama-3.1-8B").parameters
    assert "vision_config: left out" in found.remarks[0]


def test_a_field_that_nobody_knows_is_named_with_the_nearest() -> None:
    found = from_config(LLAMA | {"sliding_windows": 4096, "loop_layers": 3}, "mine")
    assert "loop_layers: not understood, so the plan leaves it out" in found.remarks
    assert any("did you mean sliding_window?" in remark for remark in found.remarks)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"model_type": "qwen9"}, "model_type qwen9: nothing here knows.*nearest is qwen"),
        ({"model_type": None}, "model_type is missing"),
        ({"hidden_size": None, "hidden_sizes": 4096}, "hidden_size or .* is missing.*hidden_sizes"),
        ({"num_hidden_layers": -1}, "num_hidden_layers = -1: a whole number above 0"),
        ({"num_key_value_heads": 7}, "32 heads do not divide into 7 groups: .* 1, 2, 4, 8, 16, 32"),
        ({"num_hidden_layers": 10**8}, "num_hidden_layers = 100000000: 10,000 at most"),
        ({"hidden_size": 10**20}, "hidden_size = 1.*: 1,000,000,000 at most"),
        ({"hidden_size": 100}, "hidden_size 100 does not divide by 32 heads"),
        ({"num_experts": 8, "num_experts_per_tok": 16}, "num_experts_per_tok = 16: at most 8"),
        ({"layer_types": ["full_attention"]}, "layer_types has 1 words for 32 layers"),
    ],
)
def test_a_wrong_config_says_what_is_wrong_and_what_would_do(
    change: dict[str, Any], why: str
) -> None:
    with pytest.raises(UsageError, match=why):
        from_config(LLAMA | change, "mine")


@pytest.mark.parametrize(
    ("kind", "missing"),
    [("kimi_k3", "attn_res_block_size"), ("nemotron-nas", "block_configs"), ("zamba2", "share")],
)
def test_what_a_plan_does_not_know_of_an_architecture_is_said(kind: str, missing: str) -> None:
    with pytest.raises(UsageError, match=f"mine: model_type {kind} cannot be planned: .*{missing}"):
        from_config({**LLAMA, "model_type": kind}, "mine")


def test_a_name_may_stand_after_that_of_its_publisher() -> None:
    assert model("Qwen/Qwen3-8B") == model("Qwen3-8B")


@pytest.mark.parametrize(
    ("name", "like"),
    [
        ("DeepSeek-R1", "DeepSeek-V3"),
        ("deepseek-ai/DeepSeek-R1-0528", "DeepSeek-V3"),
        ("meta-llama/Meta-Llama-3-8B-Instruct", "Llama-3.1-8B"),
        ("Qwen/Qwen3-235B-A22B-Instruct-2507-FP8", "Qwen3-235B-A22B"),
        ("google/gemma-3-27b-it", "Gemma-3-27B"),
    ],
)
def test_a_model_may_be_called_by_the_name_of_one_that_is_built_alike(name: str, like: str) -> None:
    found = model(name)
    assert found.layers == named(like).layers
    if name.lower() != like.lower():
        assert found.remarks[-1].endswith("is built like it")


def test_each_name_says_one_model() -> None:
    names = [name.lower() for row in known().values() for name in (row.name, *row.also)]
    assert len(names) == len(set(names))


def test_what_gemma_3_leaves_out_is_as_transformers_has_it() -> None:
    # config.json of google/gemma-3-4b-it
    text = {"hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34}
    found = from_config(
        {"model_type": "gemma3", "text_config": {**text, "sliding_window": 1024}}, "gemma-3-4b"
    )
    assert found.parameters == 3_880_263_168  # with 4,300,079,472 in all, less what sees


def test_every_second_layer_of_llama_4_maverick_is_dense() -> None:
    assert [isinstance(layer.mlp, Mlp) for layer in named("Llama-4-Maverick").layers] == [
        True,
        False,
    ] * 24


@pytest.mark.parametrize("kind", ["PanguEmbedded", "qwen3_vl_text", "qwen2_5_vl", "mistral3"])
def test_architectures_that_differ_from_llama_in_details_are_read(kind: str) -> None:
    assert from_config({**LLAMA, "model_type": kind}, kind).parameters > 8e9


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no such model. Did you mean Llama-3.1-8B\?"):
        model("llama3.1-8b")


def test_a_file_that_is_not_there_or_no_json_is_a_mistake_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        model(str(tmp_path / "config.json"))
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(UsageError, match=r"a config\.json is needed"):
        model(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UsageError, match=r"config\.json"):
        model(str(tmp_path))
