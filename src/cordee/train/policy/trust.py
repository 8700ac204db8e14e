"""Whom to believe: what the coordinator makes of members that have reckoned differently, or oddly.

What members say of a step is compared before it is committed, so that nobody has taken anything from one that is
found guilty, and nothing has to be taken back: it is evicted, and the others compute its shards anew.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from cordee.train.policy.sums import Part

Odd = Literal["", "spike", "nonfinite"]
Nonfinite = Literal["skip", "stop", "go-on", "off"]
SKIPPED_MOST = 8
"""So many steps in a row that are skipped end the job: it learns nothing any more."""
NEAR = 0.01
"""By so much of itself the norm of a gradient may differ where bits cannot be compared."""
SPIKE_TIMES = 20.0
"""A gradient so many times as long as usual is looked at. It is only computed again, so it may be a false alarm."""
KNOWN_LEAST = 16
"""So many shards say what is usual."""


@dataclass(frozen=True, slots=True)
class Checks:
    """What is compared, and how often."""

    state_every: int = 1
    """Steps after which members compare their parameters; 0: never."""
    shard_every: int = 100
    """Steps after which one shard is computed by another member, too; 0: never."""
    nonfinite: Nonfinite = "skip"
    """What is done with a step whose gradient is infinite or no number by the program's own
    fault; off: gradients are not looked at."""

    def compares(self, step: int) -> bool:
        """Whether members compare their parameters at a step."""
        return self.state_every > 0 and step % self.state_every == 0

    def shard(self, step: int, shards: int) -> int | None:
        """The shard of a step that is computed twice."""
        if self.shard_every <= 0 or step % self.shard_every != self.shard_every - 1:
            return None
        return _drawn(step, "shard") % shards


def other_for(step: int, owner: int, members: Sequence[int]) -> int | None:
    """The member that computes the shard of another one, too; None where there is no other."""
    others = [member for member in members if member != owner]
    return others[_drawn(step, "member") % len(others)] if others else None


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a member has computed for a shard."""

    shard: int
    digest: int
    """Of its gradient, bit for bit; 0 where bits are not comparable."""
    norm: float | None
    """Of its gradient; None where that is infinite or no number."""
    odd: Odd = ""

    def agrees(self, other: "Opinion") -> bool:
        if self.digest and other.digest:
            return self.digest == other.digest
        if self.norm is None or other.norm is None:
            return self.norm is other.norm
        return abs(self.norm - other.norm) <= NEAR * max(self.norm, other.norm)


@dataclass(frozen=True, slots=True)
class Vote:
    """What a member says when it holds the gradient of a step."""

    state: int | None = None
    """A digest of what its parameters are now, after it has computed with them."""
    redone: int | None = None
    """The same, after the last step was made again from a copy of the state before it; 0: there is no copy."""
    opinions: tuple[Opinion, ...] = ()
    part: Part | None = None
    """Of the gradient, where it has not all of that."""


# What is made of the votes.


@dataclass(frozen=True, slots=True)
class Agreed:
    """The step is good."""

    skip: bool = False
    """Whether its gradient is not to be applied."""
    note: str = ""
    """Something that the journal should have."""


@dataclass(frozen=True, slots=True)
class Guilty:
    """Members that reckon wrongly."""

    workers: tuple[int, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Ask:
    """It cannot be said yet: members are to compute something again."""

    shards: tuple[tuple[int, int], ...]
    """Member and shard."""
    redo: bool
    """Whether all make the last step again."""
    reason: str


@dataclass(frozen=True, slots=True)
class Stop:
    """The job cannot go on."""

    error: str


Verdict = Agreed | Guilty | Ask | Stop


@dataclass(slots=True)
class Trust:
    """What is known of how far members can be trusted."""

    checks: Checks = field(default_factory=Checks)
    repeatable: bool = True
    """Whether the program computes the same for a shard whenever it is asked."""
    _known: set[int] = field(default_factory=set)
    """Members whose parameters were those of all others before."""
    _skipped: int = 0
    _told: set[str] = field(default_factory=set)

    def verdict(self, step: int, votes: Mapping[int, Vote]) -> Verdict:
        """What to do with a step, of which all members hold the gradient."""
        found = self._of_states(step, votes)
        if found is not None:
            return found
        judged = [self._of_shard(step, shard, votes) for shard in _shards(votes)]
        for kind in (Stop, Guilty, Ask):
            for verdict in judged:
                if isinstance(verdict, kind):
                    return verdict
        agreed = [verdict for verdict in judged if isinstance(verdict, Agreed)]
        return self._count(step, agreed)

    def of_columns(
        self, step: int, columns: Sequence[Mapping[int, Vote]], *, finite: bool = True
    ) -> Verdict:
        """The same where members have different parts of the model: those with the same part are compared."""
        if len(columns) == 1:
            return self.verdict(step, columns[0])
        for votes in columns:
            found = self._of_states(step, votes)
            if found is not None:
                return found
        what = f"the gradient of step {step} is not finite"
        if finite or self.checks.nonfinite in ("off", "go-on"):
            return self._count(step, [])
        if self.checks.nonfinite == "stop":
            return Stop(what)
        return self._count(step, [Agreed(skip=True, note=f"{what}: the step is skipped")])

    def _count(self, step: int, agreed: Sequence[Agreed]) -> Verdict:
        skip = any(verdict.skip for verdict in agreed)
        note = "; ".join(verdict.note for verdict in agreed if verdict.note)
        self._skipped = self._skipped + 1 if skip else 0
        if self._skipped >= SKIPPED_MOST:
            return Stop(f"{self._skipped} steps in a row to step {step} have no finite gradient")
        return Agreed(skip, note)

    def _of_states(self, step: int, votes: Mapping[int, Vote]) -> Verdict | None:
        """Whose parameters are not those of the others. None where all are the same.

        One that has just come has those of the member that fed it, and is no witness for that.
        """
        states = {worker: vote.state for worker, vote in votes.items() if vote.state is not None}
        if len(set(states.values())) < 2:
            self._known |= states.keys()
            return None
        judges = self._known & states.keys()
        if len(judges) < 2:
            judges = set(states)
        ((most, count),) = Counter(states[judge] for judge in judges).most_common(1)
        if 2 * count > len(judges):
            wrong = tuple(sorted(worker for worker, state in states.items() if state != most))
            return Guilty(wrong, f"has other parameters at step {step} than the others have")
        redone = {worker: votes[worker].redone for worker in states}
        if len(judges) == 2 and all(redone[judge] is None for judge in judges):
            return Ask((), True, f"members have different parameters at step {step}")
        wrong = _same_as([j for j in judges if redone[j] and redone[j] != states[j]], states)
        if wrong and len(wrong) < len(states):
            return Guilty(wrong, f"has other parameters at step {step} than its last step gives")
        named = ", ".join(map(str, sorted(states)))
        return Stop(
            f"workers {named} have different parameters at step {step}, and none can be shown to be wrong: does the "
            "program change them otherwise than by the optimizer?"
        )

    def _of_shard(self, step: int, shard: int, votes: Mapping[int, Vote]) -> Verdict:
        said = {
            worker: [opinion for opinion in vote.opinions if opinion.shard == shard]
            for worker, vote in sorted(votes.items())
        }
        said = {worker: opinions for worker, opinions in said.items() if opinions}
        first = {worker: opinions[0] for worker, opinions in said.items()}
        every = [opinion for opinions in said.values() for opinion in opinions]
        odd = next((opinion.odd for opinion in every if opinion.odd), "")
        if all(every[0].agrees(opinion) for opinion in every):
            if odd and len(every) == 1:
                return self._second(shard, next(iter(said)), odd, votes)
            return self._programs(step, shard, odd)
        skip = any(opinion.norm is None for opinion in every)
        if not self.repeatable:
            return Agreed(skip)
        wrong = _wrong(said)
        if wrong:
            return Guilty(wrong, f"computes shard {shard} of step {step} otherwise than others do")
        if len(first) < len(votes) and len(first) < 3:
            third = min(worker for worker in votes if worker not in first)
            return Ask(((third, shard),), False, f"members differ on shard {shard}")
        once = [worker for worker, opinions in said.items() if len(opinions) == 1]
        if once:  # each says something else: who does not repeat it is wrong
            asks = tuple((worker, shard) for worker in once)
            return Ask(asks, False, f"members differ on shard {shard}")
        if len(first) == 2 and all(o[0].agrees(o[-1]) for o in said.values()):
            named = " and ".join(map(str, first))
            return Stop(
                f"workers {named} differ on shard {shard} of step {step}, each whenever it is asked, and no third "
                "one can say which is right: test their chips, or train with three workers"
            )
        self.repeatable = False
        return Agreed(
            skip,
            f"the program gives other bits for shard {shard} of step {step} each time: shards are not compared",
        )

    def _second(self, shard: int, owner: int, odd: str, votes: Mapping[int, Vote]) -> Ask:
        """Another one computes it, too: where there is none the same one once more."""
        other = min((worker for worker in votes if worker != owner), default=owner)
        what = "is not finite" if odd == "nonfinite" else "is much longer than usual"
        return Ask(
            ((other, shard),), False, f"worker {owner}: the gradient of shard {shard} {what}"
        )

    def _programs(self, step: int, shard: int, odd: str) -> Verdict:
        """All that have computed it have the same."""
        if odd == "spike":
            return Agreed(note=f"a spike at step {step}, shard {shard}: it is the program's own")
        if odd != "nonfinite":
            return Agreed()
        what = f"the gradient of shard {shard} of step {step} is not finite, whoever computes it"
        if self.checks.nonfinite == "stop":
            return Stop(what)
        skip = self.checks.nonfinite == "skip"
        return Agreed(skip, what + (": the step is skipped" if skip else ""))


def _same_as(wrong: Collection[int], states: Mapping[int, int]) -> tuple[int, ...]:
    """These, and those with the same parameters: they got them from one of these."""
    found = {states[worker] for worker in wrong}
    return tuple(sorted(worker for worker, state in states.items() if state in found))


def _wrong(said: Mapping[int, Sequence[Opinion]]) -> tuple[int, ...]:
    """Who is wrong about a shard: alone against two, not the same twice, or alone without a finite number."""
    changed = [w for w, opinions in said.items() if not opinions[0].agrees(opinions[-1])]
    if changed:
        return tuple(changed) if len(changed) < len(said) else ()
    for worker, opinions in said.items():
        others = [said[other][0] for other in said if other != worker]
        differs = not any(opinions[0].agrees(other) for other in others)
        finite = all(other.norm is not None for other in others)
        if differs and (opinions[0].norm is None) and finite:
            return (worker,)
        same = all(others[0].agrees(other) for other in others)
        if differs and same and len(others) > 1:
            return (worker,)
    return ()


def _shards(votes: Mapping[int, Vote]) -> list[int]:
    return sorted({opinion.shard for vote in votes.values() for opinion in vote.opinions})


def _drawn(step: int, what: str) -> int:
    """A number that follows from the step, as evenly spread as a random one."""
    made = hashlib.blake2b(f"{what} {step}".encode(), digest_size=8).digest()
    return int.from_bytes(made, "little")


@dataclass(slots=True)
class Norms:
    """How long the gradients of a worker's shards usually are."""

    mean: float = 0.0
    known: int = 0

    def odd(self, norm: float | None) -> Odd:
        """What is to be said of one more."""
        if norm is None:
            return "nonfinite"
        found: Odd = ""
        if self.known >= KNOWN_LEAST and norm > SPIKE_TIMES * self.mean:
            found = "spike"
        self.known += 1
        self.mean += (norm - self.mean) / min(self.known, 100)
        return found
