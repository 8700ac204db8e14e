"""vLLM's command line: where it is found on this machine, and what it is told."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from cordee.core.errors import UsageError
from cordee.core.facts import Fact, rows

MODULE = "vllm.entrypoints.openai.api_server"
"""Its server as a program. The command `vllm` of the CPU's package does not know its own version, and ends."""
PLUGIN = "cordee.serve.vllm.processor:Positional"
READY_S = 600.0
"""It compiles before it is ready: minutes."""


@dataclass(frozen=True, slots=True)
class Device(Fact):
    """A row of devices.toml."""

    device: str
    packages: str
    visible: str = ""
    """The variable that says which chips a process may use."""


DEVICES = {row.device: row for row in rows(resources.files(__package__) / "devices.toml", Device)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One vLLM that is to run."""

    program: tuple[str, ...]
    """How vLLM is called: what comes before the model."""
    model: str
    name: str
    port: int
    device: str
    chips: tuple[int, ...] = ()
    threads: int = 1
    arguments: tuple[str, ...] = ()
    plugin: str = ""
    """The folder from which it loads our plug-in; empty: it has none."""

    def command(self) -> tuple[str, ...]:
        """The whole command line; what `arguments` say goes before what is said here."""
        made = ["--host", "127.0.0.1", "--port", str(self.port), "--served-model-name", self.name]
        if len(self.chips) > 1 and not _told(self.arguments, "--tensor-parallel-size", "-tp"):
            made += ["--tensor-parallel-size", str(len(self.chips))]
        if not _told(self.arguments, "--disable-uvicorn-access-log"):
            made.append("--disable-uvicorn-access-log")  # else every question for its health
        if self.plugin and not _told(self.arguments, "--logits-processors"):
            made += ["--logits-processors", PLUGIN]
        model = (self.model,) if self.program[-1] == "serve" else ("--model", self.model)
        return (*self.program, *model, *made, *self.arguments)

    def environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """Variables for its process; what the user has `given` of vLLM's own stays."""
        made = {"PYTHONUNBUFFERED": "1"}
        if self.chips:
            made[DEVICES[self.device].visible] = ",".join(map(str, self.chips))
        if self.device == "cpu":
            # It would bind its threads to all cores, in every replica to the same ones.
            made["OMP_NUM_THREADS"] = str(self.threads)
            made["VLLM_CPU_OMP_THREADS_BIND"] = given.get("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        if self.plugin:
            made["PYTHONPATH"] = os.pathsep.join(
                filter(None, (self.plugin, given.get("PYTHONPATH")))
            )
            made["VLLM_USE_V2_MODEL_RUNNER"] = "0"  # the plug-in is written for the first one
        return made


def program(where: str, device: str, python: str, command: Sequence[str]) -> tuple[str, ...]:
    """How vLLM is called here: as `where` says, else as it is installed. Raises `UsageError`."""
    if command:
        if shutil.which(command[0]) is None:
            raise UsageError(f"{where}: command: there is no program {command[0]}")
        return tuple(command)
    if python:
        found = shutil.which(os.path.expanduser(python))
        if found is None:
            raise UsageError(f"{where}: python: there is no program {python}")
        if not any(Path(found).parent.parent.glob("lib*/python3*/*-packages/vllm/__init__.py")):
            raise UsageError(f"{where}: python: {_lacks(python, device)}")
        return (found, "-m", MODULE)
    script = shutil.which("vllm")
    if script is not None:
        beside = Path(script).with_name("python")
        return (str(beside), "-m", MODULE) if beside.exists() else (script, "serve")
    if importlib.util.find_spec("vllm") is not None:
        return (sys.executable, "-m", MODULE)
    raise UsageError(
        f"{where}: vLLM is not installed here: `pip install {DEVICES[device].packages}`; or name "
        'the Python of the environment that has it: python = "/path/to/bin/python"'
    )


def _lacks(python: str, device: str) -> str:
    packages = DEVICES[device].packages
    return f"its environment has no vLLM: `{python} -m pip install {packages}`"


def _told(arguments: Sequence[str], *names: str) -> bool:
    return any(argument.split("=")[0] in names for argument in arguments)
