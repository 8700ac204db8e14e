"""Models whose heads have keys and values of their own or in groups: Llama and its kin, GPT."""

from collections.abc import Iterator
from dataclasses import replace

from cordee.core.errors import UsageError
from cordee.plan.model.attention import GroupedAttention
from cordee.plan.model.fields import Fields
from cordee.plan.model.model import Experts, Layer, Mlp, Model
from cordee.plan.model.states import LinearAttention

HYBRID = ("qwen3_next", "qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text")
HEAD_NORM = (
    *("qwen3", "qwen3_moe", "qwen3_vl_text", "qwen3_vl_moe_text"),
    *("gemma3", "gemma3_text", *HYBRID),
)
BIASED = (
    "qwen",
    "qwen2",
    "qwen2_moe",
    "qwen2_vl",
    "qwen2_5_vl",
    "qwen2_5_vl_text",
    "gpt_oss",
    "mimo",
)
GEMMA3 = {"vocab_size": 262208, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256}
"""What a config.json of Gemma 3 leaves out: transformers, `Gemma3TextConfig`."""
MOST_LAYERS = 10_000
"""More are no model but a slip of the pen."""


def llama(fields: Fields, name: str, family: str) -> Model:
    """Llama, Mistral, Qwen, Gemma, GLM and mixtures of their kind, which differ in details."""
    if family.startswith("gemma3"):
        fields = fields.completed(GEMMA3)
    hidden = fields.number("hidden_size", "n_embd", "d_model")
    count = fields.number("num_hidden_layers", "num_layers", "n_layer", most=MOST_LAYERS)
    kinds = fields.words("layer_types")
    if kinds and len(kinds) != count:
        raise UsageError(f"layer_types has {len(kinds)} words for {count} layers")
    layers = tuple(_layers(fields, family, hidden, count))
    longest = fields.maybe("max_position_embeddings", "seq_length")
    return Model(
        name=name,
        hidden=hidden,
        layers=layers,
        vocabulary=fields.number("vocab_size", "padded_vocab_size"),
        tied=fields.flag("tie_word_embeddings", usual=family.startswith("gemma")),
        longest=longest,
        remarks=tuple(fields.remarks()),
    )


def _layers(fields: Fields, family: str, hidden: int, count: int) -> Iterator[Layer]:
    whole = attention(fields, family, hidden)
    window, windowed = _windows(fields, family, count)
    dense, experts = _mlp(fields, family), _experts(fields, family)
    sparse = _sparse(fields, family, count) if experts else frozenset()
    linear, stateful = _linear(fields, count)
    sandwiched = fields.flag("sandwich_norm")
    norms = 4 if sandwiched or family in ("gemma2", "gemma3", "gemma3_text", "glm4") else 2
    for place in range(count):
        seen = window if place in windowed else None
        mlp = experts if experts and place in sparse else dense
        if mlp is None:
            raise UsageError(f"layer {place} is dense, and intermediate_size is missing")
        own = linear if linear and place in stateful else replace(whole, window=seen)
        yield Layer(attention=own, mlp=mlp, norms=norms)


def _linear(fields: Fields, count: int) -> tuple[LinearAttention | None, frozenset[int]]:
    """Layers that keep a state in place of tokens, and what they are."""
    heads = fields.maybe("linear_num_value_heads")
    if heads is None:
        return None, frozenset()
    kinds = fields.words("layer_types")
    every = fields.number("full_attention_interval", usual=4)
    places = (n for n in range(count) if (n + 1) % every)
    if kinds:
        places = (n for n, kind in enumerate(kinds) if kind.startswith("linear"))
    found = LinearAttention(
        heads=heads,
        kv_heads=fields.number("linear_num_key_heads"),
        score_size=fields.number("linear_key_head_dim"),
        value_size=fields.number("linear_value_head_dim"),
        mixed=fields.number("linear_conv_kernel_dim", usual=4),
    )
    return found, frozenset(places)


def attention(fields: Fields, family: str, hidden: int) -> GroupedAttention:
    """Heads of queries, and those of keys and values that they share."""
    heads = fields.number("num_attention_heads", "n_head")
    multi_query = fields.flag("multi_query_attention")
    groups = fields.maybe("multi_query_group_num")
    kv_heads = (
        groups if multi_query and groups else fields.number("num_key_value_heads", usual=heads)
    )
    if heads % kv_heads:
        raise UsageError(
            f"{heads} heads do not divide into {kv_heads} groups: num_key_value_heads is one of "
            f"{', '.join(str(n) for n in range(1, heads + 1) if heads % n == 0)}"
        )
    biased = family in BIASED
    pangu = family.startswith("Pangu") and fields.flag("bias", "attention_bias")
    size = fields.maybe("head_dim", "kv_channels", "attention_head_dim")
    if size is None and hidden % heads:
        raise UsageError(
            f"hidden_size {hidden} does not divide by {heads} heads, and head_dim is missing"
        )
    return GroupedAttention(
        heads=heads,
        kv_heads=kv_heads,
        head_size=size or hidden // heads,
        biases=fields.flag("attention_bias", "add_qkv_bias", usual=biased) or biased or pangu,
        out_bias=family == "gpt_oss" or pangu,
        head_norm=fields.flag("use_qk_norm") or family in HEAD_NORM,
        sinks=family == "gpt_oss",
        gate=fields.flag("attn_output_gate", usual=family in HYBRID),
    )


def _windows(fields: Fields, family: str, count: int) -> tuple[int | None, frozenset[int]]:
    """The size of the window, and the layers that have one."""
    window = fields.maybe("sliding_window", "attention_chunk_size")
    kinds = fields.words("layer_types")
    used = fields.flag("use_sliding_window", usual=not family.startswith("qwen"))
    first, every = fields.maybe("max_window_layers"), fields.maybe("sliding_window_pattern")
    if window is None or not used:
        return None, frozenset()
    if kinds:
        return window, frozenset(n for n, kind in enumerate(kinds) if kind.startswith("sliding"))
    if family.startswith("qwen"):
        return window, frozenset(range(first or 0, count))
    if family == "gemma2" or family == "gpt_oss":
        return window, frozenset(range(0, count, 2))
    if family.startswith("llama4"):
        return window, frozenset(n for n in range(count) if (n + 1) % 4)
    if family.startswith("gemma3"):
        every = every or 6
        return window, frozenset(n for n in range(count) if (n + 1) % every)
    return window, frozenset(range(count))


def _mlp(fields: Fields, family: str) -> Mlp | None:
    names = ("intermediate_size", "ffn_hidden_size")
    # Llama 4 calls the MLP of a dense layer so, and an expert's intermediate_size.
    size = fields.maybe("intermediate_size_mlp", *names)
    biases = fields.flag("mlp_bias")
    if size and family == "qwen":
        size //= 2  # Qwen's first config counts gate and value together
    return Mlp(size=size, biases=biases) if size else None


def _experts(fields: Fields, family: str) -> Experts | None:
    count = fields.maybe("num_experts", "num_local_experts", "n_routed_experts")
    if count is None:
        return None
    usual = fields.number("intermediate_size", "ffn_hidden_size", usual=1)
    size = fields.number("moe_intermediate_size", usual=usual)
    shared = fields.maybe("shared_expert_intermediate_size")
    shared_count = fields.maybe("n_shared_experts", "num_shared_experts")
    shared_size = shared or (size * shared_count if shared_count else None)
    shared_size = size if family.startswith("llama4") else shared_size
    return Experts(
        count=count,
        chosen=chosen(fields, count, usual=2),
        expert=Mlp(size=size, biases=family == "gpt_oss"),
        shared=Mlp(size=shared_size) if shared_size else None,
        shared_gate=family == "qwen2_moe" or family in HYBRID,
        router_bias=family in ("gpt_oss", "glm4_moe", "minimax_m2"),
    )


def chosen(fields: Fields, count: int, usual: int | None = None) -> int:
    """How many of the experts a token meets. Raises `UsageError` where there are not as many."""
    names = ("num_experts_per_tok", "experts_per_token", "moe_topk", "moe_top_k", "top_k_experts")
    found = fields.number(*names, usual=usual)
    if found > count:
        raise UsageError(f"{names[0]} = {found}: at most {count}, for there are no more experts")
    return found


def _sparse(fields: Fields, family: str, count: int) -> frozenset[int]:
    """Layers with experts: those behind the first dense ones, each or every n-th."""
    first = fields.maybe("first_k_dense_replace") or 0
    every = "interleave_moe_layer_step" if family.startswith("llama4") else "decoder_sparse_step"
    step = fields.maybe(every, "moe_layer_freq") or 1
    dense = fields.numbers("mlp_only_layers")
    return frozenset(
        n for n in range(first, count) if n not in dense and (n + 1 - first) % step == 0
    )


def gpt2(fields: Fields, name: str, family: str) -> Model:
    """GPT-2 and what is built like it: biases everywhere, no gate; BLOOM and MPT without some."""
    hidden = fields.number("n_embd", "hidden_size", "d_model")
    heads = fields.number("n_head", "n_heads", "num_attention_heads")
    plain = family == "mpt"
    size = fields.number("n_inner", "ffn_hidden_size", usual=4 * hidden)
    attention = GroupedAttention(
        heads=heads,
        kv_heads=fields.number("num_key_value_heads", usual=heads),
        head_size=hidden // heads,
        biases=not plain,
        out_bias=not plain,
    )
    layer = Layer(
        attention=attention,
        mlp=Mlp(size=size, gated=False, biases=not plain),
        norm_biases=not plain,
    )
    count = fields.number("n_layer", "n_layers", "num_hidden_layers", most=MOST_LAYERS)
    if hidden % heads:
        raise UsageError(f"hidden size {hidden} does not divide by {heads} heads")
    longest = fields.maybe("n_positions", "n_ctx", "max_seq_len", "seq_length")
    vocabulary = fields.number("vocab_size")
    return Model(
        name=name,
        hidden=hidden,
        layers=(layer,) * count,
        vocabulary=vocabulary,
        tied=fields.flag("tie_word_embeddings", usual=True),
        positions=(longest or 0) if family == "gpt2" else 0,
        longest=longest,
        norm_biases=not plain,
        remarks=tuple(fields.remarks()),
    )
