"""PyTorch's own operator database, and how the chip is compared with the CPU over it."""

import random
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor
from torch.testing._internal.common_methods_invocations import (
    foreach_binary_op_db,
    foreach_other_op_db,
    foreach_pointwise_op_db,
    foreach_reduce_op_db,
    foreach_unary_op_db,
    op_db,
)
from torch.testing._internal.common_utils import SEED
from torch.testing._internal.opinfo.core import OpInfo, SampleInput
from torch.utils._pytree import tree_leaves, tree_map

OPERATORS: list[OpInfo] = [
    *op_db,
    *foreach_unary_op_db,
    *foreach_binary_op_db,
    *foreach_pointwise_op_db,
    *foreach_reduce_op_db,
    *foreach_other_op_db,
]

SAMPLES = 5  # of an operator and dtype, spread over
FIRST = 60  # that many, or all that PyTorch has where there are fewer
ALL = 300  # in the slow tests; a few operators have thousands


HALVES = (torch.float16, torch.bfloat16)

NO_SUCH_FORM = object()
FACTORIES = {"arange", "linspace"}  # some of whose samples name no device

Tree = Any  # tensors in tuples, lists and dicts
Run = Callable[[OpInfo, SampleInput], None]


@dataclass(frozen=True, slots=True)
class Exempt:
    """Operators that do not give on the chip what they give on the CPU, and why that is right."""

    operators: frozenset[str]
    """Names in the database, with the variant after a dot."""
    kind: str
    """See the table."""
    error: str
    """Pattern of what a sample's failure says; the other samples must pass."""
    reason: str
    source: str = ""
    checks: frozenset[str] = frozenset({"forward", "every", "gradient", "in_place", "out"})
    dtypes: frozenset[str] = frozenset()
    """Names of the dtypes it holds for; empty for all."""


def exceptions() -> list[Exempt]:
    table = tomllib.loads(Path(__file__).with_name("test_operators.toml").read_text("utf-8"))
    sets = ("operators", "checks", "dtypes")
    return [
        Exempt(**{k: frozenset(v) if k in sets else v for k, v in row.items()})
        for row in table["row"]
    ]


EXCEPTIONS = exceptions()


def full_name(op: OpInfo) -> str:
    return f"{op.name}.{op.variant_test_name}" if op.variant_test_name else op.name


def exception(op: OpInfo, check: str, dtype: torch.dtype) -> Exempt | None:
    short = str(dtype).removeprefix("torch.")
    for row in EXCEPTIONS:
        if (
            full_name(op) in row.operators
            and check in row.checks
            and short in (row.dtypes or {short})
        ):
            return row
    return None


def cases(dtypes: tuple[torch.dtype, ...], applies: Callable[[OpInfo], bool]) -> list[Any]:
    return [
        pytest.param(op, dtype, id=f"{full_name(op)}-{dtype}".replace("torch.", ""))
        for op in OPERATORS
        for dtype in dtypes
        if dtype in op.dtypes and applies(op)
    ]


def samples(
    op: OpInfo, dtype: torch.dtype, *, requires_grad: bool = False, every: bool = False
) -> list[SampleInput]:
    torch.manual_seed(0)
    there = op.sample_inputs_func(op, "cpu", dtype, requires_grad)
    found = list(islice(seeded(there), ALL if every else FIRST))
    return found if every else found[:: max(1, -(-len(found) // SAMPLES))]


def seeded(there: Iterable[SampleInput]) -> Iterator[SampleInput]:
    """The samples that op.sample_inputs() gives; it looks for a unittest in the whole stack, which takes longer than a test."""
    samples = iter(there)
    while True:
        torch.default_generator.manual_seed(SEED)
        random.seed(SEED)
        numpy.random.seed(SEED)
        try:
            yield next(samples)
        except StopIteration:
            return


def compare(op: OpInfo, check: str, dtype: torch.dtype, run: Run) -> None:
    """Run the samples of the operator: a few, or those of the check "every"."""
    row = exception(op, check, dtype)
    failed = False
    for sample in samples(op, dtype, requires_grad=check == "gradient", every=check == "every"):
        try:
            run(op, sample)
        except (AssertionError, RuntimeError) as error:
            if row is None or not re.search(row.error, str(error)):
                raise
            failed = True
    if row is not None and row.kind != "unwritten":
        assert failed, f"{full_name(op)} is an exception without need: {row.reason}"


def to_chip(value: Tree) -> Tree:
    """The same tree with its tensors on the chip, as leaves of a graph of their own."""

    def moved(leaf: object) -> object:
        if isinstance(leaf, Tensor):
            return leaf.detach().to("npu").requires_grad_(leaf.requires_grad)
        return "npu" if leaf in ("cpu", torch.device("cpu")) else leaf

    return tree_map(moved, value)


def arguments(op: OpInfo, sample: SampleInput) -> tuple[tuple[Any, ...], dict[str, Any]]:
    args, kwargs = (sample.input, *sample.args), dict(sample.kwargs)
    if op.name in FACTORIES:
        kwargs.setdefault("device", "cpu")
    return args, kwargs


def assert_same(actual: Tree, expected: Tree) -> None:
    ours, theirs = tree_leaves(actual), tree_leaves(expected)
    assert len(ours) == len(theirs), f"{len(ours)} results, not {len(theirs)}"
    for x, y in zip(ours, theirs, strict=True):
        assert type(x) is type(y), f"{type(x)} is not {type(y)}"
        if not isinstance(y, Tensor):
            assert x == y, f"{x} is not {y}"
            continue
        assert x.device.type == "npu", "the result is not on the chip"
        for what in ("shape", "dtype", "layout"):
            found, wanted = getattr(x, what), getattr(y, what)
            assert found == wanted, f"the {what} is {found}, not {wanted}"
        torch.testing.assert_close(x.cpu(), y, equal_nan=True)
        if y.layout == torch.strided:
            assert x.stride() == y.stride(), f"the strides are {x.stride()}, not {y.stride()}"


def on_cpu(call: Callable[[], Tree]) -> Tree:
    """What the CPU gives; NO_SUCH_FORM where it refuses the sample, as it may for some dtypes."""
    try:
        return call()
    except (RuntimeError, TypeError, IndexError):
        return NO_SUCH_FORM


def in_float(value: Tree) -> Tree:
    """The same tree with its tensors of half precision in float32."""

    def wide(leaf: object) -> object:
        return leaf.float() if isinstance(leaf, Tensor) and leaf.dtype in HALVES else leaf

    return tree_map(wide, value)


def rounded(value: Tree, like: Tree) -> Tree:
    return tree_map(lambda x, y: x.to(y.dtype) if isinstance(x, Tensor) else x, value, like)


def forward(op: OpInfo, sample: SampleInput) -> None:
    args, kwargs = arguments(op, sample)
    moved_args, moved_kwargs = to_chip((args, kwargs))
    wide_args, wide_kwargs = in_float((args, kwargs))
    expected = on_cpu(lambda: op.op(*args, **kwargs))
    if expected is NO_SUCH_FORM:
        return
    result = op.op(*moved_args, **moved_kwargs)
    try:
        assert_same(result, expected)
    except AssertionError:
        # The chip rounds half precision once; the CPU, for some operators, in between as well.
        if not any(isinstance(x, Tensor) and x.dtype in HALVES for x in tree_leaves(expected)):
            raise
        assert_same(result, rounded(op.op(*wide_args, **wide_kwargs), expected))


def gradients(op: OpInfo, sample: SampleInput, args: Tree, kwargs: Tree) -> list[Tensor | None]:
    results = op.op(*args, **kwargs)
    if sample.output_process_fn_grad is not None:
        results = sample.output_process_fn_grad(results)
    results = [y for y in tree_leaves(results) if isinstance(y, Tensor) and y.requires_grad]
    leaves = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor) and x.requires_grad]
    torch.manual_seed(1)
    cotangents = [torch.randn(y.shape, dtype=y.dtype).to(y.device) for y in results]
    return (
        list(torch.autograd.grad(results, leaves, cotangents, allow_unused=True)) if results else []
    )


def gradient(op: OpInfo, sample: SampleInput) -> None:
    args, kwargs = arguments(op, sample)
    moved_args, moved_kwargs = to_chip((args, kwargs))
    expected = on_cpu(lambda: gradients(op, sample, args, kwargs))
    if expected is not NO_SUCH_FORM:
        assert_same(gradients(op, sample, moved_args, moved_kwargs), expected)


def into(op: OpInfo, sample: SampleInput) -> None:
    args, kwargs = arguments(op, sample)
    moved_args, moved_kwargs = to_chip((args, kwargs))
    result = on_cpu(lambda: op.op(*args, **kwargs))
    if result is NO_SUCH_FORM or not isinstance(tree_leaves(result)[0], Tensor):
        return
    expected = tree_map(torch.zeros_like, result)
    out = tree_map(lambda x: torch.zeros_like(x, device="npu"), result)
    if on_cpu(lambda: op.op(*args, **kwargs, out=expected)) is not NO_SUCH_FORM:
        op.op(*moved_args, **moved_kwargs, out=out)
        assert_same(out, expected)


def in_place(op: OpInfo, sample: SampleInput) -> None:
    (target, *args), kwargs = arguments(op, sample)
    (ours, *moved_args), moved_kwargs = to_chip(((target, *args), kwargs))
    expected = tree_map(torch.clone, target)
    if on_cpu(lambda: op.inplace_variant(expected, *args, **kwargs)) is not NO_SUCH_FORM:
        op.inplace_variant(ours, *moved_args, **moved_kwargs)
        assert_same(ours, expected)
