"""A service over months: replicas fall and come back, and what a window tells of each fall happens as often as it falls."""

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random

from cordee.plan.goodput.cluster import DAY_S
from cordee.plan.goodput.service.service import Service, ServiceOutcome, Sign
from cordee.plan.goodput.service.window import Window
from cordee.serve.policy.admission import REQUEST_TIMEOUT_S

STAND_FOR_ALL = 24
"""Of many replicas so many are simulated request by request: what happens depends on how full they are."""
WINDOWS = 3
"""That are simulated of each kind; each fall like them is one of theirs."""
AFTER_S = 15.0
FILLING = 0.9
"""Fewer requests than this part of what replicas have room for are never refused for long."""


@dataclass(frozen=True, slots=True)
class Fall:
    """What one fall did, on average."""

    moved: float
    broken_off: float
    gaps_s: tuple[float, ...]


@dataclass(slots=True)
class Year:
    """Runs it."""

    service: Service
    seed: int = 0
    _falls: dict[tuple[int, int, int, Sign], Fall] = field(default_factory=dict)
    _refused: dict[tuple[int, int], float] = field(default_factory=dict)

    def run(self, days: float) -> ServiceOutcome:
        """Failures at a constant rate for each replica, repairs of exponential length."""
        service, dice = self.service, Random(self.seed)
        signs = service.signs()
        up, now_s, end_s = service.replicas, 0.0, days * DAY_S
        coming: list[tuple[float, int]] = []
        gaps = broken_off = refused = short_s = 0.0
        falls: Counter[Fall] = Counter()
        while now_s < end_s:
            rate = up * (service.hardware_per_s / service.together + service.software_per_s)
            next_s = now_s + dice.expovariate(rate) if rate else end_s
            back_s = coming[0][0] if coming else end_s
            passed_s = min(next_s, back_s, end_s) - now_s
            refused += passed_s * service.rate_per_s * self._refused_part(up)
            short_s += passed_s if up < service.wanted else 0.0
            now_s += passed_s
            if now_s >= end_s:
                break
            if back_s <= next_s:
                up += heapq.heappop(coming)[1]
                continue
            hardware = dice.random() * rate < up * service.hardware_per_s / service.together
            lost = min(up, service.together if hardware else 1)
            (sign,) = dice.choices(list(signs), list(signs.values()))
            fall = self._fall(up, lost, sign)
            falls[fall] += 1
            gaps, broken_off = gaps + fall.moved, broken_off + fall.broken_off
            up -= lost
            away_s = dice.expovariate(1 / service.repair_s) if hardware else service.start_s
            unseen_s = REQUEST_TIMEOUT_S if sign == "stuck" and not service.own_engine else 0.0
            heapq.heappush(coming, (now_s + away_s + unseen_s, lost))
        sample = [gap for fall, times in falls.items() for gap in fall.gaps_s * times]
        return ServiceOutcome(
            days=days,
            requests=service.rate_per_s * end_s,
            failures=sum(falls.values()),
            gaps=gaps,
            gaps_s=tuple(sorted(sample)),
            broken_off=broken_off,
            refused=refused,
            short_s=short_s,
        )

    def _fall(self, up: int, lost: int, sign: Sign) -> Fall:
        key = (*self._fullness(up), lost, sign)
        known = self._falls.get(key)
        if known is None:
            known = self._falls[key] = _mean(
                [self._window(up, lost, sign, seed) for seed in range(WINDOWS)]
            )
        return known

    def _fullness(self, up: int) -> tuple[int, int]:
        """Replicas that stand for all, and how full each is in hundredths: what else there is makes no difference."""
        count = _stand_in(self.service, up)[1]
        return count, round(100 * min(self.service.wanted / up, 2.0))

    def _window(self, up: int, lost: int, sign: Sign, seed: int) -> Window:
        small, count = _stand_in(self.service, up)
        window = Window(small, count, seed)
        window.run(min(5.0, small.stay_s))
        window.falls(min(lost, count), sign)
        window.run(window.now_s + AFTER_S + (0.0 if up > lost else 60.0))
        window.close()
        return window

    def _refused_part(self, up: int) -> float:
        """Of those who come while so many replicas are up, once what can wait does."""
        service = self.service
        if up == 0:
            return 1.0
        if service.wanted < FILLING * up:
            return 0.0
        key = self._fullness(up)
        if key not in self._refused:
            small, count = _stand_in(service, up)
            window = Window(small, count, self.seed)
            window.run(3 * service.stay_s + 512 / small.rate_per_s)
            came, refused = window.came, window.refused
            window.run(window.now_s + 5 * service.stay_s)
            self._refused[key] = (window.refused - refused) / max(1, window.came - came)
        return self._refused[key]


def _stand_in(service: Service, up: int) -> tuple[Service, int]:
    """The same with fewer replicas, each as full."""
    count = min(up, max(STAND_FOR_ALL, service.together + 1))
    return replace(service, replicas=count, rate_per_s=service.rate_per_s * count / up), count


def _mean(windows: Sequence[Window]) -> Fall:
    gaps = [gap for window in windows for gap in window.gaps_s]
    return Fall(
        moved=sum(window.moved for window in windows) / len(windows),
        broken_off=sum(window.broken_off for window in windows) / len(windows),
        gaps_s=tuple(sorted(gaps)[:: max(1, len(gaps) // 50)]),
    )
