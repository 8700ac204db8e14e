"""One repository, ported, and held against what a port promises."""

import json
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from judged_lines import NONE, TIE, Judge
from named_lines import Named, named_lines, tracked

from cordee.port.finding import Finding, Meaning
from cordee.port.formats import of_port
from cordee.port.porting import Ported, Request, Where, port
from cordee.port.repository import OWN
from cordee.port.rewriting import Left
from cordee.port.survey import Options

PART = re.compile(r"\w*(?:cuda|nccl|nvidia|cudnn)\w*", re.IGNORECASE)
LARGEST_BYTES = 50_000_000
OPTIONS = Options(use_baseline=False, jobs=2, largest_bytes=LARGEST_BYTES)


@dataclass(frozen=True)
class Outcome:
    """What a port of one repository comes to."""

    name: str
    ported: Ported
    named: list[Named]  # by the independent search
    unsaid: dict[Named, str]  # those of which no finding speaks, and the verdict
    altered: list[str]  # files that had no tie, and yet differ
    broken: list[str]  # files that changed, and no longer compile
    again: int  # files that a second port changes
    mistakes: list[str]  # of a rule: what it raised

    @property
    def findings(self) -> list[Finding]:
        """All ties found."""
        return list(self.ported.assessment.findings)

    @property
    def unexplained(self) -> list[Left]:
        """Ties left without a word on why, or what to do; what runs as it is needs none."""
        return [
            left
            for left in self.ported.left
            if not (left.why or left.finding.advice or left.finding.meaning is Meaning.RUNS)
        ]

    @property
    def missed(self) -> list[Named]:
        """Ties that were missed."""
        return [named for named, verdict in self.unsaid.items() if verdict == TIE]

    @property
    def unjudged(self) -> list[Named]:
        """Lines of which nobody has said what they are."""
        return [n for n, verdict in self.unsaid.items() if verdict not in (TIE, NONE)]

    @property
    def said(self) -> int:
        """Lines that name NVIDIA and are in a finding."""
        return len(self.named) - len(self.unsaid)


def outcome(name: str, root: Path, out: Path) -> Outcome:
    """Port the repository at `root` to `out`, twice, and compare."""
    ported = port(Request(path=root, where=Where.OUT, out=out, options=OPTIONS), of_port)
    second = port(Request(path=out, where=Where.NOWHERE, options=OPTIONS), of_port)
    named = list(named_lines(root))
    judge = Judge(name, root)
    said = Said(ported.assessment.findings)
    unsaid = {each: judge.verdict(each) for each in named if not said.of(each)}
    changed = {file.path for file in ported.changed}
    return Outcome(
        name=name,
        ported=ported,
        named=named,
        unsaid=unsaid,
        altered=sorted(_altered(root, out, changed)),
        broken=[path for path in sorted(changed) if not compiles(out / path)],
        again=len(second.changed) + len(second.new),
        mistakes=[p.problem for p in ported.assessment.problems if "mistake" in p.problem],
    )


class Said:
    """What the findings speak of."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self._lines: set[tuple[str, int]] = set()
        self._files: set[str] = set()
        for finding in findings:
            lines = [*range(finding.line, finding.end_line + 1), *finding.also]
            self._lines.update((finding.path, line) for line in lines)
            self._files.add(finding.path)

    def of(self, named: Named) -> bool:
        """Whether one is about this line.

        In CUDA C++ one finding speaks of the file.
        """
        if named.kind == "cuda":
            return named.path in self._files
        return (named.path, named.line) in self._lines


def _altered(root: Path, out: Path, changed: set[str]) -> Iterator[str]:
    for path in tracked(root):
        before, after = root / path, out / path
        if path in changed or path in OWN or not before.is_file() or before.is_symlink():
            continue
        if not after.is_file() or before.read_bytes() != after.read_bytes():
            yield path


def compiles(path: Path) -> bool:
    """Whether a file is still what its name says, as far as Python can tell."""
    try:
        if path.suffix == ".py":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what Python only warns of was there before
                compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
        elif path.suffix in (".ipynb", ".json"):
            json.loads(path.read_text("utf-8"))
    except (SyntaxError, ValueError):
        return False
    return True
