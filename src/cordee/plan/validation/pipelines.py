"""What is published of schedules of pipelines, beside what is reckoned here."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files

from cordee.core.facts import Fact, rows
from cordee.hw import accelerators
from cordee.plan.calibration.table import ANY, calibration, kind_of
from cordee.plan.configuration import Configuration
from cordee.plan.costs.seconds import Costs
from cordee.plan.layout import Job, Layout, Program
from cordee.plan.memory import memory
from cordee.plan.model import from_config, named
from cordee.plan.pipeline.bubbles import Seconds
from cordee.plan.pipeline.orders import orders
from cordee.plan.pipeline.simulation import run
from cordee.plan.step_work import work_of
from cordee.plan.training import Step, step

CHIP, STACK = "A100-80-SXM", "megatron-lm"
"""What settings were measured on."""
MEANT = {"1f1b": "1f1b", "interleaved": "1f1b", "zb-1p": "zb-h1", "zb-2p": "zb-h2"}
"""Schedules by the names of the publication."""
VOCABULARY = 50304  # as Megatron-LM pads GPT-2's


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting(Fact):
    """A model on so many stages; lists go with `micro_batches`."""

    model: str
    layers: int
    heads: int
    hidden: int
    sequence: int
    stages: int
    micro_batch: int
    micro_batches: list[int]
    forward_s: list[float]
    inputs_s: list[float]
    weights_s: list[float]
    send_s: list[float]
    bubbles: Mapping[str, list[float]]
    """Parts of a step that are lost, by schedule: reckoned by the authors from these seconds."""
    samples: Mapping[str, list[float]]
    """Sequences a second of a chip, measured."""
    memory_gb: Mapping[str, float]
    """At the peak, measured."""

    def seconds(self, place: int) -> Seconds:
        """Of the passes of a stage, with so many micro-batches."""
        return Seconds(
            forward=self.forward_s[place],
            inputs=self.inputs_s[place],
            weights=self.weights_s[place],
        )

    def job(self, name: str, count: int) -> Job:
        """A step by a schedule of that name, with so many micro-batches."""
        config = {
            "model_type": "mpt",
            "n_embd": self.hidden,
            "n_layer": self.layers,
            "n_head": self.heads,
            "vocab_size": VOCABULARY,
        }
        layout = Layout(
            chips=self.stages,
            pipeline=self.stages,
            chunks=-(-self.layers // self.stages) if name == "interleaved" else 1,
            schedule=MEANT[name],
            micro_batch=self.micro_batch,
            zero=0,
        )
        return Job(
            model=from_config(config, self.model),
            layout=layout,
            sequence=self.sequence,
            batch=count * self.micro_batch,
            program=Program(fused_attention=False, waits_for_all=name != "zb-2p"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Configuration):
    """A training, or a test of one."""

    tokens_per_s_per_chip: float
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Something published, and the same as it is reckoned here."""

    setting: Setting
    schedule: str
    micro_batches: int
    published: float
    reckoned: float


@cache
def settings() -> tuple[Setting, ...]:
    """Every one."""
    table = files("cordee.plan.validation") / "pipelines.toml"
    return tuple(rows(table, Setting, table="setting"))


@cache
def runs() -> tuple[Run, ...]:
    """Every one."""
    return tuple(rows(files("cordee.plan.validation") / "pipelines.toml", Run, table="run"))


def rates(place: int) -> Iterator[Beside]:
    """Bubble rates of every setting with the least, the middle or the most micro-batches, by simulation.

    A step is as long as that of the chip that takes longest from its own first pass to its own last one.
    """
    for setting in settings():
        count, seconds = setting.micro_batches[place], setting.seconds(place)
        for name, published in setting.bubbles.items():
            turns = orders(name, setting.stages, count)
            took_s = run(turns, [seconds] * setting.stages, setting.send_s[place]).longest_s
            yield Beside(
                setting=setting,
                schedule=name,
                micro_batches=count,
                published=published[place],
                reckoned=1 - count * seconds.total / took_s,
            )


def samples() -> Iterator[Beside]:
    """Sequences a second of a chip in every setting, by plans."""
    for setting in settings():
        for place, count in enumerate(setting.micro_batches):
            for name, published in setting.samples.items():
                job = setting.job(name, count)
                yield Beside(
                    setting=setting,
                    schedule=name,
                    micro_batches=count,
                    published=published[place],
                    reckoned=job.batch / _step(job, CHIP, STACK).seconds / setting.stages,
                )


def kept() -> Iterator[Beside]:
    """GB at the peak in every setting."""
    for setting in settings():
        count = setting.micro_batches[0]
        for name, published in setting.memory_gb.items():
            yield Beside(
                setting=setting,
                schedule=name,
                micro_batches=count,
                published=published,
                reckoned=memory(setting.job(name, count)).allocated / 1e9,
            )


def speeds(one: Run) -> tuple[float, float]:
    """Tokens a second of a chip in a run by its schedule, and by 1F1B that hides nothing."""
    job = one.job(named(one.model), one.micro_batch)
    plain = replace(
        job,
        layout=replace(job.layout, schedule="1f1b"),
        program=replace(job.program, overlaps_experts=False),
    )
    found = [_step(each, one.chip, one.stack or ANY) for each in (job, plain)]
    return found[0].tokens_per_s_per_chip, found[1].tokens_per_s_per_chip


def _step(job: Job, name: str, stack: str) -> Step:
    chip = accelerators().find(name)
    known = calibration().find(kind_of(chip, stack, job.model), chip.name)
    return step(work_of(job, chip), Costs(chip, known, job.program))
