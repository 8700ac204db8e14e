"""The plug-in: `vllm serve MODEL --logits-processors cordee.serve.vllm.processor:Positional`.

Requests with `"vllm_xargs": {"cordee_said": N}` get each token by (seed, position) alone, and the last N tokens
of their prompt count as answer. So whoever knows the tokens can let any vLLM go on with an answer. Loaded by
vLLM, in vLLM's environment: nothing else of this package is imported there.
"""

from typing import TYPE_CHECKING

import torch
from vllm.v1.sample.logits_processor import LogitsProcessor, MoveDirectionality

from cordee.serve.vllm.rows import Rows, said_of

if TYPE_CHECKING:
    from vllm import SamplingParams
    from vllm.config import VllmConfig
    from vllm.v1.sample.logits_processor import BatchUpdate


class Positional(LogitsProcessor):  # type: ignore[misc]  # vLLM is seldom where types are checked
    """Chooses the tokens of requests that ask for it."""

    @classmethod
    def validate_params(cls, sampling_params: "SamplingParams") -> None:
        """Refuse a request that asks wrongly. Raises `ValueError`."""
        said_of(sampling_params)

    def __init__(
        self, vllm_config: "VllmConfig", device: torch.device, is_pin_memory: bool
    ) -> None:
        """As vLLM makes its processors; logits come on their device."""
        self._rows = Rows()

    def is_argmax_invariant(self) -> bool:
        """Whether the likeliest token stays so: then vLLM would leave it out of greedy answers."""
        return False

    def update_state(self, batch_update: "BatchUpdate | None") -> None:
        """Requests went, came and moved, in this order."""
        if batch_update is None:
            return
        for place in batch_update.removed:
            self._rows.remove(place)
        for place, params, prompt, output in batch_update.added:
            self._rows.add(place, params, prompt, output)
        for source, target, direction in batch_update.moved:
            self._rows.move(source, target, swap=direction == MoveDirectionality.SWAP)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Choose."""
        return self._rows.apply(logits)
