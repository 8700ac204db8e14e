"""Models with state-space layers: Nemotron-H, Granite 4, Bamba, Falcon-H1, Jamba, and Mamba alone."""

from collections.abc import Callable, Iterator

from cordee.core.errors import UsageError
from cordee.plan.model.fields import Fields
from cordee.plan.model.grouped import MOST_LAYERS, attention, chosen
from cordee.plan.model.model import Experts, Layer, Mlp, Model
from cordee.plan.model.states import SelectiveScan, StateSpace

LETTERS = {"M": "mamba", "E": "moe", "*": "attention", "-": "mlp"}
"""Of `hybrid_override_pattern`."""
PARTS = {
    "mamba": "mamba",
    "linear_attention": "mamba",
    "moe": "moe",
    "attention": "attention",
    "full_attention": "attention",
    "mlp": "mlp",
}
"""Names of kinds of layers, old and new, by what they are here."""


def nemotron(fields: Fields, name: str, family: str) -> Model:
    """Nemotron-H: each layer is only states, only attention, only an MLP or only experts."""
    hidden = fields.number("hidden_size")
    parts = _parts(fields, "layers_block_type", "hybrid_override_pattern", "layer_types")
    if not parts:
        raise UsageError("layers_block_type or hybrid_override_pattern is missing")
    fields.maybe("num_hidden_layers")  # the list of layers says it
    whole = attention(fields, family, hidden)
    kinds = {
        "mamba": Layer(attention=_state_space(fields, hidden), mlp=None, norms=1),
        "attention": Layer(attention=whole, mlp=None, norms=1),
    }
    size, biases = fields.maybe("intermediate_size"), fields.flag("mlp_bias")
    if size:
        kinds["mlp"] = Layer(
            attention=None, mlp=Mlp(size=size, gated=False, biases=biases), norms=1
        )
    if fields.has("n_routed_experts"):
        kinds["moe"] = Layer(attention=None, mlp=_nemotron_experts(fields), norms=1)
    guess = _guess(fields, kinds)
    guessing = fields.maybe("num_nextn_predict_layers") or 0
    layers = tuple(_kind(kinds, part) for part in parts)
    return _model(fields, name, hidden, layers, (guess,) * guessing)


def _kind(kinds: dict[str, Layer], part: str) -> Layer:
    if part not in kinds:
        missing = "intermediate_size" if part == "mlp" else "n_routed_experts"
        raise UsageError(f"some layers are of kind {part}, and {missing} is missing")
    return kinds[part]


def _guess(fields: Fields, kinds: dict[str, Layer]) -> Layer:
    """What guesses a further token: its parts are one layer here, as one pass over the table follows it."""
    parts = _parts(fields, "mtp_layers_block_type", "mtp_hybrid_override_pattern")
    found = [_kind(kinds, part) for part in parts]
    mixers = [one.attention for one in found if one.attention]
    behind = [one.mlp for one in found if one.mlp]
    return Layer(
        attention=mixers[0] if mixers else None,
        mlp=behind[0] if behind else None,
        norms=max(len(parts), 1),
    )


def _nemotron_experts(fields: Fields) -> Experts:
    count = fields.number("n_routed_experts", "num_local_experts")
    fields.maybe("n_shared_experts")  # the next says how large they are together
    shared = fields.maybe("moe_shared_expert_intermediate_size")
    return Experts(
        count=count,
        chosen=chosen(fields, count),
        expert=Mlp(size=fields.number("moe_intermediate_size"), gated=False),
        shared=Mlp(size=shared, gated=False) if shared else None,
        router_bias=True,
        latent=fields.maybe("moe_latent_size"),
    )


def two_parts(fields: Fields, name: str, family: str) -> Model:
    """Granite 4, Bamba, Falcon-H1 and Jamba: states or attention, or both, and behind them an MLP or experts."""
    hidden = fields.number("hidden_size")
    count = fields.number("num_hidden_layers", most=MOST_LAYERS)
    whole = attention(fields, family, hidden)
    states = _scan(fields, hidden, family) if family == "jamba" else _state_space(fields, hidden)
    at = ATTENDING[family](fields, count)
    behind = list(_behind(fields, family, count))
    if family == "falcon_h1":
        layers = tuple(Layer(attention=whole, beside=states, mlp=mlp) for mlp in behind)
    else:
        layers = tuple(
            Layer(attention=whole if place in at else states, mlp=mlp)
            for place, mlp in enumerate(behind)
        )
    return _model(fields, name, hidden, layers)


def _listed(fields: Fields, count: int) -> frozenset[int]:
    parts = _parts(fields, "layer_types", "layers_block_type")
    if parts and len(parts) != count:
        raise UsageError(f"layer_types has {len(parts)} words for {count} layers")
    return frozenset(place for place, part in enumerate(parts) if part == "attention")


def _indexed(fields: Fields, count: int) -> frozenset[int]:
    return frozenset(fields.numbers("attn_layer_indices"))


def _periodic(fields: Fields, count: int) -> frozenset[int]:
    every = fields.number("attn_layer_period", usual=8)
    first = fields.maybe("attn_layer_offset") or 0
    return frozenset(place for place in range(count) if place % every == first)


def _everywhere(fields: Fields, count: int) -> frozenset[int]:
    return frozenset(range(count))


ATTENDING: dict[str, Callable[[Fields, int], frozenset[int]]] = {
    "granitemoehybrid": _listed,
    "bamba": _indexed,
    "jamba": _periodic,
    "falcon_h1": _everywhere,
}
"""Layers that look at tokens."""


def _behind(fields: Fields, family: str, count: int) -> Iterator[Mlp | Experts]:
    """What follows states or attention, layer by layer."""
    size, biases = fields.maybe("intermediate_size"), fields.flag("mlp_bias")
    experts = fields.maybe("num_local_experts", "num_experts") or 0
    if family == "granitemoehybrid":
        shared = Mlp(size=fields.number("shared_intermediate_size"))
        mixed = _experts(fields, experts, size or 0, shared) if experts else shared
        yield from (mixed for _ in range(count))
        return
    if size is None:
        raise UsageError("intermediate_size is missing")
    dense = Mlp(size=size, biases=biases)
    every = fields.number("expert_layer_period", usual=2)
    first = fields.maybe("expert_layer_offset") or 0
    sparse = _experts(fields, experts, size, None) if experts > 1 else dense
    for place in range(count):
        yield sparse if place % every == first else dense


def _experts(fields: Fields, count: int, size: int, shared: Mlp | None) -> Experts:
    return Experts(
        count=count, chosen=chosen(fields, count, usual=2), expert=Mlp(size=size), shared=shared
    )


def mamba(fields: Fields, name: str, family: str) -> Model:
    """Mamba and Mamba-2 alone: layers of states and nothing else."""
    hidden = fields.number("hidden_size", "d_model")
    count = fields.number("num_hidden_layers", "n_layer", most=MOST_LAYERS)
    states = _state_space(fields, hidden) if family == "mamba2" else _scan(fields, hidden, family)
    layer = Layer(attention=states, mlp=None, norms=1)
    return _model(fields, name, hidden, (layer,) * count, tied=True)


def _state_space(fields: Fields, hidden: int) -> StateSpace:
    heads = fields.number("mamba_num_heads", "mamba_n_heads", "num_heads")
    size = fields.size("mamba_head_dim", "mamba_d_head", "head_dim")
    expanded = fields.number("mamba_expand", "expand", usual=2) * hidden
    inner = fields.maybe("mamba_d_ssm") or expanded
    if size is None and inner % heads:
        raise UsageError(f"{inner} numbers of states do not divide by {heads} heads")
    kept = fields.text("mamba_ssm_cache_dtype")
    projected = fields.flag("use_bias", "mamba_proj_bias")
    return StateSpace(
        heads=heads,
        groups=fields.number("n_groups", "mamba_n_groups", usual=1),
        value_size=size or inner // heads,
        score_size=fields.number("ssm_state_size", "mamba_d_state", "state_size"),
        mixed=fields.number("conv_kernel", "mamba_d_conv", usual=4),
        chunk=fields.number("chunk_size", "mamba_chunk_size", usual=256),
        in_biases=projected,
        out_bias=fields.flag("projectors_bias", usual=projected),
        filter_bias=fields.flag("use_conv_bias", "mamba_conv_bias", usual=True),
        normed=fields.flag("mamba_rms_norm", usual=True),
        number_bytes=2 if kept in ("bfloat16", "float16") else 4,
    )


def _scan(fields: Fields, hidden: int, family: str) -> SelectiveScan:
    # Of Jamba, intermediate_size is that of an MLP.
    inner = None if family == "jamba" else fields.maybe("intermediate_size")
    expanded = fields.number("mamba_expand", "expand", usual=2) * hidden
    return SelectiveScan(
        inner=inner or expanded,
        score_size=fields.number("state_size", "mamba_d_state", usual=16),
        rank=fields.size("mamba_dt_rank", "time_step_rank") or -(-hidden // 16),
        mixed=fields.number("conv_kernel", "mamba_d_conv", usual=4),
        biases=fields.flag("use_bias", "mamba_proj_bias"),
        filter_bias=fields.flag("use_conv_bias", "mamba_conv_bias", usual=True),
        normed=family == "jamba",
    )


def _parts(fields: Fields, *names: str) -> list[str]:
    """What each layer is, from a list of words or from a word of letters."""
    for name in names:
        word = fields.text(name)
        words = [LETTERS.get(letter, letter) for letter in word] or (
            [] if word else fields.words(name)
        )
        unknown = sorted({one for one in words if one not in PARTS})
        if unknown:
            raise UsageError(f"{name}: {', '.join(unknown)}: known are {', '.join(PARTS)}")
        if words:
            return [PARTS[one] for one in words]
    return []


def _model(
    fields: Fields,
    name: str,
    hidden: int,
    layers: tuple[Layer, ...],
    guessing: tuple[Layer, ...] = (),
    tied: bool = False,
) -> Model:
    return Model(
        name=name,
        hidden=hidden,
        layers=layers,
        vocabulary=fields.number("vocab_size"),
        tied=fields.flag("tie_word_embeddings", usual=tied),
        mtp_layers=guessing,
        longest=fields.maybe("max_position_embeddings"),
        remarks=tuple(fields.remarks()),
    )
