"""What a script does so that a chip needs less memory: parts reckoned again, narrow numbers, states on the host."""

from collections.abc import Iterator, Mapping
from typing import Any

from cordee.core.errors import UsageError
from cordee.plan import recomputation
from cordee.plan.layout import Job
from cordee.plan.model import Model
from cordee.plan.pipeline.schedules import schedule
from cordee.plan.scripts.described import Option, option
from cordee.plan.scripts.options import Options

WIDTHS = {"fp32": 4, "fp16": 2, "bf16": 2, "fp8": 1}
SWITCHES = {
    "--recompute-activation-function": ("mlp_act",),
    "--recompute-norm": ("layernorm",),
    "--recompute-mla-up-proj": ("mla_up_proj",),
}
ZERO = {"level0": ("moe_act", "moe_tokens"), "level1": ("moe",)}
"""MindSpeed 028de58 docs/zh/features/megatron_moe/megatron-moe-zero-memory.md; of level1, that it keeps almost nothing."""
AWARE = "--use-precision-aware-optimizer"
MODULES = "--recompute-modules"


def recomputed(options: Options, model: Model, turns: str, chunks: int) -> Mapping[str, Any]:
    """What the script has reckoned again, as fields of a layout. Raises `UsageError` where a name is not known."""
    granularity, method = options.word("recompute"), options.word("recompute_method")
    names = [*_modules(options, granularity), *_switched(options)]
    here = [name for name in dict.fromkeys(names) if not recomputation.missing([name], model)]
    return {
        "recompute": "full" if granularity == "full" else "none",
        "recompute_layers": _layers(options, turns, chunks) if method == "block" else None,
        "recompute_parts": tuple(here),
    }


def _modules(options: Options, granularity: str) -> list[str]:
    """Those of Megatron-Core's option, which are scores of attention where it is left out."""
    selective = granularity == "selective" or options.has("--recompute-activations")
    said = options.word("recompute_modules").replace(",", " ").split()
    for name in said:
        if name not in recomputation.parts() and name not in recomputation.others():
            raise UsageError(f"{options.place(MODULES)}: {MODULES} {recomputation.unknown(name)}")
    if options.has("--moe-layer-recompute"):
        said = [*(said if selective else []), "moe"]
        selective = True
    if not selective:
        return []
    return [name for name in said or ["core_attn"] if name in recomputation.parts()]


def _switched(options: Options) -> Iterator[str]:
    for name, parts in SWITCHES.items():
        if options.has(name):
            yield from parts
    yield from ZERO.get(options.word("zero_memory"), ())


def _layers(options: Options, turns: str, chunks: int) -> int:
    """Of a stage; options count those of a piece, or where they say so, of a stage."""
    number = options.number("recompute_layers", 1)
    if options.has("--enable-recompute-layers-per-pp-rank"):
        return number
    return number * schedule(turns).pieces * chunks


def states(options: Options) -> Mapping[str, Any]:
    """Widths of weights, gradients and states, as fields of a program."""
    aware, recipe = options.has(AWARE), options.word("fp8_recipe") or "delayed"
    narrow = bool(options.word("fp8"))
    master = WIDTHS.get(options.word("main_params"), 4) if aware else 4
    if aware and not options.has("--fp16") and (not narrow or recipe == "delayed"):
        master = 2  # what 16 bits leave: megatron/core/optimizer/optimizer_config.py, store_param_remainders
    if options.has("--reuse-fp32-param"):
        master = 2
    moments = [options.word(field) if aware else "fp32" for field in ("exp_avg", "exp_avg_sq")]
    moment_bytes = sum(WIDTHS.get(one, 4) for one in moments)
    quantized = options.word("quant_states")
    wide = not (options.has("--grad-reduce-in-bf16", "--quant-grads"))
    wide = wide and not (aware and options.word("main_grads") == "bf16")
    return {
        "master_bytes": master,
        "moment_bytes": 2 if quantized else moment_bytes,
        "gradient_bytes": 4 if wide else 2,
        "narrow_weights": options.has("--fp8-param-gather"),
        "narrow_function": options.has("--activation-func-fp8-input-store"),
        "blocks": narrow and recipe in ("mxfp8", "blockwise"),
        "optimizer_on_host": _on_host(options),
    }


def _on_host(options: Options) -> float:
    if options.has("--swap-optimizer"):
        return 1.0
    if not options.has("--optimizer-cpu-offload"):
        return 0.0
    said = options.word("offload_fraction") or "1"
    try:
        return min(max(float(said), 0.0), 1.0)
    except ValueError as error:
        name = "--optimizer-offload-fraction"
        raise UsageError(f"{options.place(name)}: {name} {said}: a part, from 0 to 1") from error


def remarks(options: Options, job: Job) -> Iterator[str]:
    """Where what saves memory is reckoned otherwise than it is written."""
    parts = job.layout.recompute_parts
    if "core_attn" in parts and job.program.fused_attention and job.layout.recompute != "full":
        name = MODULES if options.has(MODULES) else "--recompute-granularity"
        yield (
            f"{options.place(name)}: attention is reckoned again, though its fused kernel keeps no scores: "
            "without that it is faster and takes hardly more memory"
        )
    said = options.word("recompute_modules").replace(",", " ").split()
    left = [name for name in said if name not in parts]
    if left:
        yield f"{options.place(MODULES)}: {MODULES} {' '.join(left)}: left out: no layer here has it, or none is reckoned"
    for name in (
        "--recompute-activation-function-num-layers",
        "--recompute-norm-num-layers",
        "--moe-zero-memory-num-layers",
    ):
        if options.has(name):
            yield f"{options.place(name)}: {name}: reckoned for all layers"
    if options.word("zero_memory") == "level1":
        name = "--moe-zero-memory"
        yield f"{options.place(name)}: {name} level1: reckoned as all of the experts done again, with none of it hidden"
    for name in ("--swap-optimizer", "--optimizer-cpu-offload"):
        if options.has(name):
            yield (
                f"{options.place(name)}: {name}: states are in the memory of hosts; the time for their way there and "
                "back is not reckoned"
            )
    for name, what in (
        ("--swap-attention", "activations that go to hosts count as memory of chips"),
        ("--recompute-in-advance", "that it fills bubbles is not reckoned"),
        ("--recompute-in-bubble", "what it frees is not reckoned"),
        (
            "--fine-grained-activation-offloading",
            "activations that go to hosts count as memory of chips",
        ),
        ("--mla-swap-core-attn-out", "activations that go to hosts count as memory of chips"),
    ):
        if options.has(name):
            yield f"{options.place(name)}: {name}: {what}"


def written(job: Job, *, ascend: bool) -> Iterator[Option]:
    """Options for all of it."""
    yield from _again(job, ascend=ascend)
    program = job.program
    on_host = program.optimizer_on_host > 0
    if ascend:
        yield from (option(name) for name in _of_mindspeed(job))
    elif on_host or program.state_bytes < 12:
        yield option(AWARE)
        if on_host:
            yield option("--optimizer-cpu-offload")
            yield option("--optimizer-offload-fraction", program.optimizer_on_host)
        each = {4: "bf16", 2: "fp8"}.get(int(program.moment_bytes))
        if each:
            yield option("--exp-avg-dtype", each)
            yield option("--exp-avg-sq-dtype", each)
    if program.gradient_bytes == 2:
        yield option("--grad-reduce-in-bf16")
    if program.dtype == "fp8":
        if program.blocks:
            yield option("--fp8-recipe", "mxfp8")
        if program.narrow_weights and not ascend:
            yield option("--fp8-param-gather")
        if program.narrow_function:
            yield option("--activation-func-fp8-input-store")


def _of_mindspeed(job: Job) -> Iterator[str]:
    if job.program.optimizer_on_host:
        yield "--swap-optimizer"
    elif job.program.master_bytes == 2:  # the two do not go together there
        yield "--reuse-fp32-param"


def _again(job: Job, *, ascend: bool) -> Iterator[Option]:
    layout = job.layout
    if layout.recompute == "selective":
        yield option("--recompute-granularity", "selective")
    elif layout.recompute == "full":
        some = layout.recompute_layers
        yield option("--recompute-granularity", "full")
        yield option("--recompute-method", "uniform" if some is None else "block")
        pieces = layout.turns.pieces * layout.chunks
        yield option("--recompute-num-layers", 1 if some is None else -(-some // pieces))
    if not layout.recompute_parts:
        return
    if not ascend:
        yield option("--recompute-granularity", "selective")
        yield option(MODULES, *layout.recompute_parts)
        return
    for way in recomputation.options(layout.recompute_parts, "mindspeed"):
        name, *values = way.split()
        yield option(name, *values)
    if "mla_up_proj" in layout.recompute_parts and layout.tensor > 1:
        # What it takes: mindspeed_llm/features_manager/transformer/multi_latent_attention/mla_feature.py
        yield option("--mla-up-proj-tp-overlap")
        yield option("--mla-mm-split")


def left_out(job: Job, *, ascend: bool) -> Iterator[str]:
    """What was planned with and has no option there."""
    program = job.program
    if ascend and program.moment_bytes < 8:
        yield (
            f"no option of MindSpeed-LLM is known here for moments of {program.moment_bytes / 2:g} bytes: they take 4 "
            "there, and the optimizer more memory than was planned"
        )


def why_not(job: Job, *, ascend: bool) -> str | None:
    """Why what is reckoned again has no options there, if so."""
    layout = job.layout
    stack = "mindspeed" if ascend else "megatron-lm"
    known = {name for way in recomputation.ways(stack) for name in way.parts}
    known |= set() if ascend else {"core_attn", "layernorm"}
    for name in layout.recompute_parts:
        if name not in known:
            return f"reckons {name} again, for which {stack} has no option"
    if layout.recompute == "full" and layout.recompute_parts and not ascend:
        return (
            "reckons some layers again as a whole and parts of others, which megatron-lm does not"
        )
    return None
