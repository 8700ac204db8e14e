"""The virtual machine that processes share, and what is left when they end."""

import os
import signal
from ctypes import c_uint64

import pytest
from calls import DEVICE_SETUP, MEMORY_ALLOCATION, NO_DEVICE, Acl, MiB

from cordee.core.errors import CordeeError, UsageError
from cordee.emulator import machine
from cordee.hw import chip

HOLD = "acl = on_device(int(os.environ.get('DEVICE', 0)))\nacl.malloc({size})\nstay()"
TRY = """
acl = on_device()
try:
    acl.malloc({size})
    say("got it")
except Refused as refused:
    say(refused.code, acl.memory()[0])
"""


@pytest.fixture
def small():
    """Two chips of 100 MiB."""
    with machine.create(chip("Ascend910B3"), 2, memory_bytes=100 * MiB) as made:
        yield made


def test_both_sides_agree_on_the_layout(acl: Acl) -> None:
    sizes = (c_uint64 * 18)()
    acl.library.cordee_machine_layout(sizes, 18)
    assert list(sizes) == [
        machine.SIZE_BYTES,
        machine.HEAD.size - 64,
        machine.CHIPS_AT,
        machine.CHIP.size,
        8 + 8 + 4 + 4,
        48,
        72,
        machine.SLOTS_AT,
        machine.SLOT.size,
        4 + 4,
        4 + 4 + 8,
        4 + 4 + 8 + 32,
        machine.PATHS_AT,
        machine.LINKS_AT,
        machine.LINK.size,
        48,
        80,
        machine.FAULTS_AT,
    ]


def test_processes_share_the_memory_of_a_chip(small, start, run) -> None:
    holder = start(HOLD.format(size=60 * MiB), CORDEE_MACHINE=small.path)
    assert holder.stdout.readline() == "ready\n"
    out = run(TRY.format(size=60 * MiB), CORDEE_MACHINE=small.path)
    assert out == f"{MEMORY_ALLOCATION} {40 * MiB}"
    assert run(TRY.format(size=40 * MiB), CORDEE_MACHINE=small.path) == "got it"


def test_another_chip_of_the_machine_has_its_own_memory(small, start, run) -> None:
    holder = start(HOLD.format(size=60 * MiB), CORDEE_MACHINE=small.path, DEVICE="1")
    assert holder.stdout.readline() == "ready\n"
    assert run(TRY.format(size=60 * MiB), CORDEE_MACHINE=small.path) == "got it"


def test_a_killed_process_gives_its_memory_back_and_leaves_nothing(small, start, run) -> None:
    before = sorted(os.listdir("/dev/shm"))
    holder = start(HOLD.format(size=60 * MiB), CORDEE_MACHINE=small.path)
    assert holder.stdout.readline() == "ready\n"
    holder.kill()
    holder.wait()
    assert machine.read(small.path).processes == ()
    assert run(TRY.format(size=100 * MiB), CORDEE_MACHINE=small.path) == "got it"
    assert sorted(os.listdir("/dev/shm")) == before


def test_the_machine_says_who_uses_what(small, start) -> None:
    holder = start(HOLD.format(size=60 * MiB), CORDEE_MACHINE=small.path, DEVICE="1")
    assert holder.stdout.readline() == "ready\n"
    state = machine.read(small.path)
    assert [(c.used_bytes, c.total_bytes, c.health) for c in state.chips] == [
        (0, 100 * MiB, 0),
        (60 * MiB, 100 * MiB, 0),
    ]
    assert [(p.pid, p.used_bytes) for p in state.processes] == [(holder.pid, (0, 60 * MiB))]
    assert state.soc_name == "Ascend910B3"


def test_running_machines_are_found(small) -> None:
    found = [os.stat(path).st_ino for path in machine.find()]
    assert found.count(os.stat(small.path).st_ino) == 1


@pytest.mark.parametrize("count", ["two", "", "4x", "65"])
def test_a_number_of_chips_that_is_none_is_named_in_the_error(count: str, start) -> None:
    child = start(
        """
        acl = Acl(os.environ["CORDEE_TEST_LIBRARIES"])
        try:
            acl.aclInit(None)
        except Refused as refused:
            say(refused.code)
        """,
        CORDEE_CHIPS=count,
    )
    output, errors = child.communicate(timeout=60)
    assert output == f"{NO_DEVICE}\n"
    assert f"CORDEE_CHIPS={count}: not 0 to 64 chips" in errors


def test_a_machine_that_has_ended_is_named_in_the_error(start) -> None:
    with machine.create(chip("Ascend910B3"), 1) as gone:
        path = gone.path
    child = start(
        """
        acl = Acl(os.environ["CORDEE_TEST_LIBRARIES"])
        try:
            acl.aclInit(None)
        except Refused as refused:
            say(refused.code)
        """,
        CORDEE_MACHINE=path,
    )
    output, errors = child.communicate(timeout=60)
    assert output == f"{NO_DEVICE}\n"
    assert path in errors
    assert "cordee run" in errors
    with pytest.raises(CordeeError, match="no virtual machine"):
        machine.read(path)


def test_a_chip_that_does_not_exist_is_named_in_the_error(start) -> None:
    child = start("Acl(os.environ['CORDEE_TEST_LIBRARIES']).aclInit(None)", CORDEE_CHIP="H100")
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 1
    assert "CORDEE_CHIP=H100" in errors


def test_a_sick_chip_answers_with_its_code(small, start) -> None:
    holder = start(
        "acl = on_device()\np = acl.malloc(8)\nstay()\n"
        "try:\n    acl.aclrtSynchronizeDevice()\nexcept Refused as refused:\n    say(refused.code)",
        CORDEE_MACHINE=small.path,
    )
    assert holder.stdout.readline() == "ready\n"
    health = machine.CHIPS_AT + machine.HEALTH_AT
    with open(small.path, "r+b") as state:
        state.seek(health)
        state.write((507053).to_bytes(4, "little"))
    holder.stdin.write("\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == "507053\n"


def test_a_machine_has_at_least_one_chip() -> None:
    with pytest.raises(UsageError, match="1 to 64"):
        machine.create(chip("Ascend910B3"), 0)


FORK = """
import os
acl = Acl(os.environ["CORDEE_TEST_LIBRARIES"])
acl.aclInit(None)
{before}
child = os.fork()
if child == 0:
    try:
        acl.aclrtSetDevice(0)
        acl.malloc(8)
        say("child works")
    except Refused as refused:
        say(refused.code, refused.why)
    os._exit(0)
os.waitpid(child, 0)
{after}
"""


def test_a_fork_before_the_first_use_is_fine(run) -> None:
    assert run(FORK.format(before="", after="")) == "child works"


def test_a_forked_child_cannot_use_or_harm_its_parents_device(run) -> None:
    out = run(
        FORK.format(
            before="acl.aclrtSetDevice(0); p = acl.malloc(8); acl.write(p, b'parent..')",
            after="say(acl.read(p, 8))",
        )
    )
    child, parent = out.splitlines()
    assert child.startswith(str(DEVICE_SETUP))
    assert "spawn" in child
    assert parent == "b'parent..'"


def test_a_child_that_leaves_the_device_alone_may_end_as_it_likes(run) -> None:
    out = run(
        """
        import os
        acl = on_device()
        p, stream = acl.malloc(8), acl.stream()
        acl.aclrtMemset(p, 8, 0x61, 8)
        for end in (lambda: os._exit(0), lambda: os.kill(os.getpid(), 9), exit):
            child = os.fork()
            if child == 0:
                end()
            os.waitpid(child, 0)
        acl.aclrtSynchronizeStream(stream)
        say(acl.read(p, 8))
        """
    )
    assert out == "b'aaaaaaaa'"


def test_forked_children_share_the_machine_of_their_parent(run) -> None:
    out = run(
        """
        import os
        acl = Acl(os.environ["CORDEE_TEST_LIBRARIES"])
        acl.aclInit(None)
        reading, writing = os.pipe()
        children = []
        for size in (40 << 30, 40 << 30):
            children.append(os.fork())
            if children[-1] == 0:
                acl.aclrtSetDevice(0)
                try:
                    acl.malloc(size)
                    say("got it")
                except Refused as refused:
                    say(refused.code)
                os.write(writing, b"x")
                import time
                time.sleep(60)
            os.read(reading, 1)
        for child in children:
            os.kill(child, 9)
        """,
        CORDEE_OVERCOMMIT="1",
    )
    assert out.split() == ["got", "it", str(MEMORY_ALLOCATION)]


def test_a_program_that_is_interrupted_ends(start) -> None:
    # A shell's background job ignores SIGINT, and so would what it starts.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    child = start(heard + "on_device().malloc(8)\nstay()")
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGINT)
    child.wait(timeout=60)
    assert child.returncode != 0
