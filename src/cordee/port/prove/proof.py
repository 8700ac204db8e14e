"""What running a port has shown."""

from dataclasses import dataclass, field

from cordee.port.finding import Finding
from cordee.port.prove.losses import LossComparison


@dataclass(frozen=True, slots=True)
class Run:
    """The command once, on a chip or on the CPU."""

    where: str  # "chip" or "cpu"
    exit_code: int | None  # None: it ran past its limit
    seconds: float
    output: str  # stdout and stderr, as they came
    last_words: str = ""  # of one that failed: the error's line

    @property
    def succeeded(self) -> bool:
        """Whether it came to its end and said that all is well."""
        return self.exit_code == 0

    @property
    def ended(self) -> str:
        """How it came to its end, in words."""
        if self.exit_code is None:
            return "ran past its limit"
        if self.exit_code < 0:
            return f"was ended by signal {-self.exit_code}"
        return "ran to its end" if self.succeeded else f"ended with exit code {self.exit_code}"


@dataclass(frozen=True, slots=True)
class TensorComparison:
    """A file of tensors that both runs wrote."""

    path: str
    tensors: int
    worst: str  # the name of the tensor that differs most
    difference: float  # its largest difference over its largest value
    problem: str = ""  # why the file could not be compared
    alone: tuple[str, ...] = ()  # tensors that only one of the two files has


@dataclass(frozen=True, slots=True)
class LineComparison:
    """What both runs printed, numbers with a unit of time or speed aside."""

    lines: int  # of the longer one
    same: int


@dataclass(frozen=True, slots=True)
class Draw:
    """An operator that drew random numbers on the chip: not those that the CPU draws."""

    operator: str
    calls: int
    sites: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ran:
    """An operator that ran on the chip."""

    operator: str
    support: str  # as in docs/trace.md: native, host, ...
    calls: int


@dataclass(frozen=True, slots=True)
class Fallback:
    """An operator that a real chip has no kernel for, or that the virtual one does not emulate."""

    operator: str
    support: str  # as in docs/trace.md: host, missing, not emulated
    calls: int
    sites: tuple[str, ...]  # file:line of the ported program


@dataclass(frozen=True, slots=True)
class Blame:
    """A place in the traceback of a run that failed, and what had been said about it."""

    path: str
    line: int  # of the original file
    code: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Proof:
    """All of it."""

    command: str
    chip: Run
    cpu: Run | None
    losses: tuple[LossComparison, ...] = ()
    tensors: tuple[TensorComparison, ...] = ()
    lines: LineComparison | None = None
    draws: tuple[Draw, ...] = ()
    fallbacks: tuple[Fallback, ...] = ()
    blames: tuple[Blame, ...] = ()
    operators: int = 0  # calls on the chip
    ran: tuple[Ran, ...] = ()  # which they were, most calls first
    tolerance: float = 0.0
    notes: tuple[str, ...] = field(default=())
    wavers: bool = False  # it gave other numbers when the CPU ran it once more

    @property
    def compared(self) -> bool:
        """Whether there was something to compare."""
        return bool(self.losses or self.tensors)

    @property
    def cpu_succeeded(self) -> bool:
        """Whether the CPU ran the command too, and came to its end."""
        return self.cpu is not None and self.cpu.succeeded

    @property
    def agrees(self) -> bool:
        """Whether the chip gave what the CPU gave, as far as both could be compared."""
        return all(loss.difference <= self.tolerance for loss in self.losses) and all(
            not (file.problem or file.alone) and file.difference <= self.tolerance
            for file in self.tensors
        )

    @property
    def holds(self) -> bool:
        """Whether the port ran on the chip, and agreed with the CPU where that ran too."""
        return self.chip.succeeded and self.agrees

    @property
    def verdict(self) -> str:
        """What it comes to, in a sentence."""
        if not self.chip.succeeded:
            return self._why_not
        if self.wavers:
            return (
                "Not proven: the port runs on the virtual chip, but it gives other numbers each time, on "
                "the CPU too: seed its random numbers (torch.manual_seed), and they can be compared."
            )
        if not self.agrees and self.draws:
            return (
                "Not proven: the port runs on the virtual chip, and gave other numbers than the "
                "CPU, as it may: it draws random ones there. Without dropout and noise they can be "
                "compared."
            )
        if not self.agrees:
            return "Not proven: the chip gave other numbers than the CPU."
        if not self.cpu_succeeded:
            late = self.cpu is not None and self.cpu.exit_code is None
            why = "on the CPU its time was over" if late else "it does not on the CPU"
            return f"The port runs on the virtual chip; {why}: there was nothing to compare."
        if not self.compared:
            return (
                "The port runs on the virtual chip; there was nothing to compare: let it print "
                "`loss 1.23`, or write a file of tensors."
            )
        return "Proven: the port runs on the virtual chip and gives what the CPU gives."

    @property
    def _why_not(self) -> str:
        """The verdict on a program that did not succeed on the chip."""
        if self.chip.exit_code is None:
            return "Not proven: its time was over on the virtual chip: --limit gives it more."
        said = self.chip.last_words
        if self.cpu is not None and said and said == self.cpu.last_words:
            return "Not proven: the program fails on the CPU as on the virtual chip, with the same error."
        return "Not proven: the port does not run on the virtual chip."
