"""The layout that was found, as a launch script for MindSpeed-LLM or Megatron-LM."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cordee.core.errors import UsageError
from cordee.core.shell.started import Started
from cordee.plan.compare import Outcome
from cordee.plan.layout import Job
from cordee.plan.scripts import fsdp2, savings
from cordee.plan.scripts.described import (
    Option,
    grouped,
    option,
    same,
    sizes,
    spread,
    why_not,
)
from cordee.plan.scripts.frameworks import TITLES, foreign, framework_of, moved, only_ascend
from cordee.plan.scripts.megatron import Asked, asked
from cordee.plan.scripts.options import meanings, passed
from cordee.plan.search import Plan

KEPT = frozenset({"--vocab-size", "--make-vocab-size-divisible-by", "--lora-r"})
"""Options of sizes that a script keeps: its tokenizer reads them, too."""
COUNTS = re.compile(r"--(nproc|nnodes|worker|local[-_]worker|node[-_]rank|master[-_])")
LIKE = {
    "--use-ascend-mc2": "--use-ascend-coc",
    "--moe-alltoall-overlap-comm": "--moe-fb-overlap",
}
"""Options for the same end: a script keeps its own."""
SILENT = frozenset(
    ["fi", "done", "esac", "{", "}", "[[", "[", "echo", "exit", "set", "mkdir", "tee"]
)
"""Commands that change nothing for a training."""
OPEN = (
    ("--tokenizer-type", "HuggingFaceTokenizer", ""),
    ("--tokenizer-model", "${TOKENIZER:?a folder with the tokenizer}", "--tokenizer-name-or-path"),
    ("--data-path", "${DATA:?where the tokens of the data are}", "--mock-data"),
    ("--load", "${LOAD:?a checkpoint to start from, or a new folder}", ""),
    ("--save", "${SAVE:?where checkpoints go}", ""),
    ("--position-embedding-type", "rope", ""),
    ("--train-iters", "${STEPS:?how many steps}", "--train-samples"),
    ("--lr", "${LR:?how fast it learns}", ""),
)
"""What a script needs that no plan knows; the third is an option in place of it."""


def write(path: Path, asks: Asked | None, found: Outcome) -> list[str]:
    """Write it; what there is to say of it. Raises `UsageError` where it cannot be written."""
    sharded = asks is not None and fsdp2.training(asks.read) is not None
    asks = None if sharded else asks
    plan = _writable(found)
    job = _as_read(plan.job)
    framework = "mindspeed" if found.chip.maker == "Huawei" else "megatron"
    kept, old = _kept(asks, framework)
    options = [*_made(job, asks, framework, old, kept), *kept]
    _check(path, "\n".join(_lines(asks, found, job, framework, options)) + "\n", job)
    said = [f"{path}: {job.layout.words} for {TITLES[framework]} on {found.chip.name}"]
    ascend = framework == "mindspeed"
    if plan is not found.best:
        slower = 1 - plan.tokens_per_s / found.best.tokens_per_s
        reason = _why_not(found.best.job, found.chip.chips_per_node, ascend=ascend)
        best = found.best.job.layout.words
        said.append(f"{path}: the best, {best}, {reason}; this is {slower:.1%} slower")
    if sharded:
        said.append(
            f"{path}: options of fsdp2 are not carried over: they mean something else there"
        )
    said += [f"{path}: {one}" for one in savings.left_out(job, ascend=ascend)]
    if asks:
        said += _left(path, asks, framework, old, {name for name, _ in options})
    return said


def _kept(asks: Asked | None, framework: str) -> tuple[list[Option], str]:
    """Options of the user's that the plan does not choose, and the framework that they are for."""
    given = _given(asks)
    old = framework_of([name for name, _ in given]) if asks else framework
    kept = [one for one in given if one[0] in KEPT or one[0] not in meanings()]
    if old != framework:
        return list(moved(kept, framework)), old
    return (kept if asks else list(_opened(framework))), old


def _made(
    job: Job, asks: Asked | None, framework: str, old: str, kept: Sequence[Option]
) -> Iterator[Option]:
    """Options that say what was found, by names that the script has for the same end."""
    ascend, names = framework == "mindspeed", {name for name, _ in kept}
    theirs = {name for name, _ in _given(asks)} if old == framework else set()
    longest = job.model.positions or max(job.model.longest or 0, job.sequence)
    for name, values in (
        *sizes(job.model, ascend=ascend),
        *spread(job, ascend=ascend),
        *savings.written(job, ascend=ascend),
        option("--max-position-embeddings", longest),
    ):
        if name not in names:
            yield (LIKE[name] if LIKE.get(name) in theirs else name), values


def _writable(found: Outcome) -> Plan:
    ascend = found.chip.maker == "Huawei"
    node = found.chip.chips_per_node
    for plan in found.plans:
        if _why_not(plan.job, node, ascend=ascend) is None:
            return plan
    why = _why_not(found.best.job, node, ascend=ascend)
    raise UsageError(
        f"{found.chip.name}: no layout that fits can be written as a script: the best, "
        f"{found.best.job.layout.words}, {why}; give another number of --chips"
    )


def _why_not(job: Job, node: int, *, ascend: bool) -> str | None:
    """Why that layout has no options there, if so."""
    return why_not(job, node, ascend=ascend) or savings.why_not(job, ascend=ascend)


def _as_read(job: Job) -> Job:
    """Norms are whole where nothing shares products."""
    alone = job.layout.tensor == 1
    return replace(job, layout=replace(job.layout, sequence_parallel=not alone))


def _given(asks: Asked | None) -> list[Option]:
    return grouped(asks.started.words[_program(asks.started) + 1 :]) if asks else []


def _program(started: Started) -> int:
    return next(n for n, word in enumerate(started.words) if word.endswith(".py"))


def _opened(framework: str) -> Iterator[Option]:
    plain = [option(name, value) for name, value, _ in OPEN]
    yield from moved(plain, framework)


def _lines(
    asks: Asked | None, found: Outcome, job: Job, framework: str, options: Sequence[Option]
) -> Iterator[str]:
    yield "#!/usr/bin/env bash"
    yield f"# {TITLES[framework]} on {job.layout.chips} x {found.chip.name}: {job.layout.words}"
    yield "set -euo pipefail" if not asks else "set -eo pipefail"
    yield ""
    for name, value in sorted(_exported(asks).items()):
        if not foreign(name, framework):
            yield f"export {name}={quoted(value)}"
    yield ""
    yield from _launcher(asks, job, found.chip.chips_per_node)
    for name, values in options[:-1]:
        yield f"    {_shown(name, values)} \\"
    yield f"    {_shown(*options[-1])}"


def _exported(asks: Asked | None) -> Mapping[str, str]:
    return asks.started.exported if asks else {"CUDA_DEVICE_MAX_CONNECTIONS": "1"}


def _launcher(asks: Asked | None, job: Job, node: int) -> Iterator[str]:
    each = min(node, job.layout.chips)
    yield f"torchrun --nproc_per_node {each} --nnodes {job.layout.chips // each} \\"
    words = asks.started.words[: _program(asks.started)] if asks else ()
    kept = [(name, values) for name, values in grouped(words) if not COUNTS.match(name)]
    if not any(name.startswith("--rdzv") for name, _ in kept):
        yield '    --node_rank "${NODE_RANK:-0}" --master_addr "${MASTER_ADDR:-localhost}" \\'
        yield '    --master_port "${MASTER_PORT:-29500}" \\'
    for name, values in kept:
        yield f"    {_shown(name, values)} \\"
    program = asks.started.words[_program(asks.started)] if asks else "pretrain_gpt.py"
    yield f"    {quoted(program)} \\"


def _shown(name: str, values: Sequence[str]) -> str:
    return " ".join([name, *(quoted(value) for value in values)])


def quoted(word: str) -> str:
    """As shell text; what only the run knows stays as it is written."""
    if "$" in word or "`" in word:
        return '"' + re.sub(r'(?<!\\)"', r"\"", word) + '"'
    return shlex.quote(word)


def _check(path: Path, text: str, job: Job) -> None:
    """Write it, and read it back: it must say what was found."""
    before = path.read_text("utf-8") if path.exists() else None
    path.write_text(text, "utf-8")
    try:
        read = asked(path).job
        alike = same(read.model, job.model) and _asked(read) == _asked(job)
    except UsageError:
        alike = False
    if not alike:
        path.unlink() if before is None else path.write_text(before, "utf-8")
        raise UsageError(
            f"{path}: {job.model.name} cannot be said in options of a launch script that are known here; "
            "nothing is written. The layout above is what to enter in a script of your own"
        )


def _asked(job: Job) -> tuple[object, ...]:
    layout = job.layout
    return layout.words, layout.chips, job.sequence, job.batch, job.program.dtype


def _left(path: Path, asks: Asked, framework: str, old: str, written: set[str]) -> Iterator[str]:
    """What of the user's script is not in the new one, and what is kept without being known."""
    for started in asks.read.started:
        if started is not asks.started and started.words and started.words[0] not in SILENT:
            shown = " ".join(started.words)[:60]
            yield f"{path}: not carried over from line {started.line}: {shown}"
    for name in asks.started.exported:
        if foreign(name, framework):
            yield f"{path}: not carried over, {TITLES[framework]} does not read it: {name}"
    for name, _ in _given(asks):
        known = name in meanings() or name in passed()
        if not known and old == framework:
            yield f"{path}: kept as it is, though not understood: does it go with this layout? {name}"
        elif not known:
            yield f"{path}: kept as it is; does {TITLES[framework]} know it? {name}"
        elif old != framework and name in only_ascend() - meanings().keys() - written:
            yield f"{path}: not carried over, {TITLES[framework]} does not know it: {name}"
