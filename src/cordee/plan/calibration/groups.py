"""Measurements by what they have in common, in the order in which they come."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


def grouped(known: Iterable[V], key: Callable[[V], K]) -> Mapping[K, list[V]]:
    """Those of each key."""
    found: defaultdict[K, list[V]] = defaultdict(list)
    for one in known:
        found[key(one)].append(one)
    return found
