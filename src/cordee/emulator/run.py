"""Runs a command, and every Python process it starts, on a virtual Ascend machine."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from cordee.core.errors import UsageError
from cordee.core.programs import end_with_parent
from cordee.emulator import build, faults, machine
from cordee.emulator.doctor import pair
from cordee.emulator.faults.memory import Memory
from cordee.emulator.faults.schedule import read
from cordee.emulator.faults.watch import watching
from cordee.emulator.faults.words import lines
from cordee.emulator.host import Host
from cordee.emulator.recording import Ended, Wanted, record
from cordee.hw import Chip, Topology, chip, topology

USUAL_CHIP = "Ascend910B3"
STARTUP = Path(__file__).parent / "startup"


# C10_COMPILE_TIME_MAX_NPUS in torch_npu/csrc/core/npu/NPUMacros.h; more fail in an assertion.
MOST_ON_A_NODE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What `cordee run` was asked for."""

    command: Sequence[str]
    """The program and its arguments."""
    chip: str | None = None
    """Name of the chip in the catalogue; the usual one, or one that fits the topology, if None."""
    chips: int = 1
    """How many chips the virtual machine has."""
    nodes: int = 1
    """Over how many hosts they are spread, as many on each."""
    topology: str | None = None
    """Name or file of how the chips are linked."""
    pace: float = 0.0
    """Seconds of ours for a second of its links; 0 lets them be as fast as the host."""
    join: str | None = None
    """Path of a machine that runs already, instead of one made for the command."""
    node: int | None = None
    """The host whose chips alone the command sees."""
    from_cuda: bool = False
    """Whether the program is written for CUDA and is to be carried over as it runs."""
    virtual: bool = False
    """Whether to stay virtual on a machine that has real chips."""
    shapes: bool = False
    """Whether products are left out: their results have the right shape, and are zeros."""
    wanted: Wanted = field(default_factory=Wanted)
    """What the run is to leave behind."""
    faults: Path | None = None
    """A schedule of faults."""

    def __post_init__(self) -> None:
        if not self.command:
            raise UsageError("nothing to run: cordee run [OPTIONS] -- COMMAND [ARGUMENTS]")
        if self.chips > MOST_ON_A_NODE * self.nodes:
            raise UsageError(
                f"--chips {self.chips}: torch_npu takes {MOST_ON_A_NODE} chips in a process, so spread "
                "them with --nodes, and put each process on its node with CORDEE_NODE"
            )
        if self.join and self.makes:
            raise UsageError(
                f"{', '.join(self.makes)}: --join takes a machine as it is, and makes none"
            )

        if self.shapes and self.wanted.compare:
            raise UsageError("--shapes leaves out what --compare compares: give one of them")

    @property
    def makes(self) -> list[str]:
        """The options that say what machine to make."""
        asked = {
            "--chip": self.chip is not None,
            "--chips": self.chips != 1,
            "--nodes": self.nodes != 1,
            "--topology": self.topology is not None,
            "--pace": bool(self.pace),
            "--faults": self.faults is not None,
        }
        return [option for option, is_asked in asked.items() if is_asked]


def run(request: Request) -> Ended:
    """Run the command to its end.

    Raises `UsageError` where the command or the chip does not exist, or torch and torch_npu do not
    go together; `CordeeError` where the runtime cannot be built.
    """
    environment = dict(os.environ)
    # The program is to find the Python that cordee is installed in, called from its venv or not.
    environment["PATH"] = os.pathsep.join(
        [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    )
    command = [_program(request.command[0], environment), *request.command[1:]]
    if _has_real_chips() and not request.virtual:
        _check_real(request)
        return Ended(_supervise(command, _real(environment, request)))
    schedule = read(request.faults) if request.faults else []
    _require_pair(Host.here())
    libraries = build.libraries()
    with _machine(request, schedule) as path:
        prepared = _virtual(environment, request, libraries, path)
        ended = record(
            request.wanted,
            request.command,
            path,
            lambda more: _supervise(command, {**prepared, **more}),
        )
        struck = [] if request.join else lines(faults.entries(path))
        return replace(ended, left=(*ended.left, *struck))


@contextmanager
def _machine(request: Request, schedule: Sequence[faults.Fault]) -> Iterator[str]:
    """Path of the machine to run on."""
    if request.join:
        _check_node(request, machine.read(request.join).nodes)
        yield request.join
        return
    linked = topology(request.topology) if request.topology else None
    _check_node(request, request.nodes)
    with (
        machine.create(
            _chip(request, linked),
            request.chips,
            nodes=request.nodes,
            topology=linked,
            pace=request.pace,
        ) as made,
        Memory.open(made.path) as memory,
        watching(memory, schedule),
    ):
        yield made.path


def _chip(request: Request, linked: Topology | None) -> Chip:
    if request.chip:
        return chip(request.chip)
    return chip(USUAL_CHIP if linked is None or linked.fits(USUAL_CHIP) else linked.chips[0])


def _check_node(request: Request, nodes: int) -> None:
    if request.node is not None and not 0 <= request.node < nodes:
        raise UsageError(f"--node {request.node}: the machine has nodes 0 to {nodes - 1}")


def _check_real(request: Request) -> None:
    of_virtual = {
        "--trace, --report and --perfetto": bool(request.wanted),
        "--nodes": request.nodes != 1,
        "--topology": request.topology is not None,
        "--pace": bool(request.pace),
        "--join": request.join is not None,
        "--node": request.node is not None,
        "--faults": request.faults is not None,
        "--shapes": request.shapes,
    }
    if asked := [option for option, is_asked in of_virtual.items() if is_asked]:
        raise UsageError(f"{', '.join(asked)}: only of virtual chips: add --virtual")


def _program(name: str, environment: Mapping[str, str]) -> str:
    found = shutil.which(name, path=environment["PATH"])
    if found is None:
        raise UsageError(
            f"{name}: no such command; what follows -- must be a program that can be run"
        )
    return found


def _require_pair(host: Host) -> None:
    for finding in pair(host):
        if finding.state == "problem":
            raise UsageError(f"{finding.subject}: {finding.found}; {finding.advice}")


def _has_real_chips() -> bool:
    return any(Path("/dev").glob("davinci[0-9]*"))


def _real(environment: dict[str, str], request: Request) -> dict[str, str]:
    # For programs that import torch_npu before torch: see startup/sitecustomize.py.
    environment["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(STARTUP), environment.get("PYTHONPATH")])
    )
    if request.from_cuda:
        environment["CORDEE_FROM_CUDA"] = "1"
    return environment


def _virtual(
    environment: dict[str, str], request: Request, libraries: Path, machine_path: str
) -> dict[str, str]:
    environment["CORDEE_MACHINE"] = machine_path
    if request.node is not None:
        environment["CORDEE_NODE"] = str(request.node)
    if request.shapes:
        environment["CORDEE_SHAPES"] = "1"  # see ops/undone.py
    environment["CORDEE_LIBRARIES"] = str(libraries)
    environment["LD_LIBRARY_PATH"] = os.pathsep.join(
        filter(None, [str(libraries), environment.get("LD_LIBRARY_PATH")])
    )
    # The adapter asks whether these folders exist, and complains where they are not named.
    environment["ASCEND_HOME_PATH"] = str(libraries.parent)
    environment["ASCEND_OPP_PATH"] = str(libraries.parent / "opp")
    environment["TORCH_DEVICE_BACKEND_AUTOLOAD"] = "1"  # how the program's processes find us
    # The adapter's own launch queue hides time that a chip takes; here a launch is a call, and the
    # queue would only cost a thread switch per copy.
    environment.setdefault("TASK_QUEUE_ENABLE", "0")
    return _real(environment, request)


def _supervise(command: list[str], environment: Mapping[str, str]) -> int:
    child = subprocess.Popen(command, env=environment, preexec_fn=end_with_parent)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda sent, _: child.send_signal(sent))
    while True:
        try:
            code = child.wait()
        except KeyboardInterrupt:
            continue  # the terminal has told the child too; its end is ours
        return code if code >= 0 else 128 - code
