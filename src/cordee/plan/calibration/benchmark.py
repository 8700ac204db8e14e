"""What `vllm bench serve --save-result` wrote: the traffic, and the times to tokens that came of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cordee.core.errors import UsageError
from cordee.plan.serving.traffic import Traffic

MOST = 1000
"""Requests of a run that are simulated; more say no more."""
NEEDED = (
    "completed", "total_input_tokens", "total_output_tokens", "output_throughput",
    "mean_ttft_ms", "mean_tpot_ms",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """One run of it."""

    name: str
    clients: int
    """Requests under way at once."""
    traffic: Traffic
    measured: Mapping[str, float]
    """By metric: seconds, means over requests, or tokens a second."""


def is_benchmark(path: Path) -> bool:
    """Whether a file is such a result."""
    if path.suffix != ".json":
        return False
    found = _load(path)
    return isinstance(found, dict) and "output_throughput" in found


def benchmark(path: Path) -> Benchmark:
    """Read one. Raises `UsageError` with what is missing."""
    found = _load(path)
    values = {name: _number(path, found, name) for name in NEEDED}
    completed = values["completed"]
    first_s, between_s = values["mean_ttft_ms"] / 1e3, values["mean_tpot_ms"] / 1e3
    answer = max(round(values["total_output_tokens"] / completed), 1)
    rate = float(found.get("request_rate") or "inf")
    most = found.get("max_concurrency") or found.get("num_prompts") or completed
    if rate != float("inf"):
        # By Little's law, so many are under way.
        stay_s = first_s + between_s * (answer - 1)
        most = min(float(most), values["output_throughput"] / answer * stay_s)
    clients = max(round(float(most)), 1)
    return Benchmark(
        name=path.name,
        clients=clients,
        traffic=Traffic(
            prompt=max(round(values["total_input_tokens"] / completed), 1),
            answer=answer,
            clients=clients,
            count=min(int(completed), max(MOST, clients)),
        ),
        measured={
            "TPOT": between_s, "TTFT": first_s, "throughput": values["output_throughput"],
        },
    )  # fmt: skip


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: it is no JSON that can be read: {error}") from error


def _number(path: Path, found: Mapping[str, Any], name: str) -> float:
    value = found.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise UsageError(
            f"{path}: {name} = {value!r}: a number above 0 is needed, as `vllm bench serve "
            "--save-result` writes it"
        )
    return float(value)
