"""The arithmetic of a call of fused attention, whatever its layout."""

from collections.abc import Sequence
from dataclasses import dataclass

from cordee.plan.traced.trace import Signature, Tensor

QUERIES = ("actual_seq_qlen", "actual_seq_lengths")
KEYS = ("actual_seq_kvlen", "actual_seq_lengths_kv")


@dataclass(frozen=True, slots=True)
class Core:
    """What it comes to, forward."""

    flops: float
    score_size: int
    keys: float
    """That a query meets."""


def core(signature: Signature, layout: str, heads: str, sparse: Sequence[int]) -> Core | None:
    """Scores and weighted sums; `layout` and `heads` may name arguments. None where it is not understood."""
    tensors = [signature.named(name) for name in ("query", "key", "value")]
    if not all(tensors):
        return None
    order = str(signature.arguments.get(layout, "BSH" if layout == "input_layout" else layout))
    count = _argument(signature, heads)
    query, key, value = (_dims(found[0], order, count) for found in tensors)
    if query is None or key is None or value is None:
        return None
    queries, keys = _lengths(signature, QUERIES, query), _lengths(signature, KEYS, key)
    causal = _is_causal(signature, sparse)
    pairs = sum(
        _pairs(q, k, causal=causal) for q, k in zip(queries, _as_many(keys, queries), strict=True)
    )
    # Where heads are not apart, those of keys may be fewer, and as wide as those of queries.
    width = query["D"] + (query["D"] if "H" in value else value["D"])
    return Core(
        flops=2.0 * pairs * query["N"] * width,
        score_size=query["D"],
        keys=pairs / max(sum(queries), 1),
    )


def _argument(signature: Signature, names: str) -> int | None:
    found = (signature.arguments.get(name) for name in names.split("|") if name)
    return next((one for one in found if isinstance(one, int)), None)


def _dims(tensor: Tensor, order: str, heads: int | None) -> dict[str, int] | None:
    """Sequences, tokens, heads and numbers of a head: "BNSD", "BSH", "SBH", "TND"."""
    order = order.partition("_")[0]
    if len(tensor.shape) != len(order):
        return None
    found = dict(zip(order, tensor.shape, strict=True))
    if "H" in found:
        if not heads:
            return None
        found["N"], found["D"] = heads, found["H"] // heads
    if "T" in found:
        found["B"], found["S"] = 1, found["T"]
    return found if {"B", "N", "S", "D"} <= found.keys() else None


def _lengths(signature: Signature, names: Sequence[str], dims: dict[str, int]) -> list[float]:
    """Tokens of each sequence; the call may say so, as sums of what came before where they are packed."""
    said = next((found for name in names if (found := signature.arguments.get(name))), None)
    if not isinstance(said, list) or not said:
        return [float(dims["S"])] * dims["B"]
    if "T" in dims:
        return [float(b - a) for a, b in zip([0, *said], said, strict=False)]
    return [float(one) for one in said]


def _as_many(keys: list[float], queries: list[float]) -> list[float]:
    return keys if len(keys) == len(queries) else [sum(keys) / len(queries)] * len(queries)


def _pairs(queries: float, keys: float, *, causal: bool) -> float:
    """How many of them meet; a query at the end sees all keys, each one before it one less."""
    if not causal or queries <= 1:
        return queries * keys
    missed = min(queries, keys)
    return queries * keys - missed * (missed - 1) / 2


def _is_causal(signature: Signature, sparse: Sequence[int]) -> bool:
    if signature.arguments.get("is_causal"):
        return True
    return signature.arguments.get("sparse_mode", 0) in sparse
