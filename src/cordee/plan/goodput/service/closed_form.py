"""How many replicas a service needs, by formula: how many are away is binomial, and who finds no room is refused."""

from dataclasses import replace
from math import ceil, exp, lgamma, log, log1p

from cordee.plan.goodput.service.service import Service

MOST = 10_000
UNLIKELY = 1e-12


def away(units: int, share: float) -> dict[int, float]:
    """How likely each number of independent ones is to be away, each for this share of the time; the unlikely left out."""
    found: dict[int, float] = {}
    total = 0.0
    for count in range(units + 1):
        found[count] = _binomial(units, share, count)
        total += found[count]
        if total > 1 - UNLIKELY and count > units * share:
            break
    return found


def _binomial(units: int, share: float, count: int) -> float:
    if share <= 0:
        return float(count == 0)
    ways = lgamma(units + 1) - lgamma(count + 1) - lgamma(units - count + 1)
    return exp(ways + count * log(share) + (units - count) * log1p(-share))


def refused(service: Service) -> float:
    """The part of requests for which there is no room: nodes are in repair with all their replicas, others start."""
    nodes = ceil(service.replicas / service.together)
    starting = away(service.replicas, share_of(service.software_per_s * service.start_s))
    total = 0.0
    for out, likely in away(nodes, share_of(service.hardware_per_s * service.repair_s)).items():
        for more, also in starting.items():
            left = max(0, service.replicas - out * service.together - more)
            total += likely * also * max(0.0, 1 - left / service.wanted)
    return total


def share_of(times: float) -> float:
    """Of the time that one is away which falls so many times as often as it comes back; whatever the distributions are."""
    return times / (1 + times)


def gaps(service: Service) -> float:
    """The part of requests that are on a replica when it falls."""
    return (service.hardware_per_s + service.software_per_s) * service.stay_s


def replicas_for(service: Service, availability: float) -> int | None:
    """The fewest of which so many requests are not refused; None where there is no number up to 10,000."""
    number = max(1, ceil(service.wanted))
    while number <= MOST:
        if refused(replace(service, replicas=number)) <= 1 - availability:
            return number
        number += 1
    return None
