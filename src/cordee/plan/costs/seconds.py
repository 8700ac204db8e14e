"""Seconds of operators: Williams, Waterman and Patterson's roofline, with what is lost at edges."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cordee.hw.accelerator import Accelerator
from cordee.plan.costs.assumed import MEMORY_BYTES_PER_S
from cordee.plan.costs.attention import kernel_of
from cordee.plan.costs.calibration import Calibration
from cordee.plan.costs.links import Group, Links
from cordee.plan.costs.power import powered
from cordee.plan.costs.tiles import lost_to_tiles
from cordee.plan.layout import Program
from cordee.plan.work.operators import (
    AttentionCore,
    Collective,
    Matmul,
    Operator,
    Vector,
)

WIDTHS = {"fp32": 4.0, "tf32": 4.0, "fp8": 1.0, "int8": 1.0, "fp4": 0.5}
NARROW_ATTENTION = 1.4  # of 16 bits' rate, forward and backward: arxiv.org/abs/2407.08608, table 1
MEMBER_S = 2e-6  # of a collective for each chip in a node: ascend-microbench, NCCL's rings
DIAGONAL = 128.0  # keys: as many as a tile has
LOOPED = 0.5  # of what starting a kernel from Python takes
AMAX = 3  # kernels: the largest number is looked for, makes a scale, then all are cast


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
    """A chip, as its software makes use of it, with what the program does."""

    def __init__(self, chip: Accelerator, calibration: Calibration, program: Program) -> None:
        self.chip, self.calibration = chip, calibration
        self.links = Links(
            chip=chip,
            link=calibration.link,
            network=calibration.network,
            member_s=MEMBER_S,
        )
        dtype = program.dtype
        half = "bf16" if "bf16" in chip.flops_per_s else "fp16"
        self._half = chip.flops_per_s.get(half) or chip.peak_flops_per_s("fp8") / 2
        self._narrow = dtype not in ("bf16", "fp16", "fp32", "tf32")
        peak = self._half if dtype in ("bf16", "fp16") else chip.peak_flops_per_s(dtype)
        runs = powered(chip)
        self._wide = self._half * calibration.matmul * runs
        self._matmul = peak * calibration.matmul_of(dtype) * runs
        self._faster = peak / self._half
        self._width = WIDTHS.get(dtype, 2.0)
        self._memory = chip.memory_bytes_per_s or MEMORY_BYTES_PER_S
        self._kernel = kernel_of(chip.generation, program.attention)
        self._attention = self._half * (NARROW_ATTENTION if program.narrow_attention else 1)
        self._blocks = self._narrow and program.blocks

    def spent(self, operators: Sequence[Operator], groups: Mapping[str, Group]) -> Spent:
        """Seconds of a pass, with what the chip waits for its host."""
        matmul = attention = vector = exposed = hidden = 0.0
        for operator in operators:
            if isinstance(operator, Matmul):
                matmul += self.matmul_s(operator)
                if self._narrow and operator.casts and not operator.is_wide:
                    vector += self._cast_s(operator)
            elif isinstance(operator, Vector):
                vector += self.vector_s(operator.size_bytes, operator.kernels)
            elif isinstance(operator, AttentionCore):
                attention += self.attention_s(operator)
            else:
                seconds = self.collective_s(operator, groups)
                part = self.calibration.exposed if operator.hidden else 1.0
                exposed += seconds * part
                hidden += seconds * (1 - part)
        work = matmul + attention + vector
        exposed += max(0.0, hidden - work)
        # The slower of chip and host, and a little more where they are alike.
        chip = work + exposed
        host = sum(map(self._kernels, operators)) * self.calibration.host_s
        host = chip * ((1 + (host / chip) ** 4) ** 0.25 - 1) if chip else host
        return Spent(matmul, attention, vector, exposed, host)

    def _kernels(self, operator: Operator) -> float:
        """Those that the host starts one by one."""
        if isinstance(operator, Vector):
            return operator.kernels
        if isinstance(operator, Matmul):
            cast = self._narrow and operator.casts and not operator.is_wide
            # Those of experts are started one by one, in a loop that is not Python's, and so is what casts for them;
            # two more put scales in order where these are of blocks: github.com/NVIDIA/TransformerEngine/pull/1525.
            each = 1 + (1 if self._blocks else AMAX) * cast + 2 * self._blocks
            return 1 + cast + (LOOPED * each * operator.count if operator.is_expert else 0)
        return 1

    def matmul_s(self, product: Matmul) -> float:
        """Of a product: tiles of its result start and end, whatever k is, and seldom fit the cores."""
        rate = self._wide if product.is_wide else self._matmul
        # What starts and ends a tile takes as long where numbers are narrower and products faster.
        ramp = self.calibration.edge * (1 if product.is_wide else self._faster)
        lost = 1 + ramp / product.k
        if self.chip.cores:
            lost *= lost_to_tiles(product.m, product.n, product.count, self.chip.cores)
        rate *= self.calibration.expert if product.is_expert else 1
        width = 2.0 if product.is_wide else self._width
        seconds = product.flops * lost / rate
        return max(seconds, product.size_bytes(width) / self._memory) + (
            product.added_bytes / self._memory + self.calibration.kernel_s
        )

    def attention_s(self, core: AttentionCore) -> float:
        """Of fused attention; where few keys are seen, tiles on the diagonal are mostly in vain."""
        reached = self._kernel.backward if core.backward else self._kernel.forward
        reached *= self.calibration.attention
        if core.score_size < 128:
            narrow = self.calibration.attention_narrow
            reached *= narrow ** ((128 - core.score_size) / 64)
        seconds = core.flops * (1 + DIAGONAL / core.keys) / (self._attention * reached)
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
