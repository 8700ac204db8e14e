"""Communicators that one thread makes in a group of calls, and collectives of a group."""


def test_a_thread_that_is_several_ranks_makes_them_in_a_group(run) -> None:
    program = """
from communicators import *
acl = on_device(0)
hccl = Acl(os.environ["CORDEE_TEST_LIBRARIES"], "libhccl.so")
root, comms = (c_char * ROOT_INFO_BYTES)(), (c_void_p * 2)()
hccl.HcclGetRootInfo(root)
hccl.HcclGroupStart()
for device in range(2):
    acl.aclrtSetDevice(device)
    hccl.HcclCommInitRootInfo(2, root, device, byref(comms, 8 * device))
say([comm for comm in comms])
hccl.HcclGroupEnd()
hccl.HcclGroupStart()
places, streams = [], []
for device in range(2):
    acl.aclrtSetDevice(device)
    places.append(acl.malloc(4))
    acl.write(places[-1], array("f", [1.5]).tobytes())
    streams.append(acl.stream())
    hccl.HcclAllReduce(places[-1], places[-1], 1, 4, SUM, c_void_p(comms[device]), streams[-1])
hccl.HcclGroupEnd()
for device in range(2):
    acl.aclrtSetDevice(device)
    acl.aclrtSynchronizeStream(streams[device])
    say(array("f", acl.read(places[device], 4))[0])
"""
    assert run(program, CORDEE_CHIPS="2").splitlines() == ["[None, None]", "3.0", "3.0"]


def test_a_communicator_that_a_group_cannot_make_is_told_at_its_end(run) -> None:
    program = """
from communicators import *
acl = on_device(0)
hccl = Acl(os.environ["CORDEE_TEST_LIBRARIES"], "libhccl.so")
root, comm = (c_char * ROOT_INFO_BYTES)(), c_void_p()
hccl.HcclGetRootInfo(root)
hccl.HcclGroupStart()
hccl.HcclCommInitRootInfo(2, root, 0, byref(comm))
try:
    hccl.HcclGroupEnd()
except Refused as refused:
    say(refused.code, "unconnected ranks: 1" in refused.why)
"""
    assert run(program, CORDEE_CHIPS="2", HCCL_CONNECT_TIMEOUT="1") == "1 True"


def test_collectives_are_done_when_their_group_ends(run) -> None:
    program = """
import ctypes
from communicators import *
acl = on_device(0)
hccl = Acl(os.environ["CORDEE_TEST_LIBRARIES"], "libhccl.so")
root, comm = (c_char * ROOT_INFO_BYTES)(), c_void_p()
hccl.HcclGetRootInfo(root)
hccl.HcclCommInitRootInfo(1, root, 0, byref(comm))
count = 1 << 22
source, result, stream = acl.malloc(4 * count), acl.malloc(4 * count), acl.stream()
acl.write(source, array("f", [2.5]).tobytes() * count)
hccl.HcclGroupStart()
hccl.HcclAllReduce(source, result, count, 4, SUM, comm, stream)
hccl.HcclGroupEnd()
status = ctypes.c_int(-1)
acl.aclrtStreamQuery(stream, byref(status))
say(status.value == 0, array("f", acl.read(result, 4))[0])
"""
    assert run(program) == "True 2.5"
