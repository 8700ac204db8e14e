"""A traced program as items of a timeline: what each of its ranks does on a kind of chip."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from cordee.plan.costs.links import Group
from cordee.plan.traced.asked import Asked, module_numbers, module_of, works
from cordee.plan.traced.operators import Work
from cordee.plan.traced.target import BACKWARD, Target
from cordee.plan.traced.timeline import Item, Kernel, Meeting, Messages, Settled
from cordee.plan.traced.trace import Call, Rank
from cordee.plan.work.operators import Collective


def items_of(
    asked: Asked, target: Target, marks: Sequence[int]
) -> tuple[list[list[Item]], list[int]]:
    """What each rank does, and where among the first one's items `marks` of its calls are."""
    builder = _Builder(asked, target)
    made = [builder.items(number) for number in range(len(asked.ranks))]
    return [items for items, _ in made], [made[0][1][mark] for mark in marks]


def fused(items: Sequence[Item]) -> list[Item]:
    """The same, where vector kernels that follow one another are one: as large as the largest of them.

    That is about what a compiler makes of them, or somebody who writes them anew.
    """
    found: list[Item] = []
    for item in items:
        this, last = _vector(item), _vector(found[-1]) if found else None
        if this is None or last is None:
            found.append(item)
        elif this.chip_s > last.chip_s:
            found[-1] = this
    return found


def _vector(item: Item) -> Kernel | None:
    """Itself, where it is a vector kernel that nobody waits for."""
    if isinstance(item, Kernel) and item.kind == "vector kernels" and not item.waits:
        return item
    return None


class _Builder:
    """Makes items of calls."""

    def __init__(self, asked: Asked, target: Target) -> None:
        self.asked, self.target = asked, target
        self._numbers = module_numbers(asked.cut)
        self._taken: dict[int, tuple[str, float, float, bool]] = {}

    def items(self, number: int) -> tuple[list[Item], list[int]]:
        """Those of a rank, and at which of them each of its calls begins."""
        asked = self.asked
        rank, calls, layers = asked.ranks[number], asked.cut.calls[number], asked.layers[number]
        after = asked.cut.backward_from[number]
        met: dict[str, int] = defaultdict(int)
        found: list[Item] = []
        begins: list[int] = []
        settled = not asked.cut.trains
        for index, call in enumerate(calls):
            begins.append(len(found))
            if not settled and index >= after:
                found += self._between_copies(number)
                found.append(Settled(-1))
                settled = True
            work = works(call.signature)
            times = layers.weight(call, of_gradients=index >= after or bool(work.collective))
            module = self._numbers[module_of(call)]
            if work.collective is None:
                found.append(self._kernel(work, call, times, module))
            elif work.collective.pattern == "send":
                _add_message(found, self._message(rank, work, times, module, met))
            else:
                found.append(self._meeting(rank, work, call, times, met))
        return found, begins

    def _kernel(self, work: Work, call: Call, times: float, module: int) -> Kernel:
        key = id(call.signature)
        taken = self._taken.get(key)
        if taken is None:
            one = self.target.taken(work)
            taken = self._taken[key] = one.kind, one.chip_s, one.host_s, one.waits
        kind, chip_s, host_s, waits = taken
        host_s *= BACKWARD if call.place.phase == "backward" else 1
        return Kernel(kind, chip_s * times, host_s * times, waits, module)

    def _meeting(
        self, rank: Rank, work: Work, call: Call, times: float, met: dict[str, int]
    ) -> Meeting:
        member = self.asked.words.member(rank, work.group)
        met[member.identity] += 1
        assert work.collective, "a meeting is a collective"
        seconds = self._words_s(work.collective, member.identity) * times
        return Meeting(
            key=(member.identity, met[member.identity]),
            members=len(self.asked.words.ranks[member.identity]),
            seconds=seconds,
            # FSDP waits for its own streams and not for the call.
            beside=1 - self.target.exposed if work.beside or call.stream else 0.0,
            host_s=self.target.launch_s * times,
            module=self._numbers[module_of(call)],
        )

    def _message(
        self, rank: Rank, work: Work, times: float, module: int, met: dict[str, int]
    ) -> Messages:
        member = self.asked.words.member(rank, work.group)
        assert work.collective, "a message has a size"
        seconds = self._words_s(work.collective, member.identity) * times
        sender, receiver = member.place, work.sends_to
        if work.receives_from is not None:
            sender, receiver = work.receives_from, member.place
        assert receiver is not None, "a message has two ends"
        name = f"{member.identity} {sender} {receiver}"
        met[name] += 1
        key = (member.identity, sender, receiver, met[name])
        sends = ((key, seconds),) if work.sends_to is not None else ()
        receives = () if sends else (key,)
        return Messages(sends, receives, self.target.launch_s * times, module)

    def _words_s(self, collective: Collective, identity: str) -> float:
        asked = self.asked
        group = asked.words.group(identity, self.target.chip, asked.copies, len(asked.ranks))
        return self.target.collective_s(collective, group)

    def _between_copies(self, number: int) -> Iterator[Meeting]:
        """Copies of a program that sums up no gradients sum them up among themselves."""
        asked = self.asked
        if asked.copies == 1 or asked.words.summing:
            return
        rank, layers = asked.ranks[number], asked.layers[number]
        size = sum(one.trained_bytes for one in rank.parameters.values()) * layers.grown
        node = self.target.chip.supernode_chips or self.target.chip.chips_per_node
        within = max(min(node // len(asked.ranks), asked.copies), 1)
        seconds = self.target.collective_s(
            Collective("gradients", "reduce", size, "copies"),
            Group(size=asked.copies, within=within),
        )
        beside = 1 - self.target.exposed
        yield Meeting(("copies", number), 1, seconds, beside, self.target.launch_s, -1)


def _add_message(items: list[Item], found: Messages) -> None:
    """Messages that follow one another at once are sent together."""
    last = items[-1] if items else None
    if isinstance(last, Messages):
        items[-1] = Messages(
            last.sends + found.sends,
            last.receives + found.receives,
            last.host_s + found.host_s,
            last.module,
        )
    else:
        items.append(found)
