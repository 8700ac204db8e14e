"""`cordee port --prove`: the ported program on a virtual chip, beside the CPU."""

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cordee.core.errors import UsageError
from cordee.port.finding import Finding
from cordee.port.prove.blame import blames
from cordee.port.prove.execution import execute
from cordee.port.prove.hints import hints
from cordee.port.prove.lines import compared as same_lines
from cordee.port.prove.losses import compared
from cordee.port.prove.operators import Operators, operators
from cordee.port.prove.proof import Proof, Run, TensorComparison

SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".npy", ".npz")
# Relative differences that rounding alone makes after some steps of training.
SINGLE, HALF = 1e-3, 3e-2
# Keeps PyTorch from loading torch_npu, so that the program finds no accelerator.
ON_CPU = {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0", "CUDA_VISIBLE_DEVICES": ""}
# Libraries ask whether torch_npu is installed, and import it if so, chip or not: here it is not.
WITHOUT_ADAPTER = 'import sys\n\nsys.modules["torch_npu"] = None\n'


@dataclass(frozen=True, slots=True)
class Trial:
    """What is to be proven."""

    ported: Path
    before: Mapping[str, bytes]  # the files that the port changed, as they were
    command: str
    portable: bool  # else the CPU runs the original
    chips: int = 1
    limit_s: float = 1800.0


def prove(trial: Trial, findings: Iterable[Finding]) -> Proof:
    """Run the command in copies of the port, on the virtual chip and on the CPU, and compare.

    Raises `UsageError` where the emulator is not installed or the command is none.
    """
    if not trial.command.strip():
        raise UsageError("--prove: the command is empty; write --prove 'python train.py'")
    _require_emulator()
    with tempfile.TemporaryDirectory(prefix="cordee-proof-") as scratch:
        return _proof(trial, Path(scratch).resolve(), list(findings))


def _proof(trial: Trial, scratch: Path, findings: list[Finding]) -> Proof:
    on_chip = _copy(trial.ported, scratch / "chip")
    on_cpu, alone = _for_cpu(trial, scratch / "cpu"), _cpu_alone(scratch / "startup")
    trace = scratch / "trace.jsonl"
    virtual = [sys.executable, "-m", "cordee", "run", "--virtual", "--chips", str(trial.chips)]
    words = ["/bin/sh", "-c", trial.command]  # as typed: `A=1 python x && python y`
    command = [*virtual, "--trace", str(trace), "--", *words]
    before = {"chip": _state(on_chip), "cpu": _state(on_cpu)}
    # The first of all runs compiles the emulator, which is not the program's time.
    execute([*virtual, "--", "true"], on_chip, "build", math.inf, {})
    chip = execute(command, on_chip, "chip", trial.limit_s, {})
    cpu = execute(words, on_cpu, "cpu", trial.limit_s, alone)
    ran = operators(trace, on_chip) if trace.is_file() else Operators((), (), (), False)
    both = chip.succeeded and cpu.succeeded
    written = _written(on_chip, before["chip"]) & _written(on_cpu, before["cpu"])
    tensors = [_compared(on_chip, on_cpu, path) for path in sorted(written)] if both else ()
    blamed = () if chip.succeeded else blames(chip.output, on_chip, trial.before, findings)
    proof = Proof(
        command=trial.command,
        chip=chip,
        cpu=cpu,
        losses=compared(chip.output, cpu.output) if both else (),
        tensors=tuple(tensors),
        lines=same_lines(chip.output, cpu.output) if both else None,
        draws=ran.draws,
        fallbacks=ran.fallbacks,
        blames=tuple(blamed),
        operators=ran.calls,
        ran=ran.ran,
        tolerance=HALF if ran.half else SINGLE,
        notes=tuple(_notes(chip, cpu, ran)),
    )
    if not both or proof.agrees:
        return proof
    again = execute(words, _for_cpu(trial, scratch / "again"), "again", trial.limit_s, alone)
    repeated = compared(cpu.output, again.output)
    return replace(proof, wavers=any(loss.difference > proof.tolerance for loss in repeated))


def _for_cpu(trial: Trial, to: Path) -> Path:
    """A copy of the port; of one that runs on Ascend alone, of what it was made of."""
    _copy(trial.ported, to)
    if not trial.portable:
        for path, data in trial.before.items():
            (to / path).write_bytes(data)
    return to


def _cpu_alone(startup: Path) -> dict[str, str]:
    """The environment of a program that finds neither a chip nor the adapter for one."""
    startup.mkdir()
    (startup / "sitecustomize.py").write_text(WITHOUT_ADAPTER)
    path = os.pathsep.join(filter(None, (str(startup), os.environ.get("PYTHONPATH"))))
    return ON_CPU | {"PYTHONPATH": path}


def _notes(chip: Run, cpu: Run, ran: Operators) -> Iterator[str]:
    for run, place in ((chip, "on the virtual chip"), (cpu, "on the CPU")):
        if run.exit_code is None:
            yield f"{place} it ran past its limit of {run.seconds:.0f} s"
        elif not run.succeeded:
            yield f"{place} it ended with {run.exit_code}: {run.last_words}"
            yield from hints(run.output)
    if chip.succeeded and not ran.calls:
        yield "it did not use the chip at all: nothing about Ascend is shown"
    if ran.draws:
        yield f"it drew random numbers on the chip{_first_site(ran)}: the CPU draws others from the same seed"


def _first_site(ran: Operators) -> str:
    """Where the program drew, by the first line that is its own."""
    sites = [site for draw in ran.draws for site in draw.sites]
    return f" ({sites[0]})" if sites else ""


def _require_emulator() -> None:
    probe = "import importlib.util as u, sys; sys.exit(not (u.find_spec('torch') and u.find_spec('torch_npu')))"
    found = subprocess.run([sys.executable, "-c", probe], check=False).returncode
    if found != 0:
        raise UsageError(
            "--prove runs the real torch_npu, which is not installed beside cordee: "
            "pip install 'cordee[emulator]'"
        )


def _copy(tree: Path, to: Path) -> Path:
    shutil.copytree(tree, to, symlinks=True, ignore=shutil.ignore_patterns(".git"))
    return to


def _state(tree: Path) -> Mapping[str, tuple[int, int]]:
    return {
        path.relative_to(tree).as_posix(): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in tree.rglob("*")
        if path.is_file() and path.suffix in SUFFIXES
    }


def _written(tree: Path, before: Mapping[str, tuple[int, int]]) -> set[str]:
    """Files of tensors that are new or changed."""
    return {path for path, state in _state(tree).items() if before.get(path) != state}


def _compared(chip: Path, cpu: Path, path: str) -> TensorComparison:
    program = [sys.executable, "-m", "cordee.port.prove.tensors", str(chip / path), str(cpu / path)]
    # Pickles name the program's own modules.
    modules = os.pathsep.join(filter(None, (str(cpu), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, **ON_CPU, "PYTHONPATH": modules}
    done = subprocess.run(program, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        return TensorComparison(path, 0, "", 0.0, problem=lines[-1] if lines else "no answer")
    answer = json.loads(done.stdout.splitlines()[-1])
    return TensorComparison(path, **{**answer, "alone": tuple(answer["alone"])})
