"""How a rule is declared, and what it says about what it found."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from cordee.port.finding import Confidence, Effort, Fix, Meaning
from cordee.port.python.file import Span
from cordee.port.setting import Setting
from cordee.port.source import Source

N = TypeVar("N")
D = TypeVar("D")
Check = Callable[[N, D], Iterator["Match"]]


@dataclass(frozen=True, slots=True)
class Part:
    """Text of another kind inside a file: a notebook's cell, the shell lines of a Dockerfile.

    `offsets[i]` is where character i of the part stands in the file, with one more for its end;
    `escaped` writes new text as the file has to hold it.
    """

    document: "Document"
    offsets: tuple[int, ...]
    escaped: Callable[[str], str] = str


class Document(Protocol):
    """A file as its kind's parser sees it."""

    kind: str  # python, notebook, shell, dockerfile ...
    source: Source
    setting: Setting

    def nodes(self) -> Iterator[object]:
        """What rules look at, in the order of the text."""

    def parts(self) -> Iterator[Part]:
        """What is to be judged as text of another kind."""


@dataclass(frozen=True, slots=True)
class Match:
    """What a rule saw. What it leaves out, the rule's own words say."""

    span: Span
    says: str
    fix: Fix | None = None
    advice: str = ""
    meaning: Meaning | None = None
    effort: Effort | None = None
    confidence: Confidence = Confidence.CERTAIN
    source: str = ""
    also: tuple[Span, ...] = ()  # where else the same is said of
    opens: tuple[Span, ...] = ()  # code that runs on an NPU only once the fix is made


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing to look for. `code` is never used for anything else again."""

    code: str
    title: str  # what is found, not the cure
    nodes: tuple[type, ...]
    check: Check[Any, Any]
    meaning: Meaning
    effort: Effort
    advice: str
    source: str
    family: str
    last: bool = False  # only heard where no other rule speaks of the same line
    shared: bool = False  # what it advises is the way over, and is found once for a repository
    each: bool = False  # every place is work of its own, though the same is said of it


@dataclass(frozen=True, slots=True)
class Family:
    """The rules of one module, in the order they are declared.

    `hints` are lower-case words of which a file holds at least one where any of them applies.
    """

    name: str
    title: str
    hints: tuple[str, ...]
    rules: list[Rule] = field(default_factory=list)
    skips: tuple[str, ...] = ()  # kinds of files in which it finds nothing
    last: bool = False  # its rules are only heard where no other speaks of the same line
    shared: bool = False  # its rules advise the way over of a library or package
    each: frozenset[int] = frozenset()  # its rules of which every place is work of its own

    def rule(
        self,
        number: int,
        title: str,
        *nodes: type,
        meaning: Meaning = Meaning.RENAMED,
        effort: Effort = Effort.S,
        advice: str = "",
        source: str = "",
    ) -> Callable[[Check[N, D]], Check[N, D]]:
        """Declare the function as the rule NV<number>, asked about every node of these types."""

        def register(check: Check[N, D]) -> Check[N, D]:
            code = f"NV{number:03}"
            self.rules.append(
                Rule(
                    code=code,
                    title=title,
                    nodes=nodes,
                    check=check,
                    meaning=meaning,
                    effort=effort,
                    advice=advice,
                    source=source,
                    family=self.name,
                    last=self.last,
                    shared=self.shared,
                    each=number in self.each,
                )
            )
            return check

        return register
