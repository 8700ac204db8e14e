"""Quantisation against PyTorch's quantisers and plain loops."""

import struct

import pytest
import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops import quantisation as quantisation
from cordee.emulator.ops.formats import format_named, format_of
from cordee.emulator.ops.reference import REFERENCES

QINT8, QUINT8, QINT32, QUINT4X2 = 12, 13, 14, 16


def run(name: str, *arguments: object, **options: object) -> tuple[Tensor, ...]:
    found = REFERENCES[f"npu::{name}"].function(*arguments, **options)
    return found if isinstance(found, tuple) else (found,)


def nibbles(packed: Tensor) -> list[int]:
    """The signed 4-bit numbers in the bytes of `packed`, low half first."""
    data = packed.contiguous().numpy().tobytes()
    found = [half for byte in data for half in (byte & 15, byte >> 4)]
    return [n - 16 if n > 7 else n for n in found]


@pytest.mark.parametrize("code", [(QINT8, -128, 127), (QUINT8, 0, 255)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_quantize_by_division_is_pytorchs_fake_quantisation(
    code: tuple[int, int, int], axis: int
) -> None:
    x, scales = torch.randn(4, 4, 4) * 20, torch.rand(4) + 0.1
    zeros = torch.randint(0, 10, (4,), dtype=torch.int32)
    faked = torch.fake_quantize_per_channel_affine(x, scales, zeros, axis, *code[1:])
    shape = [-1 if other == axis else 1 for other in range(3)]
    expected = torch.round(faked / scales.view(shape)) + zeros.view(shape)
    (found,) = run("npu_quantize", x, scales, zeros, code[0], axis)
    assert torch.equal(found.float(), expected)


def test_quantize_by_multiplication_rounds_half_to_even_and_saturates() -> None:
    x = torch.tensor([[0.5, 1.5, 2.5, 300.0, -300.0]])
    (found,) = run("npu_quantize", x, torch.ones(1), None, QINT8, -1, False)
    assert found.tolist() == [[0, 2, 2, 127, -128]]


def test_quantize_packs_eight_int4_into_an_int32() -> None:
    x = torch.tensor([[0.0, 1, -1, 7, -8, 9, -9, 3]])
    (found,) = run("npu_quantize", x, torch.ones(1), None, QUINT4X2, -1, False)
    assert (found.dtype, found.shape) == (torch.int32, (1, 1))
    assert nibbles(found) == [0, 1, -1, 7, -8, 7, -8, 3]


def test_dynamic_quant_of_rows_uses_the_largest_value() -> None:
    x = torch.randn(2, 5, 64).bfloat16()
    y, scale = run("npu_dynamic_quant", x)
    expected = x.float().abs().amax(-1) / 127
    torch.testing.assert_close(scale, expected)
    assert torch.equal(y, torch.round(x.float() / expected.unsqueeze(-1)).to(torch.int8))


def test_dynamic_quant_of_zeros_is_zeros() -> None:
    y, scale = run("npu_dynamic_quant", torch.zeros(2, 8).half())
    assert not y.any()
    assert not scale.any()


def test_dynamic_quant_to_int4_comes_packed() -> None:
    x = torch.randn(3, 16).half()
    y, scale = run("npu_dynamic_quant", x, dst_type=QUINT4X2)
    expected = torch.round(x.float() / (x.float().abs().amax(-1, keepdim=True) / 7))
    assert nibbles(y) == expected.flatten().int().tolist()
    assert scale.shape == (3,)


def test_each_group_of_rows_has_its_own_smoothing() -> None:
    x, smooth = torch.randn(6, 8).half(), torch.rand(3, 8).half()
    ends = torch.tensor([2, 2, 6], dtype=torch.int32)
    y, scale = run("npu_dynamic_quant", x, smooth_scales=smooth, group_index=ends)
    for row, group in enumerate([0, 0, 2, 2, 2, 2]):
        values = x[row].float() * smooth[group].float()
        assert scale[row].item() == pytest.approx(values.abs().max().item() / 127, rel=1e-6)
        assert torch.equal(y[row], torch.round(values / scale[row]).to(torch.int8))


@pytest.mark.parametrize(
    ("mode", "shape"), [("pertoken", (2, 5)), ("perchannel", (2, 8)), ("pertensor", (1,))]
)
def test_a_mode_says_which_values_share_a_scale(mode: str, shape: tuple[int, ...]) -> None:
    x = torch.randn(2, 5, 8).half()
    y, scale = run("npu_dynamic_quant", x, quant_mode=mode)
    assert scale.shape == shape
    spread = {"pertoken": scale.unsqueeze(-1), "perchannel": scale.unsqueeze(-2)}.get(mode, scale)
    torch.testing.assert_close(
        y.float() * spread, x.float(), atol=scale.max().item() / 2 * 1.01, rtol=0
    )


def test_an_asymmetric_row_spans_the_whole_range() -> None:
    x = (torch.randn(4, 64) + 3).half()
    y, scale, offset = run("npu_dynamic_quant_asymmetric", x)
    assert y.amax(-1).tolist() == [127] * 4
    assert (y.amin(-1).int() + 128).abs().max() <= 1
    restored = (y.float() - offset.unsqueeze(-1)) * scale.unsqueeze(-1)
    torch.testing.assert_close(restored, x.float(), atol=scale.max().item(), rtol=0)


def test_group_quant_scales_rows_by_group() -> None:
    x, scale = torch.randn(5, 8), torch.rand(3, 8) * 50
    ends, offset = torch.tensor([1, 4, 5]), torch.tensor([2.0])
    (found,) = run("npu_group_quant", x, scale, ends, offset=offset, dst_dtype=torch.qint8)
    for row, group in enumerate([0, 1, 1, 1, 2]):
        expected = torch.round(x[row] * scale[group] + 2).clamp(-128, 127)
        assert torch.equal(found[row].float(), expected)


def test_anti_quant_undoes_the_packing() -> None:
    whole = torch.randint(-8, 8, (3, 16))
    packed = format_named("int4").write(whole.float())
    scale, offset = torch.rand(16), torch.rand(16)
    (found,) = run("npu_anti_quant", packed, scale, offset=offset, dst_dtype=6)
    torch.testing.assert_close(found, (whole + offset) * scale)


def test_trans_quant_param_keeps_the_upper_bits_of_the_scale() -> None:
    scale, offset = torch.tensor([2.7182817, -0.1]), torch.tensor([-300.0, 3.5])
    found = run("npu_trans_quant_param", scale, offset)[0].tolist()
    for packed, value, whole in zip(found, scale.tolist(), (-256, 4), strict=True):
        bits = struct.unpack("<I", struct.pack("<f", value))[0]
        assert packed & 0xFFFFFFFF == bits >> 13 << 13
        assert packed >> 46 & 1 == 1
        assert packed >> 37 & 0x1FF == whole & 0x1FF


def test_trans_quant_param_stretches_a_single_scale_over_the_offsets() -> None:
    (found,) = run("npu_trans_quant_param", torch.rand(1), torch.rand(4))
    assert (found.shape, found.dtype) == ((4,), torch.int64)


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2"])
def test_an_8_bit_float_is_written_as_pytorch_writes_it(name: str) -> None:
    written = format_named(name)
    x = torch.randn(20000) * torch.logspace(-7, 6, 20000)
    expected = x.clamp(written.lowest, written.largest).to(written.storage)
    assert torch.equal(written.write(x).view(torch.uint8), expected.view(torch.uint8))


def test_a_4_bit_float_holds_eight_magnitudes() -> None:
    written = format_named("float4_e2m1")
    x = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    stored = written.write(torch.cat((x, -x)))
    assert stored.numel() == 8
    assert torch.equal(written.read(stored), torch.cat((x, -x)))


def test_an_unknown_dtype_code_is_named() -> None:
    with pytest.raises(NotEmulated, match="290"):
        format_of(290)
