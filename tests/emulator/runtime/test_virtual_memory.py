"""Addresses and memory that are joined by hand."""

import ctypes
from ctypes import byref, c_size_t, c_void_p

import pytest
from calls import PARAM_INVALID, Acl, MiB, Refused

GRANULE = 2 * MiB


class Properties(ctypes.Structure):
    """aclrtPhysicalMemProp: huge pages of device 0."""

    _fields_ = [(name, ctypes.c_int) for name in ("handle", "type", "attribute")] + [
        ("device", ctypes.c_uint),
        ("where", ctypes.c_int),
        ("reserve", ctypes.c_uint64),
    ]


DEVICE_MEMORY = Properties(0, 0, 4, 0, 1, 0)


def _physical(acl: Acl, size: int = GRANULE) -> int:
    return int(acl.got(c_void_p, "aclrtMallocPhysical", size, byref(DEVICE_MEMORY), 0))


def _reserve(acl: Acl, size: int) -> int:
    return int(acl.got(c_void_p, "aclrtReserveMemAddress", size, 0, None, 1))


def test_reserved_addresses_hold_nothing_until_memory_is_mapped(acl: Acl) -> None:
    address = _reserve(acl, 4 * GRANULE)
    with pytest.raises(Refused):
        acl.write(address, b"x")
    handle = _physical(acl)
    acl.aclrtMapMem(address + GRANULE, GRANULE, 0, handle, 0)
    acl.write(address + GRANULE, b"x")
    with pytest.raises(Refused):
        acl.write(address, b"x")
    acl.aclrtUnmapMem(address + GRANULE)
    acl.aclrtFreePhysical(handle)
    acl.aclrtReleaseMemAddress(address)


def test_a_copy_runs_over_the_seam_of_two_pieces(acl: Acl) -> None:
    address, handles = _reserve(acl, 2 * GRANULE), [_physical(acl), _physical(acl)]
    for number, handle in enumerate(handles):
        acl.aclrtMapMem(address + number * GRANULE, GRANULE, 0, handle, 0)
    acl.write(address + GRANULE - 3, b"abcdef")
    assert acl.read(address + GRANULE - 3, 6) == b"abcdef"
    for number, handle in enumerate(handles):
        acl.aclrtUnmapMem(address + number * GRANULE)
        acl.aclrtFreePhysical(handle)
    acl.aclrtReleaseMemAddress(address)


def test_memory_keeps_its_bytes_when_it_moves_to_another_address(acl: Acl) -> None:
    address, handle = _reserve(acl, 2 * GRANULE), _physical(acl)
    acl.aclrtMapMem(address, GRANULE, 0, handle, 0)
    acl.write(address, b"moving")
    acl.aclrtUnmapMem(address)
    acl.aclrtMapMem(address + GRANULE, GRANULE, 0, handle, 0)
    assert acl.read(address + GRANULE, 6) == b"moving"
    acl.aclrtUnmapMem(address + GRANULE)
    acl.aclrtFreePhysical(handle)
    acl.aclrtReleaseMemAddress(address)


def test_memory_is_counted_from_its_making_to_its_last_use(acl: Acl) -> None:
    before, _ = acl.memory()
    address, handle = _reserve(acl, GRANULE), _physical(acl)
    acl.aclrtMapMem(address, GRANULE, 0, handle, 0)
    acl.aclrtFreePhysical(handle)
    assert acl.memory()[0] == before - GRANULE  # still mapped
    acl.aclrtUnmapMem(address)
    assert acl.memory()[0] == before
    acl.aclrtReleaseMemAddress(address)


def test_addresses_with_memory_cannot_be_released(acl: Acl) -> None:
    address, handle = _reserve(acl, GRANULE), _physical(acl)
    acl.aclrtMapMem(address, GRANULE, 0, handle, 0)
    with pytest.raises(Refused):
        acl.aclrtReleaseMemAddress(address)
    acl.aclrtUnmapMem(address)
    acl.aclrtReleaseMemAddress(address)
    acl.aclrtFreePhysical(handle)


@pytest.mark.parametrize("size", [0, 4096, GRANULE + 1])
def test_memory_comes_in_whole_granules(acl: Acl, size: int) -> None:
    with pytest.raises(Refused) as refused:
        _physical(acl, size)
    assert refused.value.code == PARAM_INVALID


def test_the_granule_can_be_asked_for(acl: Acl) -> None:
    size = c_size_t()
    acl.aclrtMemGetAllocationGranularity(byref(DEVICE_MEMORY), 0, byref(size))
    assert size.value == GRANULE
