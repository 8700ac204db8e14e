"""Adam and its relatives, one step in place: npu_apply_adam, npu_apply_adam_w, npu_bert_apply_adam.

`out` holds the parameters, the first moment and the second, and all three are updated.
"""

import torch
from torch import Tensor

from cordee.emulator.ops.demands import require
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of

chapter = Chapter(source=code_of("opapi/ApplyAdamKernelNpuOpApi.cpp"))

State = tuple[Tensor, Tensor, Tensor]


@chapter.reference("npu::npu_apply_adam.out")
def apply_adam(
    beta1_power: float,
    beta2_power: float,
    lr: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    grad: Tensor,
    use_locking: bool | None,
    use_nesterov: bool | None,
    out: list[Tensor],
) -> State:
    """A step of Adam (arXiv:1412.6980, end of section 2), or of its Nesterov form."""
    var, m, v = (state.float() for state in out)
    g = grad.float()
    m, v = _moments(m, v, g, beta1, beta2)
    # Powers of beta that are 1 make the step 0 / 0, as on the chip.
    rate = lr * (1 - torch.tensor(beta2_power)).sqrt() / (1 - torch.tensor(beta1_power))
    direction = m * beta1 + (1 - beta1) * g if use_nesterov else m
    return _store(out, var - rate * direction / (v.sqrt() + epsilon), m, v)


@chapter.reference(
    "npu::npu_apply_adam_w.out", source=code_of("opapi/ApplyAdamWKernelNpuOpApi.cpp")
)
def apply_adam_w(
    beta1_power: float,
    beta2_power: float,
    lr: float,
    weight_decay: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    grad: Tensor,
    max_grad_norm: Tensor | None,
    amsgrad: bool | None,
    maximize: bool | None,
    out: list[Tensor],
) -> State:
    """A step of AdamW (arXiv:1711.05101, algorithm 2); the beta powers are those of the last step.

    With `amsgrad`, `max_grad_norm` holds the largest second moment so far and is updated too.
    """
    var, m, v = (state.float() for state in out)
    g = -grad.float() if maximize else grad.float()
    m, v = _moments(m, v, g, beta1, beta2)
    second = v
    if amsgrad:
        require(max_grad_norm is not None, "amsgrad needs max_grad_norm")
        assert max_grad_norm is not None
        second = torch.maximum(max_grad_norm.float(), v)
        max_grad_norm.copy_(second)
    correction1, correction2 = 1 - beta1_power * beta1, 1 - beta2_power * beta2
    step = lr * m / correction1 / ((second / correction2).sqrt() + epsilon)
    return _store(out, var * (1 - lr * weight_decay) - step, m, v)


@chapter.reference(
    "npu::npu_bert_apply_adam.out", source=code_of("aclops/BertApplyAdamKernelNpu.cpp")
)
def bert_apply_adam(
    lr: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    grad: Tensor,
    max_grad_norm: float,
    global_grad_norm: float,
    weight_decay: float,
    step_size: float | None = None,
    adam_mode: int = 0,
    *,
    out: list[Tensor],
) -> State:
    """A step of Adam without bias correction, as BERT was trained (google-research/bert).

    In mode 1, mBART's, the step is `step_size` and the decay is apart from it.
    """
    var, m, v = (state.float() for state in out)
    g = grad.float()
    if 0 < max_grad_norm < global_grad_norm:
        g = g * (max_grad_norm / global_grad_norm)
    m, v = _moments(m, v, g, beta1, beta2)
    update = m / (v.sqrt() + epsilon)
    if adam_mode == 0:
        var = var - lr * (update + weight_decay * var)
    else:
        require(step_size is not None, "adam_mode 1 needs step_size")
        assert step_size is not None
        var = var * (1 - lr * weight_decay) - step_size * update
    return _store(out, var, m, v)


@chapter.reference("npu::npu_apply_adam", "npu::npu_apply_adam_w", "npu::npu_bert_apply_adam")
def without_state(*arguments: object, **named: object) -> State:
    """The forms without `out`, which the adapter itself rejects."""
    raise RuntimeError("npu_apply_adam, npu_apply_adam_w and npu_bert_apply_adam need out=")


def _moments(m: Tensor, v: Tensor, g: Tensor, beta1: float, beta2: float) -> tuple[Tensor, Tensor]:
    return m * beta1 + g * (1 - beta1), v * beta2 + g * g * (1 - beta2)


def _store(out: list[Tensor], *values: Tensor) -> State:
    for state, value in zip(out, values, strict=True):
        state.copy_(value)
    var, m, v = out
    return var, m, v
