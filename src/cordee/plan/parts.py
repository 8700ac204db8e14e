"""Parts of a layer, as programs choose among them: what is recorded as a graph, what is reckoned again."""

from collections.abc import Iterable, Mapping

PARTS: Mapping[str, tuple[str, ...]] = {
    "attention": (
        "attention: tokens gathered",
        "attention: sums",
        "queries, keys, values",
        "short vectors",
        "queries",
        "queries and short vector",
        "keys and values",
        "rotary, turned round",
        "keys go round",
        "heads exchanged",
        "attention",
        "attention out",
        "norms",
        "residual sums",
    ),
    "latent": ("queries", "keys and values", "short vectors spread"),
    "router": ("router",),
    "mlp": ("mlp: tokens gathered", "mlp: sums", "mlp in", "mlp activation", "mlp out"),
    "shared": ("shared in", "shared activation", "shared out"),
    "experts": (
        "tokens sorted",
        "tokens to experts",
        "experts in",
        "experts activation",
        "experts out",
        "experts' biases",
        "tokens back",
        "tokens put back",
    ),
    "expert activation": ("experts activation",),
    "norms": ("norms",),
}
"""Names of operators, by part."""


def names_of(parts: Iterable[str]) -> frozenset[str]:
    """All operators of these parts."""
    return frozenset(name for part in parts for name in PARTS[part])
