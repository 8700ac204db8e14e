"""What a deployment settles to, as a formula: quick, and near what the simulation of the queue says.

While a request gets its tokens, others are replaced, and the passes that read the newcomers' prompts
lie between its tokens. A prompt waits for those that came before it; how many these are follows from
the number of clients, who wait for their answers: mean value analysis of a closed network (Reiser and
Lavenberg, 1980; Schweitzer's approximation), where the one that is being read is half read on average.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import ceil

from cordee.plan.costs.pass_work import PassWork
from cordee.plan.costs.passes import Batch, Passes
from cordee.plan.costs.serving_calibration import ServingCalibration
from cordee.plan.deployment import Deployment
from cordee.plan.serving.memory import holding
from cordee.plan.serving.traffic import Traffic, transfer_s

STEPS = 40
"""Towards the rate of requests, at most."""
NEAR = 1e-7
"""Part of it within which it is found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Works:
    """The work of a deployment's two kinds of copies; one and the same where prompts are read by all."""

    decode: PassWork
    prefill: PassWork


def works_of(deployment: Deployment) -> Works:
    """Count it."""
    decode = PassWork(deployment, deployment.engine)
    apart = deployment.prefill
    return Works(decode=decode, prefill=PassWork(deployment, apart) if apart else decode)


@dataclass(frozen=True, slots=True, kw_only=True)
class Steady:
    """Of a request, on average."""

    first_s: float
    """To the first token."""
    between_s: float
    requests_per_s: float
    """As many as are served."""
    under_way: float
    """Requests of one copy at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Times:
    """Seconds of a copy's passes, from which a request's are made."""

    received: float
    """Before and after the passes: it is cut into tokens, its keys and values travel."""
    turn: float
    """Of a pass that gives a token to all who are under way."""
    least: float
    """Of one that gives a token to one of each group."""
    per_pass: float
    """Tokens that a request gets in a pass."""
    alone: float
    """Of reading a prompt, where the other groups read none."""
    beside: float
    """Of reading a prompt, where all other groups read one too."""
    full: float
    """Of a prompt's part in passes that are full of prompts."""
    given: float
    """Part of passes over prompts in which others get their tokens all the same."""


def steady(works: Works, traffic: Traffic, calibration: ServingCalibration) -> Steady:
    """Settle `traffic.clients` requests, evenly over the copies."""
    deployment = works.decode.deployment
    clients = (traffic.clients or 1) / deployment.replicas
    part = (1 + traffic.shortest) / 2
    prompt = max(traffic.prompt * part * (1 - traffic.cached), 1.0)
    answer = max(traffic.answer * part, 1.0)
    room = _room(works, prompt + answer / 2)
    most = max(min(room, deployment.scheduling.most * deployment.engine.data), 1.0)
    under_way = max(min(clients, most), 1.0)
    times = _times(works, calibration, (prompt, answer, under_way, clients))

    def served(rate_per_s: float) -> float:
        """Requests a second that there are, when times are those at that rate."""
        first_s, between_s = _settled(works, times, rate_per_s, (under_way, answer))
        inside_s = first_s + between_s * (answer - 1)
        return min(under_way / max(inside_s - times.received, 1e-9), clients / inside_s)

    rate = crossing(served, clients / (times.received + times.alone))
    first_s, between_s = _settled(works, times, rate, (under_way, answer))
    if most < clients:
        first_s = max(clients / rate - between_s * (answer - 1), first_s)
    return Steady(
        first_s=first_s,
        between_s=between_s,
        requests_per_s=rate * deployment.replicas,
        under_way=under_way,
    )


@lru_cache(maxsize=4096)
def _room(works: Works, tokens: float) -> float:
    """Requests of so many tokens that a copy has room for."""
    deployment = works.decode.deployment
    return holding(deployment, deployment.engine, tokens).requests


def crossing(falling: Callable[[float], float], high: float) -> float:
    """Where a function that falls is as large as its argument, between 0 and `high`.

    False position, where a side that stays counts half (Dowell and Jarratt, 1971).
    """
    low, above, below, side = 0.0, falling(0.0), falling(high) - high, 0
    if below >= 0:
        return high
    for _ in range(STEPS):
        at = (high * above - low * below) / (above - below)
        found = falling(at) - at
        if abs(found) <= NEAR * at:
            break
        if found > 0:
            below /= 2 if side > 0 else 1
            low, above, side = at, found, 1
        else:
            above /= 2 if side < 0 else 1
            high, below, side = at, found, -1
    return at


def _settled(
    works: Works, times: _Times, rate_per_s: float, sizes: tuple[float, float]
) -> tuple[float, float]:
    """Seconds to the first token and between tokens, where a copy serves so many requests a second."""
    under_way, answer = sizes
    deployment = works.decode.deployment
    apart = deployment.prefill is not None
    readers = deployment.prefill_replicas / deployment.replicas if apart else 1.0
    groups = works.prefill.engine.data
    there = under_way / readers
    others = max(1 - 1 / there, 0.0)
    met = rate_per_s / readers
    # Groups that attend apart read at the same time, those whose prompts come while one is read.
    together = min(max(met * times.alone, 1.0), groups, max(there, 1.0))
    lone = 1 - (together - 1) / max(groups - 1, 1)
    read = times.alone * lone + times.beside * (1 - lone)
    served = min(read / together, times.full)
    ahead = others * met * served
    wait = ahead * max(read - served / 2, 0.0) / max(1 - ahead, 1e-6)
    free = 1 - (0.0 if apart else ahead * (1 - times.given))
    # Of those who are under way, some wait for their first token: passes are shorter by that.
    more = (times.turn - times.least) / times.per_pass
    fewer = more * rate_per_s * answer / under_way
    between = times.least / times.per_pass / max(free - fewer, 1e-6)
    most = times.turn / times.per_pass / max(free, 0.02)
    turn = min(between / most, 1.0) * times.turn
    noticed = 0.5 * turn * deployment.scheduling.polls * max(1 - 1 / under_way, 0.0)
    first = times.received + read + wait + noticed
    return first, min(between, most)


def _times(
    works: Works, calibration: ServingCalibration, sizes: tuple[float, float, float, float]
) -> _Times:
    """Of requests with so many tokens of prompt and answer, so many under way and so many there."""
    prompt, answer, under_way, clients = sizes
    deployment = works.decode.deployment
    decode = Passes(works.decode, calibration, exact=True)
    given = ceil(under_way / deployment.engine.data - 1e-9)
    seen = prompt + answer / 2
    turn = decode.seconds(Batch(given=given, seen=seen))
    least = decode.seconds(Batch(given=1, seen=seen)) if given > 1 else turn
    apart = deployment.prefill is not None
    mixed = deployment.scheduling.mixed and not apart
    reader = Passes(works.prefill, calibration, exact=True)
    groups, chunk = works.prefill.engine.data, deployment.scheduling.chunk
    beside_them = given if mixed else 0
    alone = reading_s(reader, prompt, beside_them, seen)
    beside = reading_s(reader, prompt, beside_them, seen, groups) if groups > 1 else alone
    fit = max(min(chunk / prompt, under_way / groups), 1.0)
    full = beside / groups
    if fit > 1:
        batch = Batch(given=beside_them, seen=seen, read=fit * prompt, met=prompt / 2)
        full = min(full, reader.seconds(batch) / (fit * groups))
    received = calibration.request_s + calibration.crowd_s * max(clients - 1, 0.0)
    return _Times(
        received=received + transfer_s(deployment, calibration, ceil(prompt)),
        turn=turn,
        least=least,
        per_pass=deployment.drafting.per_pass(calibration.acceptance),
        alone=alone,
        beside=beside,
        full=full,
        given=min(turn * ceil(prompt / chunk) / alone, 0.95) if mixed else 0.0,
    )


def reading_s(
    passes: Passes, prompt: float, given: float, seen: float, together: float = 1.0
) -> float:
    """Seconds of the passes that read one prompt, and those of other groups beside it."""
    found, behind = 0.0, 0.0
    chunk = passes.deployment.scheduling.chunk
    others = (together - 1) / max(passes.engine.data - 1, 1)
    while behind < prompt:
        piece = min(prompt - behind, chunk)
        batch = Batch(given=given, seen=seen, read=piece, others=others, met=behind + piece / 2)
        found += passes.seconds(batch)
        behind += piece
    return found
