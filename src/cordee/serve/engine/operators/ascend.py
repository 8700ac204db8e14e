"""The operators on Ascend: CANN's fused ones where it has them, through torch_npu.

What each takes: gitcode.com/Ascend/op-plugin, docs/zh/custom_APIs/torch_npu.
"""

import torch
from torch import Tensor as Array

from cordee.serve.engine.operators.table import BLOCK_TOKENS, Heads
from cordee.serve.engine.operators.torch import TorchOperators, TorchWeights


class AscendOperators(TorchOperators):
    """The table for an Ascend chip."""

    name = "ascend"

    def rms_norm(self, x: Array, weight: Array, eps: float) -> Array:
        normalised: Array = torch.ops.npu.npu_rms_norm(x, weight, eps)[0]
        return normalised

    def _turned(self, x: Array, cosines: Array, sines: Array) -> Array:
        # [rows, heads, width] as the operator's [batch, sequence, heads, width].
        cosines, sines = cosines.unsqueeze(0), sines.unsqueeze(0)
        turned: Array = torch.ops.npu.npu_rotary_mul(x.unsqueeze(0).contiguous(), cosines, sines)
        return turned.squeeze(0)

    def _store(self, key: Array, value: Array, keys: Array, values: Array) -> None:
        slots = self._step.slots.to(torch.int32)
        torch.ops.atb._npu_reshape_and_cache(
            key.contiguous(), value.contiguous(), keys, values, slots
        )

    def _attend(self, query: Array, keys: Array, values: Array, heads: Heads) -> Array:
        """Each row is a sequence of the batch with one query, whatever request it comes from."""
        step = self._step
        mask = None
        if heads.window:
            places = torch.arange(step.tables.shape[1] * BLOCK_TOKENS, device=self.device)
            mask = (places <= step.positions[:, None] - heads.window)[:, None, None]
        out: Array = torch.ops.npu.npu_fused_infer_attention_score(
            query.flatten(1).unsqueeze(1).contiguous(),
            keys.flatten(2),
            values.flatten(2),
            atten_mask=mask,
            actual_seq_lengths_kv=step.lengths,
            block_table=step.tables.to(torch.int32),
            num_heads=heads.count,
            num_key_value_heads=heads.kv_count,
            scale=heads.scale,
            input_layout="BSH",
            block_size=BLOCK_TOKENS,
        )[0]
        return out.view_as(query)

    def swiglu(self, gate_up: Array) -> Array:
        made: Array = torch.ops.npu.npu_swiglu(gate_up, -1)
        return made

    def _tile(self, x: Array, weights: TorchWeights) -> Array:
        if weights.scales is None:
            return super()._tile(x, weights)
        made: Array = torch.ops.npu.npu_weight_quant_batchmatmul(
            x, weights.data.t(), weights.scales, bias=weights.bias
        )
        return made
