"""What a program is told of a sick chip, and how it recovers."""

from ctypes import byref, c_size_t, create_string_buffer

import pytest
from calls import Acl, Refused
from test_streams import Gate


def test_a_healthy_chip_has_no_bad_memory(acl: Acl) -> None:
    found, bad = c_size_t(7), create_string_buffer(128 * 4)
    acl.aclrtGetMemUceInfo(0, bad, 4, byref(found))
    assert found.value == 0


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
