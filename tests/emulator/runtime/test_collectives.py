"""Collectives of a communicator with one rank."""

from ctypes import byref, c_char, c_uint, c_void_p

import pytest
from calls import Acl, Refused

FLOAT, SUM = 4, 0


@pytest.fixture
def hccl(acl: Acl, libraries: str) -> Acl:
    return Acl(libraries, "libhccl.so")


def _communicator(hccl: Acl, ranks: int = 1) -> c_void_p:
    root, made = (c_char * 4108)(), c_void_p()
    hccl.HcclGetRootInfo(root)
    hccl.HcclCommInitRootInfo(ranks, root, 0, byref(made))
    return made


def test_one_rank_receives_what_it_sends(acl: Acl, hccl: Acl) -> None:
    sent, got, stream = acl.malloc(8), acl.malloc(8), acl.stream()
    one = _communicator(hccl)
    acl.write(sent, b"12345678")
    hccl.HcclAllReduce(sent, got, 2, FLOAT, SUM, one, stream)
    acl.aclrtSynchronizeStream(stream)
    assert acl.read(got, 8) == b"12345678"
    hccl.HcclCommDestroy(one)


def test_a_communicator_of_one_rank_knows_itself(hccl: Acl) -> None:
    one, size, rank = _communicator(hccl), c_uint(7), c_uint(7)
    hccl.HcclGetRankSize(one, byref(size))
    hccl.HcclGetRankId(one, byref(rank))
    assert (size.value, rank.value) == (1, 0)


def test_a_destroyed_communicator_is_recognised(hccl: Acl) -> None:
    one = _communicator(hccl)
    hccl.HcclCommDestroy(one)
    with pytest.raises(Refused):
        hccl.HcclBarrier(one, None)
