"""What the emulator is compiled from: one row per library, in the order of linking."""

from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent

STRICT = ("-O2", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-pthread")


@dataclass(frozen=True, slots=True)
class Places:
    """Folders that compiling and linking refer to."""

    made: Path
    """The libraries made before."""
    generated: Path
    """Headers made from tables."""
    torch: Path
    """The installed torch."""
    torch_npu: Path
    """The installed torch_npu."""
    python: Path
    """Headers of the running Python."""


@dataclass(frozen=True, slots=True)
class Library:
    """One shared library."""

    name: str
    """File name."""
    folder: str
    """Folder of its sources, beside this file."""
    sources: tuple[str, ...]
    """File names or patterns in that folder."""
    without: tuple[str, ...] = ()
    """File names that a pattern must not take in."""
    links: tuple[str, ...] = ()
    """Libraries of this table that it is linked with."""
    language: str = "c"
    """"c" or "c++"."""
    flags: tuple[str, ...] = ()
    """Compiler flags beyond those of every library."""
    with_torch: bool = False
    """Whether it is a Python module that uses PyTorch's and the adapter's C++."""
    with_catalogue: bool = False
    """Whether the sources include the generated catalogue of chips."""

    def paths(self) -> list[Path]:
        """The sources, sorted."""
        found = {path for pattern in self.sources for path in (HERE / self.folder).glob(pattern)}
        return sorted(path for path in found if path.name not in self.without)

    def units(self) -> list[tuple[Path, ...]]:
        """What each call of the compiler takes: one source, or all that include PyTorch's headers.

        Those take it longer than our sources, so that one by one would be four times the work.
        """
        return [tuple(self.paths())] if self.with_torch else [(path,) for path in self.paths()]

    def headers(self) -> list[Path]:
        """Every header that the sources may include, sorted."""
        return sorted({*(HERE / self.folder).glob("*.h"), *(HERE / "runtime").glob("cordee*.h")})

    def compiling(self, source: Path, output: Path, places: Places) -> list[str]:
        """The compiler's arguments that make the object `output` from `source`."""
        include = places.torch_npu / "include"
        vendor = [include / "third_party/acl/inc", include / "third_party/hccl/inc", include]
        if self.with_torch:
            torch = places.torch / "include"
            vendor += [torch, torch / "torch/csrc/api/include", places.python]
            vendor += [include / "third_party/op-plugin"]
        own = (HERE / self.folder, HERE / "runtime", places.generated)
        return [
            *("-std=gnu11" if self.language == "c" else "-std=gnu++20", *STRICT),
            *("-D_GNU_SOURCE", "-DFUNC_VISIBILITY", *self.flags),
            *(f"-I{folder}" for folder in own),
            *(argument for folder in vendor for argument in ("-isystem", str(folder))),
            *("-c", str(source), "-o", str(output)),
        ]

    def linking(self, objects: list[Path], output: Path, places: Places) -> list[str]:
        """The compiler's arguments that make the library `output` from `objects`."""
        folders = [places.torch / "lib", places.torch_npu / "lib"] if self.with_torch else []
        needed = TORCH_LIBRARIES if self.with_torch else ()
        return [
            *("-shared", "-pthread", f"-Wl,-soname,{self.name}", "-Wl,-rpath,$ORIGIN"),
            *("-Wl,--no-as-needed", "-Wl,--allow-shlib-undefined"),
            *("-o", str(output), *map(str, objects)),
            *(f"-L{places.made}", *(f"-l:{name}" for name in self.links)),
            *(f"{option}{folder}" for folder in folders for option in ("-L", "-Wl,-rpath,")),
            *(f"-l{name}" for name in needed),
        ]


TORCH_LIBRARIES = ("torch_npu", "torch_python", "torch_cpu", "torch", "c10")

# torch_npu looks some functions up in one library and some in another; what they share is in the
# first, and a look-up in a library also finds what it is linked with.
TARGETS = (
    Library(
        "libascendcl.so",
        "runtime",
        ("*.c",),
        without=("op_compiler.c", "opapi.c", "empty.c", "hal.c"),
        with_catalogue=True,
    ),
    Library("libacl_op_compiler.so", "runtime", ("op_compiler.c",), links=("libascendcl.so",)),
    Library("libopapi.so", "runtime", ("opapi.c",), links=("libascendcl.so",)),
    Library("libge_runner.so", "runtime", ("empty.c",), links=("libascendcl.so",)),
    Library("libgraph.so", "runtime", ("empty.c",), links=("libascendcl.so",)),
    Library("libascend_hal.so", "runtime", ("hal.c",)),
    Library("libmsprofiler.so", "runtime", ("empty.c",), links=("libascendcl.so",)),
    Library("libacl_tdt_channel.so", "runtime", ("empty.c",), links=("libascendcl.so",)),
    Library(
        "libhccl.so",
        "runtime/hccl",
        ("*.cpp",),
        links=("libascendcl.so",),
        language="c++",
        flags=("-fno-exceptions", "-fno-rtti"),
    ),
    Library("libhcomm.so", "runtime", ("empty.c",), links=("libhccl.so",)),
    Library(
        "libatb.so",
        "runtime",
        ("atb.cpp",),
        links=("libascendcl.so",),
        language="c++",
        flags=("-fno-exceptions", "-fno-rtti"),
    ),
    Library(
        "_kernel.so",
        "kernel",
        ("*.cpp",),
        links=("libascendcl.so",),
        language="c++",
        # PyTorch's headers lay out some classes otherwise in a debug build, and no wheel is one.
        flags=("-DNDEBUG",),
        with_torch=True,
    ),
)
