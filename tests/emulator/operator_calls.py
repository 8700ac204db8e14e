"""A call of each operator that no sample of PyTorch's database reaches."""

from typing import Any

import torch
from network_calls import (
    ATTENTION,
    CONVOLUTIONS,
    IMAGES,
    LOSSES,
    PRODUCTS,
    RECURRENT,
    STATISTICS,
)
from operator_arguments import Call, bools, out, real, reals, same, whole
from torch import Tensor

NUMBERS = {
    **same(
        "__lshift__.Scalar __rshift__.Scalar __ilshift__.Scalar __irshift__.Scalar", whole(3), 2
    ),
    **same("__ior__.Scalar bitwise_and.Scalar bitwise_or.Scalar bitwise_xor.Scalar", whole(3), 6),
    **same("bitwise_and_.Scalar bitwise_xor_.Scalar", whole(3), 6),
    **same("bitwise_left_shift.Tensor_Scalar bitwise_right_shift.Tensor_Scalar", whole(3), 2),
    **same("bitwise_left_shift_.Tensor_Scalar bitwise_right_shift_.Tensor_Scalar", whole(3), 2),
    **same("bitwise_left_shift.Scalar_Tensor bitwise_right_shift.Scalar_Tensor", 9, whole(3)),
    **same("__lshift__.Tensor __rshift__.Tensor", whole(3), whole(3)),
    **same("__ilshift__.Tensor __irshift__.Tensor", whole(3), whole(3)),
    **same("floor_divide.Scalar floor_divide_.Scalar fmod.Scalar fmod_.Scalar", real(3), 0.7),
    **same("remainder_.Scalar sub_.Scalar eq_.Scalar ne_.Scalar", real(3), 0.7),
    **same("ge_.Scalar gt_.Scalar le_.Scalar lt_.Scalar", real(3), 0.0),
    **same("remainder.Scalar_Tensor xlogy.Scalar_Self", 2.5, real(3).abs()),
    **same("xlogy.Scalar_Other xlogy_.Scalar_Other", real(3), 2.5),
    **same("div.Scalar_mode div_.Scalar_mode", real(3), 0.3, rounding_mode="floor"),
    **same("clamp_max clamp_max_", real(4), 0.1),
    **same("bucketize.Scalar", 2.5, torch.arange(5.0)),
    **same("searchsorted.Scalar", torch.arange(5.0), 2.5),
    **same("isin.Tensor_Scalar", whole(5), 3),
    **same("_add_relu.Tensor _add_relu_.Tensor", real(3), real(3), alpha=2),
    **same("_add_relu.out", real(3), real(3), alpha=2, out=out(3)),
    **same("relu_ hardswish_ hardtanh_", real(4)),
    **same("_masked_scale", real(4), whole(4, high=2).to(torch.uint8), 1.5),
    **same("lerp.Tensor_out", real(3), real(3), real(3), out=out(3)),
    **same("pow.Scalar_out", 2.0, real(3), out=out(3)),
    **same("bitwise_and.Scalar_out bitwise_or.Scalar_out", whole(3), 6, out=whole(3)),
    **same("bitwise_xor.Scalar_out", whole(3), 6, out=whole(3)),
    **same("bitwise_left_shift.Tensor_Scalar_out", whole(3), 2, out=whole(3)),
    **same("bitwise_right_shift.Tensor_Scalar_out", whole(3), 2, out=whole(3)),
    **same("eq.Scalar_out ge.Scalar_out gt.Scalar_out le.Scalar_out", real(3), 0.0, out=bools(3)),
    **same("lt.Scalar_out ne.Scalar_out", real(3), 0.0, out=bools(3)),
    **same("fmod.Scalar_out remainder.Scalar_out", real(3), 0.7, out=out(3)),
    **same("xlogy.OutScalar_Other", real(3), 2.5, out=out(3)),
    **same("xlogy.OutScalar_Self", 2.5, real(3).abs(), out=out(3)),
    **same("isin.Scalar_Tensor_out", 3, whole(5), out=bools()),
    **same("isin.Tensor_Scalar_out", whole(5), 3, out=bools(5)),
}

SHAPES = {
    **same("fft_fftshift fft_ifftshift", real(5)),
    **same("fill_diagonal_", real(3, 3), 2.0),
    **same("flatten_dense_tensors", reals(3)),
    **same("index_fill.int_Tensor", real(3, 4), 1, torch.tensor([0, 2]), torch.tensor(5.0)),
    **same("one_hot", whole(4), 6),
    **same("range range.step", 1, 7, device="cpu"),
    **same("range.out", 1, 7, 2, out=out(0)),
    **same("arange.out", 7, out=out(0)),
    **same("repeat_interleave.Tensor", torch.tensor([1, 0, 3])),
    **same("repeat_interleave.self_Tensor", real(3), torch.tensor([1, 0, 3])),
    **same("repeat_interleave.self_int", real(3), 2),
    **same("where", bools(3, 3)),
    **same("argsort", real(3, 4)),
    **same("argsort.stable", real(3, 4), stable=True),
    **same("median.dim", real(3, 5), 1),
    **same("median.dim_values", real(3, 5), 1, values=out(0), indices=whole(0)),
    **same("_aminmax", real(3, 4)),
    **same("_aminmax.dim", real(3, 4), 1),
    **same("_unique", whole(8), True, True),
    **same("count_nonzero.dim_IntList", whole(3, 4), [0, 1]),
    **same("prod.int_out", real(3, 4), 1, out=out(3)),
    **same("all.out any.out", bools(3, 4), 1, out=bools(3)),
    **same("norm.ScalarOpt_dtype", real(3, 4), 2, dtype=torch.float32),
    **same("norm.ScalarOpt_dim_dtype", real(3, 4), 2, [1], False, dtype=torch.float32),
    **same("norm.dtype_out", real(3, 4), 2, [1], False, dtype=torch.float32, out=out(3)),
    **same("norm.out", real(3, 4), 2, [1], out=out(3)),
    **same("max.out min.out", real(3, 4), real(3, 4), out=out(0)),
    **same("nanmean.out", torch.tensor([[1.0, torch.nan], [2.0, 4.0]]), [1], out=out(0)),
    **same("clamp.out", real(3, 4), -0.5, 0.5, out=out(0)),
    **same("clamp_max.out", real(3, 4), 0.5, out=out(0)),
    **same("contiguous", real(3, 4).t()),
    **same("_to_sparse", real(3, 4)),
    **same("_to_sparse.sparse_dim", real(3, 4), 1),
    **same("bartlett_window blackman_window hamming_window hann_window", 8, device="cpu"),
    **same("bartlett_window.periodic blackman_window.periodic", 8, False, device="cpu"),
    **same("hamming_window.periodic hann_window.periodic", 8, False, device="cpu"),
    **same("hamming_window.periodic_alpha", 8, False, 0.5, device="cpu"),
    **same("hamming_window.periodic_alpha_beta", 8, False, 0.5, 0.4, device="cpu"),
}

LISTS = {
    **same(
        "_foreach_add_.ScalarList _foreach_sub_.ScalarList _foreach_mul_.ScalarList "
        "_foreach_div_.ScalarList _foreach_clamp_max_.ScalarList _foreach_clamp_min_.ScalarList "
        "_foreach_maximum_.ScalarList _foreach_minimum_.ScalarList",
        reals(2),
        [0.5, 1.5],
    ),
    **same("_foreach_pow_.ScalarList", [x.abs() for x in reals(2)], [0.5, 1.5]),
    **same("_foreach_pow.ScalarAndTensor", 2.0, reals(2)),
    **same(
        "_foreach_addcdiv.Tensor _foreach_addcdiv_.Tensor "
        "_foreach_addcmul.Tensor _foreach_addcmul_.Tensor",
        reals(2),
        reals(2),
        [x.abs() + 1 for x in reals(2)],
        torch.tensor([0.5, 2.0]),
    ),
    **same(
        "_amp_foreach_non_finite_check_and_unscale_",
        [torch.tensor([1.0, torch.inf]), torch.ones(2)],
        out(1),
        torch.tensor([0.5]),
    ),
    **same(
        "_amp_update_scale_",
        torch.tensor([8.0]),
        torch.zeros(1, dtype=torch.int32),
        torch.tensor([1.0]),
        2.0,
        0.5,
        4,
    ),
}

ADAM: dict[str, Any] = {
    "beta1": 0.9,
    "beta2": 0.99,
    "weight_decay": 0.1,
    "eps": 1e-8,
    "amsgrad": True,
    "maximize": False,
}
SGD: dict[str, Any] = {
    "weight_decay": 0.1,
    "momentum": 0.9,
    "dampening": 0.0,
    "nesterov": True,
    "maximize": False,
    "is_first_step": False,
}


def moments(count: int) -> list[list[Tensor]]:
    return [[x.abs() for x in reals(2)] for _ in range(count)]


OPTIMIZERS = {
    **same(
        "_fused_adam_ _fused_adamw_",
        *(reals(2), reals(2), *moments(3), [torch.tensor(3.0), torch.tensor(3.0)]),
        lr=0.1,
        **ADAM,
    ),
    **same(
        "_fused_adam_.tensor_lr",
        *(reals(2), reals(2), *moments(3), [torch.tensor(3.0), torch.tensor(3.0)]),
        lr=torch.tensor(0.1),
        **ADAM,
    ),
    **same("_fused_sgd_", reals(2), reals(2), reals(2), lr=0.1, **SGD),
    **same("_fused_sgd_.tensor_lr", reals(2), reals(2), reals(2), lr=torch.tensor(0.1), **SGD),
}

CALLS: dict[str, Call] = {
    **NUMBERS,
    **SHAPES,
    **LISTS,
    **OPTIMIZERS,
    **CONVOLUTIONS,
    **IMAGES,
    **PRODUCTS,
    **LOSSES,
    **STATISTICS,
    **ATTENTION,
    **RECURRENT,
}

# Whose numbers follow from the generator of the chip.
RANDOM: dict[str, Call] = {
    **same("bernoulli.p", real(50), 0.4),
    **same("bernoulli_.Tensor", real(50), torch.full((50,), 0.4)),
    **same("normal.float_Tensor", 1.0, real(50).abs()),
    **same("normal.float_Tensor_out", 1.0, real(50).abs(), out=out(50)),
    **same("random_", real(50)),
    **same("random_.to", real(50), 100),
    **same("randperm", 50, device="cpu"),
    **same("randperm.generator", 50, generator=None, device="cpu"),
    **same("randperm.out", 50, out=whole(0)),
    **same("randperm.generator_out", 50, generator=None, out=whole(0)),
    **same("rrelu_with_noise.out", real(50), out(50), 0.1, 0.3, True, out=out(50)),
}
