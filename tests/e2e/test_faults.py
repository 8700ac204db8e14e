"""A real training on a chip that fails: what the program sees, and how it goes on."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from remains import left_behind, of_this_test

ROOT = Path(__file__).parents[2]
CORDEE = [sys.executable, "-m", "cordee"]

# The training that every program here does, and what it can ask of its machine.
BEGINNING = """
import json, os, subprocess, sys, threading
import torch, torch_npu
from cordee.emulator import faults, machine
from torch_npu.npu import _recovery as recovery

torch.manual_seed(0)
model = torch.nn.Linear(64, 64).npu()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
x = torch.ones(8, 64, device="npu")

def step():
    optimizer.zero_grad()
    loss = model(x).square().mean()
    loss.backward()
    optimizer.step()
    return loss.item()

def caught(act):
    try:
        act()
    except RuntimeError as error:
        return str(error)
    return "nothing"

def say(name, value):
    # One write: threads say things at the same moment, and print writes the line's end apart.
    os.write(1, (json.dumps({name: value}) + "\\n").encode())

def shown():
    command = [sys.executable, "-m", "cordee", "chips", "--json"]
    machines = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return next(m["chips"][0] for m in machines if m["path"] == os.environ["CORDEE_MACHINE"])
"""


class Said:
    """What a program said with `say`, and how it ended."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.exit_code, self.stderr = done.returncode, done.stderr
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        self.all = [pair for line in lines for pair in json.loads(line).items()]

    def __getitem__(self, name: str):
        found = [value for said, value in self.all if said == name]
        assert found, f"{name} was not said: {self.stderr}"
        return found[-1]


def run(folder: Path, schedule: str, program: str) -> Said:
    (folder / "faults.toml").write_text(schedule)
    (folder / "program.py").write_text(BEGINNING + program)
    command = [*CORDEE, "run", "--faults", str(folder / "faults.toml"), "--", "python"]
    done = subprocess.run(
        [*command, str(folder / "program.py")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    return Said(done)


def test_a_chip_is_lost_after_a_step(tmp_path: Path) -> None:
    said = run(
        tmp_path,
        '[[fault]]\nkind = "chip-lost"\nchip = 0\nat_step = 3\n',
        """
for number in range(1, 9):
    optimizer.zero_grad()
    model(x).square().mean().backward()
    optimizer.step()
    say("done", number)
    error = caught(lambda: torch.npu.synchronize())
    if error != "nothing":
        say("synchronize", error)
        break
say("operator", caught(lambda: x + 1))
say("memory", caught(lambda: torch.empty(1 << 28, device="npu")))
say("stop", torch_npu.npu.stop_device(0))
say("chip", shown())
""",
    )
    assert said["done"] == 3
    for call in ("synchronize", "operator", "memory"):
        assert "error code is 507010" in said[call]
        assert "The task scheduler loses the heartbeat" in said[call]
    assert said["stop"] == 1
    assert (said["chip"]["health"], said["chip"]["step"]) == (507010, 3)
    assert "fault 1: chip-lost, chip 0: struck after step 3" in said.stderr
    assert not of_this_test(left_behind(), tmp_path)


@pytest.mark.parametrize(
    ("report", "code", "word"),
    [("ecc", 507054, "HBM MULTI BIT ECC ERROR"), ("uce", 507053, "UCE ERROR")],
)
def test_training_goes_on_in_the_same_process_after_a_memory_error(
    report: str, code: int, word: str, tmp_path: Path
) -> None:
    said = run(
        tmp_path,
        f'[[fault]]\nkind = "memory"\nchip = 0\nreport = "{report}"\nat_step = 2\n',
        """
step()
kept = {name: value.cpu().clone() for name, value in model.state_dict().items()}
say("error", caught(lambda: [step() for _ in range(5)]))
say("chip", shown())
say("stop", torch_npu.npu.stop_device(0))
say("stopped", caught(step))
say("kind", torch_npu.npu.check_uce_in_memory(0))
torch_npu.npu.restart_device(0, rebuild_all_resources=True)
say("unsafe", caught(step))
with torch.no_grad():
    for name, value in model.state_dict().items():
        value.copy_(kept[name])
x.copy_(torch.ones(8, 64))
say("safe", recovery.check_npu_tensor_is_safe(model.weight))
again = step()
reference = torch.nn.functional.linear(torch.ones(8, 64), kept["weight"], kept["bias"])
say("difference", abs(again - reference.square().mean().item()))
say("after", shown())
""",
    )
    assert f"{word}" in said["error"]
    assert f"error code is {code}" in said["error"]
    assert said["chip"]["health"] == code
    assert said["stop"] == 0
    assert "FORCE STOP" in said["stopped"]
    assert said["kind"] == 3
    assert "There is unsafe data in the input tensor" in said["unsafe"]
    assert said["safe"]
    assert said["difference"] < 1e-5
    assert said["after"]["health"] == 0
    assert "struck after step 2" in said.stderr
    assert "; over" in said.stderr


def test_bad_memory_that_no_tensor_holds_is_given_back(tmp_path: Path) -> None:
    said = run(
        tmp_path,
        "",
        """
first = step()
spare = torch.empty(64 << 20, dtype=torch.uint8, device="npu")
del spare  # the adapter's cache keeps it
faults.strike(None, faults.BadMemory(chip=0, report="uce"))
say("error", caught(step))
torch_npu.npu.stop_device(0)
say("kind", torch_npu.npu.check_uce_in_memory(0))
torch_npu.npu.restart_device(0)
say("less", step() < first)
say("state", faults.entries(None)[0].state)
""",
    )
    assert "UCE ERROR" in said["error"]
    assert said["kind"] == 2
    assert said["less"]
    assert said["state"] == "over"


def test_a_chip_that_hangs_is_stopped_from_another_thread(tmp_path: Path) -> None:
    said = run(
        tmp_path,
        '[[fault]]\nkind = "hang"\nchip = 0\nat_step = 2\n',
        """
threading.Timer(1, lambda: say("stop", torch_npu.npu.stop_device(0))).start()
say("first", step())
say("error", caught(lambda: [step() for _ in range(5)]))
say("chip", shown())
faults.repair(None)
torch_npu.npu.restart_device(0)
say("again", step())

torch.npu.set_op_timeout_ms(50)
faults.strike(None, faults.Hang(chip=0))
say("timeout", caught(step))
faults.repair(None)
say("stays", caught(step))
torch_npu.npu.stop_device(0)
torch_npu.npu.restart_device(0)
say("last", step())
""",
    )
    assert said["stop"] == 0
    assert "FORCE STOP" in said["error"]
    assert said["chip"]["hung"]
    assert said["again"] < said["first"]
    assert "error code is 507014" in said["timeout"]
    assert "error code is 507014" in said["stays"]
    assert said["last"] < said["again"]
    assert said.exit_code == 0, said.stderr


def test_an_operator_is_silently_wrong_from_a_step_on(tmp_path: Path) -> None:
    said = run(
        tmp_path,
        '[[fault]]\nkind = "wrong-result"\nchip = 0\noperator = "aten::mul"\nbit = 30\nat_step = 2\n'
        '[[fault]]\nkind = "slow"\nchip = 0\nfactor = 2\nat_step = 2\n',
        """
for number in range(3):
    say("right" if number < 2 else "wrong", (x[:1, :3] * 3).tolist())
    say("other", (x[:1, :3] + 1.5).tolist())
    step()
say("half", (x[:1, :3].bfloat16() * 3).tolist())
say("chip", shown())
faults.repair(None)
say("repaired", (x[:1, :3] * 3).tolist())
""",
    )
    assert said["right"] == said["repaired"] == [[3, 3, 3]]
    flipped = 2.0**-127  # 3 without the highest bit of its exponent
    assert said["wrong"] == [[flipped, 3, 3]]
    assert said["other"] == [[2.5, 2.5, 2.5]]
    assert said["half"] == [[3, 3, 3]]
    assert said["chip"]["slow_percent"] == 200
    assert said["chip"]["wrong"] == "bit 30 of aten::mul"


def test_a_lost_host_takes_its_processes(tmp_path: Path) -> None:
    said = run(
        tmp_path,
        '[[fault]]\nkind = "host-lost"\nnode = 0\nat_step = 2\n',
        'for number in range(5):\n    say("loss", step())\n    say("done", number)\n',
    )
    assert said["done"] == 0
    assert said.exit_code == 128 + signal.SIGKILL
    assert "host-lost, node 0: struck after step 2" in said.stderr
    assert not of_this_test(left_behind(), tmp_path)


def test_steps_are_those_that_an_optimizer_did(tmp_path: Path) -> None:
    said = run(
        tmp_path,
        "",
        """
steps = lambda: machine.read(os.environ["CORDEE_MACHINE"]).chips[0].step
scaler = torch.amp.GradScaler("npu", init_scale=4.0)
for grows in (1.0, float("inf"), 1.0):  # the second is left out
    optimizer.zero_grad()
    scaler.scale((model(x) * grows).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
say("scaled", steps())
other = torch.optim.AdamW(torch.nn.Linear(2, 2).npu().parameters())
other.step()
say("two", steps())
cpu = torch.optim.SGD(torch.nn.Linear(2, 2).parameters())
step()
say("three", steps())
""",
    )
    assert (said["scaled"], said["two"], said["three"]) == (2, 2, 3), said.stderr


def test_a_program_is_struck_from_another_terminal(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        BEGINNING
        + """
say("machine", os.environ["CORDEE_MACHINE"])
step()
say("error", caught(lambda: [step() for _ in iter(int, 1)]))
"""
    )
    command = [*CORDEE, "run", "--", "python", str(tmp_path / "program.py")]
    program = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert program.stdout is not None
    path = json.loads(next(line for line in program.stdout if line.startswith("{")))["machine"]

    def fault(*arguments: str) -> str:
        done = [*CORDEE, "fault", *arguments, "--machine", path]
        return subprocess.run(done, capture_output=True, text=True, check=True).stdout

    assert "slow, chip 0, x3: struck" in fault("slow", "--chip", "0", "--factor", "3")
    assert "waits" in fault("hang", "--chip", "0", "--at-step", "1000000")
    fault("repair", "2")
    fault("kill", "--chip", "0", "--after", "100ms")
    output, errors = program.communicate()
    assert "error code is 507010" in output
    assert "fault 1: slow, chip 0, x3: struck" in errors
    assert "fault 2: hang, chip 0: taken back" in errors
    assert "fault 3: chip-lost, chip 0: struck" in errors
    assert not of_this_test(left_behind(), tmp_path)
