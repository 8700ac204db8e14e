"""The model that the options of a training program describe."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from cordee.core.errors import UsageError
from cordee.core.facts import Fact, rows
from cordee.plan.model import Model, from_config
from cordee.plan.scripts.options import Options

TOKENIZER = "--tokenizer-type"
PART = re.compile(r"\[([01](?:,[01])*)\](?:\*(\d{1,4}))?")
"""Part of a list such as [0]*3+[1]*58."""


def model_of(options: Options) -> Model:
    """Raises `UsageError` where a size is missing, or a kind of model is not read from options."""
    sizes = options.sizes()
    if "hidden_size" not in sizes or "num_hidden_layers" not in sizes:
        raise UsageError(
            f"{options.path}: the sizes of the model are not in it (--num-layers, --hidden-size): "
            "give its config.json or its name as MODEL"
        )
    vocabulary = sizes.pop("padded_vocab_size", None) or sizes.get("vocab_size")
    vocabulary = vocabulary or tokenizers().get(options.given.get(TOKENIZER, ""))
    if vocabulary is None:
        raise UsageError(
            f"{options.path}: how many words the model knows is not in it: add --padded-vocab-size, "
            "or give its config.json or its name as MODEL"
        )
    empty = len([one for one in options.word("noop").split(",") if one])
    config = sizes | {
        "vocab_size": vocabulary,
        "num_hidden_layers": sizes["num_hidden_layers"] - empty,
        "tie_word_embeddings": not options.has("--untie-embeddings-and-output-weights"),
        "intermediate_size": sizes.get("intermediate_size") or _usual_mlp(options, sizes),
    }
    return from_config(_of_family(options, config | _layers(options)), options.path.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenizer(Fact):
    """One that says how many words a model knows."""

    name: str
    words: int


@cache
def tokenizers() -> Mapping[str, int]:
    """How many words each has whose name says it."""
    table = files("cordee.plan.scripts") / "megatron.toml"
    return {row.name: row.words for row in rows(table, Tokenizer, table="tokenizer")}


def _usual_mlp(options: Options, sizes: Mapping[str, Any]) -> int:
    """Four times as wide, or two thirds of that with a gate: megatron/training/arguments.py."""
    wide = 4 * int(sizes["hidden_size"])
    return wide * 2 // 3 // 64 * 64 if options.has("--swiglu") else wide


def _layers(options: Options) -> dict[str, int]:
    """Which layers have experts: every n-th, or those behind the first few."""
    said = "".join(options.word("moe_layer_freq").strip("()\"'").split())
    if said in ("", "1", "-1"):
        return {}
    if said.isdecimal() and not options.has("--multi-latent-attention"):
        return {"decoder_sparse_step": int(said)}
    kinds = [
        kind
        for one in PART.finditer(said)
        for kind in one[1].split(",") * int(one[2] or 1)
        if PART.sub("", said).strip("+") == ""
    ]
    first = kinds.index("1") if "1" in kinds else 0
    if not kinds or "0" in kinds[first:]:
        raise UsageError(
            f"{options.place('--moe-layer-freq')}: --moe-layer-freq {said}: read are a number, and a "
            "list such as [0]*3+[1]*58, dense layers first; give the model's config.json as MODEL"
        )
    return {"first_k_dense_replace": first} if first else {}


def _of_family(options: Options, config: dict[str, Any]) -> dict[str, Any]:
    if options.has("--multi-latent-attention"):
        return _latent(options, config)
    if not options.has("--swiglu"):
        if "num_experts" in config or options.has("--group-query-attention"):
            raise UsageError(
                f"{options.path}: without --swiglu, experts or groups of queries are not read from "
                "a script; give the model's config.json as MODEL"
            )
        config["ffn_hidden_size"] = config.pop("intermediate_size")
        config["n_positions"] = config.pop("max_position_embeddings", None)
        return config | {"model_type": "gpt2"}
    if not options.has("--group-query-attention"):
        config.pop("num_key_value_heads", None)
    mixture, normed = "num_experts" in config, options.has("--qk-layernorm")
    kind = "llama" if not mixture else "qwen3_moe" if normed else "mixtral"
    if "linear_num_value_heads" in config:
        kind = "qwen3_next" if mixture else "qwen3_5_text"
    biased = options.has("--add-qkv-bias")
    return config | {"model_type": kind, "use_qk_norm": normed, "attention_bias": biased}


def _latent(options: Options, config: dict[str, Any]) -> dict[str, Any]:
    experts = config.pop("num_experts", None)
    if experts is None:
        raise UsageError(
            f"{options.place('--multi-latent-attention')}: --multi-latent-attention without "
            "--num-experts: nothing here reads such a model; give its config.json as MODEL"
        )
    each = config.setdefault("moe_intermediate_size", config["intermediate_size"])
    shared = config.pop("shared_expert_intermediate_size", 0)
    if shared and not shared % each:
        config.setdefault("n_shared_experts", shared // each)
    if "index_n_heads" in config:  # as DeepSeek-V3.2 has them
        config = {"index_head_dim": 128, "index_topk": 2048, **config}
    biased = options.has("--moe-router-enable-expert-bias")
    kind = "deepseek_v3" if biased else "deepseek_v2"
    return config | {"model_type": kind, "n_routed_experts": experts}
