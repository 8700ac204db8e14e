"""Layers, rotary embeddings, optimizers and the loss of Transformer Engine, on any chip.

They are Transformer Engine's own where it is installed, and the same formulas in PyTorch elsewhere:
without FP8, and without what spreads one layer over several chips.

Names of parameters, defaults and results are those of Transformer Engine 2. Written by
`cordee port`; it needs nothing of Cordée but the modules beside it.
"""

import importlib
import importlib.util
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

VENDOR = "transformer_engine"
PLACES = {  # where Transformer Engine has each; places differ by version
    "LayerNorm": ("pytorch",),
    "RMSNorm": ("pytorch",),
    "Linear": ("pytorch",),
    "RotaryPositionEmbedding": ("pytorch.attention", "pytorch.dot_product_attention.rope"),
    "apply_rotary_pos_emb": (
        "pytorch.attention.rope", "pytorch.dot_product_attention.rope", "pytorch.attention",
    ),
    "FusedAdam": ("pytorch.optimizers",),
    "FusedSGD": ("pytorch.optimizers",),
    "parallel_cross_entropy": ("pytorch", "pytorch.cross_entropy"),
}  # fmt: skip


def _beside(module: str) -> Any:
    return importlib.import_module(f"{__package__}.{module}" if __package__ else module)


class _Layer(nn.Module):
    """Saves what Transformer Engine's layers do beside their parameters: of FP8, here nothing."""

    def get_extra_state(self) -> Tensor:
        return torch.empty(0, dtype=torch.uint8)

    def set_extra_state(self, state: Any) -> None:
        return None

    def _placed(self, name: str) -> nn.Parameter:
        """A parameter, put onto a chip if it was made on none."""
        parameter: nn.Parameter = getattr(self, name)
        if parameter.device.type == "meta":
            parameter = nn.Parameter(torch.empty_like(parameter, device=_chip()))
            setattr(self, name, parameter)
        return parameter


class _Norm(_Layer):
    def __init__(
        self,
        normalized_shape: int | Iterable[int] | None = None,
        eps: float = 1e-5,
        sequence_parallel: bool | None = None,
        params_dtype: torch.dtype | None = None,
        zero_centered_gamma: bool = False,
        hidden_size: int | None = None,
        device: Any = None,
        dtype: torch.dtype | None = None,
        sm_margin: Any = 0,
    ) -> None:
        super().__init__()
        size = hidden_size if normalized_shape is None else normalized_shape
        if size is None:
            raise RuntimeError("normalized_shape is needed")
        shape = (size,) if isinstance(size, int) else tuple(size)
        self.eps = eps
        self.zero_centered_gamma = zero_centered_gamma
        self.sequence_parallel = sequence_parallel
        made: dict[str, Any] = {"device": _chip() if device is None else device}
        made["dtype"] = dtype or params_dtype
        for name in self._names:
            self.register_parameter(name, nn.Parameter(torch.empty(shape, **made)))
        if self.weight.device.type != "meta":
            self.reset_parameters()

    _names: tuple[str, ...] = ("weight",)
    weight: nn.Parameter

    def reset_parameters(self, defer_init: bool | None = None) -> None:
        if defer_init:
            return
        for name in self._names:
            ones = name == "weight" and not self.zero_centered_gamma
            nn.init.constant_(self._placed(name), 1.0 if ones else 0.0)
        if self.sequence_parallel is not None:
            for parameter in self.parameters():
                parameter.sequence_parallel = self.sequence_parallel  # type: ignore[attr-defined]

    def _scale(self) -> Tensor:
        return self.weight.float() + 1.0 if self.zero_centered_gamma else self.weight.float()

    def _dtype(self, x: Tensor) -> torch.dtype:
        """That of the result: autocast's, or the weight's."""
        kind = x.device.type
        cast = torch.is_autocast_enabled(kind)
        return torch.get_autocast_dtype(kind) if cast else self.weight.dtype


class LayerNorm(_Norm):
    bias: nn.Parameter
    _names = ("weight", "bias")

    def forward(self, input: Tensor) -> Tensor:
        dtype = self._dtype(input)
        wide, shape = input.to(dtype).float(), self.weight.shape
        return F.layer_norm(wide, shape, self._scale(), self.bias.float(), self.eps).to(dtype)


class RMSNorm(_Norm):
    def forward(self, input: Tensor) -> Tensor:
        dtype, shape = self._dtype(input), self.weight.shape
        x = input.to(dtype)
        if x.device.type == "npu" and len(shape) == 1 and not self.zero_centered_gamma:
            import torch_npu

            fused: Tensor = torch_npu.npu_rms_norm(x, self.weight.to(dtype), epsilon=self.eps)[0]
            return fused
        wide, axes = x.float(), tuple(range(-len(shape), 0))
        root = torch.rsqrt(wide.square().mean(axes, keepdim=True) + self.eps)
        return (wide * root * self._scale()).to(dtype)


class Linear(_Layer):
    weight: nn.Parameter
    bias: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        sequence_parallel: bool = False,
        fuse_wgrad_accumulation: bool = False,
        tp_group: Any = None,
        tp_size: int = 1,
        get_rng_state_tracker: Callable[[], Any] | None = None,
        rng_tracker_name: str | None = None,
        init_method: Callable[[Tensor], Any] | None = None,
        bias: bool = True,
        return_bias: bool = False,
        params_dtype: torch.dtype | None = None,
        parallel_mode: str | None = None,
        parameters_split: Any = None,
        device: Any = None,
        name: str | None = None,
        **other: Any,  # how work overlaps with messages
    ) -> None:
        super().__init__()
        ranks = tp_size if tp_group is None else torch.distributed.get_world_size(tp_group)
        if ranks > 1 or parameters_split or fuse_wgrad_accumulation or any(other.values()):
            raise NotImplementedError("only Transformer Engine itself splits or fuses a Linear")
        self.in_features, self.out_features = in_features, out_features
        self.use_bias, self.return_bias = bias, return_bias
        self._init = init_method or (lambda weight: nn.init.normal_(weight, 0.0, 0.023))
        self._tracker, self._tracked = get_rng_state_tracker, rng_tracker_name
        made: dict[str, Any] = {"device": _chip() if device is None else device}
        made["dtype"] = params_dtype
        self.weight = nn.Parameter(torch.empty(out_features, in_features, **made))
        if bias:
            self.bias = nn.Parameter(torch.empty(out_features, **made))
        else:
            self.bias = torch.empty(0, **made)
        if self.weight.device.type != "meta":
            self.reset_parameters()

    def reset_parameters(self, defer_init: bool = False) -> None:
        if defer_init:
            return
        named = () if self._tracked is None else (self._tracked,)
        with nullcontext() if self._tracker is None else self._tracker().fork(*named):
            self._init(self._placed("weight"))
        if self.use_bias:
            nn.init.zeros_(self._placed("bias"))

    def forward(
        self,
        inp: Tensor,
        is_first_microbatch: bool | None = None,
        fp8_output: bool = False,
        fp8_grad: bool = False,
    ) -> Any:
        adds = self.use_bias and not self.return_bias
        out = F.linear(inp, self.weight, self.bias if adds else None)
        return (out, self.bias.to(out.dtype)) if self.return_bias else out


class RotaryPositionEmbedding(nn.Module):
    inv_freq: Tensor

    def __init__(
        self,
        dim: int,
        rotary_percent: float = 1.0,
        seq_len_interpolation_factor: int | None = None,
        pretrained_max_position_embeddings: int | None = None,
        rotary_base: float = 10000.0,
        interleaved: bool = False,
    ) -> None:
        super().__init__()
        size = int(dim * rotary_percent) if rotary_percent < 1.0 else dim
        powers = torch.arange(0, size, 2, dtype=torch.float32, device=_chip()) / size
        self.register_buffer("inv_freq", 1.0 / rotary_base**powers)
        self.seq_len_interpolation_factor = seq_len_interpolation_factor
        self.pretrained_max_position_embeddings = pretrained_max_position_embeddings
        self.rotary_base = rotary_base
        self.interleaved = interleaved

    def forward(self, max_seq_len: int, offset: int = 0) -> Tensor:
        """The angles of each position: (positions, 1, 1, size)."""
        places = torch.arange(max_seq_len, device=self.inv_freq.device) + offset
        factor, length = self.seq_len_interpolation_factor, self.pretrained_max_position_embeddings
        shrunk = 1.0 if factor is None or not length else max(factor, max_seq_len / length)
        angles = (places.to(self.inv_freq.dtype) / shrunk)[:, None] * self.inv_freq
        both = angles.repeat_interleave(2, -1) if self.interleaved else angles.repeat(1, 2)
        return both[:, None, None]


def apply_rotary_pos_emb(
    t: Tensor,
    freqs: Tensor,
    tensor_format: str = "sbhd",
    start_positions: Tensor | None = None,
    interleaved: bool = False,
    fused: bool = False,
    cu_seqlens: Tensor | None = None,
    cp_size: int = 1,
    cp_rank: int = 0,
) -> Tensor:
    if isinstance(start_positions, bool):
        raise TypeError("give fused, cu_seqlens, cp_size and cp_rank by their names")
    if tensor_format == "thd":
        if cu_seqlens is None:
            raise ValueError("cu_seqlens is needed for the format thd")
        ends = cu_seqlens.long() // cp_size
        sizes = ends.diff()
        firsts, lengths = (torch.repeat_interleave(x, sizes) for x in (ends[:-1], sizes))
        places = _places(
            torch.arange(t.shape[0], device=t.device) - firsts, lengths, cp_size, cp_rank
        )
        if start_positions is not None:
            places = places + torch.repeat_interleave(start_positions.long(), sizes)
        return _turned(t, freqs[places, 0], interleaved, fused)
    if tensor_format not in ("sbhd", "bshd"):
        raise ValueError(f"{tensor_format} is none of sbhd, bshd and thd")
    length = t.shape[0 if tensor_format == "sbhd" else 1]
    places = _places(torch.arange(length, device=t.device), length, cp_size, cp_rank)
    angles = freqs[places]
    if start_positions is not None:
        angles = freqs[places[:, None] + start_positions.long(), 0]
    turned = angles if tensor_format == "sbhd" else angles.transpose(0, 1)
    return _turned(t, turned, interleaved, fused)


class FusedAdam(_beside("ascend_apex").FusedAdam):  # type: ignore[misc]
    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        bias_correction: bool = True,
        adam_w_mode: bool = True,
        set_grad_none: bool | None = None,
        **other: Any,  # of master weights, other dtypes of states, and graphs
    ) -> None:
        if amsgrad or any(value not in (False, torch.float32) for value in other.values()):
            raise RuntimeError(
                "this needs Transformer Engine's own FusedAdam: states are in 32 bits"
            )
        super().__init__(
            params, lr, bias_correction, betas, eps, adam_w_mode, weight_decay,
            set_grad_none=set_grad_none is not False,
        )  # fmt: skip


class FusedSGD(torch.optim.SGD):
    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        wd_after_momentum: bool = False,
        materialize_master_grads: bool = True,
        set_grad_none: bool | None = None,
    ) -> None:
        if wd_after_momentum:
            raise RuntimeError("wd_after_momentum needs Transformer Engine's own FusedSGD")
        super().__init__(params, lr, momentum, dampening, weight_decay, nesterov)


def parallel_cross_entropy(
    inp: Tensor,
    target: Tensor,
    label_smoothing: float = 0.0,
    reduce_loss: bool = False,
    dist_process_group: Any = None,
    ignore_idx: int = -100,
    is_cg_capturable: bool = False,
) -> Tensor:
    losses, _ = _beside("ascend_layers").cross_entropy_loss(
        inp.flatten(0, -2), target.flatten(), None, label_smoothing,
        ignore_index=ignore_idx, process_group=dist_process_group,
    )  # fmt: skip
    if reduce_loss:
        counted: Tensor = losses.sum() / (target != ignore_idx).sum().clamp(min=1)
        return counted
    each: Tensor = losses.view(inp.shape[:-1])
    return each


def _places(steps: Tensor, length: Any, cp_size: int, cp_rank: int) -> Tensor:
    """Positions in the whole sequence, of which each rank has one piece of either half."""
    if cp_size == 1:
        return steps
    half = length // 2
    behind = length * cp_size - (cp_rank + 2) * half
    return torch.where(steps < half, steps + cp_rank * half, steps + behind)


def _turned(t: Tensor, angles: Tensor, interleaved: bool, fused: bool) -> Tensor:
    """The fused kernel multiplies in single precision, the other in that of `t`."""
    part, rest = t[..., : angles.shape[-1]], t[..., angles.shape[-1] :]
    x = part.float() if fused else part
    cos, sin = angles.float().cos().to(x.dtype), angles.float().sin().to(x.dtype)
    if interleaved:
        rotated = torch.stack((-x[..., 1::2], x[..., ::2]), -1).flatten(-2)
    else:
        first, second = x.chunk(2, -1)
        rotated = torch.cat((-second, first), -1)
    return torch.cat(((x * cos + rotated * sin).to(t.dtype), rest), -1)


def _chip() -> torch.device:
    """Where Transformer Engine puts parameters unless it is told: on the machine's accelerator."""
    if torch.accelerator.is_available():
        return torch.device(torch.accelerator.current_accelerator().type)  # type: ignore[union-attr]
    return torch.device("cpu")


def _with_vendor() -> None:
    """Take what is Transformer Engine's own."""
    for name, places in PLACES.items():
        for place in places:
            if importlib.util.find_spec(f"{VENDOR}.{place}") is None:
                continue
            found = getattr(importlib.import_module(f"{VENDOR}.{place}"), name, None)
            if found is not None:
                globals()[name] = found
                break


# What MindSpeed registers under the name on Ascend is empty.
if not hasattr(torch, "npu") and importlib.util.find_spec(VENDOR) is not None:
    _with_vendor()
