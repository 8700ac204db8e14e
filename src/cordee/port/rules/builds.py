"""NV64: build files that compile for CUDA."""

import re
from collections.abc import Iterator

from cordee.port.documents.builds import BuildFile, BuildLine, Command
from cordee.port.finding import Confidence, Effort, Meaning
from cordee.port.rule import Family, Match

TIE = re.compile(
    r"cuda|nvcc|nccl|nvidia|cudnn|cublas|curand|cusparse|cusolver|cufft|nvrtc|nvtx|tensorrt|"
    r"cutlass|nvml|\bsm_\d\d|\bcompute_\d\d|-gencode",
    re.IGNORECASE,
)
ASCEND = "find_package(ASC), or the compiler ccec of CANN; libraries are ascendcl, hccl, nnopbase"
SOURCE = "https://www.hiascend.com/document/detail/en/canncommercial/850/opdevg/Ascendcopdevg/atlas_ascendc_10_0071.html"
LANGUAGE = re.compile(r"\bCUDA\b")
family = Family(
    "builds", "Build files",
    ("cuda", "nvcc", "nccl", "nvidia", "cudnn", "cublas", "nvrtc", "nvtx", "tensorrt", "cutlass",
     "nvml", "-gencode", "sm_"),
)  # fmt: skip


@family.rule(
    641, "CMake is told to compile CUDA", Command, meaning=Meaning.MISSING, effort=Effort.M,
    advice=f"make it an option beside one for Ascend: {ASCEND}", source=SOURCE,
)  # fmt: skip
def compiles(node: Command, file: BuildFile) -> Iterator[Match]:
    if _enables(node):
        yield Match(node.span, f"`{_short(node)}` makes CMake compile CUDA")


@family.rule(
    642, "CMake names CUDA or a library of NVIDIA", Command,
    meaning=Meaning.MISSING, effort=Effort.M,
    advice=f"set it for CUDA only, and beside it for Ascend: {ASCEND}", source=SOURCE,
)  # fmt: skip
def names(node: Command, file: BuildFile) -> Iterator[Match]:
    if _enables(node):
        return
    if TIE.search(node.name) or TIE.search(node.arguments):
        asks = node.name in ("if", "elseif", "else", "endif", "message", "option")
        meaning = Meaning.RUNS if asks else None
        effort = Effort.S if asks else None
        says = f"`{_short(node)}` is about CUDA"
        yield Match(node.span, says, meaning=meaning, effort=effort)


@family.rule(
    643, "a build file names CUDA or a library of NVIDIA", BuildLine,
    meaning=Meaning.MISSING, effort=Effort.M,
    advice=f"set it for CUDA only, and beside it for Ascend: {ASCEND}", source=SOURCE,
)  # fmt: skip
def line(node: BuildLine, file: BuildFile) -> Iterator[Match]:
    if TIE.search(node.text):
        yield Match(
            node.span, f"`{node.text.strip()[:80]}` is about CUDA", confidence=Confidence.LIKELY
        )


def _enables(node: Command) -> bool:
    if node.name in ("enable_language", "project", "check_language"):
        return LANGUAGE.search(node.arguments) is not None
    found = r"\s*(?:CUDA|CUDAToolkit|CUDNN|NCCL|TensorRT|cutlass|CUB|Thrust|nvtx3?|nvshmem)\b"
    if node.name in ("find_package", "find_dependency"):
        return re.match(found, node.arguments, re.IGNORECASE) is not None
    return node.name.startswith("cuda_")


def _short(node: Command) -> str:
    arguments = " ".join(node.arguments.split())
    return f"{node.name}({arguments[:60]}{'...' if len(arguments) > 60 else ''})"
