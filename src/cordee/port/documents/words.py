"""What rules see of a shell script: commands, their words, and what is assigned; with places."""

from dataclasses import dataclass, field
from pathlib import PurePosixPath

from cordee.port.python.file import Span

# Commands that run the command behind them, and those of their options that take a word more.
WRAPPERS: dict[str, frozenset[str]] = {
    "env": frozenset({"-u", "-C"}),
    "sudo": frozenset({"-u", "-g"}),
    "exec": frozenset({"-a"}),
    "nohup": frozenset(),
    "time": frozenset({"-o", "-f"}),
    "timeout": frozenset({"-s", "-k"}),
    "nice": frozenset({"-n"}),
    "command": frozenset(),
    "eval": frozenset(),
    "numactl": frozenset({"-N", "-m", "-C"}),
    "srun": frozenset({"-n", "-N", "-p", "-w", "-c", "-t", "-J", "-o", "-e", "-A", "-G"}),
    "mpirun": frozenset({"-n", "-np", "-x", "-H", "-hostfile"}),
    "mpiexec": frozenset({"-n", "-np", "-x", "-H", "-hostfile"}),
    "xvfb-run": frozenset({"-s"}),
}


@dataclass(frozen=True, slots=True)
class Word:
    """One word. `value` is what its quotes hold, with variables as they are written."""

    span: Span
    text: str
    value: str
    literal: bool = True  # whether the shell computes nothing in it

    def within(self, part: str) -> Span | None:
        """Where `part` of its value is written, if that is one place."""
        if self.text.count(part) != 1:
            return None
        start = self.span.start + self.text.index(part)
        return Span(start, start + len(part))


@dataclass(frozen=True, slots=True)
class Assignment:
    """`NAME=value`: on a line of its own, before a command, or behind `export`."""

    name: str
    value: Word
    span: Span
    exported: bool = True  # whether commands that follow see it
    nearby: str = ""  # the text in which the same may be said for Ascend
    another: str = " {name}={value}"  # how one more is written behind it; "" where it cannot be

    def more(self, name: str, value: str) -> str:
        """Another assignment, to stand behind this one."""
        return self.another.replace("{name}", name).replace("{value}", value)


@dataclass(frozen=True, slots=True)
class Command:
    """One simple command: its words without what is assigned before, and its redirections."""

    words: tuple[Word, ...]
    span: Span
    assignments: tuple[Assignment, ...] = ()

    @property
    def at(self) -> int:
        """Which of its words names the program that runs, behind those that only start it."""
        at = 0
        while at < len(self.words) - 1:
            takes = WRAPPERS.get(PurePosixPath(self.words[at].value).name)
            if takes is None:
                break
            at += 1
            while at < len(self.words) - 1 and _passed(self.words[at].value):
                at += 2 if self.words[at].value in takes else 1
        return at

    @property
    def program(self) -> str:
        """The name of the program that runs, without its folders."""
        return PurePosixPath(self.words[self.at].value).name if self.words else ""

    @property
    def arguments(self) -> tuple[Word, ...]:
        """The words behind the program's name."""
        return self.words[self.at + 1 :]

    def option(self, *names: str) -> Word | None:
        """The word that holds an option's value, be it written `--name value` or `--name=value`."""
        for word, after in zip(self.words, (*self.words[1:], None), strict=False):
            name, sign, _ = word.value.partition("=")
            if name in names:
                return word if sign else after
        return None


@dataclass(frozen=True, slots=True)
class Directive:
    """A comment that a batch system reads: `#SBATCH --gres=gpu:8`."""

    words: tuple[Word, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Mention:
    """Words of NVIDIA's on one line, outside of comments."""

    text: str  # the line
    word: str
    span: Span


@dataclass(slots=True)
class Script:
    """What was read of one stretch of shell."""

    nodes: list[Command | Assignment | Directive] = field(default_factory=list)
    python: list[Span] = field(default_factory=list)  # here-documents that Python reads
    quiet: list[Span] = field(default_factory=list)  # comments and other texts without a meaning


def _passed(word: str) -> bool:
    """Whether a word behind `env`, `srun` ... is not yet the program."""
    name = word.partition("=")[0]
    return word.startswith("-") or ("=" in word and name.isidentifier()) or word[:1].isdigit()
