"""NV32: what torch has of CUDA outside of torch.cuda: backends, kernels, layouts, questions."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files

from cordee.core.facts import Fact, rows
from cordee.port.finding import Confidence, Edit, Effort, Fix, Meaning
from cordee.port.names import offered
from cordee.port.python.file import PythonFile
from cordee.port.python.fixes import renamed, unsafe
from cordee.port.python.prose import is_prose
from cordee.port.python.scopes import How
from cordee.port.rule import Family, Match

TABLES = ("setting", "question", "attention", "missing", "parallel", "layout")
OUT_OF_MEMORY = "CUDA out of memory"
ERRORS = re.compile(
    r"CUDA out of memory|CUDA error|cuda runtime error|CUBLAS_STATUS|CUDNN_STATUS|NCCL error|"
    r"device-side assert",
    re.IGNORECASE,
)
WIDE = frozenset({
    "torch.float64", "torch.double", "torch.complex64", "torch.complex128", "torch.cfloat",
    "torch.cdouble", "torch.complex32", "torch.chalf",
})  # fmt: skip
HINTS = (
    "cudnn", "backends.cuda", "backends import", "matmul_precision", "version.cuda", "has_cuda",
    "version import", "_cuda", "_nccl", "cudagraph", "_inductor", "_sdp", "sdpbackend",
    "nn.dataparallel", "import dataparallel", "parallel.dataparallel", "data_parallel",
    "channels_last", "emit_nvtx", "devicetype.cuda", "has_triton", "cuda out of memory",
    "cuda error", "cublas", "torch.float64", "torch.double", "torch.complex", "cuda_home",
)  # fmt: skip
family = Family("backends", "Backends, kernels and layouts", HINTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Name(Fact):
    """A name of torch that is CUDA's, and what to do about it."""

    name: str  # one that ends in a dot stands for all that begin with what is before it
    advice: str
    native: str = ""  # what is set in its place where the style is native


@family.rule(
    321, "a setting of torch is CUDA's", ast.Attribute, ast.Name, meaning=Meaning.RUNS,
)  # fmt: skip
def setting(node: ast.Attribute | ast.Name, file: PythonFile) -> Iterator[Match]:
    row = _row("setting", node, file)
    if row is None:
        return
    fix = None
    if row.native and not file.setting.portable and offered(row.native, file.setting.torch):
        fix = unsafe(renamed(file, node, row.native))
    yield _match(row, f"`{file.name(node)}` is for NVIDIA", node, file, fix)


@family.rule(
    322, "torch is asked about CUDA's libraries", ast.Attribute, ast.Name,
    meaning=Meaning.SIGNATURE,
)  # fmt: skip
def question(node: ast.Attribute | ast.Name, file: PythonFile) -> Iterator[Match]:
    row = _row("question", node, file)
    if row is not None:
        yield _match(row, f"`{row.name}` answers for CUDA only", node, file)


@family.rule(
    323, "a name of torch is CUDA's own", ast.Attribute, ast.Name, meaning=Meaning.MISSING,
    effort=Effort.M,
)  # fmt: skip
def missing(node: ast.Attribute | ast.Name, file: PythonFile) -> Iterator[Match]:
    row = _row("missing", node, file)
    if row is not None:
        yield _match(row, f"`{file.name(node)}` has no counterpart on Ascend", node, file)


@family.rule(
    324, "a kernel of attention is chosen", ast.Attribute, ast.Name, meaning=Meaning.SIGNATURE,
)  # fmt: skip
def attention(node: ast.Attribute | ast.Name, file: PythonFile) -> Iterator[Match]:
    row = _row("attention", node, file)
    if row is not None:
        yield _match(row, f"`{row.name}` is about CUDA's kernels", node, file)


@family.rule(
    325, "DataParallel is used", ast.Attribute, ast.Name, meaning=Meaning.MISSING, effort=Effort.M,
)  # fmt: skip
def parallel(node: ast.Attribute | ast.Name, file: PythonFile) -> Iterator[Match]:
    row = _row("parallel", node, file)
    if row is not None and isinstance(node.ctx, ast.Load):
        yield _match(row, "DataParallel is not supported on Ascend", node, file)


@family.rule(
    326, "channels go last", ast.Attribute, ast.Name, meaning=Meaning.SLOWER,
)  # fmt: skip
def layout(node: ast.Attribute | ast.Name, file: PythonFile) -> Iterator[Match]:
    row = _row("layout", node, file)
    if row is not None:
        yield _match(row, "channels that go last gain nothing on Ascend", node, file)


@family.rule(
    327, "an error is known by its text", ast.Constant, meaning=Meaning.SIGNATURE,
    advice="catch torch.OutOfMemoryError for want of memory; other texts differ on Ascend",
    source="https://pypi.org/project/torch-npu/2.13.0/ (strings of torch_npu/lib/libtorch_npu.so)",
)  # fmt: skip
def error(node: ast.Constant, file: PythonFile) -> Iterator[Match]:
    text = node.value
    if not isinstance(text, str) or not ERRORS.search(text) or is_prose(file, node):
        return
    fix = None
    compared = isinstance(file.parent(node), ast.Compare) and text.startswith(OUT_OF_MEMORY)
    if compared and file.exact(node) and file.text(node).count(OUT_OF_MEMORY) == 1:
        start = file.span(node).start + file.text(node).index(OUT_OF_MEMORY)
        new = "" if file.setting.portable else "NPU "
        fix = unsafe(Fix((Edit(start, start + len("CUDA "), new),)))
    confidence = Confidence.CERTAIN if compared else Confidence.LIKELY
    says = f"{file.text(node)} is the text of an error of CUDA's"
    yield Match(file.span(node), says, fix, confidence=confidence)


@family.rule(
    328, "a wide number goes on the device", ast.Call, meaning=Meaning.SLOWER, effort=Effort.M,
    advice="take float32 where it is enough, or work it out on the host",
    source="github.com/Ascend/op-plugin op_plugin: many kernels take no float64 and no complex",
)  # fmt: skip
def wide(node: ast.Call, file: PythonFile) -> Iterator[Match]:
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    dtype = file.name(given.get("dtype")) or ""
    device = given.get("device")
    if isinstance(node.func, ast.Attribute) and node.func.attr == "to" and len(node.args) == 2:
        device, dtype = node.args[0], dtype or file.name(node.args[1]) or ""
    if dtype not in WIDE or device is None:
        return
    if isinstance(device, ast.Constant) and (device.value is None or device.value == "cpu"):
        return
    says = f"`{dtype}` has few kernels on Ascend: its operators may run on the host"
    written = given.get("dtype") or node.args[-1]  # the device beside it is another tie
    yield Match(file.span(written), says, confidence=Confidence.LIKELY)


@family.rule(
    329, "a backend of CUDA's is imported", ast.Import, ast.ImportFrom, meaning=Meaning.RUNS,
    advice="the import does no harm; its uses are reported where they are",
)  # fmt: skip
def imported(node: ast.Import | ast.ImportFrom, file: PythonFile) -> Iterator[Match]:
    if isinstance(node, ast.ImportFrom) and node.level:
        return
    before = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
    for alias in node.names:
        dotted = f"{before}{alias.name}"
        if not dotted.startswith("torch.") or dotted.startswith("torch.cuda"):
            continue
        backend = dotted.startswith(("torch.backends.cuda", "torch.backends.cudnn"))
        if backend or re.search(r"cudagraph|_cuda|\.cuda|cudnn", dotted):
            meaning = Meaning.RUNS if backend else Meaning.MISSING
            yield Match(file.span(alias), f"`{dotted}` is imported", meaning=meaning)


@cache
def _tables() -> tuple[dict[str, tuple[str, Name]], list[tuple[str, Name]]]:
    """Rows by name, each with its table, and those for all names that begin alike, longest first."""
    every = [
        (table, row)
        for table in TABLES
        for row in rows(files(__package__) / "backends.toml", Name, table=table)
    ]
    exact = {row.name: (table, row) for table, row in every if not row.name.endswith(".")}
    alike = [(table, row) for table, row in every if row.name.endswith(".")]
    return exact, sorted(alike, key=lambda pair: -len(pair[1].name))


@lru_cache(maxsize=65536)
def _of_name(name: str) -> tuple[str, Name] | None:
    """The row of a name, and its table; of a part of a name that has a row, nothing."""
    exact, alike = _tables()
    if name in exact:
        return exact[name]
    parts = name.split(".")
    if any(".".join(parts[:n]) in exact for n in range(2, len(parts))):
        return None
    return next((pair for pair in alike if _begins(name, pair[1].name)), None)


def _row(table: str, node: ast.Attribute | ast.Name, file: PythonFile) -> Name | None:
    """The row of a name: its own, or that of what it begins with, at its last part."""
    name = file.name(node)
    if name is None or not name.startswith("torch."):
        return None
    found = _of_name(name)
    if found is None or found[0] != table:
        return None
    if isinstance(node, ast.Name) and all(b.how is not How.IMPORT for b in file.bindings(node)):
        return None  # said where it gets its meaning
    longer = file.parent(node)
    if isinstance(longer, ast.Attribute):
        exact = _tables()[0]
        if found[1].name != name or file.name(longer) in exact:
            return None
    return found[1]


def _begins(name: str, prefix: str) -> bool:
    """Private names run on without a dot: torch._C._cuda_getDevice."""
    if "._C." in prefix:
        return name.startswith(prefix[:-1])
    return name.startswith(prefix)


def _match(
    row: Name, says: str, node: ast.Attribute | ast.Name, file: PythonFile, fix: Fix | None = None
) -> Match:
    advice = "" if fix else row.advice
    return Match(file.span(node), says, fix, advice=advice, source=row.source)
