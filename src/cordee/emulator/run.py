"""Runs a command, and every Python process it starts, on a virtual Ascend machine."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cordee.core.errors import UsageError
from cordee.emulator import build, machine
from cordee.emulator.doctor import pair
from cordee.emulator.faults.memory import Memory
from cordee.emulator.faults.schedule import read
from cordee.emulator.faults.striking import entries
from cordee.emulator.faults.watch import watching
from cordee.emulator.faults.words import lines
from cordee.emulator.host import Host
from cordee.emulator.recording import Ended, Wanted, record
from cordee.hw import chip

STARTUP = Path(__file__).parent / "startup"
PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What `cordee run` was asked for."""

    command: Sequence[str]
    """The program and its arguments."""
    chip: str = "Ascend910B3"
    """Name of the chip in the catalogue."""
    chips: int = 1
    """How many chips the virtual machine has."""
    from_cuda: bool = False
    """Whether the program is written for CUDA and is to be carried over as it runs."""
    virtual: bool = False
    """Whether to stay virtual on a machine that has real chips."""
    wanted: Wanted = field(default_factory=Wanted)
    """What the run is to leave behind."""
    faults: Path | None = None
    """A schedule of faults."""

    def __post_init__(self) -> None:
        if not self.command:
            raise UsageError("nothing to run: cordee run [OPTIONS] -- COMMAND [ARGUMENTS]")


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
        if request.wanted or request.faults:
            raise UsageError("--trace, --report and --faults are of virtual chips: add --virtual")
        return Ended(_supervise(command, _real(environment, request)))
    schedule = read(request.faults) if request.faults else []
    _require_pair(Host.here())
    libraries = build.libraries()
    with machine.create(chip(request.chip), request.chips) as virtual:
        prepared = _virtual(environment, request, libraries, virtual.path)
        with Memory.open(virtual.path) as memory, watching(memory, schedule):
            ended = record(
                request.wanted,
                request.command,
                lambda more: _supervise(command, {**prepared, **more}),
            )
            return replace(ended, left=(*ended.left, *lines(entries(memory))))


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
    child = subprocess.Popen(command, env=environment, preexec_fn=_die_with_parent)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda sent, _: child.send_signal(sent))
    while True:
        try:
            code = child.wait()
        except KeyboardInterrupt:
            continue  # the terminal has told the child too; its end is ours
        return code if code >= 0 else 128 - code


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
