"""What an operator of a trace takes on a chip: arithmetic, bytes, words with other chips."""

from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from math import prod

from cordee.core.facts import Fact, rows
from cordee.plan.traced.attention import core
from cordee.plan.traced.trace import Signature, Tensor
from cordee.plan.work.operators import AttentionCore, Collective, Matmul, Vector

LISTED = 48
"""Tensors of a list that one kernel takes: aten/src/ATen/native/cuda/MultiTensorApply.cuh, for three lists."""
BACKWARD = 2.5
"""Of attention, beside forward: Dao, arxiv.org/abs/2307.08691, section 4.1."""
NARROW = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16", "int8": "int8", "uint8": "int8"}
"""How a planner calls a dtype."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(Fact):
    """What is known of some operators."""

    operator: list[str]
    kind: str
    left: str = ""
    right: str = ""
    times: int = 1
    layout: str = ""
    heads: str = ""
    sparse: list[int] = field(default_factory=list)
    backward: bool = False
    unread: str = ""
    waits: bool = False
    pattern: str = ""
    whole: str = ""
    peer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One call, as chips and links see it."""

    work: tuple[Matmul | AttentionCore | Vector, ...] = ()
    dtype: str = "bf16"
    """Of its products."""
    kernels: int = 1
    """That the host starts."""
    crossing_bytes: int = 0
    """Between the host and the chip."""
    waits: bool = False
    """Whether the host waits for the result."""
    collective: Collective | None = None
    group: str = ""
    """The name that torch.distributed gives it."""
    members: int = 1
    beside: bool = False
    """Whether the program goes on before it has ended."""
    sends_to: int | None = None
    """Rank of a message's receiver in its group."""
    receives_from: int | None = None
    on_host: bool = False
    """Whether an Ascend has no kernel for it: arguments go to the host, and the result comes back."""

    @property
    def flops(self) -> float:
        return sum(getattr(one, "flops", 0.0) for one in self.work)


@cache
def known() -> dict[str, Row]:
    """Rows by operator."""
    table = rows(files("cordee.plan.traced") / "operators.toml", Row)
    return {name: row for row in table for name in row.operator}


def row_of(operator: str) -> Row:
    """What is known of it, or of its other overloads; one bound by memory where nothing is."""
    return known().get(operator) or known().get(operator.partition(".")[0]) or _PLAIN


def work_of(signature: Signature) -> Work:
    """What a call of it takes."""
    row = row_of(signature.operator)
    if row.kind == "nothing" or not (signature.inputs or signature.outputs):
        return Work(kernels=0)
    if row.kind in ("collective", "message"):
        return _words(signature, row)
    if not signature.on_chip and signature.operator.startswith(("aten::copy", "aten::_to_copy")):
        return _crossing(signature)
    work = _work(signature, row)
    return Work(
        work=work,
        dtype=_dtype(signature),
        kernels=_kernels(signature),
        waits=row.waits,
        on_host=signature.support == "host",
    )


_PLAIN = Row(operator=[], kind="vector", source="")


def traffic_bytes(signature: Signature, row: Row = _PLAIN) -> int:
    """What it reads and writes."""
    given = sum(one.bytes for one in signature.outputs)
    if row.kind == "gather":
        indices = sum(one.bytes for one in signature.inputs[1:] if one.dtype.startswith("int"))
        return 2 * given + indices
    unread = {row.unread, "out"} - {""}
    return given + sum(one.bytes for one in signature.inputs if one.name not in unread)


def _work(signature: Signature, row: Row) -> tuple[Matmul | AttentionCore | Vector, ...]:
    name = signature.operator
    if row.kind == "product":
        product = _product(signature, row)
        return (product,) * row.times if product else ()
    if row.kind == "convolution":
        return (_convolution(signature, row),) * _asked(signature, row)
    if row.kind == "attention":
        found = core(signature, row.layout, row.heads, row.sparse)
        if found:
            more = BACKWARD if row.backward else 1
            return (
                AttentionCore(
                    name=name,
                    flops=found.flops * more,
                    size_bytes=traffic_bytes(signature),
                    score_size=found.score_size,
                    keys=found.keys,
                    backward=row.backward,
                ),
            )
    return (Vector(name, traffic_bytes(signature, row), _kernels(signature)),)


def _product(signature: Signature, row: Row) -> Matmul | None:
    lefts, rights = _either(signature, row.left), _either(signature, row.right)
    if not lefts or not rights or not signature.outputs or not lefts[0].shape:
        return None
    left, right, given = lefts[0], rights[0], signature.outputs[0]
    count = len(rights) if len(rights) > 1 else prod(right.shape[:-2])
    k = float(left.shape[-1])
    rows_ = sum(one.size for one in lefts) / k
    if len(given.shape) > len(left.shape):  # of groups of tokens: k is what they share out
        count, rows_ = given.shape[0], float(left.shape[0])
        k /= count
        count_m = rows_
    else:
        count_m = rows_ / count
    # `linear` turns its weight round: what it gives says how many columns.
    n = float(given.shape[-1]) if given.shape else 1.0
    moved = traffic_bytes(signature)
    is_expert = count > 1 and "group" in signature.operator
    return Matmul(
        signature.operator,
        count_m,
        n,
        k,
        int(count),
        is_expert=is_expert,
        moved_bytes=moved / row.times,
    )


def _convolution(signature: Signature, row: Row) -> Matmul:
    kernel = _either(signature, row.right)[0]
    seen = signature.outputs[0] if row.left == "=" else _either(signature, row.left)[0]
    turned = signature.arguments.get("transposed", False)
    channels = seen.shape[1]
    if turned:  # each number that comes in meets the whole kernel
        seen = signature.inputs[0]
        channels = seen.shape[1]
    k = kernel.size / kernel.shape[0]
    moved = traffic_bytes(signature) / row.times
    return Matmul(signature.operator, seen.size / channels, channels, k, moved_bytes=moved)


def _asked(signature: Signature, row: Row) -> int:
    """Which gradients of a convolution are wanted: of what came in, and of the kernel."""
    if row.times == 1:
        return 1
    mask = signature.arguments.get("output_mask", [True, True])
    return max(sum(bool(one) for one in mask[:2]), 1)


def _words(signature: Signature, row: Row) -> Work:
    group = str(signature.arguments.get("group", "0"))
    members = int(signature.arguments.get("group_size", 1))
    if row.kind == "message":
        size = sum(one.bytes for one in signature.inputs)
        peer = int(signature.arguments[row.peer])
        return Work(
            collective=Collective(signature.operator, "send", size, group),
            group=group,
            members=members,
            sends_to=peer if row.peer == "dst" else None,
            receives_from=peer if row.peer == "src" else None,
        )
    size = sum(one.bytes for one in _either(signature, row.whole))
    beside = signature.arguments.get("async_op", True) is not False
    return Work(
        collective=Collective(signature.operator, row.pattern, size, group, hidden=beside),
        group=group,
        members=members,
        beside=beside,
    )


def _crossing(signature: Signature) -> Work:
    source = next((one for one in signature.inputs if one.name in ("src", "self")), None)
    moved = max((one.bytes for one in (source, *signature.outputs) if one), default=0)
    to_host = any(one.on_host for one in signature.outputs)
    return Work(crossing_bytes=moved, waits=to_host)


def _kernels(signature: Signature) -> int:
    """Of a list of tensors, more than one."""
    if "foreach" not in signature.operator and "_fused_" not in signature.operator:
        return 1
    first = signature.inputs[0].name if signature.inputs else ""
    return -(-len(signature.named(first)) // LISTED) or 1


def _dtype(signature: Signature) -> str:
    """Of its products: that of what comes first on the chip."""
    first = next((one.dtype for one in signature.inputs if one.shape), "bfloat16")
    return "fp8" if first.startswith("float8") else NARROW.get(first, "fp32")


def _either(signature: Signature, names: str) -> list[Tensor]:
    """Inputs of the first of these names that there is."""
    return next((found for name in names.split("|") if (found := signature.named(name))), [])
