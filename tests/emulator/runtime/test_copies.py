"""Copies between host and device, of one piece and of many."""

from ctypes import addressof, byref, c_size_t, c_uint64, c_void_p, create_string_buffer

import pytest
from calls import ANY_COPY, D2D, D2H, H2D, H2H, PARAM_INVALID, Acl, MiB, Refused


@pytest.mark.parametrize("kind", [H2H, D2H, D2D])
def test_a_kind_that_does_not_fit_the_pointers_is_an_error(acl: Acl, kind: int) -> None:
    device = acl.malloc(8)
    acl.write(device, b"untouched"[:8])
    with pytest.raises(Refused) as refused:
        acl.aclrtMemcpy(device, 8, b"12345678", 8, kind)
    assert refused.value.code == PARAM_INVALID
    assert acl.read(device, 8) == b"untouche"
    acl.aclrtFree(device)


def test_the_kind_can_be_left_to_the_runtime(acl: Acl) -> None:
    device = acl.malloc(8)
    acl.aclrtMemcpy(device, 8, b"12345678", 8, ANY_COPY)
    assert acl.read(device, 8) == b"12345678"
    acl.aclrtFree(device)


def test_a_copy_larger_than_its_destination_is_an_error(acl: Acl) -> None:
    device = acl.malloc(8)
    with pytest.raises(Refused) as refused:
        acl.aclrtMemcpy(device, 4, b"12345678", 8, H2D)
    assert refused.value.code == PARAM_INVALID
    acl.aclrtFree(device)


def test_a_copy_past_the_end_of_its_block_is_an_error(acl: Acl) -> None:
    device, neighbour = acl.malloc(2 * MiB), acl.malloc(2 * MiB)
    with pytest.raises(Refused) as refused:
        acl.aclrtMemset(device, 4 * MiB, 0, 2 * MiB + 1)
    assert "not all device memory" in refused.value.why
    acl.aclrtFree(device)
    acl.aclrtFree(neighbour)


def test_a_copy_from_freed_memory_is_an_error(acl: Acl) -> None:
    device = acl.malloc(8)
    acl.aclrtFree(device)
    with pytest.raises(Refused):
        acl.read(device, 8)


def test_device_memory_is_copied_on_the_device(acl: Acl) -> None:
    first, second = acl.malloc(8), acl.malloc(8)
    acl.write(first, b"12345678")
    acl.aclrtMemcpy(second, 8, first, 8, D2D)
    assert acl.read(second, 8) == b"12345678"
    acl.aclrtFree(first)
    acl.aclrtFree(second)


def test_memory_moves_between_chips(run) -> None:
    out = run(
        """
        acl = on_device(0)
        first = acl.malloc(8)
        acl.write(first, b"12345678")
        acl.aclrtSetDevice(1)
        second = acl.malloc(8)
        acl.aclrtMemcpy(second, 8, first, 8, D2D)
        say(acl.read(second, 8))
        """,
        CORDEE_CHIPS="2",
    )
    assert out == "b'12345678'"


def test_a_rectangle_is_copied_row_by_row(acl: Acl) -> None:
    device, got = acl.malloc(64), create_string_buffer(6)
    acl.aclrtMemset(device, 64, ord("."), 64)
    acl.aclrtMemcpy2d(device, 8, b"abcdef", 3, 3, 2, H2D)
    assert acl.read(device, 16) == b"abc.....def....."
    acl.aclrtMemcpy2d(got, 3, device, 8, 3, 2, D2H)
    assert got.raw == b"abcdef"
    acl.aclrtFree(device)


def test_a_batch_stops_at_the_copy_that_fails_and_names_it(acl: Acl) -> None:
    device, failed = acl.malloc(16), c_size_t()
    sources = create_string_buffer(b"abcdefgh"), create_string_buffer(b"ijklmnop")
    to = (c_void_p * 2)(device, device + (1 << 40))
    data = (c_void_p * 2)(*(addressof(source) for source in sources))
    eight, zero = (c_size_t * 2)(8, 8), (c_size_t * 1)(0)
    to_device = (c_uint64 * 4)(1 << 32, 2 << 32, 0, 0)  # device 0, pageable host
    with pytest.raises(Refused):
        acl.aclrtMemcpyBatch(to, eight, data, eight, 2, to_device, zero, 1, byref(failed))
    assert failed.value == 1
    assert acl.read(device, 8) == b"abcdefgh"
    acl.aclrtFree(device)
