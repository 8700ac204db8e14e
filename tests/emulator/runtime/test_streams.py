"""Streams: order, waiting, errors and callbacks."""

import threading
from ctypes import CFUNCTYPE, byref, c_int, c_uint64, c_void_p, create_string_buffer, string_at
from typing import ClassVar

import pytest
from calls import (
    D2H,
    H2D,
    PARAM_INVALID,
    REPORT_TIMEOUT,
    STREAM_NO_CALLBACK,
    STREAM_SYNC_TIMEOUT,
    THREAD_SUBSCRIBE,
    Acl,
    MiB,
    Refused,
)

Callback = CFUNCTYPE(None, c_void_p)
IDLE, BUSY = 0, 1


class Gate:
    """Work that keeps a stream busy until `open` is called."""

    functions: ClassVar[list[object]] = []
    """A stream's thread may come to its function when the test is over."""

    def __init__(self, acl: Acl, stream: int) -> None:
        self.event = threading.Event()
        function = Callback(lambda _: self.event.wait(60) and None)
        self.functions.append(function)
        acl.aclrtLaunchHostFunc(stream, function, None)

    def open(self) -> None:
        self.event.set()


def _status(acl: Acl, stream: int) -> int:
    status = c_int()
    acl.aclrtStreamQuery(stream, byref(status))
    return status.value


def test_work_runs_in_the_order_in_which_it_was_asked_for(acl: Acl) -> None:
    stream, device, got = acl.stream(), acl.malloc(8), create_string_buffer(8)
    gate = Gate(acl, stream)
    acl.aclrtMemcpyAsync(device, 8, b"firstone", 8, H2D, stream)
    acl.aclrtMemcpyAsync(got, 8, device, 8, D2H, stream)
    acl.aclrtMemsetAsync(device, 8, 0, 8, stream)
    assert got.raw == bytes(8)
    gate.open()
    acl.aclrtSynchronizeStream(stream)
    assert got.raw == b"firstone"
    assert acl.read(device, 8) == bytes(8)
    acl.aclrtDestroyStream(stream)


def test_a_stream_says_whether_it_is_busy(acl: Acl) -> None:
    stream = acl.stream()
    assert _status(acl, stream) == IDLE
    gate = Gate(acl, stream)
    assert _status(acl, stream) == BUSY
    gate.open()
    acl.aclrtSynchronizeStream(stream)
    assert _status(acl, stream) == IDLE
    acl.aclrtDestroyStream(stream)


def test_waiting_for_a_stream_can_end_early(acl: Acl) -> None:
    stream = acl.stream()
    gate = Gate(acl, stream)
    with pytest.raises(Refused) as refused:
        acl.aclrtSynchronizeStreamWithTimeout(stream, 10)
    assert refused.value.code == STREAM_SYNC_TIMEOUT
    gate.open()
    acl.aclrtSynchronizeStreamWithTimeout(stream, 60_000)
    acl.aclrtDestroyStream(stream)


def test_waiting_for_the_device_waits_for_every_stream(acl: Acl) -> None:
    streams, device = [acl.stream(), acl.stream()], acl.malloc(8)
    gates = [Gate(acl, stream) for stream in streams]
    for number, stream in enumerate(streams):
        acl.aclrtMemsetAsync(device + number, 1, 7, 1, stream)
    for gate in gates:
        gate.open()
    acl.aclrtSynchronizeDevice()
    assert acl.read(device, 2) == b"\7\7"


def test_an_operator_waits_for_what_is_queued_before_it(acl: Acl) -> None:
    stream, device = acl.stream(), acl.malloc(8)
    gate = Gate(acl, stream)
    acl.aclrtMemsetAsync(device, 8, 1, 8, stream)
    threading.Timer(0.05, gate.open).start()
    acl.cordee_compute_begin(stream)
    assert acl.read(device, 8) == b"\1" * 8
    acl.aclrtDestroyStream(stream)


def test_a_large_copy_to_pinned_memory_leaves_the_calling_thread(acl: Acl) -> None:
    stream, device, pinned = acl.stream(), acl.malloc(4 * MiB), c_void_p()
    acl.aclrtMallocHost(byref(pinned), 4 * MiB)
    acl.aclrtMemset(device, 4 * MiB, 3, 4 * MiB)
    acl.aclrtMemcpyAsync(pinned, 4 * MiB, device, 4 * MiB, D2H, stream)
    acl.aclrtSynchronizeStream(stream)
    assert string_at(pinned, 4 * MiB) == b"\3" * (4 * MiB)
    acl.aclrtFreeHost(pinned)


def test_a_destroyed_stream_is_recognised(acl: Acl) -> None:
    stream = acl.stream()
    acl.aclrtDestroyStream(stream)
    with pytest.raises(Refused) as refused:
        acl.aclrtSynchronizeStream(stream)
    assert refused.value.code == PARAM_INVALID


def test_destroying_a_stream_by_force_drops_what_waits_in_it(acl: Acl) -> None:
    stream, device = acl.stream(), acl.malloc(8)
    acl.aclrtMemset(device, 8, 0, 8)
    acl.aclrtValueWait(device, 1, 1, stream)
    acl.aclrtMemsetAsync(device, 8, 9, 8, stream)
    acl.aclrtDestroyStreamForce(stream)
    assert acl.read(device, 8) == bytes(8)


def test_a_stream_waits_for_a_word_of_memory(acl: Acl) -> None:
    waiting, writing, word = acl.stream(), acl.stream(), acl.malloc(16)
    acl.aclrtMemset(word, 16, 0, 16)
    acl.aclrtValueWait(word, 5, 0, waiting)  # at least 5
    acl.aclrtMemsetAsync(word + 8, 8, 1, 8, waiting)
    assert acl.read(word + 8, 8) == bytes(8)
    acl.aclrtValueWrite(word, 6, 0, writing)
    acl.aclrtSynchronizeStream(waiting)
    assert acl.read(word + 8, 8) == b"\1" * 8


def test_memory_freed_before_its_turn_is_an_error_of_the_stream(acl: Acl) -> None:
    stream, device = acl.stream(), acl.malloc(8)
    gate = Gate(acl, stream)
    acl.aclrtMemsetAsync(device, 8, 1, 8, stream)
    acl.aclrtFree(device)
    gate.open()
    with pytest.raises(Refused, match="freed device memory"):
        acl.aclrtSynchronizeStream(stream)
    acl.aclrtSynchronizeStream(stream)  # reported once


def test_a_stream_that_stops_on_failure_stays_stopped_until_it_is_aborted(acl: Acl) -> None:
    stream, device, freed = acl.stream(), acl.malloc(8), acl.malloc(8)
    acl.aclrtMemset(device, 8, 0, 8)
    acl.aclrtSetStreamFailureMode(stream, 1)
    gate = Gate(acl, stream)
    acl.aclrtMemsetAsync(freed, 8, 1, 8, stream)
    acl.aclrtMemsetAsync(device, 8, 1, 8, stream)
    acl.aclrtFree(freed)
    gate.open()
    for call in (acl.aclrtSynchronizeStream, acl.cordee_compute_begin):
        with pytest.raises(Refused, match="freed device memory"):
            call(stream)
    assert acl.read(device, 8) == bytes(8)
    acl.aclrtStreamAbort(stream)
    acl.aclrtSynchronizeStream(stream)


def test_streams_have_numbers_priorities_and_attributes(acl: Acl) -> None:
    stream, value = c_void_p(), c_uint64(42)
    acl.aclrtCreateStreamWithConfig(byref(stream), 3, 0)
    priority, number = c_int(), c_int()
    acl.aclrtStreamGetPriority(stream, byref(priority))
    acl.aclrtStreamGetId(stream, byref(number))
    assert (priority.value, number.value >= 0) == (3, True)
    acl.aclrtSetStreamAttribute(stream, 3, byref(value))
    value.value = 0
    acl.aclrtGetStreamAttribute(stream, 3, byref(value))
    assert value.value == 42


def test_a_callback_runs_on_the_thread_that_subscribed(acl: Acl) -> None:
    stream, ran_on = acl.stream(), []
    thread = threading.get_ident()
    callback = Callback(lambda _: ran_on.append(threading.get_ident()))
    acl.aclrtSubscribeReport(thread, stream)
    acl.aclrtLaunchCallback(callback, None, 0, stream)
    acl.aclrtProcessReport(60_000)
    assert ran_on == [thread]
    acl.aclrtUnSubscribeReport(thread, stream)


def test_a_blocking_callback_holds_its_stream(acl: Acl) -> None:
    stream, device = acl.stream(), acl.malloc(8)
    acl.aclrtMemset(device, 8, 0, 8)
    seen: list[bytes] = []
    callback = Callback(lambda _: seen.append(acl.read(device, 8)))
    thread = threading.get_ident()
    acl.aclrtSubscribeReport(thread, stream)
    acl.aclrtLaunchCallback(callback, None, 1, stream)
    acl.aclrtMemsetAsync(device, 8, 1, 8, stream)
    acl.aclrtProcessReport(60_000)
    acl.aclrtSynchronizeStream(stream)
    assert seen == [bytes(8)]
    assert acl.read(device, 8) == b"\1" * 8
    acl.aclrtUnSubscribeReport(thread, stream)


def test_a_callback_needs_a_subscriber(acl: Acl) -> None:
    with pytest.raises(Refused) as refused:
        acl.aclrtLaunchCallback(Callback(lambda _: None), None, 0, acl.stream())
    assert refused.value.code == STREAM_NO_CALLBACK


def test_asking_for_callbacks_ends_after_its_time(acl: Acl) -> None:
    stream, thread = acl.stream(), threading.get_ident()
    acl.aclrtSubscribeReport(thread, stream)
    with pytest.raises(Refused) as refused:
        acl.aclrtProcessReport(10)
    assert refused.value.code == REPORT_TIMEOUT
    acl.aclrtUnSubscribeReport(thread, stream)


def test_a_thread_that_never_subscribed_cannot_ask_for_callbacks(acl: Acl) -> None:
    codes: list[int] = []

    def ask() -> None:
        try:
            acl.aclrtProcessReport(10)
        except Refused as refused:
            codes.append(refused.code)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert codes == [THREAD_SUBSCRIBE]
