"""The deployment that was found, as a command that starts vLLM, vLLM-Ascend or SGLang."""

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from cordee.core.errors import UsageError
from cordee.plan.deployment import Deployment
from cordee.plan.scripts import serving_facts as facts
from cordee.plan.scripts.described import Option, option
from cordee.plan.scripts.frameworks import foreign
from cordee.plan.scripts.serving import ServingAsked, serving_asked
from cordee.plan.scripts.written import quoted
from cordee.plan.service.compare import ServingOutcome
from cordee.plan.service.search import ServingPlan

OWN = ("dtype", "speculative", "drafts", "guess")
"""What a script keeps for itself, as long as the engine stays."""
GUESSING = {"speculative", "drafts"}
UNSAID = ("most", "chunk", "nodes", "node", "address")
TITLES = {"vllm": "vLLM", "sglang": "SGLang", "vllm-ascend": "vLLM-Ascend"}


def write_serving(
    path: Path, asks: ServingAsked | None, found: ServingOutcome, engine: str | None
) -> list[str]:
    """Write it; what there is to say of it. Raises `UsageError` where nothing can be written."""
    engine = engine or (asks.engine if asks else "vllm")
    plan = _writable(found)
    options, left = _options(asks, plan.deployment, engine)
    lines = _lines(asks, plan.deployment, engine, options)
    _check(path, "\n".join(lines) + "\n", found, plan.deployment, engine)
    said = [*_remarks(path, asks, found, plan, engine), *(f"{path}: {line}" for line in left)]
    foreigners = (
        f"{path}: not carried over, {found.chip.name} does not read it: {name}"
        for name in (asks.started.exported if asks else ())
        if foreign(name, _framework(plan.deployment))
    )
    return [*said, *foreigners]


def _writable(found: ServingOutcome) -> ServingPlan:
    for plan in found.plans:
        if plan.deployment.prefill is None:
            return plan
    raise UsageError(
        f"{found.chip.name}: all of the best read prompts apart from those that give tokens, which "
        "takes several commands and what connects them: nothing is written"
    )


def _options(
    asks: ServingAsked | None, one: Deployment, engine: str
) -> tuple[list[Option], list[str]]:
    """All of them, and what is said of those that are left out."""
    kept, left = _kept(asks, engine)
    options = [*_said(one, engine), *kept]
    if one.drafting.tokens and not {facts.fields(engine).get(name) for name, _ in kept} & GUESSING:
        options += _guessed(one, engine)
        if not one.model.mtp_layers:
            left.append(f"{one.model.name} has no layers that guess: say which model does")
    return options, left


def _check(path: Path, text: str, found: ServingOutcome, one: Deployment, engine: str) -> None:
    """Write it, and read it back: it must say what was found."""
    before = path.read_text("utf-8") if path.exists() else None
    path.write_text(text, "utf-8")
    try:
        alike = serving_asked(path, found.wanted.model).spread == one.engine
    except UsageError:
        alike = False
    if not alike:
        path.unlink() if before is None else path.write_text(before, "utf-8")
        raise UsageError(
            f"{path}: {one.words}: {TITLES[engine]} has no options for it that are known here"
        )


def _remarks(
    path: Path, asks: ServingAsked | None, found: ServingOutcome, plan: ServingPlan, engine: str
) -> Iterator[str]:
    one = plan.deployment
    title = TITLES["vllm-ascend" if _ascend(one) and engine == "vllm" else engine]
    yield f"{path}: {one.words} for {title} on {found.chip.name}"
    if plan is not found.best:
        yield f"{path}: the best, {found.best.deployment.words}, reads prompts apart: not written"
    if asks and asks.dtype not in ("auto", one.precision.name):
        yield f"{path}: the weights must be in {one.precision.name}; those of {asks.path} are in {asks.dtype}"
    if one.replicas > 1:
        yield f"{path}: it starts one of {one.replicas} copies, on {one.engine.chips} chips each"
    if one.engine.chips > found.chip.chips_per_node:
        yield f"{path}: a copy spans nodes: start it on each as {title} describes it"


def _ascend(one: Deployment) -> bool:
    return one.chip.maker == "Huawei"


def _framework(one: Deployment) -> str:
    """By whose variables those of its programs are judged."""
    return "mindspeed" if _ascend(one) else "megatron"


def _kept(asks: ServingAsked | None, engine: str) -> tuple[list[Option], list[str]]:
    """Options of the user's that the engine knows, by its names, and what is said of the others."""
    kept: list[Option] = []
    left: list[str] = []
    for name, values in asks.options if asks else ():
        assert asks, "there are options"
        field = facts.fields(asks.engine).get(name)
        if field in OWN and asks.engine == engine:
            kept.append((name, values))
        elif field in UNSAID:
            left.append(f"not carried over, the plan does not choose it: {name}")
        if field:
            continue
        same = facts.others(asks.engine).get(name)
        if asks.engine == engine:
            kept.append((name, values))
        elif same and same.names(engine):
            kept.append((same.names(engine)[0], values))
        elif same:
            left.append(f"not carried over, {TITLES[engine]} has it otherwise: {name}")
        else:
            left.append(f"not carried over, it is not known here: {name}")
    return kept, left


def _said(one: Deployment, engine: str) -> Iterator[Option]:
    spread = one.engine
    if engine == "vllm":
        degrees = {"tensor": spread.tensor, "pipeline": spread.pipeline, "data": spread.data}
    else:
        degrees = {"tensor": spread.stage, "pipeline": spread.pipeline, "data": spread.data}
    for field, value in degrees.items():
        if value > 1 or field == "tensor":
            yield option(facts.option(field, engine), value)
    if engine == "sglang" and spread.data > 1:
        yield option(facts.option("apart", engine))
    if spread.expert > 1:
        name = facts.option("spread" if engine == "vllm" else "expert", engine)
        yield option(name) if engine == "vllm" else option(name, spread.expert)
    yield from _bits(one, engine)
    if engine == "sglang" and _ascend(one):
        yield option(facts.option("device", engine), "npu")
        yield option(facts.option("kernels", engine), "ascend")


def _guessed(one: Deployment, engine: str) -> Iterator[Option]:
    """By the layers of the model that are made for it."""
    count = one.drafting.tokens
    if engine == "vllm":
        said = f'{{"method": "mtp", "num_speculative_tokens": {count}}}'
        yield option(facts.option("speculative", engine), said)
        return
    yield option(facts.option("guess", engine), "EAGLE")
    yield option("--speculative-num-steps", count)
    yield option("--speculative-eagle-topk", 1)
    yield option(facts.option("drafts", engine), count + 1)


def _bits(one: Deployment, engine: str) -> Iterator[Option]:
    words: Mapping[str, str] = {"fp8": "fp8", "w8a8": "w8a8_int8"}
    if _ascend(one):
        own = "ascend" if engine == "vllm" else "modelslim"
        words = {"w8a8": own, "w4a8": own, "fp8": own}
    word = words.get(one.precision.name)
    if word and one.precision.name != facts.stored().get(one.model.name):
        yield option(facts.option("quantization", engine), word)
    if one.precision.cache != "bf16":
        name = one.precision.cache if engine == "vllm" else "fp8_e4m3"
        yield option(facts.option("cache", engine), name)


def _lines(
    asks: ServingAsked | None, one: Deployment, engine: str, options: list[Option]
) -> Iterator[str]:
    yield "#!/usr/bin/env bash"
    yield f"# {one.words}, {one.precision.name}, on {one.chip.name}"
    if one.precision.name not in ("bf16", "fp16"):
        yield f"# the weights must be in {one.precision.name}, or be made so"
    yield "set -eo pipefail"
    yield ""
    for name, value in sorted((asks.started.exported if asks else {}).items()):
        if not foreign(name, _framework(one)):
            yield f"export {name}={quoted(value)}"
    model = (
        quoted(asks.path) if asks and asks.path else f'"${{MODEL:?where {one.model.name} lies}}"'
    )
    if engine == "vllm":
        yield f"vllm serve {model} \\"
    else:
        yield f"python -m sglang.launch_server --model-path {model} \\"
    for name, values in options[:-1]:
        yield "    " + shlex.join([name]) + "".join(f" {quoted(value)}" for value in values) + " \\"
    name, values = options[-1]
    yield f"    {name}" + "".join(f" {quoted(value)}" for value in values)
