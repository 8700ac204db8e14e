"""Deployments that read prompts on other copies than those that give tokens."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil

from cordee.plan.costs.pass_work import PassWork
from cordee.plan.costs.passes import Passes
from cordee.plan.costs.serving_calibration import ServingCalibration
from cordee.plan.deployment import Deployment, Engine
from cordee.plan.service.candidates import FILLED, Candidate, at_its_limit
from cordee.plan.service.wanted import Wanted
from cordee.plan.serving.steady import reading_s

READERS, GIVERS = 2, 3
"""Ways to spread copies that are paired."""
ENDLESS = 10**6
"""Copies for prompts that never hold up the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """A copy that reads prompts."""

    engine: Engine
    rate_per_s: float
    """Prompts that it reads."""

    @property
    def per_chip(self) -> float:
        """The same of a chip."""
        return self.rate_per_s / self.engine.chips


def apart(
    wanted: Wanted, fitting: Sequence[Deployment], calibration: ServingCalibration
) -> Iterator[Candidate]:
    """The best readers with the best of those that give tokens."""
    readers = sorted(_readers(wanted, fitting, calibration), key=lambda one: -one.per_chip)
    for reader in readers[:READERS]:
        givers = []
        for one in fitting:
            paired = replace(one, prefill=reader.engine, prefill_replicas=ENDLESS)
            if found := at_its_limit(paired, wanted, calibration):
                givers.append(found)
        givers.sort(key=lambda found: -found.settled.requests_per_s / found.deployment.engine.chips)
        for giver in givers[:GIVERS]:
            if sized := _sized(giver, reader, wanted):
                yield sized


def _readers(
    wanted: Wanted, fitting: Sequence[Deployment], calibration: ServingCalibration
) -> Iterator[Reader]:
    for one in fitting:
        engine = one.engine
        passes = Passes(PassWork(one, engine), calibration, exact=True)
        prompt = wanted.prompt * (1 - wanted.cached)
        read_s = reading_s(passes, prompt, 0, 0, engine.data)
        if calibration.request_s + 1.5 * read_s < wanted.first_s:
            yield Reader(engine=engine, rate_per_s=engine.data / read_s)


def _sized(giver: Candidate, reader: Reader, wanted: Wanted) -> Candidate | None:
    """With as many copies of each as the rate needs, or as there are chips for."""
    own, theirs = giver.deployment.engine.chips, reader.engine.chips
    given = giver.settled.requests_per_s
    if wanted.chips is None:
        assert wanted.rate_per_s, "the command asks for one or the other"
        copies = ceil(wanted.rate_per_s / (FILLED * given))
        readers = ceil(wanted.rate_per_s / (FILLED * reader.rate_per_s))
    else:
        most = (wanted.chips - theirs) // own
        if most < 1:
            return None

        def served(copies: int) -> float:
            left = (wanted.chips or 0) - copies * own
            return min(copies * given, left // theirs * reader.rate_per_s)

        copies = max(range(1, most + 1), key=served)
        needed = ceil(copies * given / reader.rate_per_s)
        readers = max(min((wanted.chips - copies * own) // theirs, needed), 1)
    sized = replace(giver.deployment, replicas=copies, prefill_replicas=readers)
    return replace(giver, deployment=sized, reads_per_s=reader.rate_per_s)
