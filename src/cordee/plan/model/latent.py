"""Models that keep one short vector for each token: DeepSeek V2, V3, R1 and V3.2, Kimi K2, openPangu Ultra."""

from cordee.plan.model.attention import LatentAttention
from cordee.plan.model.fields import Fields
from cordee.plan.model.grouped import MOST_LAYERS, chosen
from cordee.plan.model.model import Experts, Layer, Mlp, Model


def deepseek(fields: Fields, name: str, family: str) -> Model:
    """Attention over short vectors, and experts behind the first dense layers."""
    hidden = fields.number("hidden_size")
    attention = _attention(fields)
    norms = 4 if fields.flag("sandwich_norm") else 2
    mlp = Mlp(size=fields.number("intermediate_size"))
    dense = Layer(attention=attention, mlp=mlp, norms=norms)
    sparse = Layer(attention=attention, mlp=_experts(fields, family), norms=norms)
    count = fields.number("num_hidden_layers", most=MOST_LAYERS)
    first = min(fields.maybe("first_k_dense_replace", "num_dense_layers") or 0, count)
    for left in ("moe_layer_freq", "num_key_value_heads", "qk_head_dim"):  # say nothing new
        fields.maybe(left)
    guessing = fields.maybe("num_nextn_predict_layers", "num_mtp_layers") or 0
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
        query_rank=fields.maybe("q_lora_rank", "attention_q_lora_dim"),
        kv_rank=fields.number("kv_lora_rank", "attention_kv_lora_dim"),
        plain_size=fields.number("qk_nope_head_dim", "attention_qk_dim"),
        rope_size=fields.number("qk_rope_head_dim", "attention_qk_rope_dim"),
        value_size=fields.number("v_head_dim", "attention_v_dim"),
        index_heads=fields.maybe("index_n_heads") or 0,
        index_size=fields.maybe("index_head_dim") or 0,
        index_tokens=fields.maybe("index_topk"),
    )


def _experts(fields: Fields, family: str) -> Experts:
    size = fields.number("moe_intermediate_size")
    shared = fields.maybe("n_shared_experts", "num_shared_experts")
    count = fields.number("n_routed_experts", "num_routed_experts")
    return Experts(
        count=count,
        chosen=chosen(fields, count),
        expert=Mlp(size=size),
        shared=Mlp(size=size * shared) if shared else None,
        router_bias=family != "deepseek_v2",
    )
