"""Grouped matrix products against one product for each group."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops import grouped_matmul as grouped_matmul
from cordee.emulator.ops.formats import pack_int4
from cordee.emulator.ops.reference import REFERENCES


def run(name: str, *arguments: object, **options: object) -> list[Tensor]:
    found = REFERENCES[f"npu::{name}"].function(*arguments, **options)
    return [found] if isinstance(found, Tensor) else list(found)


def bytes_of(*shape: int) -> Tensor:
    return torch.randint(-128, 128, shape, dtype=torch.int8)


COUNTS = [3, 0, 5]
PARTS = [slice(0, 3), slice(3, 3), slice(3, 8)]


def group_list(kind: int) -> Tensor:
    if kind == 0:
        return torch.tensor(COUNTS).cumsum(0)
    if kind == 1:
        return torch.tensor(COUNTS)
    return torch.tensor([[0, 3], [1, 0], [2, 5]])


@pytest.mark.parametrize("kind", [0, 1, 2])
@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_meet_the_weight_of_their_group(kind: int, single: bool, dtype: torch.dtype) -> None:
    x, weight, bias = torch.randn(8, 6).to(dtype), torch.randn(3, 6, 4).to(dtype), torch.randn(3, 4)
    (found,) = run(
        "npu_grouped_matmul",
        [x],
        [weight] if single else list(weight),
        bias=[bias] if single else list(bias),
        group_list=group_list(kind),
        split_item=3,
        group_type=0,
        group_list_type=kind,
    )
    expected = [
        x[part].double() @ w.double() + b for part, w, b in zip(PARTS, weight, bias, strict=True)
    ]
    torch.testing.assert_close(found, torch.cat(expected).to(dtype))


def test_pairs_in_group_list_name_the_weight() -> None:
    x, weight = torch.randn(4, 2), torch.randn(3, 2, 2)
    (found,) = run(
        "npu_grouped_matmul",
        [x],
        [weight],
        group_list=torch.tensor([[2, 1], [0, 3]]),
        split_item=3,
        group_type=0,
        group_list_type=2,
    )
    torch.testing.assert_close(found, torch.cat((x[:1] @ weight[2], x[1:] @ weight[0])))


def test_several_tensors_are_multiplied_pair_by_pair() -> None:
    x = [torch.randn(2, 3, 4), torch.randn(5, 3, 6)]
    weight = [torch.randn(4, 7), torch.randn(6, 2)]
    found = run("npu_grouped_matmul", x, weight, split_item=0, group_type=-1)
    torch.testing.assert_close(found, [a @ b for a, b in zip(x, weight, strict=True)])


def test_several_tensors_can_be_joined_in_one() -> None:
    x, weight = [torch.randn(2, 4), torch.randn(5, 6)], [torch.randn(4, 3), torch.randn(6, 3)]
    (found,) = run("npu_grouped_matmul", x, weight, split_item=2, group_type=0)
    torch.testing.assert_close(found, torch.cat([a @ b for a, b in zip(x, weight, strict=True)]))


def test_the_inner_axis_can_be_grouped() -> None:
    x, weight = torch.randn(8, 5).T, torch.randn(8, 4)
    (found,) = run(
        "npu_grouped_matmul", [x], [weight], group_list=group_list(0), split_item=3, group_type=2
    )
    torch.testing.assert_close(found, torch.stack([x[:, p] @ weight[p] for p in PARTS]))


def test_rows_after_the_last_group_are_left_alone() -> None:
    (found,) = run(
        "npu_grouped_matmul",
        [torch.randn(6, 2)],
        [torch.randn(1, 2, 3)],
        group_list=torch.tensor([4]),
        split_item=3,
        group_type=0,
    )
    assert found.shape == (6, 3)


def test_group_ends_can_be_numbers() -> None:
    x, weight = torch.randn(8, 6), torch.randn(3, 6, 4)
    found = run("npu_grouped_matmul.List", [x], list(weight), group_list=[3, 3, 8], split_item=1)
    torch.testing.assert_close(found, [x[part] @ w for part, w in zip(PARTS, weight, strict=True)])
    (joined,) = run(
        "npu_grouped_matmul.List", [x], list(weight), group_list=[3, 3, 8], split_item=3
    )
    torch.testing.assert_close(joined, torch.cat(found))


def test_int8_products_are_exact_and_scaled_by_column_and_row() -> None:
    x, weight = bytes_of(8, 2000), bytes_of(3, 2000, 4)
    scale, per_token = torch.rand(3, 4) * 1e-4, torch.rand(8)
    bias = torch.randint(-1000, 1000, (3, 4), dtype=torch.int32)
    (found,) = run(
        "npu_grouped_matmul",
        [x],
        [weight],
        bias=[bias],
        scale=[scale],
        per_token_scale=[per_token],
        group_list=group_list(0),
        split_item=3,
        group_type=0,
        act_type=5,
        output_dtype=5,
    )
    whole = torch.cat(
        [x[p].long() @ w.long() + b for p, w, b in zip(PARTS, weight, bias, strict=True)]
    )
    columns = torch.cat([s.expand(n, 4) for s, n in zip(scale, COUNTS, strict=True)])
    expected = F.silu(whole.double() * columns * per_token.unsqueeze(1))
    torch.testing.assert_close(found, expected.half())


def test_a_64_bit_scale_carries_a_float_and_an_offset() -> None:
    x, weight = bytes_of(2, 4), bytes_of(1, 4, 3)
    scale = torch.tensor([0.001, 0.002, 0.5])
    bits = scale.view(torch.int32).long() & 0xFFFFFFFF | (1 << 46) | ((-3 & 0x1FF) << 37)
    (found,) = run(
        "npu_grouped_matmul",
        [x],
        [weight],
        scale=[bits.reshape(1, 3)],
        group_list=torch.tensor([2]),
        split_item=3,
        group_type=0,
    )
    expected = ((x.long() @ weight[0].long()) * scale).round() - 3
    assert found.tolist() == expected.clamp(-128, 127).to(torch.int8).tolist()


@pytest.mark.parametrize("blocks", [1, 2])
def test_weights_of_few_bits_are_scaled_back_before_the_product(blocks: int) -> None:
    x = torch.randn(8, 6).half()
    weight = torch.randint(-8, 8, (3, 6, 16), dtype=torch.int32)
    scale, offset = torch.rand(3, blocks, 16).half(), torch.randint(-2, 3, (3, blocks, 16)).half()
    (found,) = run(
        "npu_grouped_matmul",
        [x],
        [pack_int4(weight)],
        antiquant_scale=[scale if blocks > 1 else scale[:, 0]],
        antiquant_offset=[offset if blocks > 1 else offset[:, 0]],
        group_list=group_list(0),
        split_item=3,
        group_type=0,
    )
    rows = 6 // blocks
    plain = (weight + offset.repeat_interleave(rows, 1)) * scale.repeat_interleave(rows, 1)
    expected = torch.cat(
        [x[p].float() @ w.half().float() for p, w in zip(PARTS, plain, strict=True)]
    )
    torch.testing.assert_close(found, expected.half())


def test_a_missing_or_wrong_group_type_is_an_error() -> None:
    pair = [torch.randn(2, 2)], [torch.randn(2, 2)]
    with pytest.raises(RuntimeError, match="Requires manual passing group_type"):
        run("npu_grouped_matmul", *pair)
    with pytest.raises(RuntimeError, match="group type must be -1, 0 or 2, not 1"):
        run("npu_grouped_matmul", *pair, group_type=1)
    with pytest.raises(RuntimeError, match="neither x nor weight"):
        run("npu_grouped_matmul", [], [], group_type=-1)


def test_what_is_not_emulated_is_refused_by_name() -> None:
    pair = [torch.randn(2, 2)], [torch.randn(2, 2)]
    with pytest.raises(NotEmulated, match="npu_grouped_matmul: argument `x_dtype`"):
        run("npu_grouped_matmul", *pair, group_type=-1, x_dtype=296)
    with pytest.raises(NotEmulated, match="npu_add_quant_gmm"):
        run("npu_add_quant_gmm", *[torch.zeros(1)] * 5)


@pytest.mark.parametrize("name", ["npu_grouped_matmul_add", "npu_grouped_matmul_add_"])
def test_products_of_the_groups_can_be_added_in_place(name: str) -> None:
    x, weight, sums = torch.randn(8, 5).half(), torch.randn(8, 4).half(), torch.randn(15, 4)
    expected = sums.reshape(3, 5, 4) + torch.stack(
        [x[p].float().T @ weight[p].float() for p in PARTS]
    )
    (found,) = run(name, sums, x, weight, group_list(0))
    torch.testing.assert_close(found, expected.reshape(15, 4))
    torch.testing.assert_close(sums, found)


def swiglu_of_groups(x: Tensor, weight: Tensor, column: Tensor, row: Tensor) -> Tensor:
    parts = [
        (x[p].long() @ w.long()).double() * c * row[p].unsqueeze(1)
        for p, w, c in zip(PARTS, weight.long(), column, strict=True)
    ]
    act, gate = torch.cat(parts).chunk(2, -1)
    return F.silu(act) * gate


@pytest.mark.parametrize("blocked", [False, True])
def test_swiglu_of_groups_is_quantised_row_by_row(blocked: bool) -> None:
    x, weight = bytes_of(8, 32), bytes_of(3, 32, 64)
    column, row = torch.rand(3, 64) * 1e-2, torch.rand(8)
    # The blocked form of a weight is [experts, n / 32, k / 16, 16, 32].
    given = weight.reshape(3, 2, 16, 2, 32).permute(0, 3, 1, 2, 4) if blocked else weight
    out, scale, offset = run(
        "npu_grouped_matmul_swiglu_quant", x, given, group_list(0), column, row
    )
    expected = swiglu_of_groups(x, weight, column, row)
    torch.testing.assert_close(scale.double(), expected.abs().amax(-1) / 127, atol=1e-5, rtol=1e-5)
    error = (out.double() * scale.double().unsqueeze(1) - expected).abs().amax(-1)
    assert bool((error <= scale * 0.501 + 1e-5).all())
    assert offset.shape == ()


def test_swiglu_of_int4_weights_uses_the_assist_matrix() -> None:
    x, weight = bytes_of(8, 16), torch.randint(-8, 8, (3, 16, 16), dtype=torch.int32)
    scale, row = torch.rand(3, 2, 16) * 1e-2, torch.rand(8)
    full = weight * scale.repeat_interleave(8, 1)
    bits = scale.view(torch.int32).long() & 0xFFFFFFFF
    out, found = run(
        "npu_grouped_matmul_swiglu_quant_v2",
        x,
        [pack_int4(weight)],
        [bits],
        row,
        torch.tensor(COUNTS),
        weight_assist_matrix=[8 * full.sum(1)],
        group_list_type=1,
    )
    y = torch.cat([x[p].float() @ w for p, w in zip(PARTS, full, strict=True)]) * row.unsqueeze(1)
    act, gate = y.chunk(2, -1)
    expected = F.silu(act) * gate
    torch.testing.assert_close(found, expected.abs().amax(-1) / 127, rtol=1e-4, atol=1e-6)
    assert bool(((out * found.unsqueeze(1) - expected).abs() <= found.unsqueeze(1) * 0.51).all())


def test_products_can_be_weighed_and_added_up_by_token() -> None:
    x, weight = bytes_of(8, 32), bytes_of(3, 32, 64)
    scale, row = torch.rand(3, 64) * 1e-2, torch.rand(8)
    logit, token = torch.rand(8), torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])
    shared = torch.randn(2, 64).bfloat16()
    (found,) = run(
        "npu_grouped_matmul_finalize_routing",
        x,
        weight,
        torch.tensor(COUNTS),
        scale=scale,
        pertoken_scale=row,
        logit=logit,
        row_index=token,
        shared_input=shared,
        shared_input_weight=0.5,
        shared_input_offset=1,
        output_bs=4,
    )
    parts = [x[p].long() @ w.long() * s for p, w, s in zip(PARTS, weight, scale, strict=True)]
    y = torch.cat(parts) * row.unsqueeze(1) * logit.unsqueeze(1)
    expected = y[:4] + y[4:]
    expected[1:3] += 0.5 * shared.float()
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("mode", ["pertoken", "pertensor"])
def test_x_can_be_quantised_on_the_way(mode: str) -> None:
    x, weight, scale = torch.randn(8, 32).half(), bytes_of(3, 16, 32), torch.rand(3, 16) * 1e-2
    (found,) = run(
        "npu_quant_grouped_matmul_dequant", x, weight, scale, group_list(0), quant_mode=mode
    )
    expected = torch.cat(
        [x[p].float() @ w.float().T * s for p, w, s in zip(PARTS, weight, scale, strict=True)]
    )
    largest = (
        x.float().abs().amax(-1, keepdim=True) if mode == "pertoken" else x.float().abs().max()
    )
    step = largest / 127 / 2
    bound = torch.cat([weight[g].float().abs().sum(1) * scale[g] for g in (0, 0, 0, 2, 2, 2, 2, 2)])
    assert bool(((found - expected).abs() <= step * bound.reshape(8, 16) + 0.1).all())
