"""Every operator that the adapter registers is run by a test, or refused by name."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from types import ModuleType
from typing import Any

import pytest
import torch
from operator_calls import CALLS, RANDOM
from operator_database import OPERATORS, arguments, assert_same, gradients, samples, to_chip
from torch import Tensor
from torch.testing._internal.opinfo.core import OpInfo, SampleInput
from torch.utils._pytree import tree_map

from cordee.emulator.ops.schema import operator
from cordee.emulator.ops.ways import device_ways, registered

pytestmark = [
    pytest.mark.usefixtures("chip"),
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.timeout(1800),
]

DTYPES = (torch.float32, torch.int64, torch.complex64, torch.bool)

# Called under other names by tests of their own.
ELSEWHERE = {
    "convolution_overrideable": "test_unsampled_operators.py, as a convolution",
    "convolution_backward_overrideable": "test_unsampled_operators.py, as a convolution's gradient",
    "_pack_padded_sequence": "test_pytorch.py, in an LSTM: its lengths stay on the host",
}
REFUSED = {"to_padded_tensor": "takes nested tensors, which the adapter cannot make"}


class Sight:
    """Names of the operators that the chip was given, and the first call of each."""

    def __init__(self) -> None:
        self.calls: dict[str, tuple[Any, ...]] = {}

    def before(self, name: str, arguments: tuple[Any, ...]) -> None:
        self.calls.setdefault(name.removeprefix("aten::"), arguments)

    def after(self, name: str, results: tuple[Any, ...]) -> None:
        pass

    def failed(self, name: str, why: str) -> None:
        pass


def ours() -> set[str]:
    """PyTorch's operators that the adapter registers and a kernel of the emulator carries out."""
    return {
        name.removeprefix("aten::")
        for name, way in device_ways()
        if name.startswith("aten::") and way != "missing"
    } & {name.removeprefix("aten::") for name in registered("PrivateUse1")}


def moved(op: OpInfo, sample: SampleInput) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return to_chip(arguments(op, sample))  # type: ignore[no-any-return]


def uses(op: OpInfo, sample: SampleInput) -> Iterator[Callable[[], object]]:
    """All that can be done with a sample on the chip without a gradient."""

    def infer() -> object:
        with torch.inference_mode():
            args, kwargs = moved(op, sample)
            return op.op(*args, **kwargs)

    def write() -> None:
        args, kwargs = moved(op, sample)
        op.op(*args, **kwargs, out=tree_map(torch.zeros_like, infer()))

    def change() -> None:
        args, kwargs = moved(op, sample)
        op.inplace_variant(*args, **kwargs)

    yield infer
    if op.supports_out:
        yield write
    if op.inplace_variant is not None:
        yield change


def use_all(op: OpInfo, dtype: torch.dtype, *, forms: bool) -> None:
    """Use the samples of the operator, whatever comes of it: other tests look at that.

    With `forms` also those that write into an argument.
    """
    for sample in samples(op, dtype):
        for use in islice(uses(op, sample), None if forms else 1):
            with suppress(Exception):
                use()
    if op.supports_autograd and dtype.is_floating_point:
        for sample in samples(op, dtype, requires_grad=True):
            with suppress(Exception):
                gradients(op, sample, *moved(op, sample))


@pytest.fixture(scope="module")
def sight(chip: ModuleType) -> Sight:
    """What reaches the chip when the samples of the database are used."""
    sight = Sight()
    chip.observe(sight)
    for op in OPERATORS:
        for number, dtype in enumerate(d for d in DTYPES if d in op.dtypes):
            use_all(op, dtype, forms=number == 0)
    chip.observe(None)
    return sight


def written(name: str) -> list[str]:
    """Names of the arguments that are there to be written."""
    return [a.name for a in operator(f"aten::{name}")._schema.arguments if a.is_out]


def given(name: str) -> list[tuple[str, str]]:
    """Names and types of the other arguments."""
    arguments = operator(f"aten::{name}")._schema.arguments
    return [(a.name, str(a.type)) for a in arguments if not a.is_out]


def like(name: str, sight: Sight) -> tuple[Any, ...] | None:
    """Arguments for the operator, from a call of a form of it that writes into nothing."""
    base = name.partition(".")[0]
    for other, args in sight.calls.items():
        returns = not operator(f"aten::{other}")._schema.is_mutable
        if returns and other.partition(".")[0] == base and given(other) == given(name):
            return args
    return None


def write_into(name: str, args: tuple[Any, ...], device: str) -> Any:
    """What the operator writes into empty tensors."""
    args = tree_map(lambda x: x.detach().to(device) if isinstance(x, Tensor) else x, args)
    function = operator(f"aten::{name}")
    named = {
        a.name: x for a, x in zip(function._schema.arguments, args, strict=False) if a.kwarg_only
    }
    outs = {
        x: torch.empty(0, device=device, dtype=torch.int64 if x == "indices" else None)
        for x in written(name)
    }
    with torch.inference_mode():
        return function(*args[: len(args) - len(named)], **named, **outs)


def unreached(sight: Sight) -> set[str]:
    return ours() - sight.calls.keys()


@pytest.mark.slow
def test_a_form_that_writes_does_what_the_form_that_returns_does(sight: Sight) -> None:
    left = unreached(sight) - CALLS.keys() - RANDOM.keys()
    forms = {name: args for name in sorted(left) if written(name) and (args := like(name, sight))}
    assert len(forms) > 50
    for name, args in forms.items():
        assert_same(write_into(name, args, "npu"), write_into(name, args, "cpu"))


@pytest.mark.slow
def test_no_operator_is_without_a_test(sight: Sight) -> None:
    left = {x for x in unreached(sight) if not (written(x) and like(x, sight))}
    without = sorted(left - {*CALLS, *RANDOM, *ELSEWHERE})
    assert not without, f"no test runs {', '.join(without)}"


def test_the_list_of_operators_without_a_sample_names_operators_of_the_adapter() -> None:
    assert not {*CALLS, *RANDOM, *ELSEWHERE} - ours()


def test_what_is_not_emulated_of_pytorch_is_listed() -> None:
    missing = {
        name.removeprefix("aten::")
        for name, way in device_ways()
        if name.startswith("aten::") and way == "missing"
    }
    assert missing == REFUSED.keys()


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_emulated_says_its_name(name: str) -> None:
    with torch.inference_mode(), pytest.raises(NotImplementedError, match=f"aten::{name} is not"):
        operator(f"aten::{name}")(torch.ones(2, 3, device="npu"), 0.0)
