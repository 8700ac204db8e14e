"""Kinds of operators, each with what its time depends on."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Matmul:
    """`count` products of (m, k) by (k, n)."""

    name: str
    m: float
    n: float
    k: float
    count: int = 1
    """How many of them are one call: experts of a chip."""
    added_bytes: float = 0
    """What it reads and writes beside its operands: gradients that it adds to."""
    is_expert: bool = False
    is_wide: bool = False
    """Whether it stays in 16 bits where others have fewer."""
    casts: bool = True
    """Whether what comes in is cast for it, where products have few bits."""
    moved_bytes: float | None = None
    """What it reads and writes, where that is known and not reckoned from its shape."""

    @property
    def flops(self) -> float:
        return 2.0 * self.m * self.n * self.k * self.count

    def size_bytes(self, width: float) -> float:
        """Of its operands at `width` bytes a number, and its result at 2."""
        if self.moved_bytes is not None:
            return self.moved_bytes + self.added_bytes
        operands = (self.m * self.k + self.k * self.n) * width + 2 * self.m * self.n
        return operands * self.count + self.added_bytes


@dataclass(frozen=True, slots=True)
class AttentionCore:
    """Scores, softmax and weighted sums in one kernel."""

    name: str
    flops: float
    size_bytes: float
    score_size: int
    keys: float
    """That a query meets."""
    backward: bool = False


@dataclass(frozen=True, slots=True)
class Vector:
    """A kernel, or several, bound by what they read and write."""

    name: str
    size_bytes: float
    kernels: int = 1


@dataclass(frozen=True, slots=True)
class Collective:
    """What chips of a group say to each other."""

    name: str
    pattern: str
    """"gather", "scatter" (a sum, scattered), "reduce" (a sum for all), "exchange" or "send"."""
    size_bytes: float
    """The whole that is gathered or summed up; what a chip holds before an exchange; a message."""
    group: str
    """Which degree of the layout its chips are."""
    hidden: bool = False
    """Whether the program lets it run beside other work."""
    copies: int = 1
    """Of an exchange, how many copies of a token it sends; one of them suffices for a node."""
    once: bool = False
    """Whether one of them suffices for a chip, too."""


Operator = Matmul | AttentionCore | Vector | Collective
