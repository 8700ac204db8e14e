"""NV34: compilation and profiling: torch.compile's backends, what a profiler measures on the chip."""

import ast
import re
from collections.abc import Iterator

from cordee.port.finding import Confidence, Edit, Effort, Fix, Meaning
from cordee.port.names import offered
from cordee.port.python.file import PythonFile
from cordee.port.python.fixes import substituted, unsafe
from cordee.port.python.kinds import Kind, kind
from cordee.port.python.precision import device
from cordee.port.python.prose import is_prose
from cordee.port.python.spelling import spell
from cordee.port.rule import Family, Match

OVERVIEW = "github.com/Ascend/pytorch docs/zh/user_guide/torch_compile/overview.md"
PROFILER = "github.com/Ascend/pytorch docs/en/developer_notes/ascend_pytorch_profiler_user_guide.md"
AUTOGRAD = "github.com/Ascend/pytorch docs/zh/api/native_api/pytorch_2-13-0/torch-autograd.md"
SUPPORTED = "torch.profiler.supported_activities"
# Backends that make no code for a chip, and those of Ascend.
EVERYWHERE = frozenset({
    "eager", "aot_eager", "aot_eager_decomp_partition", "npugraphs", "npugraph_ex", "npu", "openxla",
    "onnxrt", "tvm", "ipex", "openvino", "hpu_backend",
})  # fmt: skip
# What an event or a table of the profiler calls what happened on the chip.
FIELD = re.compile(r"(?:self_)?cuda_(?:time|time_total|memory_usage)(?:_str)?")
COMPILING = re.compile(
    r"cudagraphs?|reduce-overhead|max-autotune|max-autotune-no-cudagraphs|(?:torch_|fx2)?tensorrt|fx2trt|"
    r"nvfuser|nvprims_nvfuser",
    re.IGNORECASE,
)
CAPTURES = frozenset({"reduce-overhead", "max-autotune"})
# Settings of Inductor, as torch._inductor.config.patch and torch.compile's options take them.
INDUCTOR = re.compile(r"(?:triton|cuda)\.\w+|cudagraphs?\w*|\w+_cudagraphs?(?:_\w+)?")
family = Family(
    "measuring",
    "Compilation and profiling",
    ("torch.compile", "th.compile", "import compile", "@compile", "profil", "cuda_time",
     "cuda_memory_usage", "cudagraph", "reduce-overhead", "max-autotune", "tensorrt", "fx2trt",
     "nvfuser", "_inductor"),
)  # fmt: skip


@family.rule(
    341, "code is compiled by torch.compile", ast.Attribute, ast.Name, meaning=Meaning.SIGNATURE,
    effort=Effort.M, source=OVERVIEW,
    advice="Inductor on Ascend takes triton-ascend; npugraphs is the backend for graphs, and "
    "without torch.compile the program runs as it is",
)  # fmt: skip
def compiled(node: ast.Attribute | ast.Name, file: PythonFile) -> Iterator[Match]:
    if file.name(node) != "torch.compile" or not isinstance(node.ctx, ast.Load):
        return
    call = file.parent(node)
    given: dict[str | None, ast.expr] = {}
    if isinstance(call, ast.Call) and call.func is node:
        given = {keyword.arg: keyword.value for keyword in call.keywords}
    backend, mode = _text(given.get("backend")), _text(given.get("mode"))
    if backend in EVERYWHERE:
        return
    if backend == "cudagraphs":
        fix = None
        if not file.setting.portable:
            fix = substituted(file, given["backend"], '"npugraphs"')
        yield Match(file.span(node), "CUDA graphs are npugraphs on Ascend", unsafe(fix))
    elif backend is not None and "tensorrt" in backend:
        says = "TensorRT is NVIDIA's"
        yield Match(file.span(node), says, meaning=Meaning.MISSING, effort=Effort.L)
    elif mode in CAPTURES:
        yield Match(file.span(node), f"the mode {mode} captures CUDA graphs")
    elif backend is None and "backend" in given:
        says = "the backend is chosen at run time"
        yield Match(file.span(node), says, confidence=Confidence.UNSURE)
    else:
        says = "Inductor makes Triton kernels for CUDA"
        yield Match(file.span(node), says, confidence=Confidence.LIKELY)


@family.rule(
    342, "a profiler is to record CUDA", ast.Attribute, meaning=Meaning.SIGNATURE, source=PROFILER,
    advice="torch.profiler.supported_activities() has what the machine can record; "
    "torch_npu.profiler records more of an NPU",
)  # fmt: skip
def activity(node: ast.Attribute, file: PythonFile) -> Iterator[Match]:
    name = file.name(node) or ""
    if not name.startswith("torch.") or not name.endswith("ProfilerActivity.CUDA"):
        return
    listed = file.parent(node)
    fix = None
    if not file.setting.portable:
        span = file.attribute(node)
        fix = Fix((Edit(span.start, span.end, "NPU"),)) if file.exact(node) else None
    elif isinstance(listed, (ast.List, ast.Tuple, ast.Set)) and offered(
        SUPPORTED, file.setting.torch
    ):
        names = {(file.name(element) or "").rpartition(".")[2] for element in listed.elts}
        where = spell(file, node, SUPPORTED)
        if names == {"CPU", "CUDA"} and where is not None:
            fix = substituted(file, listed, f"{where.text}()", *where.imports)
    yield Match(file.span(node), "`ProfilerActivity.CUDA` records nothing on Ascend", unsafe(fix))


@family.rule(
    343, "a profiler is to use CUDA", ast.Call, source=AUTOGRAD,
    advice="use_device takes the kind of the machine's device",
)  # fmt: skip
def profiled(node: ast.Call, file: PythonFile) -> Iterator[Match]:
    name = file.name(node.func) or ""
    if not name.startswith("torch.") or not name.endswith("profiler.profile"):
        return
    for keyword in node.keywords:
        if keyword.arg != "use_cuda":
            continue
        fix = None
        kind_ = device(file, node)
        if isinstance(keyword.value, ast.Constant) and keyword.value.value is True and kind_:
            span = file.span(keyword)
            text = f"use_device={kind_.text}"
            fix = Fix((*kind_.imports, Edit(span.start, span.end, text)))
        old = name == "torch.autograd.profiler.profile"
        yield Match(file.span(keyword), "`use_cuda` records CUDA only", fix if old else None)


@family.rule(
    344, "what a profiler measured on CUDA is asked for", ast.Attribute, ast.Constant,
    source="https://docs.pytorch.org/docs/2.13/profiler.html",
    advice="the fields are called device_time, device_time_total, device_memory_usage",
)  # fmt: skip
def field(node: ast.Attribute | ast.Constant, file: PythonFile) -> Iterator[Match]:
    if "torch" not in file.imports:
        return
    if isinstance(node, ast.Attribute):
        if not FIELD.fullmatch(node.attr) or kind(file, node.value) is Kind.OWN:
            return
        span = file.attribute(node)
        fix = Fix((Edit(span.start, span.end, node.attr.replace("cuda", "device")),))
        sure = node.attr in ("cuda_time_total", "self_cuda_time_total", "self_cuda_memory_usage")
        fix_ = fix if file.exact(node) and sure and isinstance(node.ctx, ast.Load) else None
        yield Match(file.span(node), f"`{node.attr}` is its old name", fix_)
        return
    if not isinstance(node.value, str) or not FIELD.fullmatch(node.value):
        return
    parent = file.parent(node)
    sorting = isinstance(parent, ast.keyword) and parent.arg in ("sort_by", "metric")
    new = file.text(node).replace("cuda", "device")
    fix_ = substituted(file, node, new) if sorting else None
    confidence = Confidence.CERTAIN if sorting else Confidence.LIKELY
    yield Match(file.span(node), f"{file.text(node)} is its old name", fix_, confidence=confidence)


@family.rule(
    345, "a text names a backend or mode of torch.compile that is CUDA's", ast.Constant,
    meaning=Meaning.SIGNATURE, effort=Effort.M, source=OVERVIEW,
    advice="npugraphs is the backend for graphs on Ascend; there is no TensorRT",
)  # fmt: skip
def spoken_of(node: ast.Constant, file: PythonFile) -> Iterator[Match]:
    if not isinstance(node.value, str) or not COMPILING.fullmatch(node.value):
        return
    parent = file.parent(node)
    call = file.parent(parent) if isinstance(parent, ast.keyword) else None
    if is_prose(file, node) or (call is not None and file.called(call) == "torch.compile"):
        return
    says, advice = f"{file.text(node)} is CUDA's when code is compiled", ""
    if node.value.lower() == "max-autotune-no-cudagraphs":
        says = f"{file.text(node)} has Inductor make Triton kernels for CUDA"
        advice = "Inductor on Ascend takes triton-ascend; what is tried out there takes its time"
    yield Match(file.span(node), says, advice=advice, confidence=Confidence.LIKELY)


@family.rule(
    346, "a text names a setting of Inductor that is CUDA's", ast.Constant, meaning=Meaning.RUNS,
    source=OVERVIEW,
    advice="Inductor on Ascend takes triton-ascend, and its graphs are not CUDA's: see whether the "
    "setting is wanted there",
)  # fmt: skip
def set_by_text(node: ast.Constant, file: PythonFile) -> Iterator[Match]:
    """`torch._inductor.config.patch("triton.cudagraphs", True)`, `options={"triton.cudagraphs": True}`."""
    if not isinstance(node.value, str) or not INDUCTOR.fullmatch(node.value):
        return
    if not is_prose(file, node) and _is_of_inductor(node, file):
        says = f"{file.text(node)} is a setting of Inductor for CUDA"
        yield Match(file.span(node), says, confidence=Confidence.LIKELY)


def _is_of_inductor(node: ast.Constant, file: PythonFile) -> bool:
    """Whether a text is an argument of what Inductor offers, or a key of what it is given."""
    inside: ast.AST | None = file.parent(node)
    while isinstance(inside, (ast.Dict, ast.keyword)):
        inside = file.parent(inside)
    name = file.called(inside) or ""
    options = name == "torch.compile" and isinstance(file.parent(node), ast.Dict)
    return options or name.startswith("torch._inductor.")


def _text(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
