"""`cordee run` as a user meets it: programs, mistakes, and processes that are killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.waiting import has_ended, until

ROOT = Path(__file__).parents[2]
CORDEE = [sys.executable, "-m", "cordee"]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CORDEE, "run", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        cwd=ROOT,
        check=False,
    )


def program(tmp_path: Path, text: str) -> str:
    file = tmp_path / "program.py"
    file.write_text(text)
    return str(file)


def test_a_program_written_for_cuda_runs_unchanged(tmp_path: Path) -> None:
    file = program(tmp_path, "import torch; print((torch.ones(3, device='cuda') + 1).sum().item())")
    done = run("--from-cuda", "--", "python", file)
    assert done.stdout.strip().endswith("6.0"), done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("first", ["torch", "torch_npu"])
def test_a_program_may_import_the_adapter_first(first: str, tmp_path: Path) -> None:
    file = program(
        tmp_path,
        f"import {first}, torch, torch_npu\n"
        "print((torch.ones(2, device='npu').int() | 6).tolist())",
    )
    done = run("--", "python", file)
    assert done.stdout.strip().endswith("[7, 7]"), done.stderr


def test_a_program_keeps_its_own_path_and_beginnings(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.began = True")
    file = program(
        tmp_path, "import sys; print(sys.began, [p for p in sys.path if 'startup' in p])"
    )
    done = run("--", "python", file, PYTHONPATH=str(tmp_path))
    assert done.stdout.strip() == "True []", done.stderr


def test_a_python_without_cordee_is_told_what_it_lacks(tmp_path: Path) -> None:
    other = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(other)], check=True)
    done = run("--", str(other / "bin/python"), "-c", "import torch")
    assert done.returncode == 1
    assert f"{other}/bin/python -m pip install 'cordee[emulator]'" in done.stderr


def test_the_chosen_chips_are_what_the_program_sees(tmp_path: Path) -> None:
    file = program(
        tmp_path, "import torch; print(torch.npu.device_count(), torch.npu.get_device_name())"
    )
    done = run("--chip", "910B1", "--chips", "3", "--", "python", file)
    assert done.stdout.strip().endswith("3 Ascend910B1"), done.stderr


def test_a_program_may_use_any_chip_without_choosing_it_first(tmp_path: Path) -> None:
    file = program(
        tmp_path,
        "import torch\n"
        "x = torch.ones(4, device='npu:1') + 1\n"
        "print(x.device, x.sum().item(), x.to('npu:0').device, torch.npu.current_device())",
    )
    done = run("--chips", "2", "--", "python", file)
    assert done.stdout.strip().endswith("npu:1 8.0 npu:0 0"), done.stderr


def test_an_optimizer_may_have_no_parameters(tmp_path: Path) -> None:
    file = program(
        tmp_path,
        "import torch; torch.ones(2, device='npu')\n"
        "torch.optim.SGD([{'params': []}]).step(); print('stepped')",
    )
    done = run("--", "python", file)
    assert done.stdout.strip().endswith("stepped"), done.stderr


def test_more_chips_than_a_process_can_take_are_a_wrong_request() -> None:
    done = run("--chips", "64", "--", "true")
    assert done.returncode == 2
    assert "spread them with --nodes" in done.stderr


def test_the_exit_code_is_the_programs_own(tmp_path: Path) -> None:
    assert run("--", "python", program(tmp_path, "raise SystemExit(7)")).returncode == 7


def test_an_unknown_chip_is_a_wrong_request() -> None:
    done = run("--chip", "Ascend910B9", "--", "python", "-c", "0")
    assert done.returncode == 2
    assert "Ascend910B9" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_command_that_does_not_exist_is_a_wrong_request() -> None:
    done = run("--", "no-such-command")
    assert done.returncode == 2
    assert "no-such-command" in done.stderr


def test_a_torch_that_does_not_go_with_the_adapter_is_refused(tmp_path: Path) -> None:
    metadata = tmp_path / "torch-2.9.1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.9.1\n")
    done = run("--", "python", "-c", "0", PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert "2.9.1" in done.stderr
    assert "pip install 'cordee[emulator]'" in done.stderr


def test_without_a_compiler_the_way_out_is_told(tmp_path: Path) -> None:
    done = run("--", "python", "-c", "0", CC="no-such-compiler", XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode == 2
    assert "CC=no-such-compiler" in done.stderr


def test_a_full_shared_memory_is_no_hindrance(tmp_path: Path) -> None:
    # The machine lives in memory without a name; only PyTorch's own workers need /dev/shm.
    file = program(tmp_path, "import torch; print(torch.ones(1 << 20).npu().sum().item())")
    fill = "mount -t tmpfs -o size=64k none /dev/shm && head -c 64k /dev/zero > /dev/shm/full"
    command = [*CORDEE, "run", "--", "python", file]
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", f"{fill}; exec {' '.join(command)}"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.stdout.strip() == "1048576.0", done.stderr


def test_following_a_device_pointer_ends_the_program(tmp_path: Path) -> None:
    text = "import ctypes, torch; ctypes.string_at(torch.ones(9, device='npu').data_ptr(), 4)"
    done = run("--", "python", program(tmp_path, text))
    assert done.returncode == 128 + signal.SIGSEGV
    assert "copy it first, for example with tensor.cpu()" in done.stderr


def test_an_operator_that_is_not_emulated_is_named(tmp_path: Path) -> None:
    text = "import torch; torch.ops.npu.attention_worker_scheduler(torch.ones(2).npu())"
    done = run("--", "python", program(tmp_path, text))
    assert done.returncode == 1
    assert "npu::attention_worker_scheduler is not emulated" in done.stderr


def test_killing_the_supervisor_leaves_nothing_behind(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    file = program(
        tmp_path,
        "import os, pathlib, time, torch\n"
        "x = torch.ones(1 << 20, device='npu')\n"
        f"pathlib.Path({str(ready)!r}).write_text(str(os.getpid()))\n"
        "time.sleep(600)\n",
    )
    shared = set(os.listdir("/dev/shm"))
    supervisor = subprocess.Popen([*CORDEE, "run", "--", "python", file], cwd=ROOT)
    until(lambda: ready.exists() and ready.read_text(), by=supervisor)
    child = int(ready.read_text())
    supervisor.send_signal(signal.SIGKILL)
    supervisor.wait()
    until(lambda: has_ended(child))
    assert set(os.listdir("/dev/shm")) <= shared


@pytest.mark.slow
def test_the_examples_losses_are_those_of_the_cpu(tmp_path: Path) -> None:
    checkpoint = tmp_path / "gpt.pt"
    arguments = ["examples/nvidia_gpt/train.py", "--steps", "50", "--dtype", "float32"]
    small = ["--layers", "2", "--width", "64", "--block-size", "64", "--dropout", "0"]
    on_chip = run(
        "--from-cuda", "--", "python", *arguments, *small, "--checkpoint", str(checkpoint)
    )
    on_cpu = subprocess.run(
        [sys.executable, *arguments, *small, "--device", "cpu"],
        capture_output=True,
        text=True,
        env={**os.environ, "TORCH_DEVICE_BACKEND_AUTOLOAD": "0"},
        cwd=ROOT,
        check=True,
    )
    assert len(losses(on_chip.stdout)) == 50, on_chip.stderr
    assert losses(on_chip.stdout) == pytest.approx(losses(on_cpu.stdout), rel=1e-4)
    written = subprocess.run(
        [
            *(sys.executable, "examples/nvidia_gpt/sample.py", str(checkpoint)),
            *("--device", "cpu", "--tokens", "20"),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "TORCH_DEVICE_BACKEND_AUTOLOAD": "0"},
        cwd=ROOT,
        check=False,
    )
    assert written.returncode == 0, written.stderr
    assert written.stdout.strip()


def losses(text: str) -> list[float]:
    return [float(line.split()[3]) for line in text.splitlines() if line.startswith("step ")]
