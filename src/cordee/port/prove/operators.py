"""Which operators of a traced run a real chip would not do itself. Reads docs/trace.md's lines."""

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from cordee.port.prove.proof import Fallback

WANTING = ("host", "missing", "not emulated")
HALF = ("float16", "bfloat16")
MOST_SITES = 5


@dataclass(frozen=True, slots=True)
class Operators:
    """What a trace says about the operators of a run."""

    calls: int
    fallbacks: tuple[Fallback, ...]
    half: bool  # whether any worked in half precision


def operators(trace: Path, root: Path) -> Operators:
    """Read a trace; sites below `root` are named relative to it."""
    calls: Counter[str] = Counter()
    sites: dict[str, set[str]] = defaultdict(set)
    support: dict[str, str] = {}
    total, half = 0, False
    names: dict[int, str] = {}
    places: dict[int, str] = {}
    with trace.open(encoding="utf-8") as lines:
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                continue  # a process that was killed leaves half a line
            kind = next(iter(entry), "")  # the first key says what the line is
            if kind == "trace":
                names, places = {}, {}
            elif kind == "signature":
                names[entry["signature"]] = entry["operator"]
                support[entry["operator"]] = entry["support"]
                half = half or any(dtype.endswith(HALF) for _, dtype, *_ in entry["inputs"])
            elif kind == "place":
                places[entry["place"]] = entry.get("site") or ""
            elif kind == "call":
                total += 1
                name = names[entry["of"]]
                if support[name] in WANTING:
                    calls[name] += 1
                    sites[name].add(_below(places.get(entry["at"], ""), root))
    fallbacks = tuple(
        Fallback(name, support[name], count, tuple(sorted(sites[name] - {""})[:MOST_SITES]))
        for name, count in calls.most_common()
    )
    return Operators(total, fallbacks, half)


def _below(site: str, root: Path) -> str:
    prefix = f"{root}/"
    return site.removeprefix(prefix)
