"""The state of the whole service, as its page, its tools and Prometheus read it."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from cordee.serve.gateway.dispatcher import Dispatcher
from cordee.serve.gateway.fleet import Fleet, Replica

RATE_S = 2.0
Quantiles = dict[str, float | None]


class Status:
    """Reads the state; token rates are those since the last reading but at least two seconds."""

    def __init__(self, fleet: Fleet, dispatcher: Dispatcher) -> None:
        self._fleet, self._dispatcher = fleet, dispatcher
        self._marks: dict[Replica, tuple[float, int, float]] = {}
        self.move: Callable[[], object] = lambda: None
        self.spans: Callable[[], dict[str, int]] = dict

    def read(self, *, events: bool = True) -> dict[str, Any]:
        """The state as JSON has it."""
        replicas = self._fleet.replicas()
        self._marks = {r: mark for r, mark in self._marks.items() if r in replicas}
        rates = {replica: self._rate(replica) for replica in replicas}
        totals = self._dispatcher.totals
        return {
            "time_s": time.time(),
            "gateway": {
                "streams": len(self._dispatcher.active),
                "queued": self._dispatcher.queued,
                "tokens_per_s": round(sum(rates.values()), 1),
                "ttft_s": _quantiles([s for r in replicas for s in r.first_tokens_s]),
                "tpot_s": _quantiles([s for r in replicas for s in r.per_token_s]),
                "requests": {
                    "ok": totals.ok,
                    "failed": totals.failed,
                    "rejected": totals.rejected,
                },
                "failovers": totals.failovers,
                "probes": totals.probes,
                "spans": self.spans(),
                "hedges": {
                    "asked": self._dispatcher.hedges.asked,
                    "won": self._dispatcher.hedges.won,
                },
            },
            "pools": [
                {
                    "name": pool.name,
                    "kind": pool.kind,
                    "role": pool.role,
                    "share": pool.share,
                    "model": pool.model,
                    "wanted": pool.wanted,
                    "replicas": [
                        self._replica(replica, rates[replica])
                        for replica in replicas
                        if replica.pool is pool
                    ],
                }
                for pool in self._fleet.pools()
            ],
            "events": list(self._dispatcher.events.kept) if events else [],
            "move": self.move(),
        }

    def metrics(self) -> bytes:
        """The state in Prometheus' format."""
        registry = CollectorRegistry()
        registry.register(_Families(self.read(events=False)))
        return generate_latest(registry)

    def _replica(self, replica: Replica, rate: float) -> dict[str, Any]:
        return {
            "name": replica.name,
            "url": replica.url,
            "state": replica.state,
            "chip": replica.chip,
            "chips": replica.chips,
            "pid": replica.pid,
            "running": replica.running,
            "queued": replica.told_waiting,
            "tokens_per_s": round(rate, 1),
            "ttft_s": _quantiles(replica.first_tokens_s),
            "tpot_s": _quantiles(replica.per_token_s),
            "kv_used": round(replica.cache_used, 3),
            "breaker": replica.breaker.state(time.monotonic()),
            "restarts": replica.restarts,
            "numerics": replica.numerics,
            "disagreements": replica.disagreements,
            "since_s": replica.since_s,
        }

    def _rate(self, replica: Replica) -> float:
        now = time.monotonic()
        began, tokens, rate = self._marks.get(replica, (now, replica.tokens, 0.0))
        if now - began >= RATE_S:
            rate = (replica.tokens - tokens) / (now - began)
            began, tokens = now, replica.tokens
        self._marks[replica] = (began, tokens, rate)
        return rate


def _quantiles(values: Iterable[float]) -> Quantiles:
    ordered = sorted(values)
    if not ordered:
        return {"p50": None, "p99": None}
    return {
        name: round(ordered[int(share * (len(ordered) - 1))], 4)
        for name, share in (("p50", 0.5), ("p99", 0.99))
    }


class _Families:
    """A state as Prometheus' families of metrics."""

    def __init__(self, state: dict[str, Any]) -> None:
        self._state = state

    def collect(self) -> Sequence[Metric]:
        gateway = self._state["gateway"]
        requests = CounterMetricFamily(
            "cordee_gateway_requests", "Requests by what became of them.", labels=["result"]
        )
        for result, count in gateway["requests"].items():
            requests.add_metric([result], count)
        spans = CounterMetricFamily(
            "cordee_gateway_spans", "Spans of traces by what became of them.", labels=["result"]
        )
        for result, count in gateway["spans"].items():
            spans.add_metric([result], count)
        made: list[Metric] = [
            requests,
            spans,
            CounterMetricFamily(
                "cordee_gateway_failovers",
                "Times that a request went on on another replica.",
                value=gateway["failovers"],
            ),
            CounterMetricFamily(
                "cordee_gateway_hedges",
                "Requests whose first token was late, so that a second replica was asked.",
                value=gateway["hedges"]["asked"],
            ),
            CounterMetricFamily(
                "cordee_gateway_hedges_won",
                "Those of them that the second replica answered first.",
                value=gateway["hedges"]["won"],
            ),
            GaugeMetricFamily(
                "cordee_gateway_streams", "Requests under way.", value=gateway["streams"]
            ),
            GaugeMetricFamily(
                "cordee_gateway_queued", "Requests that wait.", value=gateway["queued"]
            ),
        ]
        made += [self._wanted(), *self._of_replicas()]
        return made

    def _wanted(self) -> Metric:
        family = GaugeMetricFamily(
            "cordee_wanted_replicas", "How many replicas its load asks for.", labels=["pool"]
        )
        for pool in self._state["pools"]:
            if pool["wanted"] is not None:
                family.add_metric([pool["name"]], pool["wanted"])
        return family

    def _of_replicas(self) -> list[Metric]:
        fields: dict[str, tuple[str, Callable[[dict[str, Any]], float | None]]] = {
            "running": ("Requests on the replica.", lambda r: r["running"]),
            "ready": ("Whether it takes requests.", lambda r: float(r["state"] == "ready")),
            "tokens_per_second": ("Tokens it makes.", lambda r: r["tokens_per_s"]),
            "cache_used": ("Share of its cache in use.", lambda r: r["kv_used"]),
            "ttft_p99_seconds": ("Time to first token.", lambda r: r["ttft_s"]["p99"]),
            "tpot_p99_seconds": ("Time per token.", lambda r: r["tpot_s"]["p99"]),
        }
        made: list[Metric] = []
        for name, (text, read) in fields.items():
            family = GaugeMetricFamily(f"cordee_replica_{name}", text, labels=["pool", "replica"])
            for pool in self._state["pools"]:
                for replica in pool["replicas"]:
                    value = read(replica)
                    if value is not None:
                        family.add_metric([pool["name"], replica["name"]], value)
            made.append(family)
        made.append(self._disagreements())
        return made

    def _disagreements(self) -> Metric:
        family = CounterMetricFamily(
            "cordee_replica_disagreements",
            "Times that it reckoned otherwise than other replicas, or than before.",
            labels=["pool", "replica"],
        )
        for pool in self._state["pools"]:
            for replica in pool["replicas"]:
                family.add_metric([pool["name"], replica["name"]], replica["disagreements"])
        return family
