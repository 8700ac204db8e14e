"""NV11: what is CUDA's by its looks, where it cannot be known what it stands for.

These rules speak last: only of lines of which no other rule has said anything.
"""

import ast
import re
import textwrap
from collections.abc import Iterator

from cordee.port.finding import Confidence, Effort, Meaning
from cordee.port.python.environ import Way, access
from cordee.port.python.file import PythonFile
from cordee.port.python.neighbours import own
from cordee.port.python.prose import is_prose
from cordee.port.python.scopes import How
from cordee.port.rule import Family, Match
from cordee.port.rules.cuda_names import names
from cordee.port.rules.environment import translation

WORDS = re.compile(r"cuda|nccl|nvidia|cudnn", re.IGNORECASE)
FUNCTION = re.compile(r"_?_?(?:cuda|nccl|cudnn|nvml)[A-Z]\w+|_checkCuda\w*|__cuda_\w+__")
OPERATOR = re.compile(
    r"aten::\w*(?:cuda|cudnn)\w*|_?cudnn_(?:rnn|convolution|batch_norm|grid_sampler|affine_grid|ctc_loss"
    r"|init_dropout|attention|is_acceptable|enabled)\w*"
)
MOVING = frozenset({"torch.Tensor.cuda", "torch.nn.Module.cuda"})  # not called, but passed on
# Of classes of torch that programs derive from.
INHERITED = frozenset({"_cuda_graph_capture_health_check"})
MODULE_TEXT = re.compile(r"(?:[A-Za-z_][\w.]*\.)?torch\.cuda(?:\.\w+)*")
CODE_TEXT = re.compile(r"\btorch\.cuda\.\w+\(|\.cuda\(|\bcuda(?:Stream_t|Error_t|[A-Z]\w+\()")
PLACEMENT = re.compile(r"(?:rank:\d+)?/cuda(?::\d+)?")
# Packages, files, functions and messages of NVIDIA's software.
OF_NVIDIA = re.compile(
    r"\bnvcc\b|\$?\w*_nvcc\b|\$nvcc\w*|developer\.download\.nvidia|\bCUDA\w*Impl\.h\b"
    r"|\bnvidia[-_](?:cutlass|cuda|cudnn|cublas|nccl|nvshmem|ml|modelopt|resiliency|dali|nvtx)"
    r"|\b(?:cuda|nccl|cudnn)[A-Z]\w+|CUDA function failed|CUDA Version|\^?\bcuda_(?:copy|ipc)\b"
    r"|\bcuda\.(?:core|bindings)\b"
)
COUNT = re.compile(r"(?:min|max|num|n)_cuda_(?:gpus|devices)")  # what a test needs to run
VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")

family = Family(
    "traces", "What looks like CUDA's", ("cuda", "nccl", "nvidia", "cudnn"), last=True,
    each=frozenset({114}),
)  # fmt: skip


@family.rule(
    111, "a name looks like torch.cuda's", ast.Attribute, meaning=Meaning.RENAMED,
    advice="if it is torch's module, its names are in torch.accelerator and torch.npu",
    source="https://docs.pytorch.org/docs/2.13/cuda.html",
)  # fmt: skip
def alike(node: ast.Attribute, file: PythonFile) -> Iterator[Match]:
    if isinstance(file.parent(node), ast.Attribute):
        return
    if file.name(node) in MOVING:
        says = f"`{file.name(node)}` is what moves to CUDA"
        yield Match(file.span(node), says, advice="on Ascend it is `npu`, and everywhere `to`")
        return
    written = _dotted(node)
    known = file.name(node) is not None
    if written is None or "cuda" not in written[1:] or (known and "torch" not in written[1:]):
        return
    if written[:2] == ["torch", "cuda"] and _is_given(node, file):
        return  # an argument that is called torch is anybody's
    behind = written[len(written) - written[::-1].index("cuda") :]
    owner = written[written.index("cuda", 1) - 1]
    mocked = bool(behind) and behind[0].startswith(("assert_", "return_value", "side_effect"))
    said = f"`{'.'.join(written)}`"
    if owner == "torch" and known:
        says = f"{said} is torch's module, reached through another"
        yield Match(file.span(node), says, confidence=Confidence.LIKELY)
    elif (behind and ".".join(behind) in names()) or owner.startswith("torch") or mocked:
        says = f"{said} looks like a name of CUDA's"
        yield Match(file.span(node), says, confidence=Confidence.UNSURE)


@family.rule(
    112, "a name is one of CUDA's runtime or of torch's for it", ast.Attribute, ast.Name,
    ast.Constant, meaning=Meaning.MISSING, effort=Effort.M,
    advice="keep it for CUDA, and let the program go on without it elsewhere",
    source="https://docs.nvidia.com/cuda/cuda-runtime-api",
)  # fmt: skip
def function(node: ast.Attribute | ast.Name | ast.Constant, file: PythonFile) -> Iterator[Match]:
    match node:
        case ast.Attribute(attr=name, ctx=ast.Load()) | ast.Name(id=name, ctx=ast.Load()):
            named = FUNCTION.fullmatch(name) is not None or name in INHERITED
        case ast.Constant(value=str(name)):
            named = name in INHERITED or OPERATOR.fullmatch(name) is not None
        case _:
            return
    if named:
        yield Match(
            file.span(node), f"`{name}` is a name of CUDA's", confidence=Confidence.UNSURE,
            meaning=Meaning.RUNS if name in INHERITED else None,
        )  # fmt: skip


@family.rule(
    113, "a text names something of torch.cuda", ast.Constant,
    advice="where a port has renamed what it names, such as for a test that replaces it, "
    "let the text name the same",
    source="https://docs.python.org/3/library/unittest.mock.html",
)  # fmt: skip
def named(node: ast.Constant, file: PythonFile) -> Iterator[Match]:
    if not isinstance(node.value, str) or MODULE_TEXT.fullmatch(node.value) is None:
        return
    if not is_prose(file, node):
        says = f"{file.text(node)} names something of CUDA's"
        row = names().get(node.value.rpartition("torch.cuda.")[2])
        advice = ""
        if row is not None and row.neutral:
            advice = f"a port calls `{row.neutral}` in its place: let a test replace that too"
        yield Match(file.span(node), says, advice=advice, confidence=Confidence.UNSURE)


@family.rule(
    114, "a text holds code that is CUDA's", ast.Constant, ast.JoinedStr, effort=Effort.M,
    advice="see to it as to the code of the program",
    source="inferred: the text itself",
)  # fmt: skip
def code(node: ast.Constant | ast.JoinedStr, file: PythonFile) -> Iterator[Match]:
    if isinstance(file.parent(node), (ast.JoinedStr, ast.Expr)) or is_prose(file, node):
        return
    if isinstance(node, ast.Constant) and not isinstance(node.value, str):
        return
    if CODE_TEXT.search(file.text(node)) and _is_code(node, file):
        says = "a text holds code that names CUDA"
        yield Match(file.span(node), says, confidence=Confidence.UNSURE)


@family.rule(
    115, "something is used that another package names after CUDA", ast.Attribute, ast.Name,
    meaning=Meaning.MISSING, effort=Effort.M,
    advice="see what the package offers for Ascend, and keep this for CUDA",
    source="inferred: the name itself",
)  # fmt: skip
def used(node: ast.Attribute | ast.Name, file: PythonFile) -> Iterator[Match]:
    if isinstance(file.parent(node), ast.Attribute) or not isinstance(node.ctx, ast.Load):
        return
    name = _imported(node, file)
    if name is None or not WORDS.search(file.text(node)) or not _says_cuda(name, file.text(node)):
        return
    if name.startswith("builtins.") or ".torch." in name or own(file, name):
        return
    says = f"`{name}` is named after CUDA"
    yield Match(file.span(node), says, confidence=Confidence.UNSURE)


@family.rule(
    116, "something is imported that another package names after CUDA", ast.Import, ast.ImportFrom,
    meaning=Meaning.RUNS, advice="the import may do no harm: see what it is used for",
    source="inferred: the name itself",
)  # fmt: skip
def imported(node: ast.Import | ast.ImportFrom, file: PythonFile) -> Iterator[Match]:
    origin = ""
    if isinstance(node, ast.ImportFrom):
        if node.level:
            return
        origin = f"{node.module}."
    for alias in node.names:
        name = f"{origin}{alias.name}"
        if _says_cuda(name, alias.asname or "") and not own(file, name):
            says = f"`{name}` is named after CUDA"
            yield Match(file.span(alias), says, confidence=Confidence.UNSURE)


@family.rule(
    117, "another package's argument is named after CUDA", ast.keyword, meaning=Meaning.SIGNATURE,
    advice="see what the package does with it on Ascend", source="inferred: the name itself",
)  # fmt: skip
def argument(node: ast.keyword, file: PythonFile) -> Iterator[Match]:
    call = file.parent(node)
    if node.arg is None or not WORDS.search(node.arg) or not isinstance(call, ast.Call):
        return
    if _is_variable(node, file):
        return
    name = _imported(call.func, file)
    others = name is not None and not name.startswith("builtins.") and not own(file, name)
    if not others and COUNT.fullmatch(node.arg) is None:
        return
    yield Match(
        file.span(node), f"`{node.arg}` of `{file.text(call.func)}` is named after CUDA",
        confidence=Confidence.UNSURE,
    )  # fmt: skip


@family.rule(
    118, "an environment variable is named after CUDA", ast.Constant, ast.keyword,
    meaning=Meaning.RUNS, advice="see who reads it, and whether Ascend has a counterpart",
    source="inferred: the name itself",
)  # fmt: skip
def variable(node: ast.Constant | ast.keyword, file: PythonFile) -> Iterator[Match]:
    name = node.arg if isinstance(node, ast.keyword) else node.value
    if not isinstance(name, str) or not WORDS.search(name):
        return
    if isinstance(node, ast.keyword):  # dict(os.environ, NAME=...), or a helper that sets them
        sets = _is_variable(node, file)
    else:
        named = VARIABLE.fullmatch(name) is not None
        sets = named and access(file, node).way in (Way.READ, Way.WRITE)
    if sets:
        says = f"the environment variable {name} is named after CUDA"
        yield Match(file.span(node), says, confidence=Confidence.UNSURE)


@family.rule(
    119, "a place in a group is on CUDA", ast.Constant, meaning=Meaning.RENAMED,
    advice="name the kind of the machine's device: rank:0/npu:0",
    source="https://docs.pytorch.org/docs/2.13/distributed.tensor.html",
)  # fmt: skip
def placement(node: ast.Constant, file: PythonFile) -> Iterator[Match]:
    if isinstance(node.value, str) and PLACEMENT.fullmatch(node.value):
        says = f'"{node.value}" places something on CUDA'
        yield Match(file.span(node), says, confidence=Confidence.LIKELY)


@family.rule(
    120, "a text names software of NVIDIA's", ast.Constant, meaning=Meaning.MISSING,
    advice="where it is needed to run, see to Ascend's counterpart", source="inferred: the text itself",
)  # fmt: skip
def software(node: ast.Constant, file: PythonFile) -> Iterator[Match]:
    if not isinstance(node.value, str) or is_prose(file, node):
        return
    found = OF_NVIDIA.search(node.value)
    if found is not None:
        says = f"a text names `{found[0]}`"
        yield Match(file.span(node), says, confidence=Confidence.UNSURE)


def _dotted(node: ast.expr) -> list[str] | None:
    """The names of a.b().c[0].d, in their order; None where it begins with something else."""
    found: list[str] = []
    while True:
        match node:
            case ast.Attribute(value=value, attr=attr):
                found.append(attr)
            case ast.Name(id=name):
                return [name, *found[::-1]]
            case ast.Call(func=value) | ast.Subscript(value=value):
                pass
            case _:
                return None
        node = value


def _is_code(node: ast.Constant | ast.JoinedStr, file: PythonFile) -> bool:
    if isinstance(node, ast.JoinedStr) or "\n" in file.text(node):
        return "\n" in file.text(node)
    try:
        ast.parse(textwrap.dedent(str(node.value)))
    except (SyntaxError, ValueError):
        return False
    return True


def _imported(node: ast.expr, file: PythonFile) -> str | None:
    """The full name; of a name that is bound in several ways, by the import among them."""
    name = file.name(node)
    if name is not None:
        return name if not name.startswith(".") else None
    behind: list[str] = []
    while isinstance(node, ast.Attribute):
        behind.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    dotted = [b.dotted for b in file.bindings(node) if b.dotted]
    if not dotted or dotted[0].startswith("."):
        return None
    return ".".join([dotted[0], *behind[::-1]])


def _is_given(node: ast.expr, file: PythonFile) -> bool:
    """Whether what a dotted name begins with is an argument of a function."""
    first = next(each for each in ast.walk(node) if isinstance(each, ast.Name))
    return any(binding.how is How.PARAMETER for binding in file.bindings(first))


def _is_variable(argument: ast.keyword, file: PythonFile) -> bool:
    """Whether an argument's name is that of an environment variable; in small letters where the call says so."""
    name, call = argument.arg or "", file.parent(argument)
    if VARIABLE.fullmatch(name) is not None:
        return True
    known = translation(name.upper(), None)
    speaks = isinstance(call, ast.Call) and "env" in file.text(call.func).lower()
    return speaks and known is not None and known.confidence is not Confidence.UNSURE


def _says_cuda(name: str, written: str) -> bool:
    """Whether a package's name for something, or the file's own for it, says CUDA.

    A module that is called cuda may be anybody's, but not in these packages.
    """
    root = name.partition(".")[0]
    if root in ("vllm_ascend", "torch_npu"):
        return False
    parts = f"{name}.{written}".split(".")
    return any(
        WORDS.search(part) for part in parts if part != "cuda" or root in ("cutlass", "cupy")
    )
