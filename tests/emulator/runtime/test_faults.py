"""What a program is told of a chip that is out of order, and how it recovers."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from ctypes import (
    Structure,
    byref,
    c_char,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)

import pytest
from calls import DEVICE_SETUP, HERE, Acl, Refused
from test_streams import Gate

from cordee.emulator import faults

ABORTED, STREAM_ABORTED, TIMED_OUT, LOST, ECC = 107022, 107023, 507014, 507010, 507054
SLOW, WRONG, WAS_ABORTED = 1, 2, 4


class Bad(Structure):
    """aclrtMemUceInfo."""

    _fields_ = (("address", c_void_p), ("bytes", c_size_t), ("reserved", c_char * 112))


@pytest.fixture(autouse=True)
def repaired(acl: Acl) -> Iterator[None]:
    yield
    faults.repair(None)
    acl.aclrtSetOpExecuteTimeOut(0)


def bad_memory(acl: Acl) -> list[tuple[int, int]]:
    found, room = c_size_t(7), (Bad * 4)()
    acl.aclrtGetMemUceInfo(0, room, 4, byref(found))
    return [(bad.address, bad.bytes) for bad in room[: found.value]]


def refused(call, *arguments: object) -> int:
    with pytest.raises(Refused) as told:
        call(*arguments)
    return told.value.code


def meanwhile(act) -> threading.Thread:
    """Do something on a thread of its own, in a moment."""
    timer = threading.Timer(0.1, act)
    timer.start()
    return timer


def test_a_healthy_chip_has_no_bad_memory(acl: Acl) -> None:
    assert bad_memory(acl) == []


def test_a_lost_chip_refuses_everything_and_cannot_even_be_stopped(acl: Acl) -> None:
    stream = acl.stream()
    faults.strike(None, faults.ChipLost(chip=0))
    for call in (acl.aclrtSynchronizeStream, acl.cordee_compute_begin):
        assert refused(call, stream) == LOST
    assert refused(acl.malloc, 8) == LOST
    assert refused(acl.aclrtDeviceTaskAbort, 0, 0) == LOST
    faults.repair(None)
    acl.aclrtSynchronizeStream(stream)


def test_a_process_cannot_come_to_use_a_lost_chip(run) -> None:
    said = run(
        """
        from cordee.emulator import faults
        acl = Acl(os.environ["CORDEE_TEST_LIBRARIES"])
        acl.aclInit(None)
        acl.aclrtSetDevice(1)
        for chip in (0, 1):
            faults.strike(None, faults.ChipLost(chip=chip))
        acl.aclrtSetDevice(1)  # it holds its part of that one
        for call in (acl.aclrtSetDevice, lambda chip: acl.got(ctypes.c_void_p, "aclrtCreateContext", chip)):
            try:
                call(0)
            except Refused as refused:
                say(refused.code, "Failed to connect the device" in refused.why)
        faults.repair(None)
        acl.aclrtSetDevice(0)
        acl.malloc(8)
        """,
        PYTHONPATH=os.pathsep.join([str(HERE), *sys.path]),
        CORDEE_CHIPS="2",
    )
    assert said.splitlines() == [f"{DEVICE_SETUP} True"] * 2


@pytest.mark.parametrize("number", ["largest", 0, 1])
def test_bad_memory_is_an_allocation_of_the_process(number: int | str, run) -> None:
    said = run(
        f"""
        from cordee.emulator import faults
        acl = on_device()
        held = sorted((acl.malloc(4096), acl.malloc(4 << 20)))
        faults.strike(None, faults.BadMemory(chip=0, allocation={number!r}))
        bad, count = (ctypes.c_uint64 * 64)(), ctypes.c_size_t()
        acl.aclrtGetMemUceInfo(0, bad, 4, ctypes.byref(count))
        say(count.value, held.index(bad[0]), bad[1])
        """,
        PYTHONPATH=os.pathsep.join([str(HERE), *sys.path]),
    )
    assert said in {"largest": ("1 1 4194304",), 0: ("1 0 4096",), 1: ("1 1 4194304",)}[number]


def test_bad_memory_is_repaired_by_the_program(acl: Acl) -> None:
    large = acl.malloc(64 << 20)
    faults.strike(None, faults.BadMemory(chip=0))
    assert refused(acl.malloc, 8) == ECC
    acl.aclrtDeviceTaskAbort(0, 0)
    acl.aclrtMemUceRepair(0, (Bad * 1)(Bad(large, 64 << 20)), 1)
    assert bad_memory(acl) == []
    acl.library.cordee_resume(c_void_p(acl.stream()))
    acl.aclrtFree(acl.malloc(8))
    assert faults.entries(None)[-1].state == "over"
    acl.aclrtFree(large)


def test_bad_memory_that_is_freed_is_met_no_more(acl: Acl) -> None:
    large = acl.malloc(64 << 20)
    faults.strike(None, faults.BadMemory(chip=0))
    assert bad_memory(acl) == [(large, 64 << 20)]
    acl.aclrtFree(large)
    assert bad_memory(acl) == []
    acl.aclrtFree(acl.malloc(8))


def test_a_program_that_stopped_the_chip_meets_bad_memory_when_it_computes_again(acl: Acl) -> None:
    stream, large = acl.stream(), acl.malloc(64 << 20)
    faults.strike(None, faults.BadMemory(chip=0))
    assert refused(acl.cordee_compute_begin, stream) == ECC
    acl.aclrtDeviceTaskAbort(0, 0)
    acl.aclrtSynchronizeDevice()  # it may look round
    acl.library.cordee_resume(c_void_p(stream))
    assert refused(acl.cordee_compute_begin, stream) == ECC
    faults.repair(None)
    acl.aclrtFree(large)


def test_a_chip_that_hangs_ends_nothing_until_it_is_repaired(acl: Acl) -> None:
    stream, device = acl.stream(), acl.malloc(8)
    acl.aclrtMemset(device, 8, 0, 8)
    faults.strike(None, faults.Hang(chip=0))
    acl.aclrtMemsetAsync(device, 8, 9, 8, stream)  # returns
    assert refused(acl.aclrtSynchronizeStreamWithTimeout, stream, 50) == 507046
    repairing = meanwhile(lambda: faults.repair(None))
    acl.cordee_compute_begin(stream)
    repairing.join()
    assert acl.read(device, 8) == b"\t" * 8


def test_an_operator_on_a_chip_that_hangs_times_out(acl: Acl) -> None:
    stream, device = acl.stream(), acl.malloc(8)
    acl.aclrtSetOpExecuteTimeOutWithMs(30)
    faults.strike(None, faults.Hang(chip=0))
    assert refused(acl.cordee_compute_begin, stream) == TIMED_OUT
    assert refused(acl.aclrtMemset, device, 8, 0, 8) == TIMED_OUT
    other = acl.stream()
    acl.aclrtMemsetAsync(device, 8, 9, 8, other)
    assert refused(acl.aclrtSynchronizeStream, other) == TIMED_OUT


def test_the_timeout_of_operators_is_that_of_the_product(acl: Acl) -> None:
    actual = c_uint64()
    acl.aclrtSetOpExecuteTimeOutV2(0, byref(actual))  # the longest
    assert actual.value == 1091_000_000
    assert acl.got(c_uint32, "aclrtGetOpExecuteTimeout") == 1091_000


def test_what_waits_for_a_chip_that_hangs_ends_when_the_device_is_stopped(acl: Acl) -> None:
    device, first, second = acl.malloc(8), acl.stream(), acl.stream()
    event = acl.event()
    acl.aclrtMemset(device, 8, 0, 8)
    faults.strike(None, faults.Hang(chip=0))

    def queue() -> None:
        acl.aclrtMemsetAsync(device, 8, 9, 8, first)
        acl.aclrtSynchronizeStream(first)

    def await_event() -> None:
        acl.aclrtMemsetAsync(device, 8, 9, 8, second)
        acl.aclrtRecordEvent(event, second)
        acl.aclrtSynchronizeEvent(event)

    waits = {
        "queue": queue,
        "event": await_event,
        "copy": lambda: acl.read(device, 8),
        "operator": lambda: acl.cordee_compute_begin(acl.stream()),
    }
    codes = {}

    def run(name: str) -> None:
        acl.aclrtSetDevice(0)
        while name not in codes:  # stopped before it waits, it has nothing to wait for
            try:
                waits[name]()
            except Refused as told:
                codes[name] = told.code

    threads = [threading.Thread(target=run, args=(name,)) for name in waits]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        time.sleep(0.05)
        acl.aclrtDeviceTaskAbort(0, 0)
    assert codes == dict.fromkeys(waits, ABORTED)
    faults.repair(None)
    acl.aclrtSynchronizeDevice()
    assert acl.read(device, 8) == bytes(8)


def test_what_was_aborted_is_not_done_when_the_chip_is_repaired_right_after(acl: Acl) -> None:
    device, stream = acl.malloc(8), acl.stream()
    acl.aclrtMemset(device, 8, 0, 8)
    for _ in range(20):
        faults.strike(None, faults.Hang(chip=0))
        acl.aclrtMemsetAsync(device, 8, 9, 8, stream)
        time.sleep(0.002)  # so that it has begun to wait
        acl.aclrtDeviceTaskAbort(0, 0)
        faults.repair(None)
        with suppress(Refused):
            acl.aclrtSynchronizeDevice()
        assert acl.read(device, 8) == bytes(8)


def test_a_stream_that_is_aborted_ends_its_wait_for_a_chip_that_hangs(acl: Acl) -> None:
    stream = acl.stream()
    faults.strike(None, faults.Hang(chip=0))
    aborting = meanwhile(lambda: acl.aclrtStreamAbort(stream))
    assert refused(acl.cordee_compute_begin, stream) == STREAM_ABORTED
    aborting.join()


def test_a_wait_for_an_event_ends_when_the_device_is_stopped(acl: Acl) -> None:
    first, second, event = acl.stream(), acl.stream(), acl.event()
    gate = Gate(acl, first)
    acl.aclrtRecordEvent(event, first)
    acl.aclrtStreamWaitEvent(second, event)
    acl.aclrtDeviceTaskAbort(0, 0)
    acl.aclrtSynchronizeStream(second)
    gate.open()
    acl.aclrtSynchronizeStream(first)


def test_a_chip_tells_what_disturbs_its_operators(acl: Acl) -> None:
    library, stream = acl.library, c_void_p(acl.stream())
    assert not library.cordee_disturbances(stream) & (SLOW | WRONG)
    faults.strike(
        None,
        faults.Slow(chip=0, factor=2.5),
        faults.WrongResult(chip=0, operator="aten::mm", bit=30),
    )
    assert library.cordee_disturbances(stream) & (SLOW | WRONG) == SLOW | WRONG
    assert library.cordee_slow_percent(stream) == 250
    found = [library.cordee_flip(stream, name) for name in (b"aten::mm", b"aten::mm.out")]
    assert found == [31, 31]
    assert library.cordee_flip(stream, b"aten::mma") == 0
    assert library.cordee_flip(stream, b"aten::m") == 0
    acl.aclrtDeviceTaskAbort(0, 0)
    assert library.cordee_disturbances(stream) & WAS_ABORTED


def test_aborting_the_device_drops_what_is_queued_and_lets_programs_go_on(acl: Acl) -> None:
    stream, device = acl.stream(), acl.malloc(8)
    acl.aclrtMemset(device, 8, 0, 8)
    gate = Gate(acl, stream)
    acl.aclrtMemsetAsync(device, 8, 9, 8, stream)
    acl.aclrtDeviceTaskAbort(0, 0)
    gate.open()
    acl.aclrtSynchronizeStream(stream)
    assert acl.read(device, 8) == bytes(8)
    acl.aclrtMemsetAsync(device, 8, 1, 8, stream)
    acl.aclrtSynchronizeStream(stream)
    assert acl.read(device, 8) == b"\1" * 8


def test_an_event_dropped_with_its_stream_does_not_look_passed(acl: Acl) -> None:
    first, second, event = acl.stream(), acl.stream(), acl.event()
    gate = Gate(acl, first)
    acl.aclrtRecordEvent(event, first)
    acl.aclrtStreamWaitEvent(second, event)
    acl.aclrtStreamAbort(first)
    gate.open()
    with pytest.raises(Refused, match="the stream that should record an event failed"):
        acl.aclrtSynchronizeStream(second)
