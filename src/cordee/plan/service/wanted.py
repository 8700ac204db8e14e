"""What is to be served, and which deployments a search tries for it."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import inf

from cordee.core.errors import UsageError
from cordee.hw.accelerator import Accelerator
from cordee.plan.deployment import Deployment, Drafting, Engine, Precision, Scheduling
from cordee.plan.model import Model
from cordee.plan.serving.memory import holding
from cordee.plan.serving.recorded import Recording

POWERS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Requests of a length, how many of them, and how long they may wait."""

    model: Model
    precision: Precision
    prompt: int
    answer: int
    first_s: float
    """Until the first token, at most, for 9 of 10 requests."""
    between_s: float
    """Between two tokens, at most, for 9 of 10 requests."""
    chips: int | None = None
    rate_per_s: float | None = None
    drafting: Drafting = field(default_factory=Drafting)
    scheduling: Scheduling = field(default_factory=Scheduling)
    cached: float = 0.0
    recording: Recording | None = None
    """Requests that really came; prompt and answer are their means."""

    @property
    def longest(self) -> int:
        """Tokens of a request at its end, of the longest one."""
        return self.recording.longest if self.recording else self.usual

    @property
    def usual(self) -> int:
        """Tokens of a request at its end, on average."""
        return self.prompt + self.answer

    def recorded(self, recording: Recording) -> "Wanted":
        """The same for requests that really came; as many a second as then, where neither that nor chips are given."""
        rate = recording.rate_per_s if self.chips is None else None
        return replace(
            self,
            recording=recording,
            prompt=recording.prompt,
            answer=recording.answer,
            rate_per_s=self.rate_per_s or rate,
        )


def check(wanted: Wanted) -> None:
    """Raises `UsageError` where it asks for nothing that can be served."""
    if wanted.chips is None and wanted.rate_per_s is None:
        raise UsageError("give --chips, how many there are, or --rate, how many requests a second")
    if wanted.chips is not None and wanted.chips < 1:
        raise UsageError(f"--chips {wanted.chips}: 1 or more")
    if wanted.rate_per_s is not None and not 0 < wanted.rate_per_s < inf:
        raise UsageError(f"--rate {wanted.rate_per_s:g}: requests a second, above 0")
    for option, value in (("--prompt", wanted.prompt), ("--answer", wanted.answer)):
        if value < 1:
            raise UsageError(f"{option} {value}: 1 token or more")
    for option, limit in (("--ttft", wanted.first_s), ("--tpot", wanted.between_s)):
        if not 0 < limit < inf:
            raise UsageError(f"{option} {limit * 1e3:g}: milliseconds, above 0")
    if wanted.drafting.acceptance is not None and not wanted.drafting.tokens:
        raise UsageError("--acceptance needs --drafts: how many tokens are guessed ahead")
    if not 0 <= wanted.cached < 1:
        raise UsageError(f"--cached {wanted.cached}: a part of prompts, from 0 to below 1")


def engines_of(wanted: Wanted, chip: Accelerator) -> Iterator[Engine]:
    """Copies of the model that chips could hold, whether they have the memory or not."""
    most = wanted.chips or 256
    node = chip.supernode_chips or chip.chips_per_node
    heads = wanted.model.heads
    for tensor in POWERS:
        if tensor > min(chip.chips_per_node, most) or heads % tensor:
            continue
        for data in POWERS if wanted.model.is_mixture else (1,):
            stage = tensor * data
            if stage > min(most, max(node, 64)):
                continue
            for expert in sorted({1, _spread(wanted.model, stage)}):
                for pipeline in (1, 2, 4):
                    if stage * pipeline <= most and not _wasteful(pipeline, stage, node):
                        yield Engine(tensor=tensor, data=data, pipeline=pipeline, expert=expert)


def _spread(model: Model, stage: int) -> int:
    """Chips over which whole experts are spread: all, where there are as many experts."""
    return stage if model.is_mixture and stage <= model.experts else 1


def _wasteful(pipeline: int, stage: int, node: int) -> bool:
    """Stages are for models that one node does not hold."""
    return pipeline > 1 and stage < min(node, 8)


def deployments(wanted: Wanted, chip: Accelerator) -> Iterator[tuple[Deployment, bool]]:
    """One copy for each way to spread it, and whether it fits."""
    for engine in engines_of(wanted, chip):
        one = Deployment(
            model=wanted.model,
            chip=chip,
            precision=wanted.precision,
            engine=engine,
            drafting=wanted.drafting,
            scheduling=wanted.scheduling,
        )
        yield one, holding(one, engine, wanted.longest).fits
