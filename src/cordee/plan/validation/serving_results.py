"""Published inference results as rows, and the deployment and the traffic that each of them is."""

from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files

from cordee.core.facts import Fact, rows
from cordee.hw.accelerator import accelerators
from cordee.plan.deployment import Deployment, Drafting, Engine, Precision
from cordee.plan.model import Model, named
from cordee.plan.serving.engines import engines
from cordee.plan.serving.traffic import Traffic

METRICS = ("TPOT", "TTFT", "throughput")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingResult(Fact):
    """What was measured on one deployment under one traffic."""

    id: str
    model: str
    label: str = ""
    """What the publication calls the model, where that is not its name here."""
    chip: str
    stack: str
    release: str = ""
    """The version of the software."""
    precision: str
    cache: str = "bf16"
    tensor: int = 1
    data: int = 1
    pipeline: int = 1
    expert: int = 1
    replicas: int = 1
    prefill_replicas: int = 0
    prefill_tensor: int = 1
    prefill_data: int = 1
    prefill_expert: int = 1
    prompt: int
    answer: int
    shortest: float = 1.0
    cached: float = 0.0
    clients: int
    requests: int = 0
    most: int | None = None
    chunk: int | None = None
    memory: float | None = None
    """Part of a chip's for weights and what is kept, where the engine was told."""
    polls: int = 1
    """Passes between two looks for newcomers."""
    gathers: int = 0
    """Passes for which a prompt waits at most, until each group that attends apart has one."""
    eager: bool = False
    """Whether passes that only give tokens are launched kernel by kernel."""
    unrecorded: bool = False
    """Whether passes over prompts are launched kernel by kernel from Python, as SGLang did before 0.5.10."""
    drafts: int = 0
    ttft_ms: float | None = None
    tpot_ms: float | None = None
    output_tokens_per_s: float | None = None
    is_floor: bool = False
    """Whether it is what a test demands, which lies a little below what is measured."""
    quality: str
    """"A": the whole configuration is published; "B": something of it is not."""
    publication: str
    note: str = ""

    @property
    def family(self) -> str:
        """Rows of one model under one version of the software on one kind of chip."""
        return f"{self.version}/{self.model}"

    @property
    def version(self) -> str:
        """Of the software, on one kind of chip."""
        return f"{self.chip}/{self.stack} {self.release}"

    @property
    def group(self) -> str:
        """Rows that are held out together: a model on a version, one layout, dtype, pair of lengths."""
        layout = (self.precision, self.tensor, self.data, self.expert, self.prefill_replicas)
        lengths = (self.prompt, self.answer)
        return "/".join([self.version, self.model, *(str(part) for part in (*layout, *lengths))])

    @property
    def published(self) -> dict[str, float]:
        """By metric: seconds, or tokens a second."""
        found = {
            "TPOT": self.tpot_ms and self.tpot_ms / 1e3,
            "TTFT": self.ttft_ms and self.ttft_ms / 1e3,
            "throughput": self.output_tokens_per_s,
        }
        return {name: value for name, value in found.items() if value}

    @property
    def traffic(self) -> Traffic:
        """What came in."""
        return Traffic(
            prompt=self.prompt,
            answer=self.answer,
            clients=self.clients,
            count=self.requests,
            shortest=self.shortest,
            cached=self.cached,
        )

    def deployment(self) -> Deployment:
        """What ran."""
        usual = engines()[self.stack]
        scheduling = replace(
            usual,
            chunk=self.chunk or usual.chunk,
            most=self.most or usual.most,
            polls=self.polls,
            gathers=self.gathers,
            memory=self.memory,
            captured=not self.eager,
            recorded=not self.unrecorded,
        )
        apart = Engine(
            tensor=self.prefill_tensor, data=self.prefill_data, expert=self.prefill_expert
        )
        return Deployment(
            model=serving_model(self.model),
            chip=accelerators().find(self.chip),
            precision=Precision(name=self.precision, cache=self.cache),
            engine=Engine(
                tensor=self.tensor, data=self.data, pipeline=self.pipeline, expert=self.expert
            ),
            replicas=self.replicas,
            prefill=apart if self.prefill_replicas else None,
            prefill_replicas=self.prefill_replicas,
            drafting=Drafting(tokens=self.drafts),
            scheduling=scheduling,
        )


@cache
def serving_model(name: str) -> Model:
    """A model of the results."""
    return named(name)


@cache
def serving_results() -> tuple[ServingResult, ...]:
    """Every result, in the order of the table."""
    return tuple(rows(files("cordee.plan.validation") / "serving.toml", ServingResult))
