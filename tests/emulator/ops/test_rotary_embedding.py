"""Rotary embeddings against rotations of pairs written as complex numbers."""

import pytest
import torch
from torch import Tensor

from cordee.emulator.ops import rotary as rotary
from cordee.emulator.ops.reference import REFERENCES


def run(name: str, *arguments: object, **options: object) -> object:
    return REFERENCES[f"npu::{name}"].function(*arguments, **options)


def angles(*shape: int) -> Tensor:
    return torch.rand(*shape, dtype=torch.float32) * 6.28


def turned(x: Tensor, angle: Tensor, mode: str) -> Tensor:
    """Each pair of `x` times exp(i * angle); `angle` has one entry per pair."""
    x, angle = x.double(), angle.double()
    if mode == "half":
        first, second = x.chunk(2, -1)
    else:
        first, second = x[..., ::2], x[..., 1::2]
    z = torch.complex(first, second) * torch.polar(torch.ones_like(angle), angle)
    parts = (z.real, z.imag)
    return torch.cat(parts, -1) if mode == "half" else torch.stack(parts, -1).flatten(-2)


def spread(angle: Tensor, mode: str) -> Tensor:
    return torch.cat((angle, angle), -1) if mode == "half" else angle.repeat_interleave(2, -1)


@pytest.mark.parametrize("mode", ["half", "interleave"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rotary_mul_turns_pairs(mode: str, dtype: torch.dtype) -> None:
    x, angle = torch.randn(2, 6, 3, 8).to(dtype), angles(1, 6, 1, 4)
    wide = spread(angle, mode)
    y = run("npu_rotary_mul", x, wide.cos().to(dtype), wide.sin().to(dtype), mode)
    assert isinstance(y, Tensor)
    assert y.dtype == dtype
    tolerance = {} if dtype == torch.float32 else {"atol": 0.03, "rtol": 0.03}
    torch.testing.assert_close(y, turned(x, angle, mode).to(dtype), **tolerance)


def test_a_rotation_matrix_stands_for_the_mode() -> None:
    x, cos, sin = torch.randn(2, 4, 1, 6), torch.rand(1, 4, 1, 6), torch.rand(1, 4, 1, 6)
    eye = torch.eye(3)
    matrix = torch.zeros(6, 6)
    matrix[:3, 3:], matrix[3:, :3] = eye, -eye
    torch.testing.assert_close(
        run("npu_rotary_mul", x, cos, sin, "half", matrix), run("npu_rotary_mul", x, cos, sin)
    )


def test_a_mode_the_device_lacks_is_refused_in_its_words() -> None:
    x = torch.rand(2, 2, 5, 8)
    with pytest.raises(RuntimeError, match="should be half or interleave, but got quarter"):
        run("npu_rotary_mul", x, x, x, "quarter")


@pytest.mark.parametrize("mode", ["half", "interleave"])
def test_rotary_mul_backward_is_the_derivative(mode: str) -> None:
    x = torch.randn(2, 6, 3, 8, requires_grad=True)
    cos = torch.rand(1, 6, 1, 8, requires_grad=True)
    sin = torch.rand(1, 6, 1, 8, requires_grad=True)
    if mode == "half":
        swapped = torch.cat((-x[..., 4:], x[..., :4]), -1)
    else:
        swapped = torch.stack((-x[..., 1::2], x[..., ::2]), -1).reshape(x.shape)
    dy = torch.randn_like(x)
    expected = torch.autograd.grad(x * cos + swapped * sin, (x, cos, sin), dy)
    found = run("npu_rotary_mul_backward", dy, x.detach(), cos.detach(), sin.detach(), mode)
    torch.testing.assert_close(found, expected)


def test_apply_rotary_pos_emb_also_turns_its_arguments() -> None:
    query, key = torch.randn(2, 4, 3, 64), torch.randn(2, 4, 1, 64)
    angle = angles(2, 4, 1, 32)
    wide = spread(angle, "half")
    expected = [turned(x, angle, "half").float() for x in (query, key)]
    q, k = run("npu_apply_rotary_pos_emb", query, key, wide.cos(), wide.sin())  # type: ignore[misc]
    torch.testing.assert_close([q, k], expected)
    torch.testing.assert_close([query, key], expected)


def test_apply_rotary_pos_emb_turns_back_the_gradient() -> None:
    query, key = torch.randn(2, 4, 3, 64), torch.randn(2, 4, 1, 64)
    angle = angles(2, 4, 1, 32)
    wide = spread(angle, "half")
    gradient = REFERENCES["npu::npu_apply_rotary_pos_emb"].gradient
    assert gradient is not None
    dq = torch.randn_like(query)
    found = gradient((query, key, wide.cos(), wide.sin(), "BSND", "half"), (), (dq, None))
    torch.testing.assert_close(found[0], turned(dq, -angle, "half").float())
    assert found[1:] == (None,) * 5


def test_interleave_rope_turns_neighbours_and_stores_them_apart() -> None:
    x, angle = torch.randn(2, 3, 4, 64).half(), angles(2, 1, 4, 32)
    wide = spread(angle, "half").half()
    y = run("npu_interleave_rope", x, wide.cos(), wide.sin())
    neighbours = turned(x, angle, "interleave")
    expected = torch.cat((neighbours[..., ::2], neighbours[..., 1::2]), -1)
    torch.testing.assert_close(y, expected.half(), atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("mode", ["half", "interleave"])
def test_mrope_without_sections_is_rope_by_position(mode: str) -> None:
    positions = torch.tensor([3, 0, 2])
    angle = angles(5, 4)
    query, key = torch.randn(3, 2 * 8), torch.randn(3, 8)
    cache = torch.cat((angle.cos(), angle.sin()), -1)
    q, k = run("npu_mrope", positions, query, key, cache, 8, rotary_mode=mode)  # type: ignore[misc]
    chosen = angle[positions].unsqueeze(1)
    torch.testing.assert_close(q, turned(query.view(3, 2, 8), chosen, mode).float().view(3, 16))
    torch.testing.assert_close(k, turned(key.view(3, 1, 8), chosen, mode).float().view(3, 8))


def test_mrope_takes_each_section_from_its_own_positions() -> None:
    positions = torch.tensor([[0, 1], [2, 3], [4, 0]])
    angle = angles(5, 6)
    query = torch.randn(2, 16)
    cache = torch.cat((angle.cos(), angle.sin()), -1)
    options = {"mrope_section": [1, 2, 3], "rotary_mode": "half"}
    q, _ = run("npu_mrope", positions, query, query, cache, 16, **options)  # type: ignore[misc]
    rows = [0, 1, 1, 2, 2, 2]
    chosen = torch.stack([angle[positions[row], column] for column, row in enumerate(rows)], -1)
    heads = query.view(2, 1, 16)
    torch.testing.assert_close(
        q.view(2, 1, 16)[..., :12], turned(heads[..., :12], chosen.unsqueeze(1), "half").float()
    )
    torch.testing.assert_close(q.view(2, 1, 16)[..., 12:], heads[..., 12:])


def test_mrope_names_a_cache_mode_it_does_not_know() -> None:
    with pytest.raises(RuntimeError, match="cache_mode only support default or interleave"):
        run(
            "npu_mrope",
            torch.arange(2),
            torch.randn(2, 8),
            torch.randn(2, 8),
            torch.randn(2, 8),
            8,
            cache_mode="other",
        )
