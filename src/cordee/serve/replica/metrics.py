"""What the engine tells Prometheus."""

import time
from collections.abc import Callable
from typing import Generic

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily

from cordee.serve.engine.choice import Event
from cordee.serve.engine.operators.table import A, C, W
from cordee.serve.engine.worker import Worker
from cordee.serve.replica.generation import Generation
from cordee.serve.text.answer import Piece

TTFT_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
TPOT_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2)
COUNTS = {
    "steps": "Steps of the decoder.",
    "rows": "Rows of all steps: tokens computed.",
    "tokens": "Tokens generated.",
    "prompt_tokens": "Tokens of prompts.",
    "reused_tokens": "Tokens of prompts that were in the cache already.",
    "guessed": "Tokens guessed ahead.",
    "held": "Guessed tokens that held.",
}


class Metrics(Generic[A, W, C]):
    """Counters and times of one engine."""

    def __init__(self, worker: Worker[A, W, C], model: str) -> None:
        self._registry = CollectorRegistry()
        self._worker = worker
        gauges: dict[str, tuple[str, Callable[[], float]]] = {
            "running": ("Choices being generated.", lambda: worker.running),
            "waiting": ("Choices that wait.", lambda: worker.waiting),
            "cache_used": (
                "Share of the cache in use.",
                lambda: 1 - worker.blocks.free / worker.blocks.count,
            ),
        }
        for name, (text, value) in gauges.items():
            Gauge(f"cordee_engine_{name}", text, registry=self._registry).set_function(value)
        self._registry.register(_Counts(worker))
        self._ttft = self._histogram("time_to_first_token", TTFT_S)
        self._tpot = self._histogram("time_per_output_token", TPOT_S)
        self._refused = Counter(
            "cordee_engine_refused", "Requests refused.", ["status"], registry=self._registry
        )

    def text(self) -> bytes:
        """All metrics in Prometheus' format."""
        return generate_latest(self._registry)

    def refused(self, status: int) -> None:
        self._refused.labels(str(status)).inc()

    def follow(self, generation: Generation) -> None:
        """Time the tokens of a request."""
        for choice in generation.choices:
            choice.tell = self._timed(choice.tell)

    def _timed(self, tell: Callable[[Event], None]) -> Callable[[Event], None]:
        last_s, first = time.monotonic(), True

        def told(event: Event) -> None:
            nonlocal last_s, first
            if isinstance(event, Piece):
                now_s = time.monotonic()
                (self._ttft if first else self._tpot).observe(now_s - last_s)
                last_s, first = now_s, False
            tell(event)

        return told

    def _histogram(self, name: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(
            f"cordee_engine_{name}_seconds",
            f"The {name.replace('_', ' ')}.",
            buckets=buckets,
            registry=self._registry,
        )


class _Counts(Generic[A, W, C]):
    """The worker's own counts, read when they are asked for."""

    def __init__(self, worker: Worker[A, W, C]) -> None:
        self._worker = worker

    def collect(self) -> list[CounterMetricFamily]:
        return [
            CounterMetricFamily(
                f"cordee_engine_{name}", text, value=getattr(self._worker.counts, name)
            )
            for name, text in COUNTS.items()
        ]
