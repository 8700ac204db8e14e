"""The best deployment as a service of which copies fall."""

from cordee.plan.goodput.rates import rates
from cordee.plan.goodput.service.report import Answer, answer
from cordee.plan.goodput.service.service import Service
from cordee.plan.service.compare import ServingOutcome


def failing(outcome: ServingOutcome, rate: str) -> Answer:
    """A year of it. Raises `UsageError` where that rate is none."""
    best, chip = outcome.best, outcome.chip
    copies = best.deployment.replicas
    room = best.candidate.clients
    service = Service(
        replicas=copies,
        replica_chips=-(-best.deployment.chips // copies),
        node_chips=chip.chips_per_node,
        rate_per_s=best.rate_per_s,
        room=room,
        stay_s=room * copies / best.candidate.rate_per_s,
        first_s=best.served.first(0.5),
        prompt=outcome.wanted.prompt,
        answer=outcome.wanted.answer,
        rates=rates(rate, chip.generation, "--failures"),
    )
    return answer(chip.name, service)
