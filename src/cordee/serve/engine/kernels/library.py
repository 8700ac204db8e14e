"""Compiles the kernels once per processor and compiler into a cache, and declares their functions."""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
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

_P, _I32, _I64, _F32 = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64, ctypes.c_float
SIGNATURES = {
    "cordee_linear": (_P, _P, _I64, _I64, _P, _I64, _I32, _I32),
    "cordee_quantize": (_P, _I32, _I64, _I64, _P, _P, _I32),
    "cordee_embed": (_P, _I32, _P, _P, _I64, _I64, _P),
    "cordee_rms_norm": (_P, _P, _F32, _I64, _I64, _P),
    "cordee_layer_norm": (_P, _P, _P, _F32, _I64, _I64, _P),
    "cordee_rotary": (_P, _I64, _I64, _I64, _I64, _P, _F32, _P, _P, _P),
    "cordee_swiglu": (_P, _I64, _I64, _P),
    "cordee_gelu": (_P, _I64),
    "cordee_store": (_P, _P, _I64, _P, _I64, _I64),
    "cordee_attention": (_P, _P, _I64, _I64, _I64, _F32, _I64, _P, _I32),
}


class WeightsStruct(ctypes.Structure):
    """`struct weights` of linear.c."""

    _fields_ = (
        ("data", _P),
        ("scales", _P),
        ("bias", _P),
        ("outputs", _I64),
        ("inputs", _I64),
        ("kind", _I32),
    )


class PagesStruct(ctypes.Structure):
    """`struct pages` of attention.c."""

    _fields_ = (
        ("keys", _P),
        ("values", _P),
        ("tables", _P),
        ("sequence", _P),
        ("positions", _P),
        ("table_width", _I64),
        ("kv_heads", _I64),
        ("width", _I64),
    )


@cache
def kernels() -> ctypes.CDLL:
    """The kernels, compiled if they are not yet. Raises `CordeeError` without a C compiler."""
    loaded = ctypes.CDLL(str(_compiled()))
    for name, arguments in SIGNATURES.items():
        function = getattr(loaded, name)
        function.argtypes = arguments
        function.restype = None
    return loaded


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
