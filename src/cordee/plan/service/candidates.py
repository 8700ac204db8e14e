"""Deployments of which copies are filled up to the limits that are set."""

from dataclasses import dataclass, replace
from math import ceil

from cordee.plan.costs.serving_calibration import ServingCalibration
from cordee.plan.deployment import Deployment
from cordee.plan.service.wanted import Wanted
from cordee.plan.serving.memory import Holding, holding
from cordee.plan.serving.steady import Steady, Works, steady, works_of
from cordee.plan.serving.traffic import Traffic

FILLED = 0.85
"""Of what copies can serve, how much they are planned for: arrivals come in bunches."""
CLIENTS = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A deployment, with what a copy settles to at the most requests that its limits allow."""

    deployment: Deployment
    works: Works
    settled: Steady
    clients: int
    """Of one copy, that it can serve within the limits."""
    holding: Holding
    reads_per_s: float | None = None
    """Prompts that a copy reads, where others give the tokens."""

    @property
    def rate_per_s(self) -> float:
        """Requests that all copies can serve within the limits."""
        given = self.settled.requests_per_s * self.deployment.replicas
        if self.reads_per_s is None:
            return given
        return min(given, self.reads_per_s * self.deployment.prefill_replicas)

    @property
    def per_chip(self) -> float:
        """Requests a second of a chip."""
        return self.rate_per_s / self.deployment.chips


def at_its_limit(
    one: Deployment, wanted: Wanted, calibration: ServingCalibration
) -> Candidate | None:
    """With as many clients as it can have within the limits; None where even one waits too long."""
    works = works_of(one)
    best: tuple[int, Steady] | None = None
    held = holding(one, one.engine, wanted.usual)
    for clients in CLIENTS:
        if clients > held.requests or clients > one.scheduling.most * one.engine.data:
            break
        settled = steady(works, traffic_of(wanted, clients), calibration)
        if settled.between_s > wanted.between_s or settled.first_s > wanted.first_s:
            break
        best = clients, settled
    if best is None:
        return None
    return Candidate(deployment=one, works=works, settled=best[1], clients=best[0], holding=held)


def eased(one: Candidate, wanted: Wanted, calibration: ServingCalibration) -> Candidate | None:
    """With the next fewer clients of a copy, and as many copies as a rate then needs; None where there is one client."""
    clients = max((few for few in CLIENTS if few < one.clients), default=0)
    if not clients:
        return None
    settled = steady(one.works, traffic_of(wanted, clients), calibration)
    copies = one.deployment.replicas
    if wanted.chips is None and wanted.rate_per_s:
        copies = max(copies, ceil(wanted.rate_per_s / (FILLED * settled.requests_per_s)))
    deployment = replace(one.deployment, replicas=copies)
    return replace(one, clients=clients, settled=settled, deployment=deployment)


def traffic_of(wanted: Wanted, clients: int) -> Traffic:
    """The same lengths, of so many who wait for their answers."""
    return Traffic(
        prompt=wanted.prompt, answer=wanted.answer, clients=clients, cached=wanted.cached
    )
