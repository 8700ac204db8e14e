"""DeepSeek-V4: of tokens that are far behind, only one entry for several of them is kept, and some of these are looked at."""

from cordee.core.errors import UsageError
from cordee.plan.model.attention import CompressedAttention
from cordee.plan.model.fields import Fields
from cordee.plan.model.grouped import MOST_LAYERS, chosen
from cordee.plan.model.model import Experts, Layer, Mlp, Model

RATES = {
    "sliding_attention": 0,
    "compressed_sparse_attention": 4,
    "heavily_compressed_attention": 128,
}
"""Tokens of an entry, by kinds of layers: github.com/huggingface/transformers v5.24.0, configuration_deepseek_v4.py."""


def deepseek_v4(fields: Fields, name: str, family: str) -> Model:
    """A short window, and entries behind it; several streams go through all layers."""
    hidden = fields.number("hidden_size")
    count = fields.number("num_hidden_layers", most=MOST_LAYERS)
    streams = fields.number("hc_mult", usual=4)
    learned = _experts(fields)
    hashed = fields.maybe("num_hash_layers") or 0
    kinds = fields.words("mlp_layer_types") or ["hash_moe"] * hashed + ["moe"] * (count - hashed)
    looked_up = Experts(
        count=learned.count, chosen=learned.chosen, expert=learned.expert, shared=learned.shared
    )
    layers = tuple(
        Layer(
            attention=_attention(fields, rate),
            mlp=looked_up if kind == "hash_moe" else learned,
            streams=streams,
        )
        for rate, kind in zip(_rates(fields, count), kinds, strict=True)
    )
    guessing = fields.maybe("num_nextn_predict_layers") or 0
    last = Layer(attention=_attention(fields, 0), mlp=learned, streams=streams)
    fields.maybe("num_key_value_heads")  # all heads share one entry
    fields.maybe("qk_rope_head_dim")  # of which a part says where it is
    return Model(
        name=name,
        hidden=hidden,
        layers=layers,
        vocabulary=fields.number("vocab_size"),
        tied=fields.flag("tie_word_embeddings"),
        mtp_layers=(last,) * guessing,
        longest=fields.maybe("max_position_embeddings"),
        remarks=tuple(fields.remarks()),
    )


def _rates(fields: Fields, count: int) -> list[int]:
    """Tokens of an entry, layer by layer; the list may go on with layers that guess."""
    table = fields.table("compress_rates")
    kinds = fields.words("layer_types")
    unknown = sorted(set(kinds) - set(RATES))
    if unknown:
        raise UsageError(f"layer_types: {', '.join(unknown)}: known are {', '.join(RATES)}")
    found = [int(table.get(kind, RATES[kind])) for kind in kinds] or fields.counts(
        "compress_ratios"
    )
    if not found:
        found = [128, 128, *(4 if place % 2 else 128 for place in range(count - 2))]
    if len(found) < count:
        raise UsageError(f"compress_ratios has {len(found)} entries for {count} layers")
    return found[:count]


def _attention(fields: Fields, rate: int) -> CompressedAttention:
    index_heads = fields.number("index_n_heads", usual=64)
    index_size = fields.number("index_head_dim", usual=128)
    index_entries = fields.number("index_topk", usual=512)
    is_chosen = 0 < rate < 128
    return CompressedAttention(
        heads=fields.number("num_attention_heads"),
        query_rank=fields.number("q_lora_rank"),
        head_size=fields.number("head_dim"),
        near=fields.number("sliding_window", usual=128),
        groups=fields.number("o_groups", usual=8),
        out_rank=fields.number("o_lora_rank", usual=1024),
        rate=rate,
        index_heads=index_heads if is_chosen else 0,
        index_size=index_size if is_chosen else 0,
        index_entries=index_entries if is_chosen else None,
    )


def _experts(fields: Fields) -> Experts:
    count = fields.number("n_routed_experts")
    size = fields.number("moe_intermediate_size")
    shared = fields.maybe("n_shared_experts")
    return Experts(
        count=count,
        chosen=chosen(fields, count),
        expert=Mlp(size=size),
        shared=Mlp(size=size * shared) if shared else None,
        router_bias=True,
    )
