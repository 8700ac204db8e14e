"""Five splits of the groups: each group is held out once, and predicted by what the others say."""

import hashlib
from collections.abc import Iterable, Sequence

from cordee.hw.accelerator import accelerators
from cordee.plan.calibration.fitting import Measured
from cordee.plan.calibration.table import kind_of
from cordee.plan.step_work import work_of
from cordee.plan.validation.results import Result

SPLITS = 5


def held_out(results: Sequence[Result]) -> dict[str, int]:
    """The split, 1 to 5, in which each group is held out; dealt within a software, by a hash."""
    found: dict[str, int] = {}
    for stack in sorted({result.stack for result in results}):
        found |= dealt({result.group for result in results if result.stack == stack})
    return found


def dealt(groups: Iterable[str]) -> dict[str, int]:
    """The split, 1 to 5, of each group."""
    return {group: place % SPLITS + 1 for place, group in enumerate(sorted(groups, key=_hash))}


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def measured(result: Result) -> Measured:
    """A published result as a measurement to fit to."""
    chip = accelerators().find(result.chip)
    jobs = result.jobs()
    return Measured(
        kind=kind_of(chip, result.stack, jobs[0].model),
        chip=chip,
        release=result.release,
        group=result.group,
        works=tuple(work_of(job, chip) for job in jobs),
        tokens_per_s_per_chip=result.tokens_per_s_per_chip,
    )
