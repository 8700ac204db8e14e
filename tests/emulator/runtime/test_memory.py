"""Device and pinned host memory."""

import signal
from ctypes import byref, c_void_p, create_string_buffer

import pytest
from calls import D2H, H2D, MEMORY_ALLOCATION, PARAM_INVALID, Acl, MiB, Refused


def test_bytes_survive_a_round_trip(acl: Acl) -> None:
    device = acl.malloc(7)
    acl.write(device, b"ascend\0")
    assert acl.read(device, 7) == b"ascend\0"
    acl.aclrtFree(device)


def test_memory_starts_empty_also_where_something_was_before(acl: Acl) -> None:
    first = acl.malloc(3 * MiB)
    acl.aclrtMemset(first, 3 * MiB, 0x55, 3 * MiB)
    acl.aclrtFree(first)
    second = acl.malloc(3 * MiB)
    assert acl.read(second, 3 * MiB) == bytes(3 * MiB)
    acl.aclrtFree(second)


def test_malloc_refuses_nothing(acl: Acl) -> None:
    with pytest.raises(Refused) as refused:
        acl.malloc(0)
    assert refused.value.code == PARAM_INVALID


def test_freeing_twice_is_an_error(acl: Acl) -> None:
    device = acl.malloc(8)
    acl.aclrtFree(device)
    with pytest.raises(Refused) as refused:
        acl.aclrtFree(device)
    assert refused.value.code == PARAM_INVALID
    assert "aclrtFree" in refused.value.why


def test_freeing_the_middle_of_a_block_is_an_error(acl: Acl) -> None:
    device = acl.malloc(2 * MiB)
    with pytest.raises(Refused):
        acl.aclrtFree(device + 4096)
    acl.aclrtFree(device)


def test_free_and_used_memory_add_up(acl: Acl) -> None:
    before, total = acl.memory()
    device = acl.malloc(10 * MiB)
    assert acl.memory() == (before - 10 * MiB, total)
    acl.aclrtFree(device)
    assert acl.memory() == (before, total)


def test_past_the_end_of_the_chip_there_is_no_memory(acl: Acl) -> None:
    _, total = acl.memory()
    with pytest.raises(Refused) as refused:
        acl.malloc(total + 1)
    assert refused.value.code == MEMORY_ALLOCATION
    assert "out of memory" in refused.value.why
    assert acl.memory()[1] == total


def test_more_than_the_host_has_is_refused_with_the_way_out(run) -> None:
    out = run(
        """
        acl = on_device()
        try:
            acl.malloc(60 << 30)
        except Refused as refused:
            say(refused.code, refused.why)
        """
    )
    assert out.startswith(str(MEMORY_ALLOCATION)) or out == ""  # a host with 60 GiB to spare
    assert out == "" or "CORDEE_OVERCOMMIT" in out


def test_memory_that_is_not_touched_may_exceed_the_host_on_request(run) -> None:
    out = run(
        """
        acl = on_device()
        device = acl.malloc(60 << 30)
        acl.write(device + (59 << 30), b"far")
        say(acl.read(device + (59 << 30), 3))
        """,
        CORDEE_OVERCOMMIT="1",
    )
    assert out == "b'far'"


@pytest.mark.parametrize("touch", ["ctypes.string_at(p, 1)", "ctypes.memset(p, 0, 1)"])
def test_the_host_cannot_follow_a_device_pointer(start, touch: str) -> None:
    child = start(f"p = on_device().malloc(8)\nimport ctypes\nsay('before')\n{touch}\nsay('after')")
    output, _ = child.communicate()
    assert output == "before\n"
    assert child.returncode == -signal.SIGSEGV


def test_pinned_memory_is_told_from_pageable_and_from_device_memory(acl: Acl) -> None:
    pinned, pageable, device = c_void_p(), create_string_buffer(8), acl.malloc(8)
    acl.aclrtMallocHost(byref(pinned), 8)
    assert [_location(acl, p) for p in (pinned, pageable, device)] == [0, 2, 1]
    acl.aclrtFreeHost(pinned)
    acl.aclrtFree(device)


def test_registered_memory_counts_as_pinned_until_it_is_unregistered(acl: Acl) -> None:
    memory = create_string_buffer(64)
    acl.aclrtHostRegisterV2(memory, 64, 0x10000000)
    assert _location(acl, memory) == 0
    acl.aclrtHostUnregister(memory)
    assert _location(acl, memory) == 2


def test_a_block_says_where_it_starts_and_ends(acl: Acl) -> None:
    device, base, size = acl.malloc(3 * MiB), c_void_p(), c_void_p()
    acl.aclrtMemGetAddressRange(device + 5, byref(base), byref(size))
    assert (base.value, size.value) == (device, 4 * MiB)
    acl.aclrtFree(device)


def test_pinned_memory_takes_part_in_copies(acl: Acl) -> None:
    pinned, device = c_void_p(), acl.malloc(8)
    acl.aclrtMallocHost(byref(pinned), 8)
    acl.write(device, b"12345678")
    acl.aclrtMemcpy(pinned, 8, device, 8, D2H)
    acl.aclrtMemset(device, 8, 0, 8)
    acl.aclrtMemcpy(device, 8, pinned, 8, H2D)
    assert acl.read(device, 8) == b"12345678"
    acl.aclrtFreeHost(pinned)
    acl.aclrtFree(device)


def _location(acl: Acl, pointer: object) -> int:
    """0: pinned host, 1: device, 2: any other."""
    attributes = create_string_buffer(32)
    acl.aclrtPointerGetAttributes(pointer, attributes)
    return int.from_bytes(attributes.raw[4:8], "little")
