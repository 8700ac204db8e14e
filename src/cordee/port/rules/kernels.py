"""NV60: kernels written in Python, and extensions that are compiled for CUDA from Python."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from cordee.core.facts import Fact, rows
from cordee.port.finding import Confidence, Effort, Meaning
from cordee.port.python.attempts import attempted
from cordee.port.python.building import conditional, left_out
from cordee.port.python.extensions import (
    BUILDER,
    SHIM,
    STUB,
    compiled,
    extension_name,
    formula,
    importing,
    loading,
    stands,
)
from cordee.port.python.file import PythonFile
from cordee.port.python.neighbours import own
from cordee.port.python.replacements import is_shim
from cordee.port.rule import Family, Match
from cordee.port.rules.cuda_sources import known_kernel
from cordee.port.rules.libraries import library

TL = "triton.language."
EXTENSION = "github.com/Ascend/pytorch torch_npu/utils/cpp_extension.py"
MIGRATION = "github.com/triton-lang/triton-ascend docs/en/migration_guide/migrate_from_gpu.md"
ASCEND_C = "https://www.hiascend.com/document/detail/en/canncommercial/850/opdevg/Ascendcopdevg/atlas_ascendc_10_0071.html"
DTYPES = {
    "float64": "fp64", "uint8": "uint8", "uint16": "uint16", "uint32": "uint32",
    "uint64": "uint64", "int64": "int64",
}  # fmt: skip
LAUNCH = frozenset({"num_warps", "num_stages", "num_ctas", "maxnreg"})
OF_TRITON = (
    f"{TL}inline_asm_elementwise", f"{TL}extra.cuda", f"{TL}extra.libdevice",
    f"{TL}float8e4nv", f"{TL}float8e5", f"{TL}float8e4b15", f"{TL}dot_scaled",
    "triton.backends.nvidia", "triton.runtime.driver", "triton.runtime.jit.get_cuda_stream",
    "triton.testing.get_dram_gbps", "triton.testing.get_max_tensorcore_tflops",
    "triton.testing.nvsmi", "triton.tools.experimental_descriptor", "triton.language.cuda",
)  # fmt: skip
CUPY = frozenset({
    "cupy.RawKernel", "cupy.RawModule", "cupy.ElementwiseKernel", "cupy.ReductionKernel",
    "cupy.fuse", "cupyx.jit.rawkernel", "cupy.cuda.compile_with_cache",
})  # fmt: skip
EXTENSIONS = {
    "CUDAExtension": (Meaning.MISSING, Effort.L, "torch_npu.utils.cpp_extension.NpuExtension builds C++ for Ascend; kernels among the sources must be written anew"),
    "CppExtension": (Meaning.RUNS, Effort.S, "C++ for the host builds as is"),
    "load": (Meaning.MISSING, Effort.L, "C++ for the host builds as is; kernels among the sources must be written anew"),
    "load_inline": (Meaning.MISSING, Effort.L, "C++ for the host builds as is; kernels among the sources must be written anew"),
}  # fmt: skip
BUILDS = "github.com/Ascend/pytorch torch_npu/utils/cpp_extension.py"
HOST = (".cpp", ".cc", ".c", ".cxx", ".mm")
OPS = frozenset({
    "aten", "prim", "prims", "quantized", "npu", "torchvision", "c10d", "_c10d_functional",
    "c10d_functional", "higher_order", "profiler", "inductor", "debugprims", "rngprims", "mkldnn",
    "image", "torchaudio", "load_library", "loaded_libraries", "import_module", "sparse",
})  # fmt: skip
SOURCE_TEXT = re.compile(
    r"\b__global__\b|\b__device__\b|\bblockIdx\.|\bthreadIdx\.|cuda_runtime\.h"
    r"|\b(?:at|c10)::cuda::"
)
SHORTEST = 20  # characters of a text that can be source
FLAG = re.compile(
    r"-gencode.*|.*arch=compute_\w+.*|--?use_fast_math|-Xcompiler.*|--expt-\w.*|"
    r".*\.cuh?|-?-?arch=sm_\d+.*|--ptxas-options.*|-U__CUDA_NO_\w+|-lineinfo|"
    r"(?:-l)?(?:cudart|cublas\w*|cudnn|nccl|nvrtc|nvToolsExt|curand|cusparse|cusolver|cufft)|"
    r"(?:-[DU])?\w*(?:WITH|USE|HAVE)_CUDA\w*|[\w./-]*/cuda(?:/[\w./*-]*)?",
    re.DOTALL,
)
# What says so wherever it stands: macros and libraries of CUDA, and files in it.
UNMISTAKABLE = re.compile(
    r"-[DU]\w*CUDA\w*(?:=.*)?|-l(?:cudart|cublas\w*|cudnn|nvrtc|nvToolsExt|curand)|[\w./-]*\w\.cuh?"
)
family = Family(
    "kernels", "Kernels and extensions in Python",
    ("triton", "cupy", "numba", "cpp_extension", "cuda", "torch.ops", "__global__", "nvcc",
     "cudart", "nccl", "nvrtc", "blockidx", "cudnn", "cublas", "multiscaledeformableattention", "rotary_emb"),
    each=frozenset({610}),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation(Fact):
    """An operation of triton.language that triton-ascend has."""

    name: str
    lacks: list[str] = field(default_factory=list)  # dtypes that it takes on NVIDIA only


@cache
def operations() -> dict[str, Operation]:
    """The table, by name."""
    return {row.name: row for row in rows(files(__package__) / "triton_ops.toml", Operation)}


@family.rule(
    601, "a kernel in Triton", ast.FunctionDef, meaning=Meaning.SIGNATURE, effort=Effort.M,
    source=MIGRATION,
)  # fmt: skip
def triton(node: ast.FunctionDef, file: PythonFile) -> Iterator[Match]:
    if not any(_decorator(d, file) == "triton.jit" for d in node.decorator_list):
        return
    used = [(n, file.name(n) or "") for n in ast.walk(node) if isinstance(n, ast.Attribute)]
    names = {name.removeprefix(TL) for _, name in used if name.startswith(TL)}
    advice = [
        "install triton-ascend; blocks must fit the 192 KB of the unified buffer, and a grid has "
        "at most 65535 blocks"
    ]
    unknown = sorted(n for n in names if "." not in n and n not in operations())
    if unknown:
        advice.append(f"triton-ascend does not document {', '.join(f'tl.{n}' for n in unknown)}")
    types = {DTYPES[n] for n in names if n in DTYPES}
    every = (operations()[n] for n in sorted(names) if n in operations())
    lacking = {row.name: types & set(row.lacks) for row in every if types & set(row.lacks)}
    for type_ in sorted(types & {t for found in lacking.values() for t in found}):
        without = ", ".join(f"tl.{n}" for n, found in lacking.items() if type_ in found)
        advice.append(f"{type_}, which the kernel names, is not taken by {without}")
    confidence = Confidence.LIKELY if unknown or lacking else Confidence.CERTAIN
    where = file.span(node.decorator_list[0])
    yield Match(
        where, f"`{node.name}` is a kernel in Triton", advice="; ".join(advice),
        confidence=confidence,
    )  # fmt: skip


@family.rule(
    602, "a part of Triton that is NVIDIA's", ast.Attribute, meaning=Meaning.MISSING,
    effort=Effort.M, source=MIGRATION,
    advice="triton-ascend has no counterpart of the same name: write it with plain operations",
)  # fmt: skip
def of_triton(node: ast.Attribute, file: PythonFile) -> Iterator[Match]:
    if "triton" not in file.imports:
        return
    name = file.name(node) or ""
    if isinstance(file.parent(node), ast.Attribute) or not name.startswith("triton."):
        return
    if any(f"{name}.".startswith(f"{prefix}.") for prefix in OF_TRITON):
        advice = 'torch.device("npu") is the device' if "driver" in name else ""
        yield Match(file.span(node), f"`{name}` is NVIDIA's", advice=advice)


@family.rule(
    603, "a kernel in Triton is launched with settings of NVIDIA's", ast.keyword,
    meaning=Meaning.RUNS, source=MIGRATION,
    advice="it means nothing on Ascend: tune the sizes of blocks instead",
)  # fmt: skip
def launched(node: ast.keyword, file: PythonFile) -> Iterator[Match]:
    call = file.parent(node)
    if node.arg not in LAUNCH or not isinstance(call, ast.Call):
        return
    if isinstance(call.func, ast.Subscript) or file.name(call.func) == "triton.Config":
        yield Match(file.span(node), f"`{file.text(node)}` is about NVIDIA's warps")


@family.rule(
    604, "a kernel of CuPy", ast.Call, meaning=Meaning.MISSING, effort=Effort.L,
    advice="write it in PyTorch, in Triton for triton-ascend, or in Ascend C", source=ASCEND_C,
)  # fmt: skip
def cupy(node: ast.Call, file: PythonFile) -> Iterator[Match]:
    name = file.name(node.func)
    if name in CUPY:
        yield Match(file.span(node.func), f"`{name}` compiles a kernel for NVIDIA's chips")


@family.rule(
    606, "an extension is compiled for CUDA", ast.Call, ast.Assign,
    meaning=Meaning.MISSING, effort=Effort.L, source=BUILDS,
)  # fmt: skip
def extension(node: ast.Call | ast.Assign, file: PythonFile) -> Iterator[Match]:
    if BUILDER not in file.imports:
        return
    if isinstance(node, ast.Assign):
        if file.name(node.value) == f"{BUILDER}.CUDAExtension":
            says = "extensions are compiled for CUDA"
            yield Match(file.span(node.value), says, advice=EXTENSIONS["CUDAExtension"][2])
        return
    name = file.name(node.func) or ""
    module, _, last = name.rpartition(".")
    if module != BUILDER or last not in EXTENSIONS:
        return
    if is_shim(file):
        return
    if last.startswith("load"):
        yield _loaded(node, name, file)
        return
    meaning, effort, advice = EXTENSIONS[last]
    if last == "CppExtension":
        yield Match(
            file.span(node.func), f"`{name}`", advice=advice, meaning=meaning, effort=effort
        )
        return
    advice = f"{advice}; {_computed(node)}"
    if conditional(file, node):
        says = f"`{name}`, under a condition that asks for CUDA"
        yield Match(file.span(node.func), says, advice=advice)
        return
    fix = left_out(file, node)
    advice = f"without CUDA's compiler the build fails here: leave it out there; {advice}"
    yield Match(file.span(node.func), f"`{name}`", fix, advice=advice)


def _loaded(node: ast.Call, name: str, file: PythonFile) -> Match:
    """What is said of `load` and `load_inline`."""
    meaning, effort, advice = EXTENSIONS[name.rpartition(".")[2]]
    if _host_only(node):
        meaning, effort = Meaning.RUNS, Effort.S
        return Match(
            file.span(node.func), f"`{name}`", advice=advice, meaning=meaning, effort=effort
        )
    sure = _compiles_cuda(node)
    effort = Effort.S if formula(extension_name(node)) is not None else effort
    confidence = Confidence.CERTAIN if sure else Confidence.LIKELY
    return Match(
        file.span(node.func), f"`{name}` calls CUDA's compiler", loading(file, node),
        advice=f"{advice}; {_computed(node)}", meaning=meaning, effort=effort,
        confidence=confidence,
    )  # fmt: skip


def _computed(node: ast.Call) -> str:
    """What stands for the extension that a call compiles, and what else there may be."""
    name = extension_name(node)
    found, known = formula(name), known_kernel(name)
    advice = stands(found)
    if found is None and known is not None:
        advice = f"{advice}; by its name it computes {known.what}: {known.instead}"
    return advice


def _host_only(node: ast.Call) -> bool:
    """Whether all that is compiled is surely for the host."""
    if _compiles_cuda(node):
        return False
    named = {keyword.arg: keyword.value for keyword in node.keywords}
    if None in named or "with_cuda" in named:
        return False
    inline = named.get("cpp_sources")
    sources = named.get("sources") or (node.args[1] if len(node.args) > 1 else None)
    if inline is not None or (len(node.args) == 2 and _callee(node) == "load_inline"):
        return True
    texts = sources.elts if isinstance(sources, (ast.List, ast.Tuple)) else [sources]
    ends = [_ending(text) for text in texts]
    return bool(ends) and all(end is not None and end.endswith(HOST) for end in ends)


def _callee(node: ast.Call) -> str:
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _ending(node: ast.expr | None) -> str | None:
    """The text that a path ends with."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.Call(args=[*_, ast.Constant(value=str(text))]):
            return text
        case ast.BinOp(right=ast.Constant(value=str(text))):
            return text
        case ast.JoinedStr(values=[*_, ast.Constant(value=str(text))]):
            return text
    return None


@family.rule(
    608, "an operator of a compiled library is called", ast.Attribute, meaning=Meaning.MISSING,
    effort=Effort.M, source=EXTENSION,
    advice="if its library is compiled for CUDA, it is missing: torch_npu may have a counterpart",
)  # fmt: skip
def operator(node: ast.Attribute, file: PythonFile) -> Iterator[Match]:
    name = file.name(node) or ""
    parent = file.parent(node)
    if not name.startswith("torch.ops.") or name.count(".") != 3:
        return
    if name.split(".")[2] in OPS or not isinstance(parent, (ast.Call, ast.Attribute)):
        return
    yield Match(
        file.span(node), f"`{name}` is an operator of a library", confidence=Confidence.UNSURE
    )


@family.rule(
    609, "a module is imported that is compiled for CUDA, or named so", ast.Import, ast.ImportFrom,
    meaning=Meaning.MISSING, effort=Effort.M, source=EXTENSION,
)  # fmt: skip
def named(node: ast.Import | ast.ImportFrom, file: PythonFile) -> Iterator[Match]:
    origin = (node.module or "") if isinstance(node, ast.ImportFrom) else ""
    if origin.startswith(("torch.", "transformers", "numba")) or origin == "torch":
        return
    for alias in node.names:
        dotted = f"{origin}.{alias.name}" if origin else alias.name
        if origin.rpartition(".")[2] == SHIM:
            continue
        if isinstance(node, ast.Import) and compiled(file, dotted):
            yield _compiled(node, alias, file)
            continue
        if dotted in file.setting.project.extensions:
            advice = f'`{alias.name} = {SHIM}.extension("{dotted}")` where that is imported'
            yield Match(
                file.span(alias), f"`{dotted}` is compiled for CUDA", effort=Effort.L,
                advice=f"an extension compiled for CUDA is missing on Ascend: {advice}; {STUB}",
            )  # fmt: skip
            continue
        if not re.search(r"cuda|nvidia|cudnn", dotted, re.IGNORECASE) or "nccl" in dotted.lower():
            continue
        if (
            "cuda" in dotted.split(".")
            or dotted.startswith(("torch.", "numba", "pycuda"))
            or library(dotted) is not None
        ):
            continue
        of_repository = _is_own(node, dotted, file)
        says = f"`{dotted}` is named after CUDA"
        if of_repository:
            advice = "it is of this repository: what in it is CUDA's is reported there"
            yield Match(
                file.span(alias), says, advice=advice, meaning=Meaning.RUNS, effort=Effort.S,
                confidence=Confidence.UNSURE,
            )  # fmt: skip
        else:
            known = known_kernel(dotted)
            advice = "an extension compiled for CUDA is missing on Ascend"
            if known is not None:
                advice = f"{advice}; by its name it computes {known.what}: {known.instead}"
            yield Match(file.span(alias), says, advice=advice, confidence=Confidence.LIKELY)


def _compiled(node: ast.Import, alias: ast.alias, file: PythonFile) -> Match:
    """What is said of the import of an extension that is known, or built by the repository."""
    found, other = formula(alias.name), library(alias.name)
    says = f"`{alias.name}` is compiled for CUDA"
    meaning, effort = Meaning.MISSING, Effort.L if found is None else Effort.S
    if attempted(file, node):
        says = f"{says}; where it is missing, as on Ascend, the file goes on without"
        meaning, effort = Meaning.RUNS, Effort.S
    advice = stands(found)
    if other is not None and other.advice:
        advice = f"{advice}; or {other.advice}"
    return Match(
        file.span(alias), says, importing(file, node), advice=advice, meaning=meaning,
        effort=effort, source=found.source if found else "",
    )  # fmt: skip


@family.rule(
    610, "a text is source of CUDA", ast.Constant, meaning=Meaning.MISSING, effort=Effort.L,
    advice="write it in PyTorch, in Triton for triton-ascend, or in Ascend C", source=ASCEND_C,
)  # fmt: skip
def source(node: ast.Constant, file: PythonFile) -> Iterator[Match]:
    if not isinstance(node.value, str) or isinstance(file.parent(node), ast.Expr):
        return
    if len(node.value) > SHORTEST and SOURCE_TEXT.search(node.value):
        yield Match(file.span(node), "a text holds source of CUDA")


@family.rule(
    611, "a compiler of CUDA is told how", ast.Constant, meaning=Meaning.MISSING,
    effort=Effort.S, source=BUILDS,
    advice="give it for CUDA only: NpuExtension calls the compiler of the host",
)  # fmt: skip
def flag(node: ast.Constant, file: PythonFile) -> Iterator[Match]:
    if not isinstance(node.value, str) or isinstance(file.parent(node), ast.Expr):
        return
    builds = "torch.utils.cpp_extension" in file.imports or "setuptools" in file.imports
    if len(node.value) >= 200:
        return
    if UNMISTAKABLE.fullmatch(node.value) or (builds and FLAG.fullmatch(node.value)):
        yield Match(
            file.span(node), f"{file.text(node)} is for CUDA's compiler",
            confidence=Confidence.LIKELY,
        )  # fmt: skip


def _decorator(node: ast.expr, file: PythonFile) -> str | None:
    return file.name(node.func if isinstance(node, ast.Call) else node)


def _compiles_cuda(node: ast.Call) -> bool:
    names = {keyword.arg for keyword in node.keywords}
    if names & {"cuda_sources", "extra_cuda_cflags"}:
        return True
    texts = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant)]
    return any(isinstance(t, str) and t.endswith((".cu", ".cuh")) for t in texts)


def _is_own(node: ast.Import | ast.ImportFrom, dotted: str, file: PythonFile) -> bool:
    if isinstance(node, ast.ImportFrom) and node.level:
        return True
    return own(file, dotted)
