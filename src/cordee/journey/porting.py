"""The first chapter: what ties the program to NVIDIA, its port, and the proof of the port on a virtual chip."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cordee.journey.commands import Desk

PROOF_STEPS = 5


KERNELS = {
    "native": "has a kernel",
    "stand-in": "has a kernel, of another name",
    "collective": "chips talk to each other",
}
BECOMES = KERNELS | {
    "host": "runs on the host",
    "missing": "has no kernel",
    "not emulated": "is not emulated here",
}
"""Of what docs/trace.md says of an operator's support, in words."""


@dataclass(frozen=True, slots=True)
class Ran:
    """An operator that ran on the virtual chip."""

    operator: str
    support: str
    calls: int

    @property
    def native(self) -> bool:
        """Whether a real chip does it itself."""
        return self.support in KERNELS

    @property
    def becomes(self) -> str:
        """What becomes of it on a real chip."""
        return BECOMES.get(self.support, self.support)


@dataclass(frozen=True, slots=True)
class Ported:
    """What was found, what was changed, and how far the chip's losses are off the CPU's."""

    lines: int
    ties: int
    rewritten: int
    run_as_they_are: int
    hours_low: float
    hours_high: float
    patch: str
    report: str
    verdict: str
    holds: bool
    ran: tuple[Ran, ...]
    """Most calls first."""
    on_chip: tuple[float, ...]
    on_cpu: tuple[float, ...]
    difference: float

    @property
    def calls(self) -> int:
        """Of all operators on the chip."""
        return sum(one.calls for one in self.ran)

    @property
    def native(self) -> int:
        """Operators that a real chip has kernels for."""
        return sum(one.native for one in self.ran)

    @property
    def left(self) -> int:
        """Ties that a person has to look at."""
        return self.ties - self.rewritten - self.run_as_they_are


def port(desk: Desk, program: Path, target: Path) -> Ported:
    """Port the folder `program` to `target`, and run it there on a virtual chip and on the CPU."""
    if (target / "cordee-port.patch").exists():
        shutil.rmtree(target)  # that of the run before
    command = f"python train.py --steps {PROOF_STEPS} --dtype float32"
    arguments = ["port", str(program), "-o", str(target), "--json", "--prove", command]
    made: dict[str, Any] = json.loads(desk.run("port", arguments))
    total, proof = made["summary"]["total"], made["proof"]
    loss = proof["losses"][0]
    ported = Ported(
        lines=made["summary"]["lines"],
        ties=total["findings"],
        rewritten=total["fixed"],
        run_as_they_are=total["runs"],
        hours_low=total["hours"][0],
        hours_high=total["hours"][1],
        patch=Path(made["patch"]).read_text("utf-8"),
        report=made["report"],
        verdict=proof["verdict"],
        holds=proof["holds"],
        ran=tuple(Ran(**one) for one in proof["ran"]),
        on_chip=tuple(loss["chip"]),
        on_cpu=tuple(loss["cpu"]),
        difference=loss["difference"],
    )
    desk.say(f"{ported.ties} ties to NVIDIA, {ported.rewritten} rewritten, {ported.left} left")
    desk.say(ported.verdict)
    return ported
