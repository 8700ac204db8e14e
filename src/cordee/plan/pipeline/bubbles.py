"""What a pipeline loses at its ends, by schedule: formulas, which simulations of the passes confirm.

1F1B: Narayanan et al., arxiv.org/abs/2104.04473, section 2.2. ZB-H1, ZB-H2: Qi et al.,
arxiv.org/abs/2401.10241, table 2. DualPipe: DeepSeek-V3, arxiv.org/abs/2412.19437, table 2; DualPipeV
without and with whole passes at the end: github.com/deepseek-ai/DualPipe, README.md, and
github.com/Ascend/MindSpeed, docs/zh/features/dualpipev.md. For ZB-V no formula is published where passes
take unlike times: this one is what the simulation gives.
"""

from dataclasses import dataclass

from cordee.plan.pipeline.schedules import PLAIN, Schedule, counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """Of a micro-batch: what kinds of passes take, and what a pair of them saves when it is done as one."""

    forward: float
    inputs: float
    """The backward pass as far as the stage before waits for it."""
    weights: float
    """Gradients of weights, for which nobody waits."""
    saved: float = 0.0

    @property
    def total(self) -> float:
        """Of the passes one after another."""
        return self.forward + self.inputs + self.weights

    def __add__(self, other: "Seconds") -> "Seconds":
        return Seconds(
            forward=self.forward + other.forward,
            inputs=self.inputs + other.inputs,
            weights=self.weights + other.weights,
            saved=self.saved + other.saved,
        )

    def __mul__(self, times: float) -> "Seconds":
        return Seconds(
            forward=self.forward * times,
            inputs=self.inputs * times,
            weights=self.weights * times,
            saved=self.saved * times,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipe:
    """A pipeline in one step."""

    schedule: Schedule
    stages: int
    chunks: int
    """Pieces of a stage that take turns."""
    micro_batches: float
    together: bool = True
    """Whether all stages wait for one another before the optimizer."""


def bubble_s(pipe: Pipe, slowest: Seconds, others: Seconds) -> float:
    """Seconds that a step takes beside the passes of its slowest stage; `others` are all other stages' together.

    A paired schedule's passes count as pairs, so what is not done as one is in here.
    """
    if pipe.stages == 1:
        return 0.0
    if pipe.schedule.name == PLAIN:
        return others.total / pipe.chunks
    if pipe.schedule.pairs:
        return _paired_s(pipe, slowest, others)
    if pipe.schedule.pieces > 1:
        return _folded_s(pipe, others)
    return _late_s(pipe, others)


def _late_s(pipe: Pipe, others: Seconds) -> float:
    """Gradients of weights are put off, and fill the end as far as there are any."""
    passes = pipe.micro_batches * pipe.chunks
    filled = min(pipe.schedule.late[0] * (pipe.stages - 1), passes - 1)
    each = min(others.weights, others.forward, others.inputs) / (pipe.stages - 1)
    found = others.forward + others.inputs - filled * each
    return max(found, others.forward if pipe.together else 0.0) / pipe.chunks


def _folded_s(pipe: Pipe, others: Seconds) -> float:
    longer = max(others.forward, others.inputs)
    return max(longer - others.weights, longer / 2 if pipe.together else 0.0)


def _paired_s(pipe: Pipe, slowest: Seconds, others: Seconds) -> float:
    """DualPipe is two pipelines of half as many chips with two stages each, mirrored; DualPipeV one of them."""
    schedule = pipe.schedule
    chips = pipe.stages // schedule.copies
    each = others * (1 / (pipe.stages - 1) / schedule.pieces)
    own = slowest * (1 / schedule.pieces)
    # Gradients of weights fill the end where its backward passes are split, and else make them longer.
    filled = -each.weights if schedule.whole_end else each.weights
    found = (chips - 1) * (each.forward + 2 * each.inputs - filled - each.saved)
    # The last chip's first pair is done apart, so that its backward pass is sooner there.
    found -= min(own.forward, (chips - 1) * (each.inputs - each.forward))
    return max(found + counted(schedule.apart, pipe.stages) * own.saved, 0.0)
