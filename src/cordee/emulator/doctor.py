"""Says whether the virtual chip can run on this computer, and what to do where it cannot."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from cordee.emulator.host import Host

State = Literal["ok", "warning", "problem"]

# torch and torch-npu are built for each other; the emulator is made for this pair.
PAIR = "2.13"

PYTHON = (3, 11)
ARCHITECTURES = ("x86_64", "aarch64")  # what torch-npu is published for

# Below these a small model already has no room: one chip's share, and the links between chips.
MEMORY_BYTES = 4 * 10**9
SHARED_MEMORY_BYTES = 10**9

INSTALL = "pip install 'cordee[emulator]'"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    state: State
    found: str
    advice: str = ""


def examine(host: Host) -> Iterator[Finding]:
    """Everything the virtual chip depends on, in the order one would mend it."""
    yield _python(host)
    yield _system(host)
    yield _compiler(host, "C compiler", "cc", "gcc", "clang")
    yield _compiler(host, "C++ compiler", "c++", "g++", "clang++")
    yield from pair(host)
    yield _autoload(host)
    yield _runtime(host)
    yield _memory(host)
    yield _shared_memory(host)
    yield _cann(host)
    yield _chips(host)


def pair(host: Host) -> Iterator[Finding]:
    """Whether torch and torch_npu are there and go together."""
    yield _torch(host)
    yield _torch_npu(host)


def _python(host: Host) -> Finding:
    found = ".".join(map(str, host.python))
    if host.python[:2] < PYTHON:
        return Finding("Python", "problem", found, "install Python 3.11")
    return Finding("Python", "ok", found)


def _system(host: Host) -> Finding:
    found = f"{host.system} {host.architecture}"
    if host.system != "Linux":
        return Finding("system", "problem", found, "torch-npu runs on Linux only: use a container")
    if host.architecture not in ARCHITECTURES:
        advice = f"torch-npu is published for {' and '.join(ARCHITECTURES)} only"
        return Finding("system", "problem", found, advice)
    return Finding("system", "ok", found)


def _compiler(host: Host, subject: str, *names: str) -> Finding:
    found = host.command(*names)
    if found:
        return Finding(subject, "ok", found)
    if host.runtime:
        return Finding(subject, "ok", "none, and none is needed: the runtime is compiled")
    return Finding(subject, "problem", "none", "install one, for example: apt-get install g++")


def _torch(host: Host) -> Finding:
    version = host.version("torch")
    if version is None:
        return Finding("torch", "problem", "not installed", INSTALL)
    if not _is_of_pair(version):
        advice = f"the virtual chip is made for {PAIR}: {INSTALL}"
        return Finding("torch", "problem", version, advice)
    if host.needs_cuda("torch"):
        advice = "works; a CPU build takes far less disk: pip install torch==2.13.0+cpu"
        return Finding("torch", "warning", f"{version}, built for CUDA", advice)
    return Finding("torch", "ok", f"{version}, built for CPU")


def _torch_npu(host: Host) -> Finding:
    version, torch = host.version("torch-npu"), host.version("torch")
    if version is None:
        return Finding("torch_npu", "problem", "not installed", INSTALL)
    if not _is_of_pair(version):
        advice = f"the virtual chip is made for {PAIR}: {INSTALL}"
        return Finding("torch_npu", "problem", version, advice)
    if torch and not _is_of_pair(torch):
        found = f"{version} does not go with torch {torch}"
        return Finding("torch_npu", "problem", found, f"install both as {PAIR}: {INSTALL}")
    return Finding("torch_npu", "ok", f"{version}, goes with torch {torch or PAIR}")


def _autoload(host: Host) -> Finding:
    subject = "import torch"
    loads = host.environment.get("TORCH_DEVICE_BACKEND_AUTOLOAD") != "0"
    if not host.autoloads("torch-npu") or not loads:
        return Finding(subject, "ok", "loads no adapter by itself")
    if host.cann():
        return Finding(subject, "ok", "loads torch_npu, which finds CANN")
    return Finding(
        subject,
        "warning",
        "fails outside `cordee run`: torch_npu loads by itself and there is no CANN",
        "there, set TORCH_DEVICE_BACKEND_AUTOLOAD=0",
    )


def _runtime(host: Host) -> Finding:
    if host.runtime:
        return Finding("runtime", "ok", f"compiled, in {host.runtime}")
    return Finding("runtime", "ok", "not compiled yet: the first `cordee run` does it, once")


def _memory(host: Host) -> Finding:
    free_bytes = host.free_memory_bytes()
    if free_bytes is None:
        return Finding("memory", "warning", "unknown", "is /proc mounted?")
    found = f"{_gigabytes(free_bytes)} free"
    if free_bytes < MEMORY_BYTES:
        advice = "what a model keeps on a virtual chip is kept in this memory: end other programs"
        return Finding("memory", "warning", found, advice)
    return Finding("memory", "ok", found)


def _shared_memory(host: Host) -> Finding:
    free_bytes = host.free_shared_memory_bytes()
    if free_bytes is None:
        return Finding("/dev/shm", "problem", "none", "mount it: PyTorch's data loaders need it")
    found = f"{_gigabytes(free_bytes)} free"
    if free_bytes < SHARED_MEMORY_BYTES:
        advice = "in a container: docker run --shm-size=4g"
        return Finding("/dev/shm", "warning", found, advice)
    return Finding("/dev/shm", "ok", found)


def _cann(host: Host) -> Finding:
    place = host.cann()
    return Finding("CANN", "ok", str(place) if place else "none; a virtual chip needs none")


def _chips(host: Host) -> Finding:
    chips, tool = host.chips(), host.command("npu-smi")
    if not chips and not tool:
        return Finding("real chips", "ok", "none; a virtual chip needs none")
    if not host.cann():
        found = ", ".join(chips) or str(tool)
        return Finding("real chips", "warning", found, "install CANN to use them")
    return Finding("real chips", "ok", ", ".join(chips) or f"{tool}, but no device file")


def _is_of_pair(version: str) -> bool:
    return version.startswith(f"{PAIR}.")


def _gigabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB"
