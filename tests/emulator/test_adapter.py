"""Operators of the adapter's own, called as a program calls them, on the virtual chip."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing._internal.two_tensor import TwoTensor

pytestmark = pytest.mark.usefixtures("chip")

FRACTAL_NZ = 29


def offset() -> int:
    return int(torch.npu.default_generators[0].get_offset())


def attention(query: Tensor, keep_prob: float) -> tuple[object, ...]:
    import torch_npu

    found: tuple[object, ...] = torch_npu.npu_fusion_attention(
        query, query, query, 2, "BNSD", scale=0.5, keep_prob=keep_prob
    )
    return found


def test_attention_moves_the_generator_once_and_only_for_dropout() -> None:
    query = torch.randn(1, 2, 16, 8, device="npu", dtype=torch.float16)
    torch.npu.manual_seed(3)
    before = offset()

    attention(query, keep_prob=1.0)
    assert offset() == before

    given = attention(query, keep_prob=0.5)
    assert given[5] == before, "the offset that the backward needs is the one drawn"
    assert offset() == before + 12


def test_a_mask_of_dropout_follows_from_the_seed_of_the_chip() -> None:
    import torch_npu

    def mask() -> Tensor:
        torch.npu.manual_seed(5)
        drawn: Tensor = torch_npu.npu_dropout_gen_mask(
            [256], 0.5, dtype=torch.float32, device="npu"
        )
        return drawn.cpu()

    first = mask()
    torch.rand(3)  # numbers of the host have no part in it
    assert torch.equal(first, mask())


def test_a_gradient_passes_a_change_of_format() -> None:
    import torch_npu

    x = torch.randn(32, 32, device="npu", requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = torch_npu.npu_format_cast(x, FRACTAL_NZ)
        (3 * y).sum().backward()
    assert torch_npu.get_npu_format(y) == FRACTAL_NZ
    assert x.grad is not None
    assert torch.equal(x.grad.cpu(), torch.full((32, 32), 3.0))


def test_operators_of_transformer_boost_are_found_and_write_to_the_chip() -> None:
    import torch_npu

    key, value = torch.randn(3, 2, 8), torch.randn(3, 2, 8)
    caches = [torch.zeros(2, 4, 2, 8, device="npu") for _ in range(2)]
    slots = torch.tensor([5, 0, 3], dtype=torch.int32)

    torch_npu._npu_reshape_and_cache(key.npu(), value.npu(), *caches, slots.npu())

    for cache, tokens in zip(caches, (key, value), strict=True):
        assert torch.equal(cache.cpu().flatten(0, 1)[slots.long()], tokens)
    with pytest.raises(NotImplementedError, match="atb::npu_mla_preprocess is not emulated"):
        torch.ops.atb.npu_mla_preprocess(*[caches[0]] * 16)


def test_repetition_is_differentiated_as_the_adapter_does_it() -> None:
    x = torch.rand(4, 3, dtype=torch.float16)
    on_chip = x.npu().requires_grad_()
    y = torch.repeat_interleave(on_chip, torch.tensor(100, device="npu"), 1)
    grad = torch.rand(y.shape, dtype=torch.float16)
    y.backward(grad.npu())
    assert on_chip.grad is not None
    expected = grad.float().view(4, 3, 100).sum(-1).half()
    torch.testing.assert_close(on_chip.grad.cpu(), expected, rtol=0.001, atol=0)


@pytest.mark.parametrize("name", ["swiglu", "attention", "scaled_dot_product_attention"])
def test_a_gradient_reaches_tensors_that_stand_for_others(name: str) -> None:
    def run(x: Tensor) -> Tensor:
        if name == "swiglu":
            return torch.ops.npu.npu_swiglu(x)
        if name == "attention":
            return attention(x, keep_prob=1.0)[0]
        return F.scaled_dot_product_attention(x, x, x, is_causal=True)

    parts = [torch.randn(1, 2, 16, 8, device="npu") for _ in range(2)]
    both = TwoTensor(*parts).requires_grad_()

    run(both).pow(2).sum().backward()

    for part, found in zip(parts, (both.grad.a, both.grad.b), strict=True):
        part.requires_grad_()
        run(part).pow(2).sum().backward()
        torch.testing.assert_close(found.cpu(), part.grad.cpu(), rtol=1e-5, atol=1e-5)
