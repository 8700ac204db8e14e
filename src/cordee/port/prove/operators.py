"""Which operators of a traced run a real chip would not do itself. Reads docs/trace.md's lines."""

import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from cordee.port.prove.proof import Draw, Fallback, Ran

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

    ran: tuple[Ran, ...]
    fallbacks: tuple[Fallback, ...]
    draws: tuple[Draw, ...]  # of random numbers
    half: bool  # whether any worked in half precision

    @property
    def calls(self) -> int:
        """Of all of them."""
        return sum(one.calls for one in self.ran)


def operators(trace: Path, root: Path) -> Operators:
    """Read a trace; sites below `root` are named relative to it."""
    calls: Counter[str] = Counter()
    sites: dict[str, set[str]] = defaultdict(set)
    support: dict[str, str] = {}
    half = False
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
                name = names[entry["of"]]
                calls[name] += 1
                if support[name] in WANTING or DRAWS.search(name):
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
    ran = tuple(Ran(name, support[name], count) for name, count in calls.most_common())
    return Operators(ran, fallbacks, draws, half)


def _below(site: str, root: Path) -> str:
    prefix = f"{root}/"
    return site.removeprefix(prefix)
