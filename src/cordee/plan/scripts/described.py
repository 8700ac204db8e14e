"""A model and a layout as the options that Megatron-LM and MindSpeed-LLM know them by."""

import re
from collections.abc import Iterator, Sequence

from cordee.core.errors import UsageError
from cordee.plan.layout import Job
from cordee.plan.model import (
    Experts,
    GroupedAttention,
    LatentAttention,
    Layer,
    LinearAttention,
    Mlp,
    Model,
)
from cordee.plan.pipeline.schedules import offered

Option = tuple[str, tuple[str, ...]]
"""An option with its words."""
LONG, ANY_LENGTH = re.compile("--"), re.compile("--?[A-Za-z]")
"""How one begins: where only long names count, and where short ones do too (-1 is a number)."""


def option(name: str, *values: object) -> Option:
    """One with values of any kind."""
    return name, tuple(str(value) for value in values)


def grouped(words: Sequence[str], begins: re.Pattern[str] = LONG) -> list[Option]:
    """Options, each with its words; what stands before the first is left out."""
    found: list[Option] = []
    for word in words:
        if begins.match(word):
            name, equals, value = word.partition("=")
            found.append((name, (value,) if equals else ()))
        elif found:
            name, before = found[-1]
            found[-1] = (name, (*before, word))
    return found


def sizes(model: Model, *, ascend: bool) -> Iterator[Option]:
    """The model. What cannot be said so is left to who reads it back."""
    whole = all(layer.attention and layer.mlp for layer in model.layers)
    if not whole or model.has_states_of_mamba or model.has_streams:
        raise UsageError(
            f"{model.name}: nothing here writes such layers as options of a training program"
        )
    kinds = [layer.attention for layer, _ in model.kinds if layer.attention]
    attention = next((one for one in kinds if not isinstance(one, LinearAttention)), kinds[0])
    yield option("--hidden-size", model.hidden)
    yield option("--num-attention-heads", attention.heads)
    yield option("--padded-vocab-size", model.vocabulary)
    if not model.tied:
        yield option("--untie-embeddings-and-output-weights")
    if isinstance(attention, LatentAttention):
        yield from _latent(attention)
    elif isinstance(attention, GroupedAttention):
        yield from _grouped(attention)
    for linear in (one for one in kinds if isinstance(one, LinearAttention) and ascend):
        yield from _linear(linear, model)
    yield from _behind(model, ascend=ascend)
    if model.mtp_layers:
        yield option("--mtp-num-layers", len(model.mtp_layers))


def _linear(attention: LinearAttention, model: Model) -> Iterator[Option]:
    whole = next(n for n, one in enumerate(model.layers) if one.attention != attention)
    yield option("--full-attention-interval", whole + 1)
    yield option("--linear-num-value-heads", attention.heads)
    yield option("--linear-num-key-heads", attention.kv_heads)
    yield option("--linear-key-head-dim", attention.score_size)
    yield option("--linear-value-head-dim", attention.value_size)
    yield option("--mamba-d-conv", attention.mixed)


def _latent(attention: LatentAttention) -> Iterator[Option]:
    yield option("--multi-latent-attention")
    yield option("--qk-layernorm")
    if attention.query_rank:
        yield option("--q-lora-rank", attention.query_rank)
    yield option("--kv-lora-rank", attention.kv_rank)
    yield option("--qk-head-dim", attention.plain_size)
    yield option("--qk-pos-emb-head-dim", attention.rope_size)
    yield option("--v-head-dim", attention.value_size)
    if attention.index_heads:
        yield option("--index-n-heads", attention.index_heads)
        yield option("--index-head-dim", attention.index_size)
        yield option("--index-topk", attention.index_tokens)


def _grouped(attention: GroupedAttention) -> Iterator[Option]:
    if attention.kv_heads != attention.heads:
        yield option("--group-query-attention")
        yield option("--num-query-groups", attention.kv_heads)
    yield option("--kv-channels", attention.head_size)
    if attention.head_norm:
        yield option("--qk-layernorm")
    if attention.biases and not attention.out_bias:
        yield option("--add-qkv-bias")


def _behind(model: Model, *, ascend: bool) -> Iterator[Option]:
    """What follows attention."""
    dense = [layer.mlp for layer, _ in model.kinds if isinstance(layer.mlp, Mlp)]
    mixed = [layer.mlp for layer, _ in model.kinds if isinstance(layer.mlp, Experts)]
    widest = dense[0] if dense else mixed[0].expert
    yield option("--ffn-hidden-size", widest.size)
    yield option("--normalization", "RMSNorm" if widest.gated else "LayerNorm")
    if widest.gated:
        yield option("--swiglu")
        yield option("--disable-bias-linear")
    if mixed:
        yield from _experts(model, mixed[0], ascend=ascend)


def _experts(model: Model, experts: Experts, *, ascend: bool) -> Iterator[Option]:
    yield option("--num-experts", experts.count)
    yield option("--moe-router-topk", experts.chosen)
    yield option("--moe-ffn-hidden-size", experts.expert.size)
    if experts.shared:
        yield option("--moe-shared-expert-intermediate-size", experts.shared.size)
    if experts.router_bias:
        yield option("--moe-router-enable-expert-bias")
    first = next(n for n, layer in enumerate(model.layers) if isinstance(layer.mlp, Experts))
    if ascend:
        yield option("--first-k-dense-replace", first)
        yield option("--moe-layer-freq", 1)
    elif first:
        yield option("--moe-layer-freq", f"([0]*{first}+[1]*{len(model.layers) - first})")


def spread(job: Job, *, ascend: bool) -> Iterator[Option]:
    """The layout, with the batch, the sequence and what is overlapped."""
    layout = job.layout
    yield option("--tensor-model-parallel-size", layout.tensor)
    yield option("--pipeline-model-parallel-size", layout.pipeline)
    yield from _stages(job, ascend=ascend)
    if layout.context > 1:
        yield option("--context-parallel-size", layout.context)
        ring = layout.context_kind == "ring"
        if ascend:
            algorithm = "megatron_cp_algo" if ring else "ulysses_cp_algo"
            yield option("--context-parallel-algo", algorithm)
        else:
            yield option("--cp-comm-type", "p2p" if ring else "a2a")
    if job.model.is_mixture:
        yield option("--expert-model-parallel-size", layout.expert)
        yield option("--expert-tensor-parallel-size", 1)
    yield option("--micro-batch-size", layout.micro_batch)
    yield option("--global-batch-size", job.batch)
    yield option("--seq-length", job.sequence)
    if layout.zero:
        yield option("--use-distributed-optimizer")
    if layout.sequence_parallel and layout.tensor > 1:
        yield option("--sequence-parallel")
    yield from _program(job, ascend=ascend)


def _stages(job: Job, *, ascend: bool) -> Iterator[Option]:
    layers, layout = len(job.model.layers), job.layout
    stages = layout.pipeline * layout.chunks * layout.turns.pieces
    each = -(-layers // stages)
    missing = each * stages - layers
    if missing and ascend:
        yield option("--num-layers", each * stages)
        yield option("--noop-layers", ",".join(str(n) for n in range(layers, each * stages)))
    else:
        yield option("--num-layers", layers)
    if missing and not ascend:
        yield option("--decoder-last-pipeline-num-layers", each - missing)
    if layout.chunks > 1:
        yield option("--num-layers-per-virtual-pipeline-stage", each)
    if layout.turns.pairs:
        yield option("--schedules-method", "dualpipev")
    if layout.schedule == "dualpipev":
        yield option("--dualpipev-dw-detach")


def _program(job: Job, *, ascend: bool) -> Iterator[Option]:
    program = job.program
    yield option("--bf16" if program.dtype != "fp16" else "--fp16")
    if program.dtype == "fp8":
        yield option("--fp8-format", "hybrid")
    elif program.dtype not in ("bf16", "fp16"):
        raise UsageError(
            f"{program.dtype}: nothing here writes a script in it; --dtype bf16 or fp8"
        )
    if program.overlaps_tensor and job.layout.tensor > 1:
        yield option("--use-ascend-mc2" if ascend else "--tp-comm-overlap")
    if program.overlaps_gradients:
        yield option("--overlap-grad-reduce")
    if program.overlaps_experts:
        yield from _travelling(job, ascend=ascend)


def _travelling(job: Job, *, ascend: bool) -> Iterator[Option]:
    """What lets tokens travel to experts beside other work."""
    layout = job.layout
    whole = layout.pipeline == 1 or layout.chunks > 1
    if ascend:
        others = layout.turns.pairs or (whole and not job.program.overlaps_gradients)
        yield option("--moe-fb-overlap" if others else "--moe-alltoall-overlap-comm")
        if others:
            # What it takes: github.com/Ascend/MindSpeed 028de58 mindspeed/features_manager/moe/fb_overlap.py
            yield option("--moe-grouped-gemm")
            yield option("--moe-token-dispatcher-type", "alltoall")
    elif layout.expert > 1 and layout.recompute == "none" and whole:
        # What it takes: github.com/NVIDIA/Megatron-LM d98e8a6 megatron/core/transformer/transformer_config.py
        yield option("--overlap-moe-expert-parallel-comm")
        yield option("--moe-token-dispatcher-type", "alltoall")


def why_not(job: Job, chips_per_node: int, *, ascend: bool) -> str | None:
    """Why that layout has no options here, if so."""
    layers, layout = len(job.model.layers), job.layout
    stages = layout.pipeline * layout.chunks * layout.turns.pieces
    uneven = bool(layers % stages)
    stack = "mindspeed" if ascend else "megatron-lm"
    if layout.schedule not in offered(stack):
        return f"takes turns by {layout.schedule}, which {stack} does not"
    if layout.zero > 1:
        return f"shares out weights (ZeRO {layout.zero})"
    if layout.chips > chips_per_node and layout.chips % chips_per_node:
        return f"does not fill nodes of {chips_per_node} chips"
    last = layers - -(-layers // stages) * (stages - 1)
    if uneven and not ascend and (layout.chunks > 1 or last < 1):
        return f"has {layers} layers in {stages} uneven pieces"
    return None


def same(one: Model, other: Model) -> bool:
    """Whether two models are built alike, whatever they are called."""
    return _built(one) == _built(other)


def _built(model: Model) -> tuple[int, tuple[Layer, ...], int, bool, int, int]:
    ends = model.vocabulary, model.tied, model.positions, len(model.mtp_layers)
    return model.hidden, model.layers, *ends
