"""Events: order between streams, and times."""

import time
from concurrent.futures import ThreadPoolExecutor
from ctypes import byref, c_float, c_int, c_uint64, c_void_p

import pytest
from calls import EVENT_TIMESTAMP_INVALID, PARAM_INVALID, Acl, Refused
from test_streams import Gate

NOT_READY, COMPLETE = 0, 1


def _status(acl: Acl, event: int) -> int:
    status = c_int()
    acl.aclrtQueryEventStatus(event, byref(status))
    return status.value


def test_an_event_is_passed_when_its_stream_gets_there(acl: Acl) -> None:
    stream, event = acl.stream(), acl.event()
    gate = Gate(acl, stream)
    acl.aclrtRecordEvent(event, stream)
    assert _status(acl, event) == NOT_READY
    gate.open()
    acl.aclrtSynchronizeEvent(event)
    assert _status(acl, event) == COMPLETE


def test_an_event_on_an_empty_stream_is_passed_at_once(acl: Acl) -> None:
    event = acl.event()
    acl.aclrtRecordEvent(event, acl.stream())
    assert _status(acl, event) == COMPLETE


def test_one_stream_waits_for_another(acl: Acl) -> None:
    first, second, event, device = acl.stream(), acl.stream(), acl.event(), acl.malloc(8)
    acl.aclrtMemset(device, 8, 0, 8)
    gate = Gate(acl, first)
    acl.aclrtMemsetAsync(device, 1, 1, 1, first)
    acl.aclrtRecordEvent(event, first)
    acl.aclrtStreamWaitEvent(second, event)
    acl.aclrtMemsetAsync(device, 1, 2, 1, second)
    gate.open()
    acl.aclrtSynchronizeStream(second)
    assert acl.read(device, 1) == b"\2"


def test_a_wait_is_for_the_record_it_saw(acl: Acl) -> None:
    first, second, event = acl.stream(), acl.stream(), acl.event()
    acl.aclrtRecordEvent(event, first)
    acl.aclrtStreamWaitEvent(second, event)
    gate = Gate(acl, first)
    acl.aclrtRecordEvent(event, first)
    acl.aclrtSynchronizeStream(second)  # not held up by the second record
    assert _status(acl, event) == NOT_READY
    gate.open()
    acl.aclrtSynchronizeEvent(event)


def test_waiting_for_an_event_that_was_never_recorded_is_no_wait(acl: Acl) -> None:
    stream, event = acl.stream(), acl.event()
    acl.aclrtStreamWaitEvent(stream, event)
    acl.aclrtSynchronizeStream(stream)
    assert _status(acl, event) == NOT_READY


def test_the_time_between_events_is_the_time_their_work_took(acl: Acl) -> None:
    stream, start, end = acl.stream(), acl.event(8), acl.event(8)
    acl.aclrtRecordEvent(start, stream)
    gate = Gate(acl, stream)
    acl.aclrtRecordEvent(end, stream)
    before = time.monotonic()
    time.sleep(0.02)
    slept_ms = (time.monotonic() - before) * 1e3
    gate.open()
    acl.aclrtSynchronizeEvent(end)
    took_ms = c_float()
    acl.aclrtEventElapsedTime(byref(took_ms), start, end)
    assert took_ms.value >= slept_ms


def test_an_event_without_a_record_has_no_time(acl: Acl) -> None:
    with pytest.raises(Refused) as refused:
        acl.aclrtEventElapsedTime(byref(c_float()), acl.event(8), acl.event(8))
    assert refused.value.code == EVENT_TIMESTAMP_INVALID


def test_timestamps_are_microseconds_that_grow(acl: Acl) -> None:
    stream, event = acl.stream(), acl.event(8)
    times = []
    for _ in range(2):
        acl.aclrtRecordEvent(event, stream)
        times.append(c_uint64())
        acl.aclrtEventGetTimestamp(event, byref(times[-1]))
        time.sleep(0.002)
    assert times[1].value - times[0].value >= 2000


def test_an_event_of_the_older_kind_can_be_reset(acl: Acl) -> None:
    stream, event = acl.stream(), c_void_p()
    acl.aclrtCreateEventWithFlag(byref(event), 8)
    acl.aclrtRecordEvent(event, stream)
    acl.aclrtResetEvent(event, stream)
    assert _status(acl, event) == NOT_READY


def test_a_destroyed_event_is_recognised_and_lets_its_waiters_go(acl: Acl) -> None:
    first, second, event = acl.stream(), acl.stream(), acl.event()
    gate = Gate(acl, first)
    acl.aclrtRecordEvent(event, first)
    acl.aclrtStreamWaitEvent(second, event)
    acl.aclrtDestroyEvent(event)
    with pytest.raises(Refused) as refused:
        acl.aclrtSynchronizeEvent(event)
    assert refused.value.code == PARAM_INVALID
    gate.open()
    acl.aclrtSynchronizeStream(second)


def test_many_threads_share_streams_and_events(acl: Acl) -> None:
    def work() -> set[bytes]:
        acl.aclrtSetDevice(0)
        stream, event, device = acl.stream(), acl.event(), acl.malloc(64)
        wrong = set()
        for value in range(100):
            acl.aclrtMemsetAsync(device, 64, value, 64, stream)
            acl.aclrtRecordEvent(event, stream)
            acl.aclrtSynchronizeEvent(event)
            wrong |= {acl.read(device, 64)} - {bytes([value]) * 64}
        acl.aclrtDestroyEvent(event)
        acl.aclrtDestroyStream(stream)
        acl.aclrtFree(device)
        return wrong

    with ThreadPoolExecutor(8) as pool:
        results = [pool.submit(work) for _ in range(8)]
    assert [result.result() for result in results] == [set()] * 8
