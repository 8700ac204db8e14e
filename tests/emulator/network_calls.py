"""Calls of convolutions, products, losses, attention: see operator_calls.py."""

import torch
from operator_arguments import bools, out, real, same, whole

_HALF = torch.float16

IMAGE = real(1, 2, 5, 6)
VOLUME = real(1, 2, 4, 5, 6)
KERNEL = real(3, 2, 3, 3)

CONVOLUTIONS = {
    **same(
        "_convolution",
        *(IMAGE, KERNEL, real(3), [1, 1], [0, 0], [1, 1], False, [0, 0], 1),
        *(False, False, False, False),
    ),
    **same("_conv_depthwise2d", IMAGE, real(2, 1, 3, 3), [3, 3], real(2), [1, 1], [0, 0], [1, 1]),
    **same(
        "_conv_depthwise2d.out",
        IMAGE,
        real(2, 1, 3, 3),
        [3, 3],
        real(2),
        [1, 1],
        [0, 0],
        [1, 1],
        out=out(0),
    ),
    **same("_nnpack_spatial_convolution", IMAGE, KERNEL, real(3), [1, 1]),
    **same("_slow_conv2d_forward", IMAGE, KERNEL, [3, 3], real(3), [1, 1], [0, 0]),
    **same(
        "_slow_conv2d_forward.output", IMAGE, KERNEL, [3, 3], real(3), [1, 1], [0, 0], output=out(0)
    ),
    **same(
        "_slow_conv2d_backward.output_mask",
        *(real(1, 3, 3, 4), IMAGE, KERNEL, [3, 3], [1, 1], [0, 0], [True, True, True]),
    ),
    **same("slow_conv_dilated2d", IMAGE, KERNEL, [3, 3], real(3)),
    **same("slow_conv_transpose2d", IMAGE, real(2, 3, 3, 3), [3, 3], real(3)),
    **same("slow_conv_transpose2d.out", IMAGE, real(2, 3, 3, 3), [3, 3], real(3), out=out(0)),
    **same(
        "slow_conv3d_forward", VOLUME, real(3, 2, 3, 3, 3), [3, 3, 3], real(3), [1, 1, 1], [0, 0, 0]
    ),
    **same(
        "slow_conv3d_forward.output",
        VOLUME,
        real(3, 2, 3, 3, 3),
        [3, 3, 3],
        None,
        [1, 1, 1],
        [0, 0, 0],
        output=out(0),
    ),
    **same("conv_tbc", real(6, 2, 3), real(3, 3, 4), real(4)),
    **same("conv_tbc_backward", real(4, 2, 4), real(6, 2, 3), real(3, 3, 4), real(4), 0),
    **same("_weight_norm", real(3, 4), real(3, 1)),
}

IMAGES = {
    **same("adaptive_avg_pool2d", IMAGE, [2, 3]),
    **same("affine_grid_generator", real(1, 2, 3), [1, 2, 4, 5], False),
    **same("affine_grid_generator_backward", real(1, 4, 5, 2), [1, 2, 4, 5], False),
    **same("_upsample_bicubic2d_aa", IMAGE, [3, 4], False),
    **same("_upsample_bicubic2d_aa.out", IMAGE, [3, 4], False, out=out(0)),
    **same("_upsample_bicubic2d_aa_backward", real(1, 2, 3, 4), [3, 4], [1, 2, 5, 6], False),
    **same(
        "_upsample_bicubic2d_aa_backward.grad_input",
        *(real(1, 2, 3, 4), [3, 4], [1, 2, 5, 6], False),
        grad_input=out(0),
    ),
    **same("_upsample_bilinear2d_aa.out", IMAGE, [3, 4], False, out=out(0)),
    **same(
        "_upsample_bilinear2d_aa_backward.grad_input",
        *(real(1, 2, 3, 4), [3, 4], [1, 2, 5, 6], False),
        grad_input=out(0),
    ),
    **same("adaptive_avg_pool3d.out", VOLUME, [2, 3, 3], out=out(0)),
    **same(
        "adaptive_avg_pool3d_backward.grad_input", real(1, 2, 2, 3, 3), VOLUME, grad_input=out(0)
    ),
    **same("upsample_nearest3d _upsample_nearest_exact3d", VOLUME, [3, 8, 4]),
    **same(
        "upsample_nearest3d_backward _upsample_nearest_exact3d_backward",
        *(real(1, 2, 3, 8, 4), [3, 8, 4], [1, 2, 4, 5, 6]),
    ),
    **same("reflection_pad3d replication_pad3d", VOLUME, [1, 1, 2, 1, 0, 1]),
    **same(
        "reflection_pad3d_backward replication_pad3d_backward",
        *(real(1, 2, 5, 8, 8), VOLUME, [1, 1, 2, 1, 0, 1]),
    ),
}

PRODUCTS = {
    **same("mm.dtype", real(3, 4, dtype=_HALF), real(4, 5, dtype=_HALF), torch.float32),
    **same(
        "mm.dtype_out",
        real(3, 4, dtype=_HALF),
        real(4, 5, dtype=_HALF),
        torch.float32,
        out=out(3, 5),
    ),
    **same("bmm.dtype", real(2, 3, 4, dtype=_HALF), real(2, 4, 5, dtype=_HALF), torch.float32),
    **same(
        "bmm.dtype_out",
        *(real(2, 3, 4, dtype=_HALF), real(2, 4, 5, dtype=_HALF), torch.float32),
        out=out(2, 3, 5),
    ),
    **same(
        "addmm.dtype", real(3, 5), real(3, 4, dtype=_HALF), real(4, 5, dtype=_HALF), torch.float32
    ),
    **same(
        "addmm.dtype_out",
        *(real(3, 5), real(3, 4, dtype=_HALF), real(4, 5, dtype=_HALF), torch.float32),
        out=out(3, 5),
    ),
    **same(
        "baddbmm.dtype",
        *(real(2, 3, 5), real(2, 3, 4, dtype=_HALF), real(2, 4, 5, dtype=_HALF), torch.float32),
    ),
    **same(
        "baddbmm.dtype_out",
        *(real(2, 3, 5), real(2, 3, 4, dtype=_HALF), real(2, 4, 5, dtype=_HALF), torch.float32),
        out=out(2, 3, 5),
    ),
    **same("matmul_backward", real(2, 4), real(2, 3), real(3, 4), [True, True]),
    **same("_addmm_activation.out", real(3, 5), real(3, 4), real(4, 5), out=out(3, 5)),
    **same("cdist", real(3, 4), real(5, 4)),
    **same("pdist", real(4, 3)),
    **same("linalg_cholesky", 4 * torch.eye(3)),
    **same("linalg_cholesky.out", 4 * torch.eye(3), out=out(0)),
    **same("inverse slogdet", real(3, 3)),
    **same("inverse.out", real(3, 3), out=out(0)),
    **same(
        "_scaled_mm",
        real(16, 32, dtype=torch.float8_e4m3fn),
        real(16, 32, dtype=torch.float8_e4m3fn).t(),
        *(torch.tensor(0.5), torch.tensor(2.0)),
        out_dtype=torch.bfloat16,
    ),
    **same(
        "_scaled_mm_v2",
        real(16, 32, dtype=torch.float8_e4m3fn),
        real(16, 32, dtype=torch.float8_e4m3fn).t(),
        *([torch.tensor(0.5)], [0], [0], [torch.tensor(2.0)], [0], [0], None, torch.bfloat16),
    ),
    **same(
        "_scaled_grouped_mm",
        real(16, 32, dtype=torch.float8_e4m3fn),
        real(2, 16, 32, dtype=torch.float8_e4m3fn).transpose(1, 2),
        *(real(16).abs(), real(2, 16).abs()),
        offs=torch.tensor([8, 16], dtype=torch.int32),
        out_dtype=torch.bfloat16,
    ),
    **same(
        "_scaled_grouped_mm_v2",
        real(16, 32, dtype=torch.float8_e4m3fn),
        real(2, 16, 32, dtype=torch.float8_e4m3fn).transpose(1, 2),
        *([real(16).abs()], [1], [0], [real(2, 16).abs()], [1], [0]),
        offs=torch.tensor([8, 16], dtype=torch.int32),
        out_dtype=torch.bfloat16,
    ),
}

LOSSES = {
    **same("kl_div l1_loss", real(3, 4), real(3, 4)),
    **same(
        "soft_margin_loss_backward.grad_input",
        *(real(), real(3), torch.tensor([1.0, -1.0, 1.0]), 1),
        grad_input=out(0),
    ),
    **same("log_sigmoid", real(4)),
    **same("log_sigmoid.out", real(4), out=out(0)),
    **same("multilabel_margin_loss", real(2, 4), torch.tensor([[1, 3, -1, 0], [0, -1, 2, 1]])),
    **same(
        "multilabel_margin_loss.out",
        *(real(2, 4), torch.tensor([[1, 3, -1, 0], [0, -1, 2, 1]])),
        out=out(0),
    ),
    **same("nll_loss2d_forward", real(2, 3, 4, 4), whole(2, 4, 4, high=3), None, 1, -100),
    **same(
        "nll_loss2d_forward.output",
        *(real(2, 3, 4, 4), whole(2, 4, 4, high=3), None, 1, -100),
        output=out(0),
        total_weight=out(0),
    ),
    **same(
        "nll_loss2d_backward",
        *(real(), real(2, 3, 4, 4), whole(2, 4, 4, high=3), None, 1, -100, torch.tensor(32.0)),
    ),
    **same(
        "nll_loss2d_backward.grad_input",
        *(real(), real(2, 3, 4, 4), whole(2, 4, 4, high=3), None, 1, -100, torch.tensor(32.0)),
        grad_input=out(0),
    ),
    **same("stft", real(16), 8, window=torch.ones(8), onesided=True, return_complex=True),
    **same("embedding_renorm_", 5 * real(4, 3), torch.tensor([0, 2]), 1.0, 2.0),
    **same(
        "_embedding_bag_forward_only", real(5, 3), torch.tensor([0, 2, 4]), torch.tensor([0, 2])
    ),
    **same("_masked_softmax", real(2, 3, 4, 4), bools(2, 3, 4, 4), 3, 2),
}

BATCH = real(4, 3, 2)
MEAN, INVERSE_DEVIATION = real(3), real(3).abs()

STATISTICS = {
    **same("batch_norm_stats", BATCH, 1e-5),
    **same(
        "batch_norm_gather_stats_with_counts",
        *(BATCH, real(2, 3), real(2, 3).abs(), real(3), real(3).abs(), 0.1, 1e-5),
        torch.tensor([4.0, 4.0]),
    ),
    **same("batch_norm_elemt", BATCH, real(3), real(3), MEAN, INVERSE_DEVIATION, 1e-5),
    **same(
        "batch_norm_elemt.out",
        *(BATCH, real(3), real(3), MEAN, INVERSE_DEVIATION, 1e-5),
        out=out(4, 3, 2),
    ),
    **same(
        "batch_norm_backward_reduce",
        *(real(4, 3, 2), BATCH, MEAN, INVERSE_DEVIATION, real(3), True, True, True),
    ),
    **same(
        "batch_norm_backward_elemt",
        *(real(4, 3, 2), BATCH, MEAN, INVERSE_DEVIATION, real(3), real(3), real(3)),
        torch.tensor([8], dtype=torch.int32),
    ),
}

HEADS = [real(1, 2, 4, 8) for _ in range(3)]

ATTENTION = {
    **same("scaled_dot_product_attention _fused_sdp_choice", *HEADS),
    **same("_scaled_dot_product_flash_attention_for_cpu", *HEADS, 0.0, True),
    **same(
        "_scaled_dot_product_flash_attention_for_cpu_backward",
        *(real(1, 2, 4, 8), *HEADS),
        *torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(*HEADS, 0.0, True),
        *(0.0, True),
    ),
    **same("_transform_bias_rescale_qkv", real(2, 3, 24), real(24), 2),
    **same(
        "_native_multi_head_attention",
        *([real(2, 3, 8)] * 3),
        *(8, 2, real(24, 8), real(24), real(8, 8), real(8)),
    ),
}

LSTM = [real(12, 4), real(12, 3), real(12), real(12)]
GRU = [real(9, 4), real(9, 3), real(9), real(9)]

RECURRENT = {
    **same(
        "lstm.input",
        *(real(5, 2, 4), [real(1, 2, 3), real(1, 2, 3)], LSTM),
        *(True, 1, 0.0, False, False, False),
    ),
    **same(
        "lstm.data",
        *(real(5, 4), torch.tensor([2, 2, 1]), [real(1, 2, 3), real(1, 2, 3)], LSTM),
        *(True, 1, 0.0, False, False),
    ),
    **same("lstm_cell", real(2, 4), [real(2, 3), real(2, 3)], *LSTM),
    **same("gru.input", real(5, 2, 4), real(1, 2, 3), GRU, True, 1, 0.0, False, False, False),
    **same("_thnn_fused_lstm_cell", real(2, 12), real(2, 12), real(2, 3), real(12), real(12)),
    **same(
        "_thnn_fused_lstm_cell_backward_impl",
        *(real(2, 3), real(2, 3), real(2, 3), real(2, 3), real(2, 12), True),
    ),
    **same("_pad_packed_sequence", real(5, 4), torch.tensor([2, 2, 1]), False, 0.0, 3),
}
