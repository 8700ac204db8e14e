"""What a communicator takes of the chip's memory."""

CONFIGURED = """
import struct
from communicators import *

def configured(name):
    config = (c_char * 2240)()  # HcclCommConfig: size, magic word, version, reserved, two settings
    struct.pack_into("<QIIQII", config, 0, 2240, 0xf0f0f0f0, 10, 0, 0xffffffff, 0xffffffff)
    struct.pack_into("<i", config, 316, -1)  # hcclExecTimeOut: not set
    struct.pack_into("<128s", config, 2098, name)  # hcclBufferName
    root, comm = (c_char * ROOT_INFO_BYTES)(), c_void_p()
    hccl.HcclGetRootInfo(root)
    hccl.HcclCommInitRootInfoConfig(1, root, 0, config, byref(comm))
    return comm

acl = on_device(0)
hccl = Acl(os.environ["CORDEE_TEST_LIBRARIES"], "libhccl.so")
free, _ = acl.memory()

def taken_mib():
    return (free - acl.memory()[0]) >> 20
"""


def test_communicators_have_buffers_of_their_own(run) -> None:
    program = CONFIGURED + "one, other = configured(b''), configured(b'')\nsay(taken_mib())"
    assert run(program) == "800"


def test_communicators_share_buffers_of_one_name_until_the_last_ends(run) -> None:
    program = f"""{CONFIGURED}
one, other, third = configured(b"a"), configured(b"a"), configured(b"b")
say(taken_mib())
for comm in (one, third, other):
    hccl.HcclCommDestroy(comm)
    say(taken_mib())
"""
    assert run(program).split() == ["800", "800", "400", "0"]
