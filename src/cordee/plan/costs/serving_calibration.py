"""What a chip and an engine make of the peaks in inference: the few numbers that are fitted."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingCalibration:
    """Parts of peaks that are reached, and times that come on top."""

    matmul: float = 0.55
    """Of the peak, by products in 16 bits with many rows."""
    matmul_8: float = 0.65
    """Of the peak, in 8 bits."""
    matmul_4: float = 0.5
    """Of the peak, in 4 bits."""
    edge: float = 80.0
    """Rows of a product, or of an expert's, that are lost at its edges."""
    stream: float = 0.85
    """Of the memory's rate, by weights that are read."""
    expert: float = 1.0
    """Of what other products reach, by those of experts."""
    cache: float = 0.8
    """Of the memory's rate, by keys and values that are read."""
    attention: float = 0.5
    """Of the peak in 16 bits, by attention within prompts."""
    vector: float = 2.0
    """How many times longer a vector kernel takes than its traffic would."""
    kernel_s: float = 4e-6
    """Of each kernel, whatever its size, with launches that were captured."""
    launch_s: float = 5e-6
    """Of the host for each kernel of a pass over prompts, whose launches are not captured."""
    collective_s: float = 3e-6
    """Of a small collective."""
    link: float = 0.7
    """Of the peak of links within a node."""
    network: float = 0.5
    """Of the peak of links between nodes."""
    imbalance: float = 1.4
    """By how much the chip with the experts most asked for has more than the mean."""
    pass_s: float = 5e-4
    """Of a pass on the host: what runs next is chosen, what came out is handed on."""
    sequence_s: float = 1e-5
    """The same for each request in it."""
    request_s: float = 0.1
    """Of a request before its first pass: it is received, cut into tokens and queued."""
    crowd_s: float = 1.5e-3
    """The same for each other request of its copy: they share the host."""
    acceptance: float = 0.75
    """How likely a guessed token is right, where it is not published."""
    prefill: float = 1.0
    """By how much passes over prompts are longer than all this says."""

    def matmul_of(self, dtype: str) -> float:
        """Of the peak at `dtype`."""
        names = {"fp8": self.matmul_8, "int8": self.matmul_8, "fp4": self.matmul_4}
        return names.get(dtype, self.matmul)


SERVING_BOUNDS = {
    "matmul": (0.1, 0.95), "matmul_8": (0.08, 0.95), "matmul_4": (0.04, 0.9),
    "edge": (4.0, 500.0), "stream": (0.15, 0.98), "expert": (0.2, 1.3), "cache": (0.1, 0.98),
    "attention": (0.05, 0.9), "vector": (0.7, 15.0), "kernel_s": (3e-7, 6e-5),
    "launch_s": (3e-7, 3e-4), "collective_s": (1e-6, 2e-4), "link": (0.08, 0.98),
    "network": (0.04, 0.98), "imbalance": (1.0, 3.0), "pass_s": (1e-5, 0.15),
    "sequence_s": (1e-7, 1e-3), "request_s": (1e-3, 2.0),
    "crowd_s": (1e-6, 0.05), "acceptance": (0.3, 0.95),
    "prefill": (0.3, 6.0),
}  # fmt: skip
SERVING_SPREADS = {
    "matmul": 0.3, "matmul_8": 0.4, "matmul_4": 0.5, "edge": 0.7, "stream": 0.2, "expert": 0.25,
    "cache": 0.3, "attention": 1.0, "vector": 0.5, "kernel_s": 0.6, "launch_s": 0.8,
    "collective_s": 0.6, "link": 0.4, "network": 0.4, "imbalance": 0.2, "pass_s": 0.9,
    "sequence_s": 1.0, "request_s": 0.9, "crowd_s": 1.2, "acceptance": 0.3, "prefill": 0.4,
}  # fmt: skip
"""How far logarithms of these may be from what is usual without surprise."""
