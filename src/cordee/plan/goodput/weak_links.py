"""What weak links between replicas cost, and what mode local of `cordee train` gives back.

Together, gradients are added up in each step, in a ring (Thakur, Rabenseifner and Gropp 2005, section 4). In mode local
replicas exchange fragments in four bits, as often as the real policy of `cordee train` decides. Nothing of a sum is
taken to be hidden: on a link that is weak there is little to hide it behind.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from cordee.core.errors import UsageError
from cordee.train.policy.rounds import Cadence, Said, every_next

GROUP, GROUP_BYTES, HEAD_BYTES = 128, 66, 40
"""Numbers that share a scale, their bytes with it, and what a member says of itself."""
ROUNDS_MOST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """A job, and what lies between its replicas."""

    replicas: int
    parameters: float
    compute_s: float
    """Of a step, without what replicas send to one another."""
    rate_bytes_per_s: float
    """That a replica can send, and at the same time receive."""
    gradient_bytes: int = 4

    def __post_init__(self) -> None:
        if self.replicas < 2:
            raise UsageError("--link-gbit-s: there is one replica, which has no other to talk to")


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How replicas stay together, and what a step takes."""

    name: str
    step_s: float
    sent_bytes: float
    """By a replica, for each step."""
    steps_between: int
    """From one exchange of the whole model to the next."""
    busy: float
    """Part of the time that the link is in use."""


def ways(links: Links) -> list[Way]:
    """Together in each step, and by themselves."""
    return [together(links), local(links, Cadence())]


def together(links: Links) -> Way:
    """A sum of all gradients in each step."""
    others = (links.replicas - 1) / links.replicas
    sent = 2 * others * links.parameters * links.gradient_bytes
    moving_s = sent / links.rate_bytes_per_s
    step_s = links.compute_s + moving_s
    return Way(
        name="together", step_s=step_s, sent_bytes=sent, steps_between=1, busy=moving_s / step_s
    )


def local(links: Links, cadence: Cadence) -> Way:
    """As often as the policy lets replicas exchange that drift apart too far, and no oftener than links allow."""
    sent = part_bytes(links.parameters / cadence.fragments) * (links.replicas - 1)
    exchange_s = sent / links.rate_bytes_per_s
    every = settled(cadence, exchange_s, links.compute_s)
    round_s = max(every * links.compute_s, exchange_s)  # who is through waits for the link
    return Way(
        name="mode local",
        step_s=round_s / every,
        sent_bytes=sent / every,
        steps_between=every * cadence.fragments,
        busy=exchange_s / round_s,
    )


def settled(cadence: Cadence, exchange_s: float, step_s: float) -> int:
    """Steps from one round to the next, once the policy changes nothing any more."""
    said = [Said(0, 1, 2 * cadence.apart, exchange_s, step_s, 0.0)]
    every = cadence.every
    for _ in range(ROUNDS_MOST):
        found = every_next(cadence, every, said)
        if found == every:
            break
        every = found
    return every


def part_bytes(numbers: float) -> int:
    """Of what a member sends of so many parameters to each other member."""
    return HEAD_BYTES + -(-int(numbers) // GROUP) * GROUP_BYTES


def remarks(links: Links, group_chips: int) -> Iterator[str]:
    """What the figures do not say."""
    yield (
        "mode local: rounds as often as the policy of cordee train decides where replicas drift apart; each replica "
        "sends its part to every other one, so many replicas send much"
    )
    yield (
        "mode local costs loss, which is not reckoned (docs/train.md says what was measured), and 8 bytes for each "
        f"parameter: {8 * links.parameters / 2**30:,.1f} GiB in a replica"
    )
    if group_chips > 1:
        yield (
            f"a replica has {group_chips:,} chips here; so far mode local wants a whole model in each worker: "
            "this is what it would give"
        )
