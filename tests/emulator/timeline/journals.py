"""Small runs, made by hand: what ranks wrote of a few operations."""

from collections.abc import Sequence

from cordee.emulator.trace.records import (
    Call,
    Header,
    Message,
    Operation,
    Phase,
    Place,
    Process,
    Signature,
    Support,
)

GROUP = "world"
ZERO_S = 100.0


def operation(
    rank: int,
    begun_s: float | None,
    met_s: float | None,
    ended_s: float,
    *,
    number: int = 1,
    ranks: int = 3,
    stream: int = 7,
    messages: tuple[Message, ...] = (),
    code: int = 0,
) -> Operation:
    """Part of `rank` in one all-reduce, or in these messages."""
    return Operation(
        number=0 if messages else number,
        what="HcclBatchSendRecv" if messages else "HcclAllReduce",
        group=GROUP,
        identity="feed",
        ranks=ranks,
        rank=rank,
        chip=rank,
        stream=stream,
        size_bytes=4096,
        issued_s=begun_s or ended_s,
        begun_s=begun_s,
        met_s=met_s,
        ended_s=ended_s,
        code=code,
        messages=messages,
    )


def call(
    number: int,
    begin_s: float,
    took_s: float,
    *,
    waited_s: float = 0.0,
    within: int | None = None,
    phase: Phase = Phase.FORWARD,
    support: Support = Support.NATIVE,
    stream: int = 0,
) -> Call:
    """One operator that began `begin_s` after ZERO_S."""
    signature = Signature("aten::relu", support, (), {}, (), 0, 0)
    place = Place("", "program.py:1", phase)
    return Call(number, signature, place, 0, stream, begin_s, took_s, waited_s, within)


def process(
    rank: int | None, operations: Sequence[Operation] = (), calls: Sequence[Call] = ()
) -> Process:
    """What one process wrote."""
    number = 4000 + (rank or 0)
    return Process(
        header=Header(
            number, rank, "2026-01-01T00:00:00+00:00", ZERO_S, ("python",), {"cordee": "1"}
        ),
        chips=(),
        calls=tuple(calls),
        memory=(),
        operations=tuple(operations),
        failure=None,
        finished=True,
    )


def late(rank: int, delay_s: float, ranks: int = 3) -> list[Process]:
    """All ranks come at 100 s to one collective of 2 ms, but for one that comes later."""
    met_s = ZERO_S + delay_s
    return [
        process(
            one,
            [operation(one, met_s if one == rank else ZERO_S, met_s, met_s + 0.002, ranks=ranks)],
        )
        for one in range(ranks)
    ]
