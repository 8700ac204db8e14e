"""Optimiser steps against torch.optim and against the formulas of their papers."""

import pytest
import torch
from torch import Tensor

from cordee.emulator.ops import optimizer as optimizer
from cordee.emulator.ops.reference import REFERENCES


def run(name: str, *arguments: object, **options: object) -> tuple[Tensor, ...]:
    found = REFERENCES[f"npu::{name}"].function(*arguments, **options)
    assert isinstance(found, tuple)
    return found


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("maximize", [False, True])
def test_adam_w_takes_the_steps_of_torch(amsgrad: bool, maximize: bool) -> None:
    start = torch.randn(5, 3)
    torchs = torch.nn.Parameter(start.clone())
    theirs = torch.optim.AdamW(
        [torchs], lr=0.1, weight_decay=0.2, amsgrad=amsgrad, maximize=maximize
    )
    state = [start.clone(), torch.zeros(5, 3), torch.zeros(5, 3)]
    largest = torch.zeros(5, 3) if amsgrad else None
    for step in range(4):
        grad = torch.randn(5, 3)
        torchs.grad = grad.clone()
        theirs.step()
        powers = 0.9**step, 0.999**step
        found = run(
            "npu_apply_adam_w.out",
            *powers,
            0.1,
            0.2,
            0.9,
            0.999,
            1e-8,
            grad,
            largest,
            amsgrad,
            maximize,
            out=state,
        )
        torch.testing.assert_close(state[0], torchs.detach())
        assert all(a is b for a, b in zip(found, state, strict=True))


def test_adam_takes_the_step_of_the_paper() -> None:
    var, m, v, g = torch.randn(4), torch.randn(4), torch.rand(4), torch.randn(4)
    state = [var.clone(), m.clone(), v.clone()]
    run("npu_apply_adam.out", 0.81, 0.998, 0.1, 0.9, 0.999, 1e-3, g, False, False, out=state)
    new_m, new_v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
    rate = 0.1 * (1 - 0.998) ** 0.5 / (1 - 0.81)
    torch.testing.assert_close(state, [var - rate * new_m / (new_v.sqrt() + 1e-3), new_m, new_v])


def test_nesterovs_adam_looks_one_gradient_ahead() -> None:
    var, m, v, g = torch.randn(4), torch.randn(4), torch.rand(4), torch.randn(4)
    state = [var.clone(), m.clone(), v.clone()]
    run("npu_apply_adam.out", 0.81, 0.998, 0.1, 0.9, 0.999, 1e-3, g, False, True, out=state)
    new_m, new_v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
    rate = 0.1 * (1 - 0.998) ** 0.5 / (1 - 0.81)
    ahead = 0.9 * new_m + 0.1 * g
    torch.testing.assert_close(state[0], var - rate * ahead / (new_v.sqrt() + 1e-3))


@pytest.mark.parametrize(("longest", "factor"), [(-1.0, 1.0), (2.0, 0.5)])
def test_berts_adam_clips_and_does_not_correct_its_moments(longest: float, factor: float) -> None:
    var, m, v, g = torch.randn(4), torch.randn(4), torch.rand(4), torch.randn(4)
    state = [var.clone(), m.clone(), v.clone()]
    run("npu_bert_apply_adam.out", 0.1, 0.9, 0.99, 1e-6, g, longest, 4.0, 0.3, out=state)
    clipped = g * factor
    new_m, new_v = 0.9 * m + 0.1 * clipped, 0.99 * v + 0.01 * clipped**2
    update = new_m / (new_v.sqrt() + 1e-6) + 0.3 * var
    torch.testing.assert_close(state, [var - 0.1 * update, new_m, new_v])


def test_a_step_without_out_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="out="):
        run("npu_apply_adam", 0.9, 0.9, 0.1, 0.9, 0.9, 1e-8, torch.zeros(1), False, False)
