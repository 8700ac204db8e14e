"""Devices, contexts, and what the chips say of themselves."""

import threading
from ctypes import byref, c_int, c_void_p, create_string_buffer

import pytest
from calls import CONTEXT_NULL, INVALID_DEVICE, Acl, Refused

from cordee.emulator import machine
from cordee.hw import chip as catalogue

VISIBLE = """
from ctypes import c_uint, c_int, byref
acl = Acl(os.environ["CORDEE_TEST_LIBRARIES"])
chips = []
try:
    for device in range(acl.got(c_uint, "aclrtGetDeviceCount")):
        chip = c_int()
        acl.aclrtGetLogicDevIdByUserDevId(device, byref(chip))
        chips.append(chip.value)
    say(*chips)
except Refused as refused:
    say(refused.code)
"""


@pytest.mark.parametrize(
    ("value", "chips"),
    [
        ("2", "2"),
        ("1,3", "1 3"),
        ("3,1", "3 1"),
        ("1, 2,3", "1"),  # "only the device IDs before the other characters are read"
        ("1,3,8", "1 3"),  # 8 is no chip of this machine
        ("1,-1,3", "1"),
        ("1,1,2", "1"),
        ("", "207004"),
        ("9", "207004"),
    ],
)
def test_visible_devices_are_read_as_documented(run, value: str, chips: str) -> None:
    assert run(VISIBLE, CORDEE_CHIPS="4", ASCEND_RT_VISIBLE_DEVICES=value) == chips


def test_without_a_choice_every_chip_is_visible(run) -> None:
    assert run(VISIBLE, CORDEE_CHIPS="3") == "0 1 2"


@pytest.fixture(scope="module")
def two_nodes():
    with machine.create(catalogue("Ascend910B3"), 6, nodes=2) as made:
        yield made.path


@pytest.mark.parametrize(
    ("node", "visible", "chips"),
    [("0", None, "0 1 2"), ("1", None, "0 1 2"), ("1", "2,0,3", "2 0"), ("2", None, "207004")],
)
def test_a_process_on_a_node_counts_its_chips_from_0(run, two_nodes, node, visible, chips) -> None:
    more = {} if visible is None else {"ASCEND_RT_VISIBLE_DEVICES": visible}
    assert run(VISIBLE, CORDEE_MACHINE=two_nodes, CORDEE_NODE=node, **more) == chips


def test_a_process_on_a_node_uses_the_chips_of_that_node(start, two_nodes) -> None:
    holder = start(
        "acl = on_device(1)\np = acl.malloc(1 << 20)\nstay()",
        CORDEE_MACHINE=two_nodes,
        CORDEE_NODE="1",
    )
    assert holder.stdout.readline() == "ready\n"
    used = [chip.used_bytes for chip in machine.read(two_nodes).chips]
    assert [number for number, size in enumerate(used) if size] == [4]


def test_a_node_that_is_not_there_is_named(start, two_nodes) -> None:
    child = start(VISIBLE, CORDEE_MACHINE=two_nodes, CORDEE_NODE="two")
    _, errors = child.communicate(timeout=60)
    assert "CORDEE_NODE=two: the machine has nodes 0 to 1" in errors


def test_a_device_that_is_not_there_is_an_error(acl: Acl) -> None:
    with pytest.raises(Refused) as refused:
        acl.aclrtSetDevice(99)
    assert refused.value.code == INVALID_DEVICE
    assert "99" in refused.value.why


def test_each_thread_has_its_own_device(run) -> None:
    out = run(
        """
        import threading
        from ctypes import c_int
        acl = on_device(1)
        def other():
            acl.aclrtSetDevice(0)
            say(acl.got(c_int, "aclrtGetDevice"))
        thread = threading.Thread(target=other)
        thread.start(); thread.join()
        say(acl.got(c_int, "aclrtGetDevice"))
        """,
        CORDEE_CHIPS="2",
    )
    assert out.split() == ["0", "1"]


def test_a_thread_without_a_device_cannot_allocate(run) -> None:
    out = run(
        """
        acl = Acl(os.environ["CORDEE_TEST_LIBRARIES"])
        try:
            acl.malloc(8)
        except Refused as refused:
            say(refused.code, refused.why)
        """
    )
    assert out.startswith(str(CONTEXT_NULL))
    assert "aclrtSetDevice" in out


def test_the_default_device_of_the_configuration_serves_every_thread(run, tmp_path) -> None:
    configuration = tmp_path / "acl.json"
    configuration.write_text('{"defaultDevice": {"default_device": "1"}}')
    out = run(
        """
        from ctypes import c_int
        acl = Acl(os.environ["CORDEE_TEST_LIBRARIES"])
        acl.aclInit(os.environ["CONFIGURATION"].encode())
        acl.malloc(8)
        say(acl.got(c_int, "aclrtGetDevice"))
        """,
        CORDEE_CHIPS="2",
        CONFIGURATION=str(configuration),
    )
    assert out == "1"


def test_contexts_of_one_device_can_be_changed(acl: Acl) -> None:
    primary, made = c_void_p(), c_void_p()
    acl.aclrtGetCurrentContext(byref(primary))
    acl.aclrtCreateContext(byref(made), 0)
    acl.aclrtSetCurrentContext(primary)
    acl.aclrtDestroyContext(made)
    with pytest.raises(Refused) as refused:
        acl.aclrtSetCurrentContext(made)
    assert refused.value.code == CONTEXT_NULL
    assert acl.got(c_int, "aclrtGetDevice") == 0


def test_a_device_can_be_used_again_after_a_reset(run) -> None:
    out = run(
        """
        acl = on_device()
        stream = acl.stream()
        acl.aclrtResetDevice(0)
        acl.aclrtSetDevice(0)
        acl.write(acl.malloc(8), b"12345678")
        say("again")
        """
    )
    assert out == "again"


def test_the_last_error_is_kept_per_thread_until_it_is_asked_for(acl: Acl) -> None:
    acl.library.aclrtGetLastError(0)
    with pytest.raises(Refused):
        acl.malloc(0)
    elsewhere: list[int] = []
    thread = threading.Thread(target=lambda: elsewhere.append(acl.library.aclrtGetLastError(0)))
    thread.start()
    thread.join()
    assert elsewhere == [0]
    assert acl.library.aclrtPeekAtLastError(0) == 107000
    assert acl.library.aclrtGetLastError(0) == 107000
    assert acl.library.aclrtGetLastError(0) == 0


@pytest.mark.parametrize("chip", ["Ascend910B3", "910b4", "Ascend310P3"])
def test_the_chip_is_the_one_asked_for(run, chip: str) -> None:
    out = run(
        """
        import ctypes
        acl = on_device()
        acl.library.aclrtGetSocName.restype = ctypes.c_char_p
        cores = ctypes.c_int64()
        acl.aclGetDeviceCapability(0, 0, ctypes.byref(cores))
        say(acl.library.aclrtGetSocName().decode(), acl.memory()[1], cores.value)
        """,
        CORDEE_CHIP=chip,
    )
    expected = catalogue(chip)
    assert out == f"{expected.soc_name} {expected.usable_bytes} {expected.cube_cores}"


def test_core_limits_are_kept_and_checked(acl: Acl) -> None:
    limit = c_int()
    acl.aclrtSetDeviceResLimit(0, 0, 7)
    acl.aclrtGetDeviceResLimit(0, 0, byref(limit))
    assert limit.value == 7
    acl.aclrtResetDeviceResLimit(0)
    with pytest.raises(Refused, match="1000 cores"):
        acl.aclrtSetDeviceResLimit(0, 0, 1000)


def test_versions_name_the_pair_the_adapter_was_made_for(acl: Acl) -> None:
    version = create_string_buffer(1024)
    acl.aclsysGetCANNVersion(0, version)
    assert version.value == b"9.1.0"
