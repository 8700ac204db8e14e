"""What cannot be served ends with one line that says why, exit code 2, and no process left."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest


def serve(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "cordee", "serve", *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env=environment
    )


def running_on(model: Path) -> list[str]:
    """The command lines of processes that were started for a model folder."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if str(model) in words:
            found.append(" ".join(words))
    return found


@pytest.fixture
def model(model_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder, tmp_path / "model"))


def refused(done: "subprocess.CompletedProcess[str]", *words: str) -> None:
    lines = [line for line in done.stderr.splitlines() if line]
    assert done.returncode == 2
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    assert all(word in lines[0] for word in words), lines[0]


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    done = serve(tmp_path, "--device", "cpu", "--port", 0)
    refused(done, str(tmp_path), "config.json")
    assert done.stdout == ""
    assert running_on(tmp_path) == []


def test_weights_that_are_cut_off_are_named(model: Path) -> None:
    file = model / "model.safetensors"
    file.write_bytes(file.read_bytes()[:3000])
    refused(serve(model, "--device", "cpu", "--port", 0), "model.safetensors", "cut off")
    assert running_on(model) == []


def test_a_missing_tokenizer_is_named(model: Path) -> None:
    (model / "tokenizer.json").unlink()
    refused(serve(model, "--device", "cpu", "--port", 0), "tokenizer.json")


def test_a_port_in_use_is_named_and_the_replicas_end(model: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = serve(model, "--device", "cpu", "--port", port, "--replicas", 2)
    refused(done, str(port), "--port")
    assert running_on(model) == []


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="there is one")
def test_a_gpu_that_is_not_there_is_said_before_anything_starts(model: Path) -> None:
    refused(serve(model, "--device", "cuda", "--port", 0), "NVIDIA", "--device cpu")


@pytest.mark.skipif(any(Path("/dev").glob("davinci[0-9]*")), reason="there is one")
def test_where_there_is_no_ascend_chip_virtual_ones_are_offered(model: Path) -> None:
    refused(serve(model, "--device", "ascend", "--port", 0), "--chip Ascend910B3")


def test_virtual_chips_go_with_no_other_device(model: Path) -> None:
    refused(serve(model, "--device", "cuda", "--chip", "Ascend910B3"), "--device cuda", "ascend")


def test_no_replica_at_all_is_no_service(model: Path) -> None:
    done = serve(model, "--replicas", 0)
    assert done.returncode == 2
    assert "--replicas" in done.stderr


def test_neither_a_model_nor_a_fleet_is_refused() -> None:
    refused(serve(), "--fleet")
