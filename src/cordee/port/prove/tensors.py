"""Compares two files of tensors. A program of its own: it needs torch, which `port` does not.

    python -m cordee.port.prove.tensors ONE OTHER

prints one line of JSON: the fields of a TensorComparison but its path.
"""

import json
import math
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

RANDOM = re.compile(r"rng|random|generator", re.IGNORECASE)


def main(one: str, other: str) -> None:
    """Print how far the tensors of two files are apart."""
    try:
        ours, theirs = dict(_flat(_load(one), "")), dict(_flat(_load(other), ""))
    except Exception as error:  # noqa: BLE001 - whatever a file may hold, the answer says it
        print(json.dumps(_answer(problem=f"{type(error).__name__}: {error}".splitlines()[0])))
        return
    # A chip's generator of random numbers has a state of its own kind.
    names = [name for name in ours if name in theirs and not RANDOM.search(name)]
    apart = {name: _apart(ours[name], theirs[name]) for name in names}
    worst = max(apart, key=lambda name: apart[name], default="")
    alone = sorted(name for name in ours.keys() ^ theirs.keys() if not RANDOM.search(name))
    print(json.dumps(_answer(len(apart), worst, apart.get(worst, 0.0), alone=alone)))


def _answer(
    tensors: int = 0,
    worst: str = "",
    difference: float = 0.0,
    problem: str = "",
    alone: Sequence[str] = (),
) -> dict[str, object]:
    return {
        "tensors": tensors,
        "worst": worst,
        "difference": difference,
        "problem": problem,
        "alone": [*alone],
    }


def _load(path: str) -> object:
    suffix = Path(path).suffix
    if suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    if suffix in (".npy", ".npz"):
        import numpy as np

        loaded = np.load(path, allow_pickle=False)
        return dict(loaded) if suffix == ".npz" else loaded
    # The program that wrote it was just run at the user's word: no more trust is asked for.
    return torch.load(path, map_location="cpu", weights_only=False)


def _flat(value: Any, name: str) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor in nested containers, under the path that leads to it."""
    if isinstance(value, torch.nn.Module):  # saved whole
        value = value.state_dict()
    if isinstance(value, torch.Tensor):
        yield name, value
    elif hasattr(value, "__array__") and not isinstance(value, (str, bytes)):
        yield name, torch.as_tensor(value)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)):
        for i, inner in enumerate(value):
            yield from _flat(inner, f"{name}.{i}" if name else str(i))


def _apart(one: torch.Tensor, other: torch.Tensor) -> float:
    if one.shape != other.shape:
        return math.inf
    if one.numel() == 0:
        return 0.0
    if not (one.is_floating_point() or one.is_complex()):
        return 0.0 if torch.equal(one, other) else math.inf
    wide = torch.complex128 if one.is_complex() else torch.float64
    a, b = one.to(wide), other.to(wide)
    if not bool(torch.equal(torch.isnan(a), torch.isnan(b))):
        return math.inf
    a, b = torch.nan_to_num(a), torch.nan_to_num(b)
    largest = float(torch.maximum(a.abs().max(), b.abs().max()))
    return float((a - b).abs().max()) / largest if largest else 0.0


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
