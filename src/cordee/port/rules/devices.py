"""NV2: devices: their texts, comparisons with them, and `.cuda()`."""

import ast
import re
from collections.abc import Iterator

from cordee.port.finding import Confidence, Edit, Effort, Fix, Meaning
from cordee.port.python import devices
from cordee.port.python.devices import Use, is_device, names_device, use
from cordee.port.python.file import PythonFile
from cordee.port.python.fixes import substituted, unsafe
from cordee.port.python.guards import npu_has_its_own
from cordee.port.python.kinds import Kind, kind
from cordee.port.python.movement import moved
from cordee.port.python.openings import opened
from cordee.port.python.spelling import spell
from cordee.port.rule import Family, Match

BOTH = ("cuda", "npu")
CURRENT = "github.com/pytorch/pytorch torch/accelerator/__init__.py"
DEFAULT_TYPE = "github.com/Ascend/pytorch docs/zh/api/native_api/pytorch_2-13-0/torch.md"
SETTING = frozenset({"setattr", "delattr"})  # of Python, and of tests that replace something
SET_DEFAULT = "torch.set_default_tensor_type"
DTYPES = {
    "BFloat16Tensor": "bfloat16",
    "DoubleTensor": "float64",
    "FloatTensor": "float32",
    "HalfTensor": "float16",
}
STRATEGY = re.compile(r"cuda(?::\d+)? (?:fp|bf|int)\d+")
family = Family("devices", "Devices and their names", ("cuda",))


@family.rule(201, "a device is named by text", ast.Constant, ast.JoinedStr, source=CURRENT)
def named(node: ast.Constant | ast.JoinedStr, file: PythonFile) -> Iterator[Match]:
    if not names_device(node) or isinstance(file.parent(node), ast.JoinedStr):
        return
    where = use(file, node)
    if npu_has_its_own(file, node):
        return
    if where not in (Use.DEVICE, Use.OBJECT) or _has_neighbour(node, file):
        return
    if file.setting.portable:
        fix = devices.portable(file, node, where, "cuda" if _of_amp(node, file) else "cpu")
    else:
        fix = devices.native(file, node)
    advice = (
        "" if fix else "name the device of the machine: torch.accelerator.current_accelerator()"
    )
    yield Match(file.span(node), f"{file.text(node)} is a device", fix, advice=advice)


@family.rule(202, "a device is compared with CUDA's", ast.Compare, ast.Call)
def compared(node: ast.Compare | ast.Call, file: PythonFile) -> Iterator[Match]:
    if isinstance(node, ast.Call):
        yield from _prefix(node, file)
        return
    if len(node.ops) != 1 or _answered(node, file) or npu_has_its_own(file, node):
        return
    left, right, operator = node.left, node.comparators[0], node.ops[0]
    texts = [side for side in (left, right) if names_device(side)]
    listed = isinstance(right, (ast.Tuple, ast.List, ast.Set)) and any(
        map(names_device, right.elts)
    )
    if not texts and not listed:
        return
    other = right if texts and texts[0] is left else left
    says = f"`{file.text(node)}` asks whether a device is CUDA's"
    if not is_device(file, other):
        advice = "if it is a device, let it be an NPU too"
        yield Match(file.span(node), says, advice=advice, confidence=Confidence.UNSURE)
        return
    fix = _listed(right, file) if listed and not texts else _asked(node, operator, file)
    opens = opened(file, node, denied=isinstance(operator, (ast.NotEq, ast.NotIn)))
    advice = "" if fix else "let it be true for an NPU too"
    yield Match(file.span(node), says, fix, advice, opens=opens)


@family.rule(203, "a tensor or module is moved by .cuda()", ast.Call)
def moved_by_cuda(node: ast.Call, file: PythonFile) -> Iterator[Match]:
    func = node.func
    if not isinstance(func, ast.Attribute) or func.attr != "cuda":
        return
    owner = kind(file, func.value)
    if owner is Kind.OWN or (file.name(func) or "").startswith("torch."):
        return
    fix = moved(file, node)
    sure = not file.setting.project.defines("cuda")
    if not sure and owner is not Kind.TENSOR:
        fix, advice = unsafe(fix), "a class of this repository has a `cuda` of its own: is it that?"
    else:
        advice = "" if fix else "move it by .to(device)"
    confidence = Confidence.CERTAIN if owner else Confidence.LIKELY if sure else Confidence.UNSURE
    yield Match(file.span(node), "`.cuda()` moves to CUDA", fix, advice, confidence=confidence)


@family.rule(204, "a tensor is asked whether it is on CUDA", ast.Attribute)
def is_cuda(node: ast.Attribute, file: PythonFile) -> Iterator[Match]:
    if node.attr != "is_cuda" or not isinstance(node.ctx, ast.Load):
        return
    owner = kind(file, node.value)
    if owner is Kind.OWN:
        return
    own = file.setting.project.defines("is_cuda") and owner is not Kind.TENSOR
    span = file.attribute(node)
    new = f'device.type in ("{BOTH[0]}", "{BOTH[1]}")' if file.setting.portable else "is_npu"
    edits = [Edit(span.start, span.end, new)]
    if file.setting.portable and isinstance(file.parent(node), (ast.Compare, ast.BinOp)):
        whole = file.span(node)
        edits = [Edit(whole.start, whole.start, "("), Edit(span.start, span.end, f"{new})")]
    fix = Fix(tuple(edits)) if file.exact(node) and file.formatted(node) is None else None
    advice = "a class of this repository has an `is_cuda` of its own: is it that?" if own else ""
    yield Match(
        file.span(node),
        "`.is_cuda` is false on an NPU",
        unsafe(fix) if own else fix,
        advice,
        opens=opened(file, node),
    )


@family.rule(205, "a tensor type of CUDA is named by text", ast.Constant, effort=Effort.M,
             meaning=Meaning.SIGNATURE)  # fmt: skip
def tensor_type(node: ast.Constant, file: PythonFile) -> Iterator[Match]:
    if (
        isinstance(node.value, str)
        and node.value.startswith("torch.cuda.")
        and node.value.endswith("Tensor")
    ):
        advice = "name a dtype and a device instead: .to(device, torch.float32), torch.set_default_device(device)"
        yield Match(file.span(node), f"{file.text(node)} is a tensor type of CUDA", advice=advice)


@family.rule(
    208, "a tensor type of CUDA becomes the default", ast.Call, effort=Effort.M,
    meaning=Meaning.SIGNATURE, source=DEFAULT_TYPE,
    advice="set the two that it stands for: torch.set_default_dtype, torch.set_default_device",
)  # fmt: skip
def default_type(node: ast.Call, file: PythonFile) -> Iterator[Match]:
    if file.name(node.func) != SET_DEFAULT or len(node.args) != 1 or node.keywords:
        return
    name = file.name(node.args[0]) or ""
    if not name.startswith("torch.cuda."):
        return
    dtype = DTYPES.get(name.removeprefix("torch.cuda."))
    fix = _two_defaults(node, dtype, file) if dtype else None
    yield Match(
        file.span(node), f"`{file.text(node)}` is not supported for types of NPUs", unsafe(fix)
    )


def _two_defaults(node: ast.Call, dtype: str, file: PythonFile) -> Fix | None:
    """A dtype and a device by themselves. Not quite the same: the device is set for one thread."""
    set_dtype = spell(file, node, "torch.set_default_dtype")
    of_type = spell(file, node, f"torch.{dtype}")
    set_device = spell(file, node, "torch.set_default_device")
    current = spell(file, node, "torch.accelerator.current_accelerator")
    if not (set_dtype and of_type and set_device and current):
        return None
    if not isinstance(file.parent(node), ast.Expr):
        return None
    device = f'{current.text}() or "cpu"' if file.setting.portable else '"npu"'
    text = f"{set_dtype.text}({of_type.text}); {set_device.text}({device})"
    imports = (*set_dtype.imports, *of_type.imports, *set_device.imports, *current.imports)
    return substituted(file, node, text, *dict.fromkeys(imports))


@family.rule(206, "a choice of devices offers CUDA", ast.List, ast.Tuple, ast.Set)
def choices(node: ast.List | ast.Tuple | ast.Set, file: PythonFile) -> Iterator[Match]:
    texts = [e.value for e in node.elts if isinstance(e, ast.Constant)]
    if "cuda" not in texts or "npu" in texts or isinstance(file.parent(node), ast.Compare):
        return
    if _is_mixed(node):
        return
    parent = file.parent(node)
    offered = isinstance(parent, ast.keyword) and parent.arg == "choices"
    says = f"`{file.text(node)}` lists devices"
    fix = _listed(node, file) if offered else None
    confidence = Confidence.CERTAIN if offered else Confidence.LIKELY
    yield Match(file.span(node), says, fix, "" if offered else 'add "npu"', confidence=confidence)


def _is_mixed(node: ast.List | ast.Tuple | ast.Set) -> bool:
    """Whether "cuda" is one of several things there, not one of several devices."""
    return any(isinstance(e, (ast.Call, ast.Attribute)) for e in node.elts)


@family.rule(
    207, "a text says cuda", ast.Constant, ast.JoinedStr, meaning=Meaning.RUNS,
    advice="if it chooses or finds a device, let it do so for an NPU too",
)  # fmt: skip
def mentioned(node: ast.Constant | ast.JoinedStr, file: PythonFile) -> Iterator[Match]:
    if isinstance(node, ast.Constant) and (node.value == b"cuda" or _is_strategy(node.value)):
        says = f"{file.text(node)} may mean a device"
        yield Match(file.span(node), says, confidence=Confidence.UNSURE)
        return
    if not names_device(node) or isinstance(file.parent(node), ast.JoinedStr):
        return
    where = use(file, node)
    parent = file.parent(node)
    listed = (
        isinstance(parent, (ast.List, ast.Tuple, ast.Set))
        and any(isinstance(e, ast.Constant) and e.value == "cuda" for e in parent.elts)
        and not _is_mixed(parent)
    )
    if where in (Use.DEVICE, Use.OBJECT) or listed or _has_neighbour(node, file):
        return
    if isinstance(parent, (ast.Compare, ast.Expr)) or _is_asked_for(node, file):
        return
    if npu_has_its_own(file, node):
        return
    says = f"{file.text(node)} may mean a device"
    if (
        isinstance(parent, ast.Call)
        and _last_name(parent.func) in SETTING
        and parent.args[0] is not node
    ):
        says = f"{file.text(node)} is an attribute that is set: of torch.version, or a module?"
    yield Match(file.span(node), says, confidence=Confidence.UNSURE)


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _is_strategy(value: object) -> bool:
    """A device and a dtype, as programs of RWKV name them: cuda fp16."""
    return isinstance(value, str) and STRATEGY.match(value) is not None


def _prefix(node: ast.Call, file: PythonFile) -> Iterator[Match]:
    """`device.startswith("cuda")`."""
    match node:
        case ast.Call(func=ast.Attribute(attr="startswith", value=owner), args=[text]):
            if not names_device(text) or not isinstance(text, ast.Constant):
                return
            says = f"`{file.text(node)}` asks whether a device is CUDA's"
            if not is_device(file, owner):
                advice = "if it is a device, let it be an NPU too"
                yield Match(file.span(node), says, advice=advice, confidence=Confidence.UNSURE)
            else:
                yield Match(file.span(node), says, _either(text, file), opens=opened(file, node))


def _asked(node: ast.Compare, operator: ast.cmpop, file: PythonFile) -> Fix | None:
    left, right = node.left, node.comparators[0]
    text = left if names_device(left) else right
    if not isinstance(text, ast.Constant) or not file.exact(text) or file.formatted(node):
        return None
    if not file.setting.portable:
        return devices.native(file, text)
    if isinstance(operator, (ast.Eq, ast.NotEq)) and text is right:
        return _member(node, operator, text, file)
    if isinstance(operator, (ast.In, ast.NotIn)) and text is left:
        return _contained(node, operator, text, file)
    return None


def _member(
    node: ast.Compare, operator: ast.cmpop, text: ast.Constant, file: PythonFile
) -> Fix | None:
    """`x == "cuda"` as `x in ("cuda", "npu")`."""
    between = (file.span(node.left).end, file.span(text).start)
    sign = file.source.text[between[0] : between[1]]
    word, found = ("in", "==") if isinstance(operator, ast.Eq) else ("not in", "!=")
    at = sign.find(found)
    if sign.strip() != found:
        return None
    spaced = f"{'' if at else ' '}{word}{'' if sign[at + 2 :] else ' '}"
    start = between[0] + at
    fix = _either(text, file)
    return fix and Fix((Edit(start, start + 2, spaced), *fix.edits))


def _either(text: ast.Constant, file: PythonFile) -> Fix | None:
    """`"cuda"` as `("cuda", "npu")`."""
    if not file.setting.portable:
        return devices.native(file, text)
    span, written = file.span(text), file.text(text)
    pair = f"({written}, {written.replace('cuda', 'npu')})"
    return Fix((Edit(span.start, span.end, pair),))


def _contained(
    node: ast.Compare, operator: ast.cmpop, text: ast.Constant, file: PythonFile
) -> Fix | None:
    """`"cuda" in x` as `"cuda" in x or "npu" in x`, where to look at x twice does no harm."""
    other = node.comparators[0]
    if not _still(other):
        return None
    joint = "or" if isinstance(operator, ast.In) else "and"
    span = file.span(node)
    again = file.text(node).replace("cuda", "npu", 1)
    loose = isinstance(file.parent(node), (ast.If, ast.IfExp, ast.While, ast.Assign, ast.Return))
    opening, closing = ("", "") if loose else ("(", ")")
    edits = [
        Edit(span.start, span.start, opening),
        Edit(span.end, span.end, f" {joint} {again}{closing}"),
    ]
    return Fix(tuple(edit for edit in edits if edit.text))


def _listed(node: ast.expr, file: PythonFile) -> Fix | None:
    """One more of a list of texts."""
    assert isinstance(node, (ast.List, ast.Tuple, ast.Set))
    cuda = next(e for e in node.elts if isinstance(e, ast.Constant) and names_device(e))
    if not file.setting.portable:
        return devices.native(file, cuda)
    written = file.text(cuda)
    end = file.span(cuda).end
    return Fix((Edit(end, end, f", {written.replace('cuda', 'npu')}"),))


def _still(node: ast.expr) -> bool:
    """Whether an expression can be looked at twice: names, and the text of one."""
    match node:
        case ast.Name():
            return True
        case ast.Attribute(value=value):
            return _still(value)
        case ast.Call(func=ast.Name(id="str"), args=[inner], keywords=[]):
            return _still(inner)
    return False


def _answered(node: ast.Compare, file: PythonFile) -> bool:
    """Whether the same is asked for the NPU beside it."""
    parent = file.parent(node)
    nearby = list(parent.values) if isinstance(parent, ast.BoolOp) else [node]
    return any(_names_npu(n) for each in nearby for n in ast.walk(each))


def _names_npu(node: ast.AST) -> bool:
    match node:
        case ast.Constant(value=str(text)):
            return text == "npu" or text.startswith("npu:")
    return False


def _of_amp(node: ast.AST, file: PythonFile) -> bool:
    """Whether mixed precision is asked for: that of CUDA switches itself off without it."""
    parent = file.parent(node)
    name = file.called(file.parent(parent) if isinstance(parent, ast.keyword) else parent)
    return name is not None and name.startswith(("torch.amp.", "torch.autocast"))


def _has_neighbour(node: ast.AST, file: PythonFile) -> bool:
    """Whether the text stands beside the machine's accelerator: it is what is left without one."""
    match file.parent(node):
        case ast.BoolOp(values=values):
            beside: list[ast.expr] = values
        case ast.IfExp(body=body, orelse=orelse):
            beside = [body, orelse]
        case _:
            return False
    return any(file.called(n) == devices.CURRENT for value in beside for n in ast.walk(value))


def _is_asked_for(node: ast.AST, file: PythonFile) -> bool:
    parent = file.parent(node)
    if not isinstance(parent, ast.Call):
        return False
    asked = file.name(parent.func) in ("builtins.hasattr", "builtins.getattr")
    prefix = isinstance(parent.func, ast.Attribute) and parent.func.attr == "startswith"
    return asked or prefix
