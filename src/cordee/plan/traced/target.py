"""A kind of chip as a traced program meets it: seconds of each operator, of links, of its host."""

from dataclasses import dataclass, field, replace

from cordee.core.errors import UsageError
from cordee.hw.accelerator import Accelerator
from cordee.plan.calibration.table import Calibrations, Kind
from cordee.plan.calibration.usual import usual_stack
from cordee.plan.costs.links import Group
from cordee.plan.costs.seconds import Costs
from cordee.plan.layout import Program
from cordee.plan.traced.operators import Work
from cordee.plan.work.operators import AttentionCore, Collective, Matmul

HOST_LINK_BYTES_PER_S = 25e9
"""To the host and back: four fifths of 16 lanes of PCIe 4, hiascend.com, mxrec_performance_tuning_0014."""
HOST_WORK_BYTES_PER_S = 10e9
"""Of an operator that runs on the host for want of a kernel: assumed, as one core reads and writes."""
LAUNCH_S = 24e-6
"""Of the host for one operator that Python calls: gpt-fast's model of Llama 2 7B calls 1,658 for a token, traced here,
and gives 25.5 of them a second on A100 while the host keeps it waiting, pytorch.org/blog/accelerating-generative-ai-2."""
BACKWARD = 0.5
"""Of that, where autograd calls it: assumed, for Python has no part in it."""
EAGER = 1.5
"""How many times longer a kernel of PyTorch's own takes than its traffic would, at least; software for training, by which
chips are calibrated, fuses most. Four published steps of GPT-2 on A100: benchmarks/traced_programs.md."""
UNSURE = 1.3
"""By which a traced program may be off at least, for the same reason."""
ASCEND = "Huawei"


@dataclass(frozen=True, slots=True)
class Taken:
    """Seconds of one call."""

    kind: str
    """"matrix products", "attention", "vector kernels", "host copies" or "fallbacks to the host"."""
    chip_s: float
    host_s: float
    waits: bool


@dataclass(slots=True)
class Target:
    """One kind of chip."""

    chip: Accelerator
    known: Calibrations
    launch_s: float = LAUNCH_S
    is_mixture: bool = False
    tf32: bool = False
    """Whether products in float32 may be in fewer bits."""
    remarks: dict[str, None] = field(default_factory=dict)
    """What is assumed, each once."""
    _costs: dict[str, Costs] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        """By whose predictions it is judged."""
        generation = self.chip.generation
        return Kind(generation, usual_stack(generation), "mixture" if self.is_mixture else "dense")

    @property
    def step_s(self) -> float:
        """Of a training step, whatever its size."""
        return self.costs("bf16").calibration.step_s

    @property
    def exposed(self) -> float:
        """Of a collective beside other work, what is waited for all the same."""
        return self.costs("bf16").calibration.exposed

    @property
    def scale(self) -> float:
        """By how much a step is longer for every doubling of nodes."""
        return self.costs("bf16").calibration.scale

    def taken(self, work: Work) -> Taken:
        """Seconds of a call that is no word with other chips."""
        host_s = work.kernels * self.launch_s
        if work.crossing_bytes:
            moved = work.crossing_bytes / HOST_LINK_BYTES_PER_S
            return Taken("host copies", moved, self.launch_s, work.waits)
        if work.on_host and self.chip.maker == ASCEND:
            moved = sum(
                getattr(one, "size_bytes", 0.0) for one in work.work if not isinstance(one, Matmul)
            )
            seconds = moved / HOST_LINK_BYTES_PER_S + moved / HOST_WORK_BYTES_PER_S
            return Taken("fallbacks to the host", seconds, 4 * self.launch_s, waits=True)
        costs = self.costs(work.dtype)
        kind, seconds = "vector kernels", 0.0
        for one in work.work:
            if isinstance(one, Matmul):
                kind = "matrix products"
                seconds += costs.matmul_s(one)
            elif isinstance(one, AttentionCore):
                kind = "attention"
                seconds += costs.attention_s(one)
            else:
                seconds += costs.vector_s(one.size_bytes, one.kernels)
        return Taken(kind, seconds, host_s, work.waits)

    def collective_s(self, collective: Collective, group: Group) -> float:
        """Of words between chips."""
        return self.costs("bf16").links.seconds(collective, group)

    def costs(self, dtype: str) -> Costs:
        """With products in `dtype`, or in what the chip has instead. Raises `UsageError` where it has neither."""
        found = self._costs.get(dtype)
        if found is None:
            chip, run = self._able(dtype)
            calibration = self.known.find(self.kind, chip.name)
            calibration = replace(calibration, vector=max(calibration.vector, EAGER))
            found = self._costs[dtype] = Costs(chip, calibration, Program(dtype=run))
        return found

    def _able(self, dtype: str) -> tuple[Accelerator, str]:
        chip = self.chip
        if dtype == "fp32" and self.tf32 and "tf32" in chip.flops_per_s:
            dtype = "tf32"
        if dtype in chip.flops_per_s:
            return chip, dtype
        if dtype == "bf16" and "fp16" in chip.flops_per_s:
            self.remarks["does not multiply in bf16: products are reckoned in fp16"] = None
            return chip, "fp16"
        if dtype == "fp16" and "bf16" in chip.flops_per_s:
            return chip, "bf16"
        if dtype == "fp32":
            rate = chip.flops_per_s.get("bf16", 0.0) or chip.peak_flops_per_s("fp16")
            self.remarks[
                "no source gives its rate in fp32: a quarter of that in 16 bits is taken"
            ] = None
            return replace(chip, flops_per_s={**chip.flops_per_s, "fp32": rate / 4}), "fp32"
        able = ", ".join(chip.flops_per_s)
        raise UsageError(
            f"{chip.name}: the program multiplies in {dtype}, which the chip does not; it does in {able}"
        )
