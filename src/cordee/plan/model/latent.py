"""Models that keep one short vector for each token: DeepSeek V2, V3, R1 and V3.2, Kimi K2."""

from cordee.plan.model.fields import Fields
from cordee.plan.model.model import Experts, LatentAttention, Layer, Mlp, Model


def deepseek(fields: Fields, name: str, family: str) -> Model:
    """Attention over short vectors, and experts behind the first dense layers."""
    hidden = fields.number("hidden_size")
    attention = _attention(fields)
    dense = Layer(attention=attention, mlp=Mlp(size=fields.number("intermediate_size")))
    sparse = Layer(attention=attention, mlp=_experts(fields, family))
    count = fields.number("num_hidden_layers")
    first = fields.maybe("first_k_dense_replace") or 0
    fields.maybe("moe_layer_freq")
    guessing = fields.maybe("num_nextn_predict_layers") or 0
    return Model(
        name=name,
        hidden=hidden,
        layers=(dense,) * first + (sparse,) * (count - first),
        vocabulary=fields.number("vocab_size"),
        tied=fields.flag("tie_word_embeddings"),
        mtp_layers=(sparse,) * guessing,
        longest=fields.maybe("max_position_embeddings"),
        remarks=tuple(fields.remarks()),
    )


def _attention(fields: Fields) -> LatentAttention:
    return LatentAttention(
        heads=fields.number("num_attention_heads"),
        query_rank=fields.maybe("q_lora_rank"),
        kv_rank=fields.number("kv_lora_rank"),
        plain_size=fields.number("qk_nope_head_dim"),
        rope_size=fields.number("qk_rope_head_dim"),
        value_size=fields.number("v_head_dim"),
        index_heads=fields.maybe("index_n_heads") or 0,
        index_size=fields.maybe("index_head_dim") or 0,
        index_tokens=fields.maybe("index_topk"),
    )


def _experts(fields: Fields, family: str) -> Experts:
    size = fields.number("moe_intermediate_size")
    shared = fields.maybe("n_shared_experts")
    return Experts(
        count=fields.number("n_routed_experts"),
        chosen=fields.number("num_experts_per_tok"),
        expert=Mlp(size=size),
        shared=Mlp(size=size * shared) if shared else None,
        router_bias=family != "deepseek_v2",
    )
