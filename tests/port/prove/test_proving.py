"""A port is run on the virtual chip and on the CPU, and what differs is said."""

import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from cordee.core.errors import UsageError
from cordee.port.documents import document
from cordee.port.engine import findings
from cordee.port.finding import Finding, Safety, agreeing
from cordee.port.prove.blame import blames
from cordee.port.prove.proof import Proof
from cordee.port.prove.proving import Trial, prove
from cordee.port.setting import Setting

TRAINER = """
    import torch

    torch.manual_seed(1)
    device = "cuda"
    model = torch.nn.Linear(8, 1).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = torch.randn(16, 8).to(device), torch.randn(16, 1).to(device)
    for step in range(3):
        loss = torch.nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"step {step} loss {loss.item():.6f}")
    torch.cuda.empty_cache()
    torch.save(model.state_dict(), "model.pt")
"""


def _repository(root: Path, source: str) -> tuple[Trial, list[Finding]]:
    """One program, ported."""
    text = textwrap.dedent(source).lstrip().encode()
    opened = document("train.py", text, Setting())
    assert opened is not None
    found = findings(opened)
    fixes = [f.fix for f in found if f.fix is not None and f.fix.safety is Safety.SAFE]
    (root / "train.py").write_bytes(opened.source.fixed(agreeing(fixes)[0]))
    return Trial(root, {"train.py": text}, "python train.py", portable=True, limit_s=280), found


def _proof(root: Path, source: str) -> Proof:
    trial, found = _repository(root, source)
    return prove(trial, found)


@pytest.mark.slow
def test_a_port_that_trains_alike_on_chip_and_cpu_holds(tmp_path: Path) -> None:
    proof = _proof(tmp_path, TRAINER)
    assert proof.holds
    assert [loss.name for loss in proof.losses] == ["loss"]
    assert len(proof.losses[0].chip) == 3
    assert [(file.path, file.tensors) for file in proof.tensors] == [("model.pt", 2)]
    assert proof.operators > 0


@pytest.mark.slow
def test_a_program_that_computes_something_else_on_the_chip_does_not_hold(tmp_path: Path) -> None:
    wrong = "    if torch.accelerator.is_available():\n        torch.manual_seed(2)\n    device ="
    proof = _proof(tmp_path, TRAINER.replace("    device =", wrong))
    assert proof.chip.succeeded
    assert not proof.holds


@pytest.mark.slow
def test_a_failure_leads_back_to_the_line_of_the_original(tmp_path: Path) -> None:
    source = """
        import torch
        torch.cuda.empty_cache()
        x = torch.ones(2, device="cuda")
        if x.device.type != "cpu":
            print(torch.cuda.nccl.version())
    """
    proof = _proof(tmp_path, source)
    assert not proof.holds
    blame = proof.blames[0]
    assert (blame.path, blame.line) == ("train.py", 5)
    assert [finding.rule for finding in blame.findings] == ["NV103"]


def test_lines_that_a_port_put_in_do_not_shift_the_blame(tmp_path: Path) -> None:
    source = "import torch\ntorch.cuda.empty_cache()\nx = 1 / 0\n"
    trial, found = _repository(tmp_path, source)
    ran = (trial.ported / "train.py").read_text().splitlines()
    at = ran.index("x = 1 / 0") + 1
    assert at == 4
    output = f'Traceback (most recent call last):\n  File "{trial.ported}/train.py", line {at}\n'
    (blame,) = blames(output, trial.ported, trial.before, found)
    assert (blame.line, blame.code) == (3, "x = 1 / 0")


def test_an_empty_command_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="command is empty"):
        prove(Trial(tmp_path, {}, "  ", portable=True), [])


@pytest.mark.slow
def test_a_program_without_a_seed_is_told_from_a_chip_that_is_wrong(tmp_path: Path) -> None:
    proof = _proof(tmp_path, TRAINER.replace("torch.manual_seed(1)", "torch.seed()"))
    assert proof.chip.succeeded
    assert not proof.holds
    assert "other numbers each time" in proof.verdict


@pytest.mark.slow
def test_a_program_that_fails_alike_on_both_is_not_blamed_on_the_chip(tmp_path: Path) -> None:
    proof = _proof(tmp_path, TRAINER.replace("range(3)", "range(missing)"))
    assert "fails on the CPU as on the virtual chip" in proof.verdict


@pytest.mark.slow
def test_a_program_that_takes_too_long_is_told_how_to_get_more_time(tmp_path: Path) -> None:
    trial, found = _repository(tmp_path, TRAINER)
    proof = prove(replace(trial, command="sleep 100", limit_s=0.2), found)
    assert "--limit" in proof.verdict


@pytest.mark.slow
def test_a_command_is_one_of_the_shell_and_draws_on_the_chip_are_told(tmp_path: Path) -> None:
    source = """
        import importlib.util
        import os
        import torch

        torch.manual_seed(1)
        assert os.environ["MINE"] == "yes"
        x = torch.randn(4, device="cuda")
        if x.device.type == "cpu":
            assert importlib.util.find_spec("torch_npu") is None
        print(f"loss {x.mean().item()}")
    """
    trial, found = _repository(tmp_path, source)
    proof = prove(replace(trial, command="MINE=yes python train.py && echo done"), found)
    assert proof.chip.succeeded
    assert proof.cpu_succeeded
    assert "done" in proof.chip.output
    assert [draw.sites for draw in proof.draws] == [("train.py:7",)]
    assert "random" in proof.verdict
