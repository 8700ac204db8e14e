"""Sums of lists with products or quotients of lists, which the chip rounds step by step in float16.

The CPU computes the whole in float32. The chip does so with bfloat16 only, in which its vector unit
has no arithmetic of its own.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from cordee.emulator.ops.reference import Chapter, Function

TESTS = "github.com/Ascend/op-plugin test/test_base_ops"
chapter = Chapter(
    source=f"{TESTS}/test_foreach_addcdiv_scalar_list.py, test_foreach_addcmul_scalar_list.py, "
    "test_foreach_sub_list.py"
)

Lists = Sequence[Tensor]
Factors = float | Sequence[float] | Tensor


def _sums(
    plain: Callable[..., Sequence[Tensor]], combine: Callable[[Tensor, Tensor], Tensor]
) -> Function:
    def sums(self: Lists, tensor1: Lists, tensor2: Lists, factors: Factors = 1) -> list[Tensor]:
        if self[0].dtype != torch.float16:
            return list(plain(self, tensor1, tensor2, factors))
        each = [factors] * len(self) if isinstance(factors, int | float) else factors
        return [
            x + combine(a, b) * factor
            for x, a, b, factor in zip(self, tensor1, tensor2, each, strict=True)
        ]

    return sums


@chapter.reference("aten::_foreach_sub.List")
def differences(self: Lists, other: Lists, alpha: float = 1) -> list[Tensor]:
    """`self - alpha * other`, tensor by tensor."""
    if self[0].dtype == torch.bfloat16:
        wide = ((x.float(), y.float()) for x, y in zip(self, other, strict=True))
        return [(x - y * alpha).bfloat16() for x, y in wide]
    if self[0].dtype != torch.float16:
        return list(torch._foreach_sub(list(self), list(other), alpha=alpha))
    return [x - y * alpha for x, y in zip(self, other, strict=True)]


def _in_place(sums: Function) -> Function:
    def change(self: Lists, *arguments: object, **options: object) -> None:
        for x, y in zip(self, sums(self, *arguments, **options), strict=True):
            x.copy_(y)

    return change


chapter.reference("aten::_foreach_sub_.List")(_in_place(differences))

quotients = _sums(torch._foreach_addcdiv, torch.div)
products = _sums(torch._foreach_addcmul, torch.mul)

for name, function in (("addcdiv", quotients), ("addcmul", products)):
    for overload in ("Scalar", "ScalarList", "Tensor"):
        chapter.reference(f"aten::_foreach_{name}.{overload}")(function)
        chapter.reference(f"aten::_foreach_{name}_.{overload}")(_in_place(function))
