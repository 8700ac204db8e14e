"""What a deployment settles to, as a formula: quick, and near what the simulation of the queue says.

While a request gets its tokens, each of the others under way is replaced once, and the passes that
read the newcomers' prompts lie between its tokens.
"""

from dataclasses import dataclass
from math import ceil

from cordee.plan.costs.pass_work import PassWork
from cordee.plan.costs.passes import Batch, Passes
from cordee.plan.costs.serving_calibration import ServingCalibration
from cordee.plan.deployment import Deployment
from cordee.plan.serving.memory import holding
from cordee.plan.serving.traffic import Traffic


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
    """To the first token, where nobody waits for room."""
    between_s: float
    requests_per_s: float
    """As many as can be served."""
    under_way: float
    """Requests of one copy at once."""


def steady(works: Works, traffic: Traffic, calibration: ServingCalibration) -> Steady:
    """Settle `traffic.clients` requests, evenly over the copies."""
    deployment = works.decode.deployment
    clients = traffic.clients or 1
    engine = deployment.engine
    part = (1 + traffic.shortest) / 2
    prompt = max(traffic.prompt * part * (1 - traffic.cached), 1.0)
    answer = max(traffic.answer * part, 1.0)
    room = holding(deployment, engine, prompt + answer / 2).requests
    most = min(room, deployment.scheduling.most * engine.data)
    under_way = max(min(clients / deployment.replicas, most), 1.0)
    decode = Passes(works.decode, calibration, exact=True)
    given = ceil(under_way / engine.data - 1e-9)
    seen = prompt + answer / 2
    per_pass = deployment.drafting.per_pass(calibration.acceptance)
    pass_s = decode.seconds(Batch(given=given, seen=seen))
    own_s = pass_s / per_pass
    apart = deployment.prefill is not None
    mixed = deployment.scheduling.mixed and not apart
    reader = Passes(works.prefill, calibration, exact=True)
    read_s = reading_s(reader, prompt, given if mixed else 0, seen)
    passes = _passes(deployment, prompt) if mixed else 0
    received_s = calibration.request_s + calibration.crowd_s * (clients / deployment.replicas - 1)
    first_s = received_s + read_s + 0.5 * pass_s
    between_s, cycle = own_s, first_s + own_s * (answer - 1)
    for _ in range(0 if apart else 3):
        # Groups that attend apart read at the same time, those whose prompts come while one is read.
        together = min(max(under_way / cycle * read_s, 1.0), engine.data, under_way)
        if engine.data > 1:
            read_s = reading_s(reader, prompt, given if mixed else 0, seen, together)
        more_s = max(read_s - pass_s * passes, 0.0)
        between_s = own_s + (under_way - 1) / answer * more_s / together
        cycle = first_s + between_s * (answer - 1)
    served = under_way * deployment.replicas / cycle
    if apart:
        groups = works.prefill.engine.data
        read_s = reading_s(reader, prompt, 0, seen, groups)
        served = min(served, deployment.prefill_replicas * groups / read_s)
    return Steady(first_s=first_s, between_s=between_s, requests_per_s=served, under_way=under_way)


def _passes(deployment: Deployment, prompt: float) -> int:
    return ceil(prompt / deployment.scheduling.chunk)


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
