"""What a chip and its software make of the peaks: the few numbers that are fitted."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Parts of peaks that are reached, and times that come on top."""

    matmul: float = 0.72
    """Of the peak, by large matrix products in 16 bits."""
    matmul_fp8: float = 0.65
    """Of the peak, in 8 bits."""
    matmul_fp4: float = 0.5
    """Of the peak, in 4 bits."""
    expert: float = 0.85
    """Of what other products reach, by those of experts."""
    edge: float = 100.0
    """What it takes to start and end a tile of a product: k is as slow as k + edge, in 16 bits."""
    attention: float = 0.85
    """Of what its kernel reaches alone, by fused attention."""
    attention_narrow: float = 0.75
    """Of that, by heads of 64 numbers; wider ones reach all."""
    vector: float = 1.3
    """How many times longer a vector kernel takes in a program than its traffic would."""
    kernel_s: float = 4e-6
    """Between two kernels on the chip."""
    host_s: float = 3e-5
    """Of the host for one kernel: the chip waits where it is through before."""
    link: float = 0.7
    """Of the peak of links within a node."""
    network: float = 0.8
    """Of the peak of links between nodes."""
    exposed: float = 0.35
    """Of a collective that runs beside other work, what is waited for all the same."""
    exposed_weights: float = 0.6
    """Of weights and gradients that travel for each layer, what is waited for all the same."""
    step_s: float = 0.03
    """Of a step, whatever its size: batches are fetched, losses logged."""
    scale: float = 0.01
    """By how much a step is longer for every doubling of nodes: the slowest of more is slower."""

    pace: float = 1.0
    """By how much a step is longer with this version of the software on this very chip."""

    def matmul_of(self, dtype: str) -> float:
        """Of the peak at `dtype`."""
        if dtype == "fp4":
            return self.matmul_fp4
        if dtype in ("fp8", "int8"):
            return self.matmul_fp8
        return self.matmul


BOUNDS = {
    "matmul": (0.2, 0.98), "matmul_fp8": (0.15, 0.95), "matmul_fp4": (0.08, 0.95),
    "expert": (0.2, 1.1), "edge": (1.0, 3000.0), "attention": (0.3, 1.4),
    "attention_narrow": (0.3, 1.0), "vector": (0.7, 12.0), "kernel_s": (1e-7, 1e-4),
    "host_s": (1e-7, 3e-4), "link": (0.1, 0.98), "network": (0.05, 0.98),
    "exposed": (0.01, 1.0), "exposed_weights": (0.05, 1.0), "step_s": (1e-4, 1.0), "scale": (0.0005, 0.1),
}  # fmt: skip
