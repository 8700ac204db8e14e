"""A launch script of Megatron-LM or MindSpeed-LLM, as the training step that it asks for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cordee.core.errors import UsageError
from cordee.core.shell.started import Script, Started, script
from cordee.plan.layout import Job, Layout, Program
from cordee.plan.model import Model
from cordee.plan.pipeline.schedules import PLAIN
from cordee.plan.scripts import fsdp2
from cordee.plan.scripts.launchers import processes
from cordee.plan.scripts.options import Options, meanings, pairs, passed
from cordee.plan.scripts.savings import recomputed, states
from cordee.plan.scripts.savings import remarks as savings
from cordee.plan.scripts.sizes import TOKENIZER, model_of, tokenizers

TRAVELS = ("--moe-fb-overlap", "--moe-alltoall-overlap-comm", "--overlap-moe-expert-parallel-comm")
"""Options with which tokens travel to experts beside other work."""
LAUNCHERS = frozenset({"torchrun", "msrun", "python", "python3", "srun"})
SHOWN = frozenset({"echo", "printf"})
SHARDED = {"optim": 1, "optim_grads": 2, "optim_grads_params": 3}
"""Megatron-LM, megatron/core/distributed/distributed_data_parallel_config.py."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a script asks for."""

    job: Job
    remarks: tuple[str, ...]
    """What was not understood, each with its line."""
    started: Started
    """The command that starts it."""
    read: Script


def asked(path: Path, given: Model | None = None, chips: int | None = None) -> Asked:
    """Read a script; a model or a number of chips that is given counts before its own.

    Raises `UsageError` where something that a step needs is not in it.
    """
    try:
        read = script(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: it cannot be read: {error}") from error
    sharded = fsdp2.training(read)
    if sharded:
        job, said = fsdp2.asked(path, sharded, given, chips)
        return Asked(job=job, remarks=said, started=sharded, read=read)
    started = _training(read, path)
    at = next(n for n, word in enumerate(started.words) if word.endswith(".py"))
    options = Options(path, read, pairs(started.words[at + 1 :]))
    model = given or model_of(options)
    job = _job(options, model, chips or processes(started, at, path))
    try:
        job.check()
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    remarks = tuple(_remarks(options, job, given))
    return Asked(job=job, remarks=remarks, started=started, read=read)


def _training(read: Script, path: Path) -> Started:
    found = [
        one
        for one in read.started
        if _launches(one.words)
        and any(word.endswith(".py") for word in one.words)
        and any(word in meanings() for word in one.words)
    ]
    if not found:
        raise UsageError(
            f"{path}: nothing in it starts a training of Megatron-LM or MindSpeed-LLM: a line with "
            "torchrun, msrun or python, a program in Python, and options such as --seq-length"
        )
    return found[-1]


def _launches(words: Sequence[str]) -> bool:
    """Whether a launcher is among them, behind a profiler or what only the run knows too."""
    program = next((n for n, word in enumerate(words) if word.endswith(".py")), 0)
    names = [PurePosixPath(word).name for word in words[:program]]
    return bool(LAUNCHERS & set(names)) and names[0] not in SHOWN


def _zero(options: Options) -> int:
    """What is shared out: by FSDP all, or as its strategy says; else the optimizer or nothing."""
    if options.has("--use-torch-fsdp2"):
        return 3
    if options.has("--use-megatron-fsdp"):
        return SHARDED.get(options.word("sharding"), 0)
    return 1 if options.has("--use-distributed-optimizer") else 0


def _job(options: Options, model: Model, chips: int) -> Job:
    pipeline, micro_batch = options.number("pipeline", 1), options.number("micro_batch")
    turns = _schedule(options, pipeline)
    chunks = _chunks(options, model, pipeline) if turns == PLAIN else 1
    exchanged = options.word("context_kind") in ("ulysses_cp_algo", "a2a")
    layout = Layout(
        chips=chips,
        tensor=options.number("tensor", 1),
        pipeline=pipeline,
        chunks=chunks,
        schedule=turns,
        context=options.number("context", 1),
        expert=options.number("expert", 1),
        micro_batch=micro_batch,
        zero=_zero(options),
        sequence_parallel=options.has("--sequence-parallel"),
        **recomputed(options, model, turns, chunks),
        context_kind="all-to-all" if exchanged else "ring",
    )
    return Job(
        model=model,
        layout=layout,
        sequence=options.number("sequence"),
        batch=options.number("batch", micro_batch * layout.data),
        program=Program(
            dtype="fp8" if options.word("fp8") else "fp16" if options.has("--fp16") else "bf16",
            overlaps_tensor=options.has(
                "--tp-comm-overlap", "--use-ascend-coc", "--use-ascend-mc2"
            ),
            overlaps_gradients=options.has("--overlap-grad-reduce"),
            trains_all=not options.has("--lora-r"),
            overlaps_experts=options.has(*TRAVELS),
            waits_for_all=not options.has("--enable-optimizer-post-validation"),
            **states(options),
        ),
    )


def _chunks(options: Options, model: Model, pipeline: int) -> int:
    each = options.number("layers_per_chunk", 0)
    if each:
        said = options.given.get("--num-layers", "")  # with layers that do nothing
        layers = int(said) if said.isdecimal() and len(said) < 8 else len(model.layers)
        return max(-(-layers // (pipeline * each)), 1)
    return options.number("chunks", 1)


def _schedule(options: Options, pipeline: int) -> str:
    """How stages take turns. Raises `UsageError` where nothing here knows it."""
    method, pending = options.word("schedule"), options.word("pending")
    if method and method != "dualpipev":
        raise UsageError(
            f"{options.place('--schedules-method')}: --schedules-method {method}: dualpipev is known"
        )
    if method:
        return "dualpipev" if options.has("--dualpipev-dw-detach") else "dualpipev-whole"
    if options.has("--zero-bubble-v-schedule"):
        return "zb-v"
    if options.has("--enable-zero-bubble"):
        return "zb-h2" if pending.isdecimal() and int(pending) >= 2 * pipeline else "zb-h1"
    return PLAIN


def _remarks(options: Options, job: Job, given: Model | None) -> Iterator[str]:
    for line in options.read.conditions:
        yield (
            f"{options.path}, line {line}: which way it goes only the run knows: what stands in it "
            "is read line by line, and the last value counts"
        )
    if not options.has("--bf16", "--fp16", "--fp8-format"):
        yield f"{options.path}: no --bf16 or --fp16: reckoned in bf16, where the program takes fp32"
    if given is None:
        yield from _details(options)
    yield from _experts(options, job)
    yield from _last_stage(options, job)
    yield from _turns(options, job)
    yield from savings(options, job)
    known = meanings().keys() | passed()
    for name, value in options.given.items():
        if name not in known:
            shown = f"{name} {value}".strip()
            yield f"{options.place(name)}: {shown}: not understood, so the plan leaves it out"


def _details(options: Options) -> Iterator[str]:
    """Where the model is reckoned otherwise than it is written."""
    words = tokenizers().get(options.given.get(TOKENIZER, ""))
    if words and not options.has("--padded-vocab-size", "--vocab-size"):
        yield f"{options.place(TOKENIZER)}: {TOKENIZER}: taken to have {words:,} words, as its name says"
    gated = options.has("--swiglu")
    taken = "RMSNorm" if gated else "LayerNorm"
    norm = options.word("normalization") or taken
    if norm != taken:
        yield f"{options.place('--normalization')}: --normalization {norm}: reckoned as {taken}"
    if gated and not options.has("--disable-bias-linear"):
        yield f"{options.path}: no --disable-bias-linear: biases of products are left out"
    if not gated and options.has("--disable-bias-linear"):
        yield f"{options.place('--disable-bias-linear')}: --disable-bias-linear: reckoned with biases"


def _experts(options: Options, job: Job) -> Iterator[str]:
    """Where experts are cut, which a plan does not reckon with."""
    cut = options.number("expert_tensor", job.layout.tensor)
    whole = cut == 1 or options.has("--moe-tp-extend-ep")
    if job.model.is_mixture and not whole:
        name = "--expert-tensor-parallel-size"
        yield (
            f"{options.place(name) if options.has(name) else options.path}: each expert is cut over "
            f"{cut} chips ({name}); the plan takes experts to be whole"
        )


def _last_stage(options: Options, job: Job) -> Iterator[str]:
    """Where stages are cut by hand."""
    layers, layout = len(job.model.layers), job.layout
    stages = layout.pipeline * layout.chunks * layout.turns.pieces
    taken = layers - -(-layers // stages) * (stages - 1)
    name = "--decoder-last-pipeline-num-layers"
    if options.number("last_stage", taken) != taken:
        yield f"{options.place(name)}: {name}: reckoned with {taken} layers in the last stage"


def _turns(options: Options, job: Job) -> Iterator[str]:
    """Where stages take turns otherwise than a plan reckons."""
    memory, pending = options.word("zero_bubble_memory"), options.word("pending")
    if job.layout.schedule == "zb-v" and memory not in ("", "zb"):
        name = "--zero-bubble-v-schedule-mem-setup"
        yield f"{options.place(name)}: {name} {memory}: reckoned as zb, with more memory and fewer bubbles"
    if pending and not pending.isdecimal():
        name = "--zero-bubble-max-pending-backward"
        yield f"{options.place(name)}: {name} {pending}: reckoned as one for each stage, as zb-h1 has"
