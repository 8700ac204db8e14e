"""The best deployments for a traffic on a kind of chip: all copies by formula, the best by simulation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import ceil

from cordee.core.errors import UsageError
from cordee.hw.accelerator import Accelerator
from cordee.plan.costs.passes import Batch, Parts, Passes
from cordee.plan.costs.serving_calibration import ServingCalibration
from cordee.plan.deployment import Deployment
from cordee.plan.service.apart import apart
from cordee.plan.service.candidates import FILLED, Candidate, at_its_limit, eased, traffic_of
from cordee.plan.service.wanted import Wanted, deployments
from cordee.plan.serving.memory import holding
from cordee.plan.serving.steady import Steady, steady, works_of
from cordee.plan.serving.traffic import Served, Traffic, does_not_fit, serve

SHORTLIST = 6
"""Deployments that are simulated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingPlan:
    """A deployment with what it makes of the traffic."""

    candidate: Candidate
    served: Served
    rate_per_s: float
    """Requests that come."""
    parts: Parts
    """Of a pass that gives tokens."""
    pass_s: float
    reading_part: float
    """Of the time, what passes over prompts take."""
    answer: int
    """Tokens of an answer, on average."""
    tokens: int
    """Of a request at its end, on average."""
    over: float
    """How many times the limits what 9 of 10 requests stay below is, of the worse of both."""
    meets: bool
    """Whether 9 of 10 requests stay within the limits."""

    @property
    def deployment(self) -> Deployment:
        return self.candidate.deployment

    @property
    def tokens_per_s(self) -> float:
        """Given, by all chips."""
        return self.served.output_tokens_per_s

    @property
    def under_way(self) -> float:
        """Requests of a copy at once."""
        return self.candidate.settled.under_way


@dataclass(slots=True, kw_only=True)
class FoundServing:
    """What a search found."""

    plans: list[ServingPlan] = field(default_factory=list)
    tried: int = 0
    fit: int = 0


def find(wanted: Wanted, chip: Accelerator, calibration: ServingCalibration) -> FoundServing:
    """The best deployments, simulated; best first. Raises `UsageError` where none fits or is in time."""
    found = FoundServing()
    leanest: Deployment | None = None
    fitting: list[Deployment] = []
    candidates = []
    for one, fits in deployments(wanted, chip):
        found.tried += 1
        if not fits:
            leanest = _leaner(leanest, one, wanted)
            continue
        found.fit += 1
        fitting.append(one)
        if best := at_its_limit(one, wanted, calibration):
            candidates.append(best)
    if not found.fit:
        assert leanest, "some copy was tried"
        raise UsageError(_nothing_fits(wanted, leanest))
    sized = [*_sized(candidates, wanted), *apart(wanted, fitting, calibration)]
    if not sized:
        raise UsageError(_too_slow(wanted, chip, calibration))
    best_first = sorted(sized, key=lambda one: _rank(one, wanted))
    shortlist = best_first[:SHORTLIST]
    found.plans = list(_plans(shortlist, wanted, calibration))
    found.plans.sort(key=lambda plan: _order(plan, wanted))
    return found


def _plans(
    shortlist: Sequence[Candidate], wanted: Wanted, calibration: ServingCalibration
) -> Iterator[ServingPlan]:
    """Each simulated; where 9 of 10 are not in time, with fewer clients, as long as no other is better then."""
    best: tuple[float, float] | None = None
    for one in shortlist:
        plan = first = _simulated(one, wanted, calibration)
        while not plan.meets:
            fewer = eased(plan.candidate, wanted, calibration)
            if fewer is None or (best is not None and _rank(fewer, wanted) > best):
                break
            plan = _simulated(fewer, wanted, calibration)
        plan = plan if plan.meets else first
        if plan.meets:
            rank = _rank(plan.candidate, wanted)
            best = rank if best is None else min(best, rank)
        yield plan


def judged(one: Deployment, wanted: Wanted, calibration: ServingCalibration) -> ServingPlan | None:
    """What a deployment makes of the traffic; None where not even one client is served in time."""
    best = at_its_limit(one, wanted, calibration)
    return _simulated(best, wanted, calibration) if best else None


def _sized(candidates: Sequence[Candidate], wanted: Wanted) -> Iterator[Candidate]:
    """With as many copies as there are chips for, or as the rate needs."""
    for one in candidates:
        own = one.deployment.engine.chips
        if wanted.chips:
            copies = wanted.chips // own
        else:
            assert wanted.rate_per_s, "the command asks for one or the other"
            copies = ceil(wanted.rate_per_s / (FILLED * one.settled.requests_per_s))
        yield replace(one, deployment=replace(one.deployment, replicas=copies))


def _rank(one: Candidate, wanted: Wanted) -> tuple[float, float]:
    """Fewest chips where a rate is given; most requests on the chips that there are."""
    if wanted.chips is None:
        return float(one.deployment.chips), -one.per_chip
    return -one.rate_per_s, one.settled.between_s


def _order(plan: ServingPlan, wanted: Wanted) -> tuple[float, ...]:
    """Those within the limits as they are ranked, then the others, the nearest to the limits first."""
    return (0.0, *_rank(plan.candidate, wanted)) if plan.meets else (1.0, plan.over)


def _simulated(one: Candidate, wanted: Wanted, calibration: ServingCalibration) -> ServingPlan:
    rate = wanted.rate_per_s or FILLED * one.rate_per_s
    single, share = _scaled(one.deployment)
    traffic = Traffic(
        prompt=wanted.prompt,
        answer=wanted.answer,
        rate_per_s=rate / share,
        cached=wanted.cached,
        count=max(800, 5 * one.clients),
        recorded=wanted.recording.part(share, rate) if wanted.recording else (),
    )
    served = serve(single, traffic, calibration)
    passes = Passes(one.works.decode, calibration, exact=True)
    given = ceil(one.settled.under_way / single.engine.data)
    batch = Batch(given=given, seen=wanted.prompt + wanted.answer / 2)
    pass_s = passes.seconds(batch)
    own_s = pass_s / single.drafting.per_pass(calibration.acceptance)
    over = max(served.first(0.9) / wanted.first_s, served.between(0.9) / wanted.between_s)
    enough = one.rate_per_s >= rate
    # Of requests that come faster than they are served, as many count as the queue lets through.
    given_per_s = rate * wanted.answer
    if not enough:
        given_per_s = min(given_per_s, served.output_tokens_per_s * share)
    return ServingPlan(
        candidate=one,
        served=replace(served, output_tokens_per_s=given_per_s),
        rate_per_s=rate,
        parts=passes.parts(batch),
        pass_s=pass_s,
        reading_part=max(1 - own_s / one.settled.between_s, 0.0),
        answer=wanted.answer,
        tokens=wanted.usual,
        over=over,
        meets=over <= 1 and enough,
    )


def _scaled(deployment: Deployment) -> tuple[Deployment, float]:
    """Copies are alike and get equal shares: as few as keep the proportion, and the part they are."""
    copies, readers = deployment.replicas, deployment.prefill_replicas
    share = float(min(copies, readers) if readers else copies)
    fewer = replace(
        deployment,
        replicas=max(round(copies / share), 1),
        prefill_replicas=max(round(readers / share), 1) if readers else 0,
    )
    return fewer, share


def _leaner(best: Deployment | None, one: Deployment, wanted: Wanted) -> Deployment:
    if best is None:
        return one
    now, before = (holding(d, d.engine, wanted.longest) for d in (one, best))
    return one if now.total + now.request_bytes < before.total + before.request_bytes else best


def _nothing_fits(wanted: Wanted, leanest: Deployment) -> str:
    """What the leanest copy needs, and what would do."""
    chip = leanest.chip
    tried = (max(wanted.chips or 0, leanest.engine.chips) * 2**n for n in range(1, 8))
    more = next((chips for chips in tried if _holds(wanted, chip, chips)), None)
    out = (
        f"{more} x {chip.name} would hold it"
        if more
        else "no number of chips tried holds it: shorter requests may fit"
    )
    needs = does_not_fit(leanest, leanest.engine, traffic_of(wanted, 1))
    fewer = [name for name in _fewer_bits(chip) if _fits_in(leanest, name, wanted.longest)]
    bits = f", and so would --dtype {' or '.join(fewer)}" if fewer else ""
    return f"{needs}; {out}{bits}"


def _holds(wanted: Wanted, chip: Accelerator, chips: int) -> bool:
    """Whether some layout fits on so many."""
    return any(fits for _, fits in deployments(replace(wanted, chips=chips), chip))


def _fewer_bits(chip: Accelerator) -> Iterator[str]:
    """Dtypes below 16 bits in which the chip multiplies."""
    able = {"fp8": "fp8", "w8a8": "int8", "w4a8": "int8", "fp4": "fp4"}
    return (name for name, products in able.items() if products in chip.flops_per_s)


def _fits_in(one: Deployment, dtype: str, tokens: int) -> bool:
    leaner = replace(one, precision=replace(one.precision, name=dtype))
    return holding(leaner, leaner.engine, tokens).fits


def _too_slow(wanted: Wanted, chip: Accelerator, calibration: ServingCalibration) -> str:
    """The quickest that there is, beside the limits."""
    quickest: tuple[float, Deployment, Steady] | None = None
    for one, fits in deployments(wanted, chip):
        if fits:
            settled = steady(works_of(one), traffic_of(wanted, 1), calibration)
            over = max(settled.between_s / wanted.between_s, settled.first_s / wanted.first_s)
            if quickest is None or over < quickest[0]:
                quickest = over, one, settled
    assert quickest, "some deployment fits"
    _, one, settled = quickest
    return (
        f"{wanted.model.name} on {chip.name}: no layout gives a token every "
        f"{wanted.between_s * 1e3:.3g} ms and the first within {wanted.first_s * 1e3:.4g} ms, even to "
        f"one client; the quickest, {one.engine.words}, takes {settled.between_s * 1e3:.3g} and "
        f"{settled.first_s * 1e3:.4g} ms: give --tpot {settled.between_s * 1.1e3:.0f} --ttft "
        f"{settled.first_s * 1.1e3:.0f} or more"
    )
