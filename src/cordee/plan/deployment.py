"""How an engine is spread over chips and what it keeps numbers in: an `Engine`, a `Deployment`."""

from dataclasses import dataclass, field
from typing import ClassVar

from cordee.core.errors import UsageError
from cordee.hw.accelerator import Accelerator
from cordee.plan.layout import divides
from cordee.plan.model import Model

BITS = {"fp32": 32.0, "bf16": 16.0, "fp16": 16.0, "fp8": 8.03, "int8": 8.1, "fp4": 4.5, "int4": 4.5}
"""Of a weight, scales of blocks included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """What weights, products and the cache are kept in."""

    NAMES: ClassVar = ("bf16", "fp16", "fp8", "fp4", "w8a8", "int4", "w4a16", "w4a8")
    CACHES: ClassVar = ("bf16", "fp8", "int8")

    name: str = "bf16"
    """A dtype, or what people call a pair of them: w8a8 is int8 throughout, w4a8 has weights of 4 bits."""
    cache: str = "bf16"
    """Of keys and values that are kept."""

    def __post_init__(self) -> None:
        if self.name not in self.NAMES:
            raise UsageError(f"dtype {self.name}: one of {', '.join(self.NAMES)}")
        if self.cache not in self.CACHES:
            raise UsageError(f"cache dtype {self.cache}: one of {', '.join(self.CACHES)}")

    @property
    def weights(self) -> str:
        """In what weights lie in memory."""
        return {"w8a8": "int8", "w4a8": "int4", "w4a16": "int4"}.get(self.name, self.name)

    def products(self, chip: Accelerator) -> str:
        """In what the chip multiplies. Raises `UsageError` where it cannot."""
        wanted = {"w8a8": "int8", "w4a8": "int8", "w4a16": "bf16", "int4": "bf16"}.get(
            self.name, self.name
        )
        if wanted == "fp4" and "fp4" not in chip.flops_per_s:
            wanted = "bf16"  # 4 bits are widened on the way in, as GPT-OSS runs on Hopper
        if wanted == "bf16" and "bf16" not in chip.flops_per_s:
            wanted = "fp16"
        if wanted not in chip.flops_per_s:
            raise UsageError(f"{chip.name} does not multiply in {wanted}: {_instead(chip)}")
        return wanted

    def multiplies(self, chip: Accelerator, *, is_expert: bool, mixture: bool) -> str:
        """The same of one kind of product: in mixtures of 4 bits, only experts have so few."""
        dtype = self.products(chip)
        few = mixture and not is_expert and self.weights in ("fp4", "int4")
        return "bf16" if few and dtype != "int8" else dtype

    def weight_bytes(self, *, is_expert: bool, mixture: bool) -> float:
        """Of a number: in mixtures of 4 bits, only experts have so few."""
        name = self.weights
        if mixture and not is_expert and name in ("fp4", "int4"):
            name = "int8" if self.name == "w4a8" else "bf16"
        return BITS[name] / 8

    @property
    def cache_bytes(self) -> int:
        """Of a number in the cache."""
        return 2 if self.cache == "bf16" else 1


def _instead(chip: Accelerator) -> str:
    able = {"fp8": "fp8", "int8": "w8a8", "bf16": "bf16", "fp16": "fp16", "fp4": "fp4"}
    return "--dtype one of " + ", ".join(able[name] for name in chip.flops_per_s if name in able)


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One copy of the model on some chips. Chips are numbered tensor first, then data, then stages."""

    tensor: int = 1
    """Chips that share each product of attention."""
    data: int = 1
    """Groups of them that attend to different requests, and share experts and MLPs."""
    pipeline: int = 1
    """Stages of layers."""
    expert: int = 1
    """Chips over which whole experts are spread; 1 where each expert is cut over all of them."""

    def __post_init__(self) -> None:
        for name in ("tensor", "data", "pipeline", "expert"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} = {getattr(self, name)}: 1 or more")

    @property
    def stage(self) -> int:
        """Chips of a stage."""
        return self.tensor * self.data

    @property
    def chips(self) -> int:
        """Of the whole copy."""
        return self.stage * self.pipeline

    @property
    def words(self) -> str:
        """It in a few words, as people write it."""
        parts = [f"TP{self.tensor}"] if self.tensor > 1 or self.data == 1 else []
        parts += [f"DP{self.data}"] if self.data > 1 else []
        parts += [f"PP{self.pipeline}"] if self.pipeline > 1 else []
        parts += [f"EP{self.expert}"] if self.expert > 1 else []
        return " ".join(parts)

    def check(self, model: Model) -> None:
        """Raise `UsageError` where the model cannot be spread so, with the nearest that can."""
        divides(model.heads, "attention heads", self.tensor, "tensor")
        if self.pipeline > len(model.layers):
            raise UsageError(
                f"{len(model.layers)} layers do not fill pipeline {self.pipeline}: "
                f"give at most {len(model.layers)}"
            )
        if self.expert > 1:
            if not model.is_mixture:
                raise UsageError(f"expert {self.expert}: {model.name} has no experts; leave it 1")
            divides(self.stage, "chips of a stage", self.expert, "expert")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafting:
    """Tokens are guessed ahead, and the model checks all guesses in one pass."""

    tokens: int = 0
    """Guessed in a pass; 0: none."""
    acceptance: float | None = None
    """How likely a guess is right, if those before it are; None: as is usual."""
    cost: float = 0.05
    """Of a guess, as a part of the model's own pass: one layer of many, or a small model."""

    def __post_init__(self) -> None:
        if not 0 <= (self.acceptance or 0) < 1 or self.tokens < 0:
            raise UsageError(
                f"drafting {self.tokens} tokens at acceptance {self.acceptance}: 0 or more tokens, "
                "and an acceptance from 0 to below 1"
            )

    def per_pass(self, usual: float) -> float:
        """Tokens that a pass gives on average, at an acceptance of `usual` where none is given.

        Leviathan, Kalman and Matias, arxiv.org/abs/2211.17192, equation 1.
        """
        rate = usual if self.acceptance is None else self.acceptance
        return (1 - rate ** (self.tokens + 1)) / (1 - rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduling:
    """How an engine fills its passes."""

    chunk: int = 8192
    """Tokens of prompts in a pass, at most."""
    mixed: bool = True
    """Whether passes over prompts also give tokens to those that are under way."""
    most: int = 1024
    """Requests under way at once, at most, of each group that attends apart; prompts read apart are not."""
    reserved: float = 0.0
    """Part of an answer that must have room before its prompt is read."""
    polls: int = 1
    """Passes that only give tokens between two looks for newcomers."""
    gathers: int = 0
    """Passes for which a prompt waits at most, until each group that attends apart has one."""
    memory: float | None = None
    """Part of a chip's memory for weights and what is kept of requests; None: as is usual."""
    captured: bool = True
    """Whether the launches of passes that only give tokens are captured, and not made one by one from Python."""
    recorded: bool = True
    """Whether those of passes over prompts are recorded or compiled, and not made one by one from Python."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """Everything that serves a model: alike copies, or copies for prompts apart from those for tokens."""

    model: Model
    chip: Accelerator
    precision: Precision = Precision()
    engine: Engine = Engine()
    """Of the copies that give tokens; and read prompts, where `prefill` is None."""
    replicas: int = 1
    prefill: Engine | None = None
    """Of the copies that only read prompts."""
    prefill_replicas: int = 0
    drafting: Drafting = Drafting()
    scheduling: Scheduling = field(default_factory=Scheduling)

    @property
    def chips(self) -> int:
        """Of all copies."""
        own = self.engine.chips * self.replicas
        return own + (self.prefill.chips * self.prefill_replicas if self.prefill else 0)

    @property
    def words(self) -> str:
        """It in a few words; before a plus, the copies that read prompts."""
        own = f"{self.replicas} x {self.engine.words}"
        if self.prefill is None:
            return own
        return f"{self.prefill_replicas} x {self.prefill.words} + {own}"
