"""What a reference says about arguments it does not do and memory its operator leaves alone."""

from collections.abc import Sequence

import torch
from torch import Tensor

from cordee.core.errors import NotEmulated


def refuse(operator: str, **arguments: object) -> None:
    """Raise NotEmulated for the first of `arguments` that is given: neither None nor False."""
    for name, value in arguments.items():
        if value is not None and value is not False:
            raise NotEmulated(f"{operator}: argument `{name}` is not emulated")


def unwritten(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """A result that the operator allocates and its kernel leaves alone.

    On a chip such memory holds whatever was there before; here it holds zeros, so that runs
    repeat. No program may rely on either.
    """
    return torch.zeros(tuple(shape), dtype=dtype)
