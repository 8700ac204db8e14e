"""NV45: libraries and commands that ask or drive NVIDIA's GPUs: NVML, nvidia-smi, nvcc, numba.cuda."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from cordee.core.facts import Fact, rows
from cordee.port.finding import Confidence, Effort, Fix, Meaning
from cordee.port.python.file import PythonFile
from cordee.port.python.fixes import substituted, unsafe
from cordee.port.python.neighbours import own
from cordee.port.python.prose import is_prose
from cordee.port.python.roles import last_name
from cordee.port.rule import Family, Match

# Functions that run a command or look for one.
RUNNING = frozenset({
    "run", "call", "check_call", "check_output", "Popen", "system", "popen", "getoutput",
    "getstatusoutput", "which", "create_subprocess_exec", "create_subprocess_shell",
    "execvp", "spawn", "run_command", "run_cmd", "run_and_parse_first_match", "execute", "sh",
})  # fmt: skip
HINTS = (
    "nvml", "nvidia", "gputil", "gpustat", "nvitop", "numba", "pycuda", "cuda", "nvtx", "nvcc",
    "nsys", "\"ncu", "'ncu", "ncu ", "nvprof", "nvtop", "cuda-", "compute-sanitizer", "cuobjdump", "trtexec", "dcgmi",
    "nvsmi", "gpu_tracker",
)  # fmt: skip
family = Family("tools", "Tools and libraries for GPUs", HINTS, shared=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool(Fact):
    """A library, by the name it is imported under, or a command, and what does the same on Ascend."""

    name: str
    advice: str
    effort: str = "M"
    confidence: str = "certain"  # of what the row says; "unsure" where no page says it


@family.rule(
    451, "a library for NVIDIA's GPUs is imported", ast.Import, ast.ImportFrom, ast.Call,
    meaning=Meaning.MISSING,
)  # fmt: skip
def imported(node: ast.Import | ast.ImportFrom | ast.Call, file: PythonFile) -> Iterator[Match]:
    for part, dotted in _modules(node, file):
        row = _library(dotted)
        if row is None or own(file, dotted):
            continue
        tried, dubious = _is_tried(node, file), row.name in ("cuda", "nvidia")
        says = f"`{dotted}` is for NVIDIA's GPUs" + (
            ", and its absence is allowed for" if tried else ""
        )
        yield Match(
            file.span(part), says, advice=row.advice, effort=Effort(row.effort), source=row.source,
            meaning=Meaning.RUNS if tried else None,
            confidence=Confidence.LIKELY if dubious else Confidence(row.confidence),
        )  # fmt: skip


@family.rule(
    452, "a library for NVIDIA's GPUs is used", ast.Attribute, ast.Name, meaning=Meaning.MISSING,
)  # fmt: skip
def used(node: ast.Attribute | ast.Name, file: PythonFile) -> Iterator[Match]:
    parent = file.parent(node)
    if isinstance(parent, ast.Attribute) or not isinstance(node.ctx, ast.Load):
        return
    name = file.name(node) or ""
    row = _library(name) if "." in name else None
    if row is not None and not own(file, name):
        says = f"`{name}` is of a library for NVIDIA's GPUs"
        yield Match(
            file.span(node),
            says,
            advice=row.advice,
            effort=Effort(row.effort),
            confidence=Confidence(row.confidence),
            source=row.source,
        )


@family.rule(
    453, "a command of NVIDIA's is run or looked for", ast.Constant, meaning=Meaning.SIGNATURE,
)  # fmt: skip
def command(node: ast.Constant, file: PythonFile) -> Iterator[Match]:
    if not isinstance(node.value, str) or is_prose(file, node):
        return
    first = node.value.split(None, 1)[0].rpartition("/")[2] if node.value.strip() else ""
    names = dict.fromkeys(match[1] for match in _commands().finditer(node.value))
    for name in names:
        row = _tools("command")[name]
        runs = _is_run(node, file)
        if not runs and first != name and not name.startswith("nvidia"):
            continue
        confidence = Confidence(row.confidence) if runs else Confidence.UNSURE
        yield Match(
            file.span(node), f"`{name}` is a command of NVIDIA's", _command_fix(node, file),
            advice=row.advice, effort=Effort(row.effort), confidence=confidence, source=row.source,
        )  # fmt: skip


@family.rule(
    454, "a shared library of CUDA's is loaded or looked for", ast.Constant,
    meaning=Meaning.MISSING, effort=Effort.M,
    advice="libascendcl.so is CANN's runtime, libhccl.so its collectives; find another way",
    source="github.com/hicann/runtime docs/zh/api_ref/01_overview.md; "
    "github.com/hicann/hccl docs/zh/api_ref/hccl_header_and_lib.md",
)  # fmt: skip
def shared_library(node: ast.Constant, file: PythonFile) -> Iterator[Match]:
    if not isinstance(node.value, str) or is_prose(file, node):
        return
    if LIBRARY.search(node.value):
        yield Match(file.span(node), f"{file.text(node)} is a library of CUDA's")


@family.rule(
    455, "a path of CUDA's or NVIDIA's is named", ast.Constant, meaning=Meaning.MISSING,
    effort=Effort.M, advice="the CANN toolkit is at ASCEND_HOME_PATH, the driver at "
    "/usr/local/Ascend/driver; devices are /dev/davinci0 and on",
    source="github.com/ggml-org/llama.cpp docs/backend/CANN.md",
)  # fmt: skip
def path(node: ast.Constant, file: PythonFile) -> Iterator[Match]:
    if isinstance(node.value, str) and PATH.search(node.value) and not is_prose(file, node):
        yield Match(
            file.span(node), f"{file.text(node)} is where CUDA is", confidence=Confidence.LIKELY
        )


@family.rule(
    456, "a text says NVIDIA", ast.Constant, meaning=Meaning.RUNS,
    advice="if it tells whose chip it is, let it know Ascend's too",
)  # fmt: skip
def maker(node: ast.Constant, file: PythonFile) -> Iterator[Match]:
    text = node.value
    if isinstance(text, str) and MAKER.fullmatch(text.strip()) and not is_prose(file, node):
        says = f"{file.text(node)} speaks of NVIDIA's chips"
        yield Match(file.span(node), says, confidence=Confidence.UNSURE)


# The name alone, or that of a chip: not a package, a path, an address or a data set.
MAKER = re.compile(
    r"nvidia(?: (?:geforce|tesla|quadro|rtx|[abhlv]\d+|gpu)\b.*)?|geforce.*", re.IGNORECASE
)
LIBRARY = re.compile(
    r"\blib(?:cuda|cudart|cublas|cublasLt|cudnn\w*|cufft|cusparse|cusolver|curand|nccl|nvrtc|"
    r"nvidia-ml|nvToolsExt|nvinfer\w*|cupti|nvshmem\w*)\.(?:so|dylib|dll)"
)
PATH = re.compile(r"/usr/local/cuda|/usr/local/nvidia|/dev/nvidia|/proc/driver/nvidia")


def _modules(
    node: ast.Import | ast.ImportFrom | ast.Call, file: PythonFile
) -> Iterator[tuple[ast.AST, str]]:
    """What is imported, and where it is named."""
    if isinstance(node, ast.Import):
        yield from ((alias, alias.name) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        if not node.level and node.module:
            for alias in node.names:
                yield alias, f"{node.module}.{alias.name}"
    elif isinstance(node.args[0] if node.args else None, ast.Constant):
        importing = (
            "importlib.import_module", "importlib.util.find_spec", "builtins.__import__",
            "pytest.importorskip",
        )  # fmt: skip
        name = getattr(node.args[0], "value", None)
        if isinstance(name, str) and file.name(node.func) in importing:
            yield node, name


def _library(dotted: str) -> Tool | None:
    table, parts = _tools("library"), dotted.split(".")
    if parts[0] not in _roots():
        return None
    if len(parts) > 1 and parts[0] == "cuda" and parts[1] not in (
        "bindings", "core", "cuda", "cudart", "nvrtc", "pathfinder", "tile", "parallel", "cooperative",
    ):  # fmt: skip
        return None  # a module of the user's own
    if parts[0] == "cuda" and len(parts) == 1:
        return None
    if parts[0] == "nvidia" and (len(parts) == 1 or parts[1] in ("dali", "modelopt", "nvimgcodec")):
        return None  # dealt with as the libraries they are
    return next((table[name] for n in (2, 1) if (name := ".".join(parts[:n])) in table), None)


@cache
def _roots() -> frozenset[str]:
    return frozenset(name.partition(".")[0] for name in _tools("library"))


@cache
def _tools(table: str) -> dict[str, Tool]:
    return {row.name: row for row in rows(files(__package__) / "tools.toml", Tool, table=table)}


@cache
def _commands() -> re.Pattern[str]:
    names = sorted(_tools("command"), key=len, reverse=True)
    return re.compile(rf"(?<![\w.-])({'|'.join(map(re.escape, names))})(?![\w-])")


def _is_tried(node: ast.AST, file: PythonFile) -> bool:
    """Whether it is imported in a `try`, or asked for by find_spec."""
    if isinstance(node, ast.Call):
        return file.name(node.func) in ("importlib.util.find_spec", "pytest.importorskip")
    child, parent = node, file.parent(node)
    while parent is not None and not isinstance(parent, (ast.FunctionDef, ast.ClassDef)):
        if isinstance(parent, ast.Try) and child in parent.body:
            return True
        child, parent = parent, file.parent(parent)
    return False


def _is_run(node: ast.Constant, file: PythonFile) -> bool:
    """Whether a text is an argument, or a word of one, of a function that runs commands."""
    parent = file.parent(node)
    while isinstance(parent, ast.expr):
        if isinstance(parent, ast.Call) and last_name(parent.func) in RUNNING:
            return True
        parent = file.parent(parent)
    return False


def _command_fix(node: ast.Constant, file: PythonFile) -> Fix | None:
    """Whether there is an NPU's tool, asked where the style is native."""
    call = file.parent(node)
    if file.setting.portable or node.value != "nvidia-smi" or not isinstance(call, ast.Call):
        return None
    if file.name(call.func) != "shutil.which":
        return None
    quote = file.text(node)[-1]
    return unsafe(substituted(file, node, f"{quote}npu-smi{quote}"))
