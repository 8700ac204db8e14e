"""Memory and events shared between processes."""

import pytest
from calls import NO_PERMISSION

from cordee.emulator import machine
from cordee.hw import chip

SHARE = """
import ctypes
acl = on_device()
p, key = acl.malloc(3 << 20), ctypes.create_string_buffer(65)
acl.aclrtMemset(p, 3 << 20, 7, 3 << 20)
acl.aclrtIpcMemGetExportKey(p, 3 << 20, key, 65, {flags})
{more}
say(key.value.decode())
stay()
sys.stdin.readline()
say(acl.read(p, 3))
stay()
"""
USE = """
import ctypes
acl = on_device()
p = ctypes.c_void_p()
try:
    acl.aclrtIpcMemImportByKey(ctypes.byref(p), os.environ["KEY"].encode(), 0)
    say(acl.read(p.value, 3))
    acl.write(p.value, b"new")
    acl.aclrtIpcMemClose(os.environ["KEY"].encode())
except Refused as refused:
    say(refused.code)
"""


@pytest.fixture
def shared():
    with machine.create(chip("Ascend910B3"), 1) as made:
        yield {"CORDEE_MACHINE": made.path}


def test_a_process_reads_and_writes_memory_that_another_shares(shared, start, run) -> None:
    owner = start(SHARE.format(flags=1, more=""), **shared)
    key = owner.stdout.readline().strip()
    assert run(USE, KEY=key, **shared) == r"b'\x07\x07\x07'"
    owner.stdin.write("\n\n")
    owner.stdin.flush()
    assert [owner.stdout.readline() for _ in range(2)] == ["ready\n", "b'new'\n"]


def test_memory_is_shared_only_with_processes_that_were_named(shared, start, run) -> None:
    named = "acl.aclrtIpcMemSetImportPid(key, (ctypes.c_int * 1)(1), 1)"
    owner = start(SHARE.format(flags=0, more=named), **shared)
    key = owner.stdout.readline().strip()
    assert run(USE, KEY=key, **shared) == str(NO_PERMISSION)


def test_a_key_of_a_process_that_has_ended_opens_nothing(shared, start, run) -> None:
    owner = start(SHARE.format(flags=1, more=""), **shared)
    key = owner.stdout.readline().strip()
    owner.kill()
    owner.wait()
    assert run(USE, KEY=key, **shared) == "107000"


def test_pieces_of_expandable_memory_are_shared_by_number(shared, start, run) -> None:
    owner = start(
        """
        import ctypes
        acl = on_device()
        properties = (ctypes.c_int * 8)(0, 0, 4, 0, 1, 0, 0, 0)
        handle = acl.got(ctypes.c_void_p, "aclrtMallocPhysical", 2 << 20, properties, 0)
        at = acl.got(ctypes.c_void_p, "aclrtReserveMemAddress", 2 << 20, 0, None, 1)
        acl.aclrtMapMem(at, 2 << 20, 0, handle, 0)
        acl.write(at, b"shared")
        shareable = ctypes.c_uint64()
        acl.aclrtMemExportToShareableHandle(handle, 0, 1, ctypes.byref(shareable))
        say(shareable.value)
        stay()
        """,
        **shared,
    )
    out = run(
        """
        import ctypes
        acl = on_device()
        handle = ctypes.c_void_p()
        acl.aclrtMemImportFromShareableHandle(int(os.environ["HANDLE"]), 0, ctypes.byref(handle))
        at = acl.got(ctypes.c_void_p, "aclrtReserveMemAddress", 2 << 20, 0, None, 1)
        acl.aclrtMapMem(at, 2 << 20, 0, handle, 0)
        say(acl.read(at, 6))
        acl.aclrtUnmapMem(at)
        acl.aclrtFreePhysical(handle)
        """,
        HANDLE=owner.stdout.readline().strip(),
        **shared,
    )
    assert out == "b'shared'"


WAIT = """
import ctypes
class Handle(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_char * 64)]
acl = on_device()
"""


def test_a_process_waits_for_an_event_of_another(shared, start) -> None:
    owner = start(
        WAIT
        + """
event, handle, stream, word = acl.event(64), Handle(), acl.stream(), acl.malloc(8)
acl.aclrtMemset(word, 8, 0, 8)
acl.aclrtValueWait(word, 1, 1, stream)
acl.aclrtRecordEvent(event, stream)
acl.aclrtIpcGetEventHandle(event, ctypes.byref(handle))
say(handle.bytes.decode())
stay()
acl.write(word, (1).to_bytes(8, "little"))
stay()
""",
        **shared,
    )
    waiter = start(
        WAIT
        + """
event, stream = ctypes.c_void_p(), acl.stream()
acl.library.aclrtIpcOpenEventHandle.argtypes = [Handle, ctypes.c_void_p]
assert acl.library.aclrtIpcOpenEventHandle(Handle(os.environ["HANDLE"].encode()), ctypes.byref(event)) == 0
status = ctypes.c_int()
acl.aclrtQueryEventStatus(event, ctypes.byref(status))
say(status.value)
acl.aclrtStreamWaitEvent(stream, event)
acl.aclrtSynchronizeStream(stream)
say("went on")
""",
        HANDLE=owner.stdout.readline().strip(),
        **shared,
    )
    assert waiter.stdout.readline() == "0\n"
    owner.stdin.write("\n")
    owner.stdin.flush()
    assert waiter.stdout.readline() == "went on\n"
