"""Seconds of operators: Williams, Waterman and Patterson's roofline, with what is lost at edges."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cordee.hw.accelerator import Accelerator
from cordee.plan.costs.calibration import Calibration
from cordee.plan.costs.links import Group, Links
from cordee.plan.work.operators import AttentionCore, Collective, Matmul, Operator, Vector

WIDTHS = {"fp32": 4.0, "tf32": 4.0, "fp8": 1.0, "int8": 1.0, "fp4": 0.5}
KINDS = ("matmul", "expert", "attention", "vector", "collective", "hidden")


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of a pass by kind of work."""

    matmul: float = 0.0
    attention: float = 0.0
    vector: float = 0.0
    exposed: float = 0.0
    """Collectives that are waited for."""
    host: float = 0.0
    """The chip waits for the host."""

    @property
    def total(self) -> float:
        return self.matmul + self.attention + self.vector + self.exposed + self.host

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(
            self.matmul + other.matmul,
            self.attention + other.attention,
            self.vector + other.vector,
            self.exposed + other.exposed,
            self.host + other.host,
        )

    def __mul__(self, times: float) -> "Spent":
        return Spent(
            self.matmul * times,
            self.attention * times,
            self.vector * times,
            self.exposed * times,
            self.host * times,
        )


class Costs:
    """A chip, as its software makes use of it, at one dtype of products."""

    def __init__(self, chip: Accelerator, calibration: Calibration, dtype: str) -> None:
        self.chip, self.calibration = chip, calibration
        self.links = Links(chip=chip, link=calibration.link, network=calibration.network)
        half = "bf16" if "bf16" in chip.flops_per_s else "fp16"
        self._half = chip.flops_per_s.get(half) or chip.peak_flops_per_s("fp8") / 2
        peak = self._half if dtype in ("bf16", "fp16") else chip.peak_flops_per_s(dtype)
        self._matmul = peak * calibration.matmul_of(dtype)
        self._width = WIDTHS.get(dtype, 2.0)
        self._narrow = dtype not in ("bf16", "fp16", "fp32", "tf32")
        self._memory = chip.memory_bytes_per_s or 1e12

    def spent(self, operators: Sequence[Operator], groups: Mapping[str, Group]) -> Spent:
        """Seconds of a pass, with what the chip waits for its host."""
        matmul = attention = vector = exposed = hidden = 0.0
        kernels = 0
        for operator in operators:
            if isinstance(operator, Matmul):
                matmul += self.matmul_s(operator)
                kernels += operator.count if operator.is_expert else 1
                if self._narrow:
                    vector += self._cast_s(operator)
                    kernels += 2 * (operator.count if operator.is_expert else 1)
            elif isinstance(operator, Vector):
                vector += self.vector_s(operator.size_bytes, operator.kernels)
                kernels += operator.kernels
            elif isinstance(operator, AttentionCore):
                attention += self.attention_s(operator)
                kernels += 1
            else:
                seconds = self.collective_s(operator, groups)
                hidden += seconds * operator.hidden
                exposed += seconds * (not operator.hidden)
                kernels += 1
        work = matmul + attention + vector
        share = self.calibration.exposed
        exposed += hidden * share + max(0.0, hidden * (1 - share) - work)
        # The slower of chip and host, and a little more where they are alike.
        chip, host = work + exposed, kernels * self.calibration.host_s
        host = chip * ((1 + (host / chip) ** 4) ** 0.25 - 1) if chip else host
        return Spent(matmul, attention, vector, exposed, host)

    def matmul_s(self, product: Matmul) -> float:
        """Of a product: what is lost at its edges makes it as slow as a larger one."""
        edge = self.calibration.edge
        lost = 1 + edge / product.m + edge / product.n + edge / product.k
        rate = self._matmul * (self.calibration.expert if product.is_expert else 1)
        seconds = product.flops * lost / rate
        return max(seconds, product.size_bytes(self._width) / self._memory) + (
            product.added_bytes / self._memory + self.calibration.kernel_s
        )

    def attention_s(self, core: AttentionCore) -> float:
        """Of fused attention; backward it keeps less of the chip busy."""
        reached = self.calibration.attention
        if core.score_size < 128:
            narrow = self.calibration.attention_narrow
            reached *= narrow ** ((128 - core.score_size) / 64)
        reached *= 0.85 if core.backward else 1
        seconds = core.flops / (self._half * reached)
        return max(seconds, core.size_bytes / self._memory) + self.calibration.kernel_s

    def vector_s(self, size_bytes: float, kernels: int = 1) -> float:
        """Of kernels that are bound by memory."""
        seconds = size_bytes * self.calibration.vector / self._memory
        return seconds + kernels * self.calibration.kernel_s

    def _cast_s(self, product: Matmul) -> float:
        """Of casting what comes in to fewer bits, as it is and turned round."""
        return self.vector_s(product.m * product.k * product.count * 4, 1)

    def collective_s(self, collective: Collective, groups: Mapping[str, Group]) -> float:
        """Of a collective among the chips that the layout puts together."""
        return self.links.seconds(collective, groups[collective.group])
