"""One copy of a model with its queue: requests wait, are read, get tokens and leave.

Between two events nothing changes but the length of what is kept, so that all passes up to the next
arrival, end or shortage are taken in one stride. A pass that reads prompts is an event of its own.
Continuous batching: Yu et al., Orca (OSDI 2022), section 3; paged keys and values with preemption
by reckoning anew: Kwon et al., arxiv.org/abs/2309.06180, section 4.5; chunked prompts: Agrawal et
al., arxiv.org/abs/2403.02310.
"""

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

from cordee.plan.costs.passes import Batch

LEAST = 16
"""Passes that there is to be room for, once someone has to give up room."""


@dataclass(slots=True)
class Request:
    """One request on its way."""

    number: int
    arrival_s: float
    prompt: int
    answer: int
    """Tokens that it gets."""
    read: int = 0
    """Of the prompt, already; after a preemption, of what it had."""
    given: float = 0.0
    """Tokens that it got."""
    first_s: float = -1.0
    end_s: float = -1.0
    ready_s: float = 0.0
    """When it may be scheduled where it is now."""
    ends_at: float = 0.0
    """In the count of passes of its replica, when it has all its tokens."""
    joined_at: float = 0.0
    """In that count, when it began to get tokens."""
    group: int = 0
    """Which of those that attend apart has it, where it matters."""

    @property
    def to_read(self) -> int:
        """Tokens that must be read before it gets more."""
        return self.prompt + int(self.given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How a replica schedules."""

    pass_s: Callable[[Batch], float]
    groups: int
    """That attend apart."""
    room: float
    """Tokens that may be kept, over all groups."""
    chunk: int
    """Tokens of prompts in a pass, for each group."""
    mixed: bool
    most: int | None
    """Requests under way; None: as many as have room."""
    reserved: float = 0.0
    """Part of an answer that must have room before its prompt is read."""
    polls: int = 1
    """Passes that only give tokens between two looks for newcomers."""
    gathers: int = 0
    """Passes after which prompts are read, unless each group has one before; 0: at once.

    So TensorRT-LLM balances attention apart on each chip: the passes are counted whether a prompt waits or not, and
    groups without any answer under way end the wait (tensorrt_llm/_torch/pyexecutor/py_executor.py, _balance_adp_requests).
    """
    per_pass: float = 1.0
    """Tokens that a request gets in a pass."""
    gives: bool = True
    """False where it only reads prompts."""


class Replica:
    """One copy of the model with its queue."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.waiting: deque[Request] = deque()
        self.reading: list[Request] = []
        self.running: list[tuple[float, int, Request]] = []
        """A heap by the count of passes at which a request ends."""
        self.known = 0
        """Of those who wait, how many were noticed."""
        self.passes = 0.0
        self.kept = 0.0
        """Tokens of those that get more."""
        self.held = 0.0
        """Tokens that those have room for whose prompts are read."""
        self.claimed = 0.0
        """Tokens that all who are under way are thought to need."""
        self.preempted = 0
        self.busy_until = 0.0
        self.stride: tuple[float, float, float] | None = None
        """Of passes that only give tokens: when they began, how long each takes, how many."""
        self.version = 0
        self.planned: list[tuple[Request, int]] = []
        self.looked = 0.0
        """In the count of passes, when newcomers were last looked for; below 0: they are now."""
        self.reads_at: float | None = None
        """In the count of passes, when prompts that wait for others are read all the same."""
        self.gathered = 0.0
        """In the count of passes, when prompts were last read, or would have been."""
        self.loads = [0] * rules.groups
        """Requests of each group, where it matters which has them."""

    @property
    def load(self) -> int:
        """Requests that are here."""
        return len(self.waiting) + len(self.reading) + len(self.running)

    def admit(self, now_s: float) -> None:
        """Take what has room; the first that has none waits, and all behind it."""
        rules = self.rules
        if self.looked < 0 or not self.running or self.passes >= self.looked + rules.polls:
            self.known, self.looked = len(self.waiting), self.passes
        while self.known:
            request = self.waiting[0]
            under_way = len(self.reading) + len(self.running)
            full = rules.most is not None and under_way >= rules.most
            if request.ready_s > now_s + 1e-12 or full:
                return
            claim = request.prompt + rules.reserved * request.answer
            taken = max(self.kept + self.held + request.to_read + under_way, self.claimed + claim)
            if under_way and taken > rules.room:
                return
            self.waiting.popleft()
            self.known -= 1
            self.claimed += claim
            self._join(request)
            if request.read >= request.to_read:
                self._start_giving(request, now_s)
            else:
                self.held += request.to_read
                self.reading.append(request)

    def begin(self, now_s: float) -> float | None:
        """Start what comes next; when it ends, or None where there is nothing to do."""
        self.admit(now_s)
        self.stride = None
        if self.reading and not self._gathers():
            return self._begin_reading(now_s)
        if self.running:
            return self._begin_stride(now_s)
        return None

    def _gathers(self) -> bool:
        """Whether prompts wait for others, so that all groups read at the same time."""
        rules = self.rules
        if not rules.gathers or len({one.group for one in self.reading}) == rules.groups:
            return False
        if len({one.group for _, _, one in self.running}) < rules.groups:
            return False
        if self.reads_at is None:
            turns = max(ceil((self.passes - self.gathered) / rules.gathers - 1e-9), 1)
            self.reads_at = self.gathered + turns * rules.gathers
        return self.passes < self.reads_at - 1e-9

    def _join(self, request: Request) -> None:
        """The group with the fewest requests gets it."""
        if self.rules.gathers:
            request.group = min(range(self.rules.groups), key=lambda group: self.loads[group])
            self.loads[request.group] += 1

    def _begin_reading(self, now_s: float) -> float:
        rules, self.reads_at, self.gathered = self.rules, None, self.passes
        # Groups read at the same time; where there are fewer prompts than groups, some have none.
        own = rules.chunk * (1 if rules.gathers else min(rules.groups, len(self.reading)))
        budgets = [own] * rules.groups
        self.planned, read, met = [], 0, 0.0
        for request in self.reading:
            piece = min(request.to_read - request.read, budgets[request.group], rules.chunk)
            if piece > 0:
                self.planned.append((request, piece))
                met += piece * (request.read + piece / 2)
                read += piece
                budgets[request.group] -= piece
            elif not rules.gathers:
                break
        given = len(self.running) if rules.mixed else 0
        fullest = max(read / rules.groups, max(piece for _, piece in self.planned))
        if rules.gathers:
            fullest = float(own - min(budgets))
        batch = Batch(
            given=given / rules.groups,
            seen=self._seen() if given else 0.0,
            read=fullest,
            others=(read / fullest - 1) / (rules.groups - 1) if rules.groups > 1 else 1.0,
            met=met / read,
        )
        return now_s + rules.pass_s(batch)

    def _seen(self) -> float:
        """Tokens behind a running request, on average."""
        return self.kept / len(self.running) if self.running else 0.0

    def _begin_stride(self, now_s: float) -> float:
        rules = self.rules
        left = max(ceil(self.running[0][0] - self.passes - 1e-9), 1)
        if self._free_passes() < left:
            self._preempt(min(left, LEAST))
            left = max(min(left, int(self._free_passes())), 1)
        if self.reads_at is not None:
            left = min(left, max(ceil(self.reads_at - self.passes - 1e-9), 1))
        if self.known < len(self.waiting):
            left = min(left, max(ceil(self.looked + rules.polls - self.passes - 1e-9), 1))
        seen = self._seen() + left * rules.per_pass / 2
        given = ceil(len(self.running) / rules.groups)
        seconds = rules.pass_s(Batch(given=given, seen=seen))
        self.stride = (now_s, seconds, left)
        return now_s + left * seconds

    def _free_passes(self) -> float:
        """How many passes there is room for."""
        free = self.rules.room - self.kept - self.held
        return free / (len(self.running) * self.rules.per_pass)

    def _preempt(self, passes: int) -> None:
        """Those that joined last give up what they have kept, and are read again."""
        if self._free_passes() >= passes or len(self.running) < 2:
            return
        self.running.sort(key=lambda entry: entry[2].joined_at)
        while len(self.running) > 1 and self._free_passes() < passes:
            _, _, request = self.running.pop()
            request.given = self._progress(request)
            request.read = 0
            self.kept -= request.prompt + request.given
            self._unclaim(request)
            self.waiting.appendleft(request)
            self.known += 1
            self.preempted += 1
        heapq.heapify(self.running)

    def _unclaim(self, request: Request) -> None:
        self.claimed -= request.prompt + self.rules.reserved * request.answer
        if self.rules.gathers:
            self.loads[request.group] -= 1

    def _progress(self, request: Request) -> float:
        """Tokens that a running request has got."""
        got = (self.passes - request.joined_at) * self.rules.per_pass
        return min(request.given + got, float(request.answer))

    def cut(self, now_s: float) -> float | None:
        """Someone came during a stride: it ends when newcomers are looked for; when that is."""
        if self.stride is None:
            return None
        began, seconds, left = self.stride
        done = max(ceil((now_s - began) / seconds - 1e-9), 1)
        polls = self.rules.polls
        if polls > 1:
            looks = ceil((self.passes + done - self.looked) / polls - 1e-9)
            self.looked += (looks - 1) * polls
            done = ceil(self.looked + polls - self.passes - 1e-9)
        if done >= left:
            return None
        self.stride = (began, seconds, done)
        return began + done * seconds

    def end(self, now_s: float) -> tuple[list[Request], list[Request]]:
        """What ended is entered: requests whose first token is there, and those that are through."""
        first: list[Request] = []
        if self.stride is not None:
            self._advance(self.stride[2])
            self.stride = None
        elif self.planned:
            if self.rules.mixed and self.running:
                self._advance(1)
            self.looked = -1.0
            for request, piece in self.planned:
                request.read += piece
                if request.read >= request.to_read:
                    first.append(request)
            self.planned = []
            if first:
                self.reading = [one for one in self.reading if one.read < one.to_read]
            for request in first:
                self._read_through(request, now_s)
        return first, self._through(now_s)

    def _advance(self, passes: float) -> None:
        self.passes += passes
        self.kept += passes * self.rules.per_pass * len(self.running)

    def _read_through(self, request: Request, now_s: float) -> None:
        self.held -= request.to_read
        if not self.rules.gives:
            self._unclaim(request)
        if self.rules.gives:
            self._start_giving(request, now_s)

    def _start_giving(self, request: Request, now_s: float) -> None:
        """Its first token is there, the others come with the next passes."""
        if request.first_s < 0:
            request.first_s = now_s
            request.given = 1.0
        self.kept += request.prompt + request.given
        left = max(request.answer - request.given, 0.0) / self.rules.per_pass
        request.joined_at = self.passes
        request.ends_at = self.passes + left
        heapq.heappush(self.running, (request.ends_at, request.number, request))

    def _through(self, now_s: float) -> list[Request]:
        done = []
        while self.running and self.running[0][0] <= self.passes + 1e-9:
            _, _, request = heapq.heappop(self.running)
            got = request.given + (self.passes - request.joined_at) * self.rules.per_pass
            self.kept -= request.prompt + got
            self._unclaim(request)
            request.given = float(request.answer)
            request.end_s = now_s
            done.append(request)
        if not self.running:
            self.kept = 0.0  # what rounding left
        return done
