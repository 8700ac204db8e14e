"""What kind of thing an expression is, where the code around it says so."""

import ast
from enum import Enum, auto

from cordee.port.python.file import DEEPEST, PythonFile
from cordee.port.python.scopes import Binding, How, Scope


class Kind(Enum):
    """What matters about a value to a port."""

    TENSOR = auto()
    MODULE = auto()
    DEVICE = auto()
    TEXT = auto()
    NUMBER = auto()
    NONE = auto()
    OWN = auto()  # of a class of the user's that is none of these


# Functions of torch that give one tensor; what is not here is not known, which is no harm.
TENSOR_MAKERS = frozenset(
    f"torch.{name}"
    for name in [
        "arange",
        "as_tensor",
        "bernoulli",
        "bmm",
        "cat",
        "clone",
        "empty",
        "empty_like",
        "exp",
        "eye",
        "from_numpy",
        "full",
        "full_like",
        "linspace",
        "log",
        "logspace",
        "matmul",
        "mean",
        "mm",
        "multinomial",
        "normal",
        "ones",
        "ones_like",
        "rand",
        "rand_like",
        "randint",
        "randint_like",
        "randn",
        "randn_like",
        "randperm",
        "softmax",
        "sqrt",
        "stack",
        "sum",
        "tensor",
        "tril",
        "triu",
        "where",
        "zeros",
        "zeros_like",
        "abs",
        "argmax",
        "concat",
        "clamp",
        "cumsum",
        "einsum",
        "flatten",
        "sigmoid",
        "Tensor",
        "FloatTensor",
        "LongTensor",
        "HalfTensor",
        "IntTensor",
        "nn.Parameter",
        "nn.parameter.Parameter",
    ]
)
# Methods of tensors that give a tensor, and of modules that give the module.
TENSOR_METHODS = frozenset(
    [
        "abs",
        "bfloat16",
        "bool",
        "clone",
        "contiguous",
        "cpu",
        "cuda",
        "detach",
        "double",
        "expand",
        "flatten",
        "float",
        "half",
        "int",
        "item_",
        "long",
        "mean",
        "npu",
        "permute",
        "pin_memory",
        "repeat",
        "requires_grad_",
        "reshape",
        "softmax",
        "squeeze",
        "sum",
        "to",
        "transpose",
        "type",
        "unsqueeze",
        "view",
    ]
)
MODULE_METHODS = frozenset(
    [
        "apply",
        "bfloat16",
        "cpu",
        "cuda",
        "double",
        "eval",
        "float",
        "half",
        "npu",
        "requires_grad_",
        "to",
        "train",
        "type",
    ]
)
ANNOTATIONS = {
    "torch.Tensor": Kind.TENSOR,
    "torch.FloatTensor": Kind.TENSOR,
    "torch.LongTensor": Kind.TENSOR,
    "torch.nn.Parameter": Kind.TENSOR,
    "torch.nn.Module": Kind.MODULE,
    "torch.device": Kind.DEVICE,
    "builtins.str": Kind.TEXT,
    "builtins.int": Kind.NUMBER,
}
NUMBERS = frozenset({
    "builtins.int", "builtins.len", "torch.cuda.current_device", "torch.cuda.device_count",
    "torch.distributed.get_rank", "torch.distributed.get_world_size",
})  # fmt: skip


def kind(file: PythonFile, node: ast.AST, depth: int = 0) -> Kind | None:
    """The kind of `node`; None where the code does not say, or says several."""
    if depth > DEEPEST:
        return None
    match node:
        case ast.Constant(value=str()) | ast.JoinedStr():
            return Kind.TEXT
        case ast.Constant(value=None):
            return Kind.NONE
        case ast.Constant(value=bool()):
            return None
        case ast.Constant(value=int()):
            return Kind.NUMBER
        case ast.Call():
            return _of_call(file, node, depth)
        case ast.Name():
            return _of_name(file, node, depth)
        case ast.Attribute(attr="data" | "grad" | "T"):
            return kind(file, node.value, depth + 1)
        case ast.Attribute(attr="device"):
            return Kind.DEVICE if kind(file, node.value, depth + 1) is Kind.TENSOR else None
        case ast.Attribute(attr="type"):
            return Kind.TEXT if kind(file, node.value, depth + 1) is Kind.DEVICE else None
        case ast.BinOp(op=ast.Mod()) if kind(file, node.left, depth + 1) is Kind.NUMBER:
            return Kind.NUMBER
        case ast.IfExp():
            kinds = {kind(file, branch, depth + 1) for branch in (node.body, node.orelse)}
            return kinds.pop() if len(kinds) == 1 else None
    return None


def class_kind(file: PythonFile, node: ast.ClassDef, depth: int = 0) -> Kind | None:
    """What instances of a class are, as far as its bases are known here."""
    kinds = {_of_base(file, base, depth + 1) for base in node.bases}
    if Kind.MODULE in kinds:
        return Kind.MODULE
    if Kind.TENSOR in kinds:
        return Kind.TENSOR
    return None if None in kinds else Kind.OWN


def _of_base(file: PythonFile, base: ast.expr, depth: int) -> Kind | None:
    name = file.name(base)
    if name == "torch.Tensor":
        return Kind.TENSOR
    if name is not None and name.startswith(("torch.nn.", "pytorch_lightning.Lightning")):
        return Kind.MODULE
    if name is not None and name.startswith(("builtins.", "typing.", "abc.", "enum.")):
        return Kind.OWN
    if isinstance(base, ast.Name) and depth <= DEEPEST:
        found = [b.node for b in file.bindings(base)]
        if len(found) == 1 and isinstance(found[0], ast.ClassDef):
            return class_kind(file, found[0], depth)
    return None


def _of_call(file: PythonFile, node: ast.Call, depth: int) -> Kind | None:
    name = file.name(node.func)
    if name in TENSOR_MAKERS:
        return Kind.TENSOR
    if name == "torch.device":
        return Kind.DEVICE
    if name in ("builtins.str",):
        return Kind.TEXT
    if name in NUMBERS:
        return Kind.NUMBER
    if name is not None and name.startswith("torch.nn."):
        return _of_torch_nn(name)
    if isinstance(node.func, ast.Name):
        found = [b.node for b in file.bindings(node.func)]
        if len(found) == 1 and isinstance(found[0], ast.ClassDef):
            return class_kind(file, found[0])
    if isinstance(node.func, ast.Attribute):
        owner = kind(file, node.func.value, depth + 1)
        if owner is Kind.TENSOR and node.func.attr in TENSOR_METHODS:
            return Kind.TENSOR
        if owner is Kind.MODULE and node.func.attr in MODULE_METHODS:
            return Kind.MODULE
        if owner is Kind.TEXT:
            return Kind.TEXT
    return None


def _of_torch_nn(name: str) -> Kind | None:
    if name.startswith("torch.nn.functional."):
        return Kind.TENSOR
    last = name.rpartition(".")[2]
    return Kind.MODULE if last[:1].isupper() else None


def _of_name(file: PythonFile, node: ast.Name, depth: int) -> Kind | None:
    if node.id in ("self", "cls"):
        return _of_self(file, file.scope(node))
    kinds = {_of_binding(file, binding, depth) for binding in file.bindings(node)}
    kinds.discard(Kind.NONE)
    return kinds.pop() if len(kinds) == 1 else None


def _of_binding(file: PythonFile, binding: Binding, depth: int) -> Kind | None:
    if binding.annotation is not None:
        annotated = ANNOTATIONS.get(file.name(binding.annotation) or "")
        if annotated is not None:
            return annotated
    if binding.how in (How.VALUE, How.PARAMETER) and binding.value is not None:
        return kind(file, binding.value, depth + 1)
    return None


def _of_self(file: PythonFile, scope: Scope | None) -> Kind | None:
    while scope is not None:
        if isinstance(scope.node, ast.ClassDef):
            return class_kind(file, scope.node)
        scope = scope.parent
    return None
