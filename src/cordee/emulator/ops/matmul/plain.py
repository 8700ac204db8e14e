"""Matrix products of floating-point operands, transposed, gathered or fused."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.contract import refuse
from cordee.emulator.ops.demands import require
from cordee.emulator.ops.formats import format_named
from cordee.emulator.ops.quantisation.scales import unpacked_quant_param
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of, page_of, test_of

chapter = Chapter(source=page_of("npu_linear", beta=True))


@chapter.reference("npu::npu_linear")
def npu_linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    shift = None if bias is None else bias.float()
    return F.linear(input.float(), weight.float(), shift).to(input.dtype)


@chapter.reference("npu::npu_linear_backward")
def npu_linear_backward(grad: Tensor, input: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    g = grad.float()
    return (g @ weight.float()).to(grad.dtype), (g.T @ input.float()).to(grad.dtype)


@chapter.reference("npu::npu_bmmV2", source=page_of("npu_bmmV2", beta=True))
def npu_bmmV2(input: Tensor, mat2: Tensor, output_sizes: Sequence[int]) -> Tensor:
    """Sums over the batch axes that `output_sizes`, unless empty, says are 1."""
    left = input.unsqueeze(0) if input.dim() == 1 else input
    right = mat2.unsqueeze(-1) if mat2.dim() == 1 else mat2
    return _batched(left, right, output_sizes).to(input.dtype)


@chapter.reference("npu::npu_bmm_v2_mat1_backward", source=code_of("aclops/BmmV2KernelNpu.cpp"))
def npu_bmm_v2_mat1_backward(
    grad: Tensor, mat1: Tensor, mat2: Tensor, size: Sequence[int]
) -> Tensor:
    return _batched(grad, mat2.mT, size).to(grad.dtype)


@chapter.reference("npu::npu_bmm_v2_mat2_backward", source=code_of("aclops/BmmV2KernelNpu.cpp"))
def npu_bmm_v2_mat2_backward(
    grad: Tensor, mat1: Tensor, mat2: Tensor, size: Sequence[int]
) -> Tensor:
    return _batched(mat1.mT, grad, size).to(grad.dtype)


@chapter.reference(
    "npu::matmul_double_backward", source=code_of("opapi/MatmulDoubleBackwardKernelNpuOpApi.cpp")
)
def matmul_double_backward(
    grad_self: Tensor | None,
    grad_other: Tensor | None,
    grad_out: Tensor,
    input: Tensor,
    other: Tensor,
    mask: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients for `grad_out`, `input` and `other` of what matmul's backward gives."""
    with torch.enable_grad():
        leaves = [t.detach().float().requires_grad_() for t in (grad_out, input, other)]
        g, a, b = leaves
        first = torch.autograd.grad(torch.matmul(a, b), (a, b), g, create_graph=True)
        pairs = [
            (y, v.float().reshape(y.shape))
            for y, v in zip(first, (grad_self, grad_other), strict=True)
            if v is not None
        ]
        if not pairs:
            return None, None, None
        found: tuple[Tensor | None, ...] = torch.autograd.grad(
            [y for y, _ in pairs], leaves, [v for _, v in pairs], allow_unused=True
        )
    dtypes = (grad_out.dtype, input.dtype, other.dtype)
    wanted: list[Tensor | None] = [
        t.to(dtype) if keep and t is not None else None
        for t, dtype, keep in zip(found, dtypes, mask, strict=True)
    ]
    return wanted[0], wanted[1], wanted[2]


@chapter.reference("npu::npu_transpose_batchmatmul", source=page_of("npu_transpose_batchmatmul"))
def npu_transpose_batchmatmul(
    input: Tensor,
    weight: Tensor,
    *,
    bias: Tensor | None = None,
    scale: Tensor | None = None,
    perm_x1: Sequence[int] | None = None,
    perm_x2: Sequence[int] | None = None,
    perm_y: Sequence[int] | None = None,
    batch_split_factor: int | None = 1,
) -> Tensor:
    """(m, batch, n) from permuted (batch, m, k) and (batch, k, n); int8 where a scale is given."""
    refuse("npu::npu_transpose_batchmatmul", bias=bias)
    allowed = {
        "perm_x1": (perm_x1 or [0, 1, 2], [[0, 1, 2], [1, 0, 2]]),
        "perm_x2": (perm_x2 or [0, 1, 2], [[0, 1, 2], [0, 2, 1]]),
        "perm_y": (perm_y or [1, 0, 2], [[1, 0, 2]]),
    }
    for name, (given, known) in allowed.items():
        choice = " or ".join(map(str, known))
        require(list(given) in known, f"{name} should be {choice}")
    floats = (torch.float16, torch.float32, torch.bfloat16)
    for name, tensor in {"input": input, "weight": weight}.items():
        require(
            tensor.dtype in floats,
            f"{name}'s type supported for float16, float32 and bfloat16, but now is {tensor.dtype}",
        )
    x1, x2 = input.permute(*allowed["perm_x1"][0]), weight.permute(*allowed["perm_x2"][0])
    y = (x1.float() @ x2.float()).transpose(0, 1)
    if scale is not None:
        flat = y.reshape(y.shape[0], 1, -1) * unpacked_quant_param(scale)[0]
        return format_named("int8").write(flat)
    split = batch_split_factor or 1
    if split > 1:
        y = y.reshape(y.shape[0], split, -1).transpose(0, 1)
    return y.contiguous().to(input.dtype)


@chapter.reference("npu::npu_fused_matmul", source=code_of("opapi/FusedMatmulKernelNpuOpApi.cpp"))
def npu_fused_matmul(
    x1: Tensor,
    x2: Tensor,
    *,
    bias: Tensor | None = None,
    x3: Tensor | None = None,
    fused_op_type: str = "",
) -> Tensor:
    y = x1.float() @ x2.float()
    if bias is not None:
        y = y + bias.float()
    # What is fused reads the product rounded (op-plugin test_npu_fused_matmul.py).
    y = y.to(x1.dtype).float()
    if fused_op_type in ("add", "mul"):
        require(x3 is not None, f"x3 is needed where {fused_op_type=}")
        assert x3 is not None
        y = y + x3.float() if fused_op_type == "add" else y * x3.float()
    elif fused_op_type in ("gelu_erf", "gelu_tanh"):
        y = F.gelu(y, approximate="tanh" if fused_op_type == "gelu_tanh" else "none")
    elif fused_op_type == "relu":
        y = F.relu(y)
    elif fused_op_type:
        raise NotEmulated(f"npu::npu_fused_matmul: fused_op_type={fused_op_type!r}")
    return y.to(x1.dtype)


@chapter.reference(
    "npu::npu_batch_gather_matmul_",
    source=test_of("test_custom_ops/test_npu_batch_gather_matmul.py"),
)
def npu_batch_gather_matmul_(
    input: Tensor,
    x: Tensor,
    weight_b: Tensor,
    indices: Tensor,
    weight_a: Tensor | None = None,
    layer_idx: int = 0,
    scale: float = 1e-3,
    y_offset: int = 0,
    y_slice_size: int = -1,
) -> Tensor:
    """Adds each row's low-rank update, chosen by `indices`, to a slice of its columns.

    `weight_a` is (n, layers, rank, h1) and `weight_b` (n, layers, h2, rank); index n adds nothing.
    """
    chosen = indices.long()
    used = (chosen >= 0) & (chosen < weight_b.shape[0])
    rows = x.float().unsqueeze(1)
    if weight_a is not None:
        rows = rows @ weight_a[chosen * used, layer_idx].float().mT
    update = (rows @ weight_b[chosen * used, layer_idx].float().mT).squeeze(1) * scale
    size = update.shape[-1] if y_slice_size < 0 else y_slice_size
    part = input[:, y_offset : y_offset + size]
    part.copy_(part.float() + (update * used.unsqueeze(-1))[:, :size])
    return input


chapter.pure(
    "npu::npu_batch_gather_matmul",
    npu_batch_gather_matmul_,
    "input",
    source=test_of("test_custom_ops/test_npu_batch_gather_matmul.py"),
)


def _batched(left: Tensor, right: Tensor, sizes: Sequence[int]) -> Tensor:
    """The float32 product, summed over batch axes to `sizes` unless that is empty."""
    y = left.float() @ right.float()
    return y.sum_to_size(*sizes) if sizes else y
