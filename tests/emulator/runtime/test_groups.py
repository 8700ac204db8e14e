"""Communicators that one thread makes in a group of calls."""


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
