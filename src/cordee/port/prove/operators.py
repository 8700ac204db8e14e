"""Which operators of a traced run a real chip would not do itself. Reads docs/trace.md's lines."""

import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from cordee.port.prove.proof import Draw, Fallback

WANTING = ("host", "missing", "not emulated")
HALF = ("float16", "bfloat16")
MOST_SITES = 5
DRAWS = re.compile(
    r"::_?(fused_|native_|npu_|scaled_)*"
    r"(dropout|bernoulli|cauchy|exponential|geometric|log_normal|multinomial|normal|poisson"
    r"|rand|randint|randn|randperm|random|rrelu_with_noise|uniform)(_gen_mask|_like)?_?(\.|$)"
)


@dataclass(frozen=True, slots=True)
class Operators:
    """What a trace says about the operators of a run."""

    calls: int
    fallbacks: tuple[Fallback, ...]
    draws: tuple[Draw, ...]  # of random numbers
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
                if support[name] in WANTING or DRAWS.search(name):
                    calls[name] += 1
                    sites[name].add(_below(places.get(entry["at"], ""), root))
    at = {name: tuple(sorted(found - {""})[:MOST_SITES]) for name, found in sites.items()}
    fallbacks = tuple(
        Fallback(name, support[name], count, at[name])
        for name, count in calls.most_common()
        if support[name] in WANTING
    )
    draws = tuple(
        Draw(name, count, at[name]) for name, count in calls.most_common() if DRAWS.search(name)
    )
    return Operators(total, fallbacks, draws, half)


def _below(site: str, root: Path) -> str:
    prefix = f"{root}/"
    return site.removeprefix(prefix)
