"""What the page says of a proof: figures in words, places as links to findings."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

from markupsafe import Markup

from cordee.core.pages.numbers import count_text, plural
from cordee.port.finding import Finding
from cordee.port.prove.losses import LossComparison
from cordee.port.prove.proof import Proof, Run
from cordee.port.report.curves import curves

NAMES = {"chip": "on the virtual chip", "cpu": "on the CPU"}
SUPPORT = {
    "host": "runs on the host",
    "missing": "has no kernel",
    "not emulated": "is not emulated here",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one run ended."""

    where: str
    ended: str
    seconds: str
    last_words: str
    good: bool


@dataclass(frozen=True, slots=True)
class Series:
    """One series of losses, drawn."""

    name: str
    values: int
    chip: str  # the last
    cpu: str
    difference: str
    good: bool
    drawing: Markup


@dataclass(frozen=True, slots=True)
class Evidence:
    """A proof, ready to be shown."""

    proof: Proof
    tone: str
    outcomes: tuple[Outcome, ...]
    series: tuple[Series, ...]
    tolerance: str

    @property
    def tensors(self) -> int:
        """How many were compared."""
        return sum(file.tensors for file in self.proof.tensors)

    @property
    def largest(self) -> str:
        """The largest difference of anything that was compared."""
        found = [loss.difference for loss in self.proof.losses]
        found += [file.difference for file in self.proof.tensors]
        return difference_text(max(found)) if found else ""


def evidence(proof: Proof | None) -> Evidence | None:
    """What there is to show."""
    if proof is None:
        return None
    tone = "bad" if not proof.holds else "ok" if proof.compared else "todo"
    runs = [run for run in (proof.chip, proof.cpu) if run is not None]
    return Evidence(
        proof=proof,
        tone=tone,
        outcomes=tuple(_outcome(run) for run in runs),
        series=tuple(_series(loss, proof.tolerance) for loss in proof.losses),
        tolerance=difference_text(proof.tolerance),
    )


def difference_text(share: float) -> str:
    """A relative difference, as a share that one can read."""
    if math.isinf(share) or math.isnan(share):
        return "beyond compare"
    if share == 0:
        return "none"
    percent = share * 100
    if percent >= 0.01:
        return f"{percent:.2g} %"
    digits, power = f"{percent:.1e}".split("e")
    return f"{digits}·10{_raised(int(power))} %"


def address(finding: Finding) -> str:
    """The part of the page's address that opens a finding."""
    return f"#path={quote(finding.path, errors='replace')}&at={finding.line}:{finding.column}"


def support_text(support: str) -> str:
    """What a real chip would do with an operator."""
    return SUPPORT.get(support, support)


def calls_text(calls: int) -> str:
    """How often something was called."""
    return plural(calls, "call")


def _outcome(run: Run) -> Outcome:
    seconds = f"{run.seconds:.1f} s" if run.seconds < 100 else f"{count_text(round(run.seconds))} s"
    return Outcome(NAMES[run.where], run.ended, seconds, run.last_words, run.succeeded)


def _series(loss: LossComparison, tolerance: float) -> Series:
    chip, cpu = (next(_last(side), "none") for side in (loss.chip, loss.cpu))
    good = loss.difference <= tolerance
    values, shown = len(loss.chip), difference_text(loss.difference)
    if len(loss.chip) != len(loss.cpu):
        shown = f"{len(loss.chip)} values on the chip, {len(loss.cpu)} on the CPU"
    return Series(loss.name, values, chip, cpu, shown, good, curves(loss))


def _last(values: tuple[float, ...]) -> Iterator[str]:
    yield from (f"{value:.6g}" for value in values[-1:])


def _raised(power: int) -> str:
    return str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
