"""What an engine holds on its fullest chip, and how many tokens it can keep."""

from dataclasses import dataclass

from cordee.plan.deployment import Deployment, Engine
from cordee.plan.memory import OWN_BYTES
from cordee.plan.model import (
    Attention,
    CompressedAttention,
    Experts,
    LatentAttention,
    Layer,
    LinearAttention,
    SelectiveScan,
    StateSpace,
)

USED = 0.9
"""Of a chip's memory, what engines take: vLLM's gpu_memory_utilization as it comes; others are alike."""
HALF = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """Bytes on the fullest chip of an engine."""

    weights: float
    activations: float
    """Of the largest pass."""
    cache: float
    """What is left for keys and values; below 0 where nothing is."""
    request_bytes: float
    """Of keys and values of one request of the length that was asked for."""
    groups: int
    """That attend apart, each with a cache of its own."""
    libraries: float = OWN_BYTES

    @property
    def fits(self) -> bool:
        """Whether at least one request has room."""
        return self.cache >= self.request_bytes

    @property
    def requests(self) -> float:
        """That have room at once, over all groups."""
        return max(self.cache, 0.0) / self.request_bytes * self.groups

    @property
    def total(self) -> float:
        """Without what is kept of requests."""
        return self.weights + self.activations + self.libraries


def holding(deployment: Deployment, engine: Engine, tokens: float) -> Holding:
    """Count it, for requests that have `tokens` tokens at their longest."""
    weights = weight_bytes(deployment, engine)
    activations = activation_bytes(deployment, engine)
    room = USED * deployment.chip.memory_bytes - weights - activations - OWN_BYTES
    if deployment.scheduling.memory is not None:
        room = deployment.scheduling.memory * deployment.chip.memory_bytes - weights
    return Holding(
        weights=weights,
        activations=activations,
        cache=room,
        request_bytes=request_bytes(deployment, engine, tokens),
        groups=engine.data,
    )


def weight_bytes(deployment: Deployment, engine: Engine) -> float:
    """Of the fullest stage: with the most layers, and one of the two tables where there are two."""
    model, hidden = deployment.model, deployment.model.hidden
    layers = sum(n * _layer_bytes(deployment, engine, kind) for kind, n in model.kinds)
    if deployment.drafting.tokens:
        layers += sum(_layer_bytes(deployment, engine, kind) for kind in model.mtp_layers)
    per_stage = -(-len(model.layers) // engine.pipeline) / len(model.layers)
    tables = 1 if model.tied or engine.pipeline > 1 else 2
    ends = tables * model.vocabulary * hidden + model.injected_parameters
    return layers * per_stage + ends * HALF / engine.tensor


def _layer_bytes(deployment: Deployment, engine: Engine, layer: Layer) -> float:
    hidden, precision = deployment.model.hidden, deployment.precision
    mixture = deployment.model.is_mixture
    dense = precision.weight_bytes(is_expert=False, mixture=mixture)
    attention = sum(one.parameters(hidden) for one in layer.mixers)
    replicated = sum(_replicated(one, hidden) for one in layer.mixers)
    found = ((attention - replicated) / engine.tensor + replicated) * dense
    if layer.mlp is None:
        return found
    if not isinstance(layer.mlp, Experts):
        return found + layer.mlp.parameters(hidden) / engine.tensor * dense
    found += 2 * hidden * (layer.mlp.latent or 0) * dense
    experts = layer.mlp.count * layer.mlp.each(hidden)
    few = precision.weight_bytes(is_expert=True, mixture=mixture)
    shared = layer.mlp.shared.parameters(hidden) / engine.tensor if layer.mlp.shared else 0.0
    return found + experts / engine.stage * few + shared * dense + layer.mlp.count * hidden * HALF


def _replicated(attention: Attention, hidden: int) -> int:
    """Parameters that all chips of `tensor` have."""
    if isinstance(attention, CompressedAttention):
        return hidden * attention.short
    if not isinstance(attention, LatentAttention):
        return 0
    short = attention.kv_rank + attention.rope_size
    return hidden * (short + (attention.query_rank or 0))


def activation_bytes(deployment: Deployment, engine: Engine) -> float:
    """Of the pass with most tokens: hidden states in and out, the widest layer, logits in fp32."""
    model = deployment.model
    tokens = deployment.scheduling.chunk
    widest = max(_width(layer, engine) for layer, _ in model.kinds)
    logits = min(deployment.scheduling.most, 512) * model.vocabulary / engine.tensor * 4
    streams = max(layer.streams for layer, _ in model.kinds)
    return tokens * ((2 + 2 * streams) * model.hidden + widest) * HALF + logits


def _width(layer: Layer, engine: Engine) -> float:
    widest = max((_mixer_width(one, engine.tensor) for one in layer.mixers), default=0.0)
    mlp = layer.mlp
    if mlp is None:
        return widest
    if isinstance(mlp, Experts):
        inner = mlp.chosen * (mlp.expert.in_size + mlp.expert.size) * engine.data / engine.stage
    else:
        inner = (mlp.in_size + mlp.size) / engine.tensor
    return max(widest, inner)


def _mixer_width(attention: Attention, tensor: int) -> float:
    if isinstance(attention, StateSpace | SelectiveScan):
        return attention.columns(tensor) + 2 * attention.heads * attention.value_size / tensor
    return attention.heads * (2 * attention.score_size + 2 * attention.value_size) / tensor


def request_bytes(deployment: Deployment, engine: Engine, tokens: float) -> float:
    """Keys and values of a request with so many tokens, on the fullest chip."""
    per_stage = -(-len(deployment.model.layers) // engine.pipeline) / len(deployment.model.layers)
    width = deployment.precision.cache_bytes
    found = 0.0
    for layer, count in deployment.model.kinds:
        found += count * sum(_kept_bytes(one, engine, width, tokens) for one in layer.mixers)
    return found * per_stage


def _kept_bytes(attention: Attention, engine: Engine, width: float, tokens: float) -> float:
    """Of one layer and a request with so many tokens."""
    if isinstance(attention, LinearAttention | StateSpace | SelectiveScan):
        return attention.state_bytes(engine.tensor)
    if isinstance(attention, LatentAttention):
        # All chips of a group need the short vectors of all heads; what is chosen among is kept.
        return attention.kv_numbers * width * tokens
    if isinstance(attention, CompressedAttention):
        return attention.kept_numbers(tokens) * width  # on every chip, as all heads need it
    most = attention.kept_tokens
    kept = tokens if most is None else min(tokens, most)
    return attention.kept_numbers(engine.tensor) * width * kept
