"""Models whose layers differ in their heads: Gemma 4, MiMo-V2, Step 3.5 and 3.7, MiniMax M3."""

from dataclasses import dataclass, replace

from cordee.core.errors import UsageError
from cordee.plan.model.attention import GroupedAttention
from cordee.plan.model.fields import Fields
from cordee.plan.model.grouped import MOST_LAYERS, attention, chosen
from cordee.plan.model.model import Experts, Layer, Mlp, Model

WINDOWED = ("sliding_attention", "minimax_m3_sparse")
"""Kinds of layers that look at some of the tokens."""


@dataclass(frozen=True, slots=True)
class Base:
    """What all layers of a model are made from."""

    fields: Fields
    name: str
    family: str
    hidden: int
    count: int
    whole: GroupedAttention
    """Of layers that look at all tokens."""

    def model(self, layers: tuple[Layer, ...], *, tied: bool = False, guess: int = 0) -> Model:
        """With these layers, and as many that guess further tokens, which are like the last."""
        fields = self.fields
        return Model(
            name=self.name,
            hidden=self.hidden,
            layers=layers,
            vocabulary=fields.number("vocab_size"),
            tied=fields.flag("tie_word_embeddings", usual=tied),
            mtp_layers=(layers[-1],) * guess,
            longest=fields.maybe("max_position_embeddings"),
            remarks=tuple(fields.remarks()),
        )


def _base(fields: Fields, name: str, family: str) -> Base:
    hidden = fields.number("hidden_size")
    count = fields.number("num_hidden_layers", most=MOST_LAYERS)
    return Base(fields, name, family, hidden, count, attention(fields, family, hidden))


def _listed(base: Base, kind: str, *names: str) -> frozenset[int]:
    """Layers of that kind, by a list of words or one of zeros and ones; what guesses may follow in it."""
    for name in names:
        flags = base.fields.flags(name)
        words = [] if flags else base.fields.words(name)
        found = flags or [word == kind for word in words]
        if found and len(found) < base.count:
            raise UsageError(f"{name} has {len(found)} entries for {base.count} layers")
        if found:
            return frozenset(n for n, yes in enumerate(found[: base.count]) if yes)
    return frozenset()


def _own(base: Base, plain: GroupedAttention, place: int) -> GroupedAttention:
    """With what a config that transformers wrote says of that layer alone."""
    theirs = Fields(base.fields.table("per_layer_config"), base.name).table(str(place))
    own = Fields(theirs, f"{base.name}: per_layer_config of layer {place}")
    return replace(
        plain,
        heads=own.maybe("num_attention_heads") or plain.heads,
        kv_heads=own.maybe("num_key_value_heads") or plain.kv_heads,
        head_size=own.maybe("head_dim") or plain.head_size,
    )


def gemma4(fields: Fields, name: str, family: str) -> Model:
    """Gemma 4: long heads where all tokens are seen; MLPs beside experts; layers that borrow keys and values."""
    base = _base(fields, name, family)
    windowed = _listed(base, "sliding_attention", "layer_types")
    windowed = windowed or frozenset(n for n in range(base.count - 1) if (n + 1) % 6)
    alike = fields.flag("attention_k_eq_v")
    near = replace(base.whole, head_norm=True, window=fields.number("sliding_window", usual=512))
    heads = fields.maybe("num_global_key_value_heads") if alike else None
    far = replace(
        near,
        window=None,
        head_size=fields.number("global_head_dim", usual=512),
        kv_heads=heads or near.kv_heads,
        one_product=alike,
    )
    borrowing = base.count - (fields.maybe("num_kv_shared_layers") or 0)
    wide = fields.flag("use_double_wide_mlp")
    size = fields.number("intermediate_size")
    experts = _gemma_experts(fields, Mlp(size=size)) if fields.flag("enable_moe_block") else None
    for left in ("num_experts", "top_k_experts", "moe_intermediate_size"):
        fields.maybe(left)  # where there are no experts
    injected = fields.maybe("hidden_size_per_layer_input") or 0
    layers = []
    for place in range(base.count):
        own = near if place in windowed else far
        mlp = Mlp(size=2 * size if wide and place >= borrowing else size)
        layers.append(
            Layer(
                attention=replace(_own(base, own, place), borrowed=place >= borrowing),
                mlp=experts or mlp,
                norms=7 if experts else 4,
                injected=injected,
            )
        )
    found = base.model(tuple(layers), tied=True)
    rows = fields.number("vocab_size_per_layer_input", usual=found.vocabulary)
    return replace(found, injected_rows=rows if injected else 0, remarks=tuple(fields.remarks()))


def _gemma_experts(fields: Fields, beside: Mlp) -> Experts:
    count = fields.number("num_experts")
    size = fields.number("moe_intermediate_size", "expert_intermediate_size")
    return Experts(
        count=count,
        chosen=chosen(fields, count),
        expert=Mlp(size=size),
        shared=beside,
        router_bias=True,
        router_scale=True,
    )


def mimo(fields: Fields, name: str, family: str) -> Model:
    """MiMo-V2: most layers see a short window, with a weight that no token gets; values are shorter than keys."""
    base = _base(fields, name, family)
    windowed = _listed(base, "sliding_attention", "hybrid_layer_pattern", "layer_types")
    far = replace(base.whole, given=fields.maybe("v_head_dim"))
    far = replace(far, sinks=fields.flag("add_full_attention_sink_bias"))
    near = replace(
        far,
        heads=fields.number("swa_num_attention_heads", usual=far.heads),
        kv_heads=fields.number("swa_num_key_value_heads", usual=far.kv_heads),
        head_size=fields.number("swa_head_dim", usual=far.head_size),
        given=fields.maybe("swa_v_head_dim") or far.given,
        window=fields.number("sliding_window_size", "sliding_window", "attention_chunk_size"),
        sinks=fields.flag("add_swa_attention_sink_bias", usual=True),
    )
    count = fields.number("n_routed_experts")
    experts = Experts(
        count=count,
        chosen=chosen(fields, count),
        expert=Mlp(size=fields.number("moe_intermediate_size")),
        router_bias=True,
    )
    fields.maybe("n_shared_experts")
    return _dense_or_sparse(base, far, near, windowed, experts, "intermediate_size")


def step(fields: Fields, name: str, family: str) -> Model:
    """Step 3.5 and 3.7: each head is weighed; layers with a window may have more heads."""
    base = _base(fields, name, family)
    windowed = _listed(base, "sliding_attention", "layer_types")
    groups = fields.maybe("num_attention_groups")
    far = replace(
        base.whole, head_norm=True, head_gate=fields.flag("use_head_wise_attn_gate", usual=True)
    )
    far = replace(far, kv_heads=groups) if groups else far
    other = Fields(fields.table("attention_other_setting"), name)
    near = replace(
        far,
        heads=fields.maybe("num_sliding_attention_heads")
        or other.number("num_attention_heads", usual=far.heads),
        window=fields.maybe("sliding_window"),
    )
    count = fields.number("n_routed_experts", "moe_num_experts", "num_experts")
    fields.maybe("n_shared_experts")  # share_expert_dim says how large they are together
    experts = Experts(
        count=count,
        chosen=chosen(fields, count, usual=8),
        expert=Mlp(size=fields.number("moe_intermediate_size")),
        shared=Mlp(size=fields.number("share_expert_dim", "share_expert_dims")),
        router_bias=fields.flag("use_moe_router_bias", usual=True),
    )
    return _dense_or_sparse(base, far, near, windowed, experts, "intermediate_size")


def minimax(fields: Fields, name: str, family: str) -> Model:
    """MiniMax M3: an index chooses blocks of tokens at which is looked."""
    base = _base(fields, name, family)
    sparse = Fields(fields.table("sparse_attention_config"), name)
    own = replace(base, fields=sparse)
    chosen_at = _listed(own, "", "sparse_attention_freq") or _listed(
        base, "minimax_m3_sparse", "layer_types"
    )
    far = replace(base.whole, head_norm=True)
    block = sparse.maybe("sparse_block_size") or fields.number("index_block_size", usual=128)
    blocks = sparse.maybe("sparse_topk_blocks") or fields.number("index_topk_blocks", usual=16)
    near = replace(
        far,
        window=block * blocks,
        index_heads=sparse.maybe("sparse_num_index_heads")
        or fields.number("index_n_heads", usual=4),
        index_size=sparse.maybe("sparse_index_dim") or fields.number("index_head_dim", usual=128),
    )
    count = fields.number("num_local_experts", "num_experts")
    size = fields.number("moe_intermediate_size", "intermediate_size")
    fields.maybe("intermediate_size", "n_shared_experts")
    experts = Experts(
        count=count,
        chosen=chosen(fields, count, usual=4),
        expert=Mlp(size=size),
        shared=Mlp(size=fields.number("shared_intermediate_size", usual=size)),
        router_bias=True,
    )
    return _dense_or_sparse(base, far, near, chosen_at, experts, "dense_intermediate_size")


def _dense_or_sparse(
    base: Base,
    far: GroupedAttention,
    near: GroupedAttention,
    windowed: frozenset[int],
    experts: Experts,
    dense: str,
) -> Model:
    """Layers with experts and without, by their list or behind the first few."""
    fields = base.fields
    first = fields.maybe("first_k_dense_replace") or 0
    sparse = _listed(base, "sparse", "moe_layer_freq", "mlp_layer_types")
    enumerated = fields.places("moe_layers_enum")
    sparse = sparse or enumerated or frozenset(range(first, base.count))
    size = fields.maybe(dense)
    if size is None and len(sparse) < base.count:
        raise UsageError(f"some layers are dense, and {dense} is missing")
    mlp = Mlp(size=size or 1)
    layers = tuple(
        Layer(
            attention=_own(base, near if place in windowed else far, place),
            mlp=experts if place in sparse else mlp,
        )
        for place in range(base.count)
    )
    return base.model(layers, guess=fields.maybe("num_nextn_predict_layers") or 0)
