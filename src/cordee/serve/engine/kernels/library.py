"""Compiles the kernels once per processor and compiler into a cache, and declares their functions."""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cordee.core.errors import CordeeError

# Where a product and a sum are rounded once, the source says so: the same in every tile.
FLAGS = (
    "-std=gnu11",
    "-O3",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fopenmp",
    "-shared",
    "-fPIC",
)

SPINS = 3000
"""How often a thread looks before it sleeps."""
_P, _I32, _I64, _F32 = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64, ctypes.c_float
_WEIGHTS = "data:p scales:p bias:p outputs:l inputs:l kind:i tiles:i"
_STEP = "tables:p sequence:p positions:p table_width:l"
KERNELS = {
    "linear": "weights:p count:l x:p x_stride:l rows:l y:p y_stride:l add:i scratch:p",
    "quantize": "data:p kind:i outputs:l inputs:l out:p scales:p",
    "embed": "table:p ids:p rows:l y:p",
    "take": "x:p rows:p count:l width:l y:p",
    "rms_norm": "x:p weight:p bias:p eps:f rows:l width:l y:p",
    "layer_norm": "x:p weight:p bias:p eps:f rows:l width:l y:p",
    "rotary": "x:p stride:l rows:l heads:l width:l norm:p eps:f positions:p cosines:p sines:p",
    "swiglu": "x:p rows:l width:l y:p",
    "gelu": "x:p rows:l width:l y:p",
    "attention": "step:p keys:p values:p kv_heads:l width:l qkv:p stride:l rows:l heads:l scale:f "
    "window:l out:p",
}
"""What each kernel takes: the members of its C structure."""


def _structure(name: str, members: str) -> type[ctypes.Structure]:
    types = {"p": _P, "i": _I32, "l": _I64, "f": _F32}
    fields = [(member, types[kind]) for member, kind in (m.split(":") for m in members.split())]
    return type(name, (ctypes.Structure,), {"_fields_": fields})


WeightsStruct = _structure("weights", _WEIGHTS)
StepStruct = _structure("step", _STEP)
CallStruct = _structure("call", "kernel:p arguments:p")


def _address(function: object) -> int:
    return ctypes.cast(function, _P).value or 0  # type: ignore[arg-type]


class Kernels:
    """The compiled kernels, and calls of them that can be made again as often as wished."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._run = library.cordee_run
        self._run.argtypes, self._run.restype = (_P, _I64, _I32), None
        self.has_tiles = bool(library.cordee_has_tiles())
        """Whether there is a matrix unit that may be used."""
        self._kernels = {
            name: (_address(library[f"cordee_{name}"]), _structure(name, members))
            for name, members in KERNELS.items()
        }

    def call(self, name: str, *arguments: object) -> "Call":
        """A call of one kernel, not made yet."""
        address, structure = self._kernels[name]
        return Call(address, structure(*arguments))

    def run(self, calls: "Calls", threads: int) -> None:
        """Make the calls, one after another."""
        self._run(calls.address, calls.count, threads)


@dataclass(frozen=True, slots=True)
class Call:
    """A kernel and its arguments."""

    kernel: int
    arguments: ctypes.Structure


class Calls:
    """Several calls side by side in memory."""

    __slots__ = ("_array", "_keeps", "address", "count")

    def __init__(self, calls: Sequence[Call]) -> None:
        self.count = len(calls)
        self._keeps = tuple(call.arguments for call in calls)
        self._array = (CallStruct * self.count)(
            *(CallStruct(call.kernel, ctypes.addressof(call.arguments)) for call in calls)
        )
        self.address = ctypes.addressof(self._array)


@cache
def kernels() -> Kernels:
    """The kernels, compiled if they are not yet. Raises `CordeeError` without a C compiler."""
    # Read by GCC's OpenMP when it is loaded. A thread that has nothing to do sleeps after a tenth of a millisecond, for
    # somebody else may need its core: the loop that writes answers, or another replica.
    os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
    return Kernels(ctypes.CDLL(str(_compiled())))


def sources_digest() -> str:
    """The same for kernels that give the same numbers."""
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.[ch]")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _compiled() -> Path:
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise CordeeError("the engine's CPU kernels need a C compiler: install gcc")
    sources = sorted(Path(__file__).parent.glob("*.[ch]"))
    flags = (*FLAGS, "-mcpu=native" if platform.machine() == "aarch64" else "-march=native")
    digest = hashlib.sha256(" ".join((compiler, *flags)).encode())
    digest.update(_processor())
    for source in sources:
        digest.update(source.read_bytes())
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    library = home / "cordee" / "engine" / f"{digest.hexdigest()[:16]}.so"
    if not library.exists():
        _compile([compiler, *flags], [str(s) for s in sources if s.suffix == ".c"], library)
    return library


def _processor() -> bytes:
    """What the compiler's `native` depends on: a cache may be shared between machines."""
    try:
        lines = Path("/proc/cpuinfo").read_bytes().splitlines()
    except OSError:
        return platform.processor().encode()
    return b"".join(line for line in lines if line.startswith((b"flags", b"Features")))[:4096]


def _compile(command: list[str], sources: list[str], library: Path) -> None:
    library.parent.mkdir(parents=True, exist_ok=True)
    handle, made = tempfile.mkstemp(dir=library.parent, suffix=".so")
    os.close(handle)
    run = subprocess.run(
        [*command, *sources, "-o", made, "-lm"], capture_output=True, text=True, check=False
    )
    if run.returncode:
        Path(made).unlink()
        raise CordeeError(f"the engine's CPU kernels do not compile: {run.stderr.strip()[-800:]}")
    Path(made).replace(library)  # at once: another process may compile the same
