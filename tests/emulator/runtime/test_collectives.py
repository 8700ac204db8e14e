"""Collectives and messages between ranks, each a process with a chip of its own."""

import json
import os
import sys
from collections.abc import Callable
from ctypes import byref, c_char, c_void_p
from pathlib import Path

import pytest
from calls import HERE, Acl, Refused

from cordee.emulator import machine
from cordee.hw import chip

Ranks = Callable[..., list[str]]

FFTS_TIMEOUT = 507048  # ACL_ERROR_RT_FFTS_PLUS_TIMEOUT, as in vllm-ascend issue 1443


@pytest.fixture
def together(start, tmp_path: Path) -> Ranks:
    """Run one program as several ranks to their ends; gives what each printed."""

    def run(program: str, ranks: int = 3, **variables: str) -> list[str]:
        with machine.create(chip("Ascend910B3"), ranks) as made:
            children = [
                start(
                    "from communicators import *\nme = join()\n" + program,
                    CORDEE_MACHINE=made.path,
                    RANK=str(rank),
                    RANKS=str(ranks),
                    ROOT=str(tmp_path / "root"),
                    **variables,
                )
                for rank in range(ranks)
            ]
            said = [child.communicate(timeout=120) for child in children]
        for child, (_, errors) in zip(children, said, strict=True):
            assert child.returncode == 0, errors
        return [out.strip() for out, _ in said]

    return run


# Everything in one program: starting processes is what takes the time.
EVERY_CALL = """
import json
n, r, got = me.ranks, me.number, {}
FLOAT = TYPES["float32"][0]

def out(count): return me.put([0.0] * count)

for size in (1, 5, 20000):
    mine = me.put([float(r + 1)] * size)
    to = out(size)
    me.call("HcclAllReduce", mine, to, size, FLOAT, SUM)
    got["all-reduce", size] = me.get(to, size)[-1]
    to = out(size)
    me.call("HcclReduce", mine, to, size, FLOAT, MAX, 1)
    got["reduce", size] = me.get(to, size)[-1]
    to = out(size * n)
    me.call("HcclAllGather", mine, to, size, FLOAT)
    got["all-gather", size] = me.get(to, size * n)[::size]
    wide = me.put([float(10 * r + i // size) for i in range(size * n)])
    to = out(size)
    me.call("HcclReduceScatter", wide, to, size, FLOAT, SUM)
    got["reduce-scatter", size] = me.get(to, size)[0]
    me.call("HcclScatter", wide, to, size, FLOAT, 2)
    got["scatter", size] = me.get(to, size)[0]
    to = out(size * n)
    me.call("HcclAlltoAll", wide, size, FLOAT, to, size, FLOAT)
    got["all-to-all", size] = me.get(to, size * n)[::size]
    me.call("HcclBroadcast", mine, size, FLOAT, 1)
    got["broadcast", size] = me.get(mine, size)[0]

# Rank r gives r + 1 elements to everyone.
mine, to = me.put([float(r)] * (r + 1)), out(6)
me.call("HcclAllGatherV", mine, r + 1, to, counts(1, 2, 3), counts(0, 1, 3), FLOAT)
got["all-gather-v"] = me.get(to, 6)
wide, to = me.put([float(r)] * 6), out(r + 1)
me.call("HcclReduceScatterV", wide, counts(1, 2, 3), counts(0, 1, 3), to, r + 1, FLOAT, SUM)
got["reduce-scatter-v"] = me.get(to, r + 1)
to = out(3 * (r + 1))
me.call("HcclAlltoAllV", wide, counts(1, 2, 3), counts(0, 1, 3), FLOAT, to,
        counts(*[r + 1] * 3), counts(*[i * (r + 1) for i in range(3)]), FLOAT)
got["all-to-all-v"] = me.get(to, 3 * (r + 1))
to = out(3 * (r + 1))
me.call("HcclAlltoAllVC", wide, counts(*[1, 2, 3] * 3), FLOAT, to, FLOAT)
got["all-to-all-vc"] = me.get(to, 3 * (r + 1))
me.call("HcclBarrier")
say(json.dumps({" ".join(map(str, k)) if isinstance(k, tuple) else k: v for k, v in got.items()}))
"""


def test_every_collective_gives_every_rank_its_due(together: Ranks) -> None:
    for rank, out in enumerate(together(EVERY_CALL)):
        got = json.loads(out)
        for size in (1, 5, 20000):
            assert got[f"all-reduce {size}"] == 6
            assert got[f"reduce {size}"] == (3 if rank == 1 else 0)
            assert got[f"all-gather {size}"] == [1, 2, 3]
            assert got[f"reduce-scatter {size}"] == 30 + 3 * rank
            assert got[f"scatter {size}"] == 20 + rank
            assert got[f"all-to-all {size}"] == [rank, 10 + rank, 20 + rank]
            assert got[f"broadcast {size}"] == 2
        assert got["all-gather-v"] == [0, 1, 1, 2, 2, 2]
        assert got["reduce-scatter-v"] == [3.0] * (rank + 1)
        parts = [float(source) for source in range(3) for _ in range(rank + 1)]
        assert got["all-to-all-v"] == parts
        assert got["all-to-all-vc"] == parts


EVERY_TYPE = """
for name, (number, code) in TYPES.items():
    one = {"float16": 0x3c00, "bfloat16": 0x3f80}.get(name, 1)
    mine = me.put([one] * 100, code)
    for op in (SUM, PROD, MAX, MIN):
        try:
            me.call("HcclAllReduce", mine, to := me.put([0] * 100, code), 100, number, op)
            say(name, op, me.get(to, 100, code)[99])
        except Refused as refused:
            say(name, op, "refused", refused.code)
"""


def test_types_are_reduced_or_refused_as_the_vendor_says(together: Ranks) -> None:
    ones = {"float16": 0x3C00, "bfloat16": 0x3F80}
    twos = {"float16": 0x4000, "bfloat16": 0x4000}
    lines = dict(line.rsplit(" ", 1) for line in together(EVERY_TYPE, 2)[0].splitlines())
    for name in ("int8", "int32", "int64", "float32", "float16", "bfloat16", "int16"):
        assert float(lines[f"{name} 0"]) == twos.get(name, 2)
        assert float(lines[f"{name} 2"]) == ones.get(name, 1)
    for name in ("int16", "bfloat16"):
        assert lines[f"{name} 1 refused"] == "5"  # HCCL_E_NOT_SUPPORT
    assert all(lines[f"float64 {op} refused"] == "5" for op in range(4))


MESSAGES = """
FLOAT = TYPES["float32"][0]
right, left = (me.number + 1) % me.ranks, (me.number - 1) % me.ranks
for size in (1, 50000):
    mine, to = me.put([float(me.number)] * size), me.put([0.0] * size)
    me.hccl.HcclGroupStart()
    me.hccl.HcclSend(mine, size, FLOAT, right, me.comm, me.stream)
    me.hccl.HcclRecv(to, size, FLOAT, left, me.comm, me.stream)
    me.hccl.HcclGroupEnd()
    me.wait()
    say(me.get(to, size)[-1])
if me.number == 0:
    for i in range(5):
        me.hccl.HcclSend(me.put([float(i)]), 1, FLOAT, 1, me.comm, me.stream)
elif me.number == 1:
    places = [me.put([9.0]) for _ in range(5)]
    for place in places:
        me.hccl.HcclRecv(place, 1, FLOAT, 0, me.comm, me.stream)
    me.wait()
    say(*[me.get(place, 1)[0] for place in places])
me.wait()
"""


def test_messages_round_a_ring_and_in_their_order(together: Ranks) -> None:
    out = [text.splitlines() for text in together(MESSAGES)]
    assert [lines[:2] for lines in out] == [["2.0"] * 2, ["0.0"] * 2, ["1.0"] * 2]
    assert out[1][2] == "0.0 1.0 2.0 3.0 4.0"


ASYNCHRONOUS = """
FLOAT = TYPES["float32"][0]
other, second = c_void_p(), me.acl.stream()
me.hccl.HcclCreateSubCommConfig(byref(me.comm), 2, ranks_of(0, 1), 7, me.number, CONFIG, byref(other))
a, b = me.put([1.0]), me.put([1.0])
calls = [(me.comm, me.stream, a), (other, second, b)]
for comm, stream, place in calls if me.number == 0 else reversed(calls):
    me.hccl.HcclAllReduce(place, place, 1, FLOAT, SUM, comm, stream)
me.wait()
me.acl.aclrtSynchronizeStream(second)
say(me.get(a, 1)[0], me.get(b, 1)[0])
"""


def test_collectives_of_two_communicators_may_come_in_different_orders(together: Ranks) -> None:
    config = (
        "CONFIG = (c_char * 4096)()\nimport struct\nstruct.pack_into('<QIIQII', CONFIG, 0, 4096, "
        "0xf0f0f0f0, 4, 0, 0xffffffff, 0xffffffff)\n"
    )
    program = "from ctypes import c_char\n" + config + ASYNCHRONOUS
    assert together(program, 2) == ["2.0 2.0"] * 2


LATE = """
if me.number == 0:
    try:
        me.call("HcclAllReduce", me.put([1.0]), me.put([1.0]), 1, TYPES["float32"][0], SUM)
    except Refused as refused:
        say(refused.code, refused.why)
else:
    time.sleep(4)
"""


def test_a_peer_that_never_comes_ends_in_the_vendors_timeout(together: Ranks) -> None:
    said = together(LATE, 2, HCCL_EXEC_TIMEOUT="1")[0]
    assert said.startswith(f"{FFTS_TIMEOUT} EI0002")
    assert "remote rank [1]" in said


MISSING = """
try:
    join()
except Refused as refused:
    say(refused.code, refused.why)
"""


def test_a_rank_that_never_joins_is_named(run, tmp_path: Path) -> None:
    said = run(
        "from communicators import *" + MISSING,
        RANK="0",
        RANKS="3",
        ROOT=str(tmp_path / "root"),
        HCCL_CONNECT_TIMEOUT="1",
    )
    assert said.startswith("1 EI0015")
    assert "unconnected ranks: 1, 2" in said


DIFFERENT = """
try:
    count = 1 + me.number
    me.call("HcclAllReduce", me.put([1.0] * 2), me.put([1.0] * 2), count, TYPES["float32"][0], SUM)
except Refused as refused:
    say(refused.why)
"""


def test_ranks_that_disagree_are_told_in_what(together: Ranks) -> None:
    for rank, said in enumerate(together(DIFFERENT, 2)):
        assert said.startswith("EI0005")
        assert f"parameter [count], local [{1 + rank}, rank {rank}]" in said


def test_a_sum_of_floats_repeats_bit_for_bit(together: Ranks) -> None:
    program = """
import random
random.seed(me.number)
mine = me.put([random.uniform(-1e6, 1e6) for _ in range(30001)])
for _ in range(3):
    to = me.put([0.0] * 30001)
    me.call("HcclAllReduce", mine, to, 30001, TYPES["float32"][0], SUM)
    say(hash(tuple(me.get(to, 30001))))
"""
    assert len({line for out in together(program) for line in out.splitlines()}) == 1


def test_one_process_may_hold_all_ranks(run) -> None:
    program = """
from communicators import *
acl = on_device(0)
hccl = Acl(os.environ["CORDEE_TEST_LIBRARIES"], "libhccl.so")
comms = (c_void_p * 2)()
hccl.HcclCommInitAll(2, devices_of(0, 1), comms)
places, streams = [], []
for device in range(2):
    acl.aclrtSetDevice(device)
    places.append(acl.malloc(4))
    acl.write(places[-1], array("f", [1.5]).tobytes())
    streams.append(acl.stream())
    hccl.HcclAllReduce(places[-1], places[-1], 1, 4, SUM, c_void_p(comms[device]), streams[-1])
for device in range(2):
    acl.aclrtSetDevice(device)
    acl.aclrtSynchronizeStream(streams[device])
    say(array("f", acl.read(places[device], 4))[0])
"""
    assert run(program, CORDEE_CHIPS="2").splitlines() == ["3.0", "3.0"]


def test_ranks_may_meet_through_a_rank_table(start, tmp_path: Path) -> None:
    devices = [{"device_id": str(i), "rank_id": str(i), "device_ip": "10.0.0.1"} for i in (0, 1)]
    table = {
        "version": "1.0",
        "server_count": "1",
        "status": "completed",
        "server_list": [{"server_id": "here", "device": devices}],
    }
    file = tmp_path / "ranks.json"
    file.write_text(json.dumps(table))
    program = f"""
from communicators import *
acl = on_device(int(os.environ["RANK"]))
hccl = Acl(os.environ["CORDEE_TEST_LIBRARIES"], "libhccl.so")
comm = c_void_p()
hccl.HcclCommInitClusterInfo({str(file)!r}.encode(), int(os.environ["RANK"]), byref(comm))
hccl.HcclBarrier(comm, acl.stream())
acl.aclrtSynchronizeDevice()
say("met")
"""
    with machine.create(chip("Ascend910B3"), 2) as made:
        children = [start(program, CORDEE_MACHINE=made.path, RANK=str(rank)) for rank in range(2)]
        assert [child.communicate(timeout=60)[0].strip() for child in children] == ["met", "met"]


def test_ranks_on_one_chip_are_refused(start, tmp_path: Path) -> None:
    program = """
from communicators import *
os.environ["ASCEND_RT_VISIBLE_DEVICES"] = "0,1" if os.environ["RANK"] == "0" else "1,0"
try:
    join()
except Refused as refused:
    say(refused.code, refused.why)
"""
    with machine.create(chip("Ascend910B3"), 2) as made:
        children = [
            start(
                program,
                CORDEE_MACHINE=made.path,
                RANK=str(rank),
                RANKS="2",
                ROOT=str(tmp_path / "root"),
            )
            for rank in range(2)
        ]
        for child in children:
            said = child.communicate(timeout=60)[0]
            assert said.startswith("1 EI0015")
            assert "the same device, chip 0" in said


@pytest.fixture
def hccl(acl: Acl, libraries: str) -> Acl:
    return Acl(libraries, "libhccl.so")


def test_a_destroyed_communicator_is_recognised(hccl: Acl) -> None:
    root, one = (c_char * 4108)(), c_void_p()
    hccl.HcclGetRootInfo(root)
    hccl.HcclCommInitRootInfo(1, root, 0, byref(one))
    hccl.HcclCommDestroy(one)
    with pytest.raises(Refused):
        hccl.HcclBarrier(one, None)


# For programs that import more than what stands beside them.
OWN_PATHS = {"PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}

HANGING = """
from cordee.emulator import faults
place = me.put([1.0] * 4)
me.call("HcclAllReduce", place, place, 4, TYPES["float32"][0], SUM)
if me.number == 1:
    time.sleep(1.5)  # the other waits for this one, and then its chip hangs
{what}
started = time.monotonic()
try:
    me.call("HcclAllReduce", place, place, 4, TYPES["float32"][0], SUM)
    say("ended", me.get(place, 1)[0])
except Refused as refused:
    say(refused.code, refused.why)
"""

HANG_MEANWHILE = """
import threading
def hang():
    faults.strike(None, faults.Hang(chip=0))
{then}
threading.Timer(0.5, hang).start() if me.number == 0 else None
"""


def test_a_collective_ends_when_its_chip_hangs_for_too_long(together: Ranks) -> None:
    what = HANG_MEANWHILE.format(then="") + "me.acl.aclrtSetOpExecuteTimeOutWithMs(2000)"
    first, second = together(HANGING.format(what=what), 2, **OWN_PATHS)
    assert first.startswith("507014 chip 0 hangs: HcclAllReduce was not done after")
    assert second == "ended 4.0"  # what the first had given before, it had given


def test_a_collective_goes_on_when_its_chip_works_again(together: Ranks) -> None:
    what = HANG_MEANWHILE.format(then="    time.sleep(2.5)\n    faults.repair(None)\n")
    first, second = together(HANGING.format(what=what), 2, **OWN_PATHS)
    assert [first, second] == ["ended 4.0"] * 2
