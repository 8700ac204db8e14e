"""What Prometheus reads of a job."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from cordee.train.page.record import Record

PREFIX = "cordee_train_"


def metrics(record: Record) -> bytes:
    """All figures, as text."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(record))
    return generate_latest(registry)


class _Figures:
    def __init__(self, record: Record) -> None:
        self._record = record

    def collect(self) -> Iterator[Metric]:
        record, roster = self._record, self._record.roster
        rate = record.steps_per_s
        loss = record.loss if record.loss is not None else float("nan")
        beings = [worker.being for worker in roster.workers.values()]
        waiting = sum(being in {"waits", "takes"} for being in beings)
        yield _gauge("step", "Steps that are made", record.step)
        yield _gauge("loss", "Mean loss over the shards of the last step", loss)
        yield _gauge("steps_per_second", "Of the last seconds", rate)
        yield _gauge("shards_per_second", "Of the last seconds", rate * record.shards)
        yield _gauge("members", "Workers that take part", len(roster.members))
        yield _gauge("spares", "Workers that wait to come in", waiting)
        yield _gauge("epoch", "Number of the present group", record.epoch)
        yield _counter("lost_workers", "Workers that went before the job was over", roster.lost)
        yield _counter("skipped_steps", "Steps that were left out", record.skipped)
        yield from self._by_worker()
        yield from self._recoveries()
        sent = CounterMetricFamily(
            f"{PREFIX}sent_bytes", "Over a link", labels=["source", "target"]
        )
        for (one, other), count in sorted(record.sent_bytes.items()):
            sent.add_metric([str(one), str(other)], count)
        yield sent

    def _by_worker(self) -> Iterator[Metric]:
        workers = self._record.roster.workers.values()
        shards = GaugeMetricFamily(f"{PREFIX}shards", "That a member owns", labels=["worker"])
        waited = CounterMetricFamily(
            f"{PREFIX}waited_seconds",
            "How long the first one at a reduction waited for this worker, the last one",
            labels=["worker"],
        )
        for worker in workers:
            if worker.being == "member":
                shards.add_metric([str(worker.number)], worker.shards)
            waited.add_metric([str(worker.number)], worker.waited_s)
        yield from (shards, waited)

    def _recoveries(self) -> Iterator[Metric]:
        count = CounterMetricFamily(
            f"{PREFIX}recoveries", "By how the loss was noticed", labels=["noticed_by"]
        )
        for by, recoveries in sorted(self._record.recovered.items()):
            count.add_metric([by], recoveries)
        took = CounterMetricFamily(
            f"{PREFIX}recovery_seconds",
            "In each phase; pause: from the loss, gap: from the step before to the next",
            labels=["phase"],
        )
        for phase, seconds in self._record.phases_s.items():
            took.add_metric([phase.removesuffix("_s")], seconds)
        yield from (count, took)


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, about, value=value)


def _counter(name: str, about: str, value: float) -> Metric:
    return CounterMetricFamily(PREFIX + name, about, value=value)
