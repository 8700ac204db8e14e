"""A report in one line, for the terminal."""

from collections.abc import Iterator

from cordee.core.pages.numbers import count_text, share_text
from cordee.emulator.report.numbers import bytes_text, seconds_text
from cordee.emulator.report.ranks import Ranks
from cordee.emulator.report.summary import Summary
from cordee.emulator.trace.records import Support

ON_CHIP = (Support.NATIVE, Support.STAND_IN, Support.COLLECTIVE)
WORTH_A_WORD = 0.05  # of the run, in waiting of all ranks together


def digest(summary: Summary, ranks: Ranks | None) -> str:
    """What one would read first on the page."""
    if not summary.calls:
        return "no operator ran on a chip"
    return "; ".join([*_parts(summary), *(_waiting(ranks) if ranks else ())])


def _waiting(ranks: Ranks) -> Iterator[str]:
    if ranks.rows and ranks.rows[0].caused_s > WORTH_A_WORD * ranks.timeline.whole.length_s:
        most = ranks.rows[0]
        yield f"{most.label} was waited for most: {seconds_text(most.caused_s)} in all"


def _parts(summary: Summary) -> Iterator[str]:
    native = sum(share for support, _, share in summary.by_support if support in ON_CHIP)
    yield f"{count_text(summary.calls)} operators ran, {share_text(native)} of them on the chip"
    for what, supports in (
        ("on the host", (Support.HOST,)),
        ("missing or not emulated", (Support.MISSING, Support.NOT_EMULATED)),
    ):
        names = [row.operator for row in summary.rows(*supports)]
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            yield f"{what}: {', '.join(names[:3])}{more}"
    if summary.memory:
        fullest = max(summary.memory, key=lambda series: series.share)
        capacity_bytes = fullest.chip.capacity_bytes
        yield f"peak {bytes_text(fullest.peak_bytes)} of {bytes_text(capacity_bytes)}"
    numerics = summary.numerics
    if numerics is not None:
        found = "beyond" if numerics.first else "all within"
        yield f"{count_text(numerics.compared)} results compared, {found} what their dtype explains"
