"""What flows back through a function that PyTorch differentiates, on any chip.

Written by `cordee port`; it needs nothing of Cordée.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def gradients(
    function: Callable[..., Any], inputs: Sequence[Tensor | None], *given: Tensor | None
) -> list[Any]:
    """What flows back to each input of `function` when `given` arrives at its results."""
    with torch.enable_grad():
        leaves = [None if x is None else x.detach().requires_grad_() for x in inputs]
        results = function(*leaves)
        results = results if isinstance(results, tuple) else (results,)
        pairs = [(r, g) for r, g in zip(results, given, strict=True) if g is not None]
        wanted = [leaf for leaf in leaves if leaf is not None]
        found = iter(torch.autograd.grad([r for r, _ in pairs], wanted, [g for _, g in pairs]))
    return [None if leaf is None else next(found) for leaf in leaves]
