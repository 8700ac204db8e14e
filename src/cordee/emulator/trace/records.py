"""What a trace holds: values without behaviour, free of PyTorch."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

VERSION = 2  # of the file format that docs/trace.md describes


class Support(StrEnum):
    """What becomes of an operator on a real chip."""

    NATIVE = "native"
    """The adapter has a kernel for it."""
    HOST = "host"
    """The adapter copies its arguments to the host, runs the CPU kernel there and copies back."""
    COLLECTIVE = "collective"
    """Chips talk to each other."""
    STAND_IN = "stand-in"
    """The adapter runs an operator of another name; here this one takes its place."""
    MISSING = "missing"
    """Neither the adapter nor the CPU has a kernel for it."""
    NOT_EMULATED = "not emulated"
    """The adapter has a kernel for it, and the virtual chip has not."""


class Phase(StrEnum):
    """What the program was doing."""

    FORWARD = "forward"
    """In a module, or on the way to a gradient."""
    BACKWARD = "backward"
    """In a node of autograd's graph."""
    OPTIMIZER = "optimizer"
    """In an optimizer's step."""
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Header:
    """One process of a traced program."""

    process: int
    """Its number on the host."""
    rank: int | None
    """RANK as a launcher such as torchrun sets it."""
    began: str
    """When tracing began, ISO 8601 with the zone."""
    zero_s: float
    """When that was by CLOCK_MONOTONIC, which all processes of a computer share."""
    command: tuple[str, ...]
    """Program and arguments."""
    versions: Mapping[str, str]
    """Of cordee, python, torch and torch_npu."""


@dataclass(frozen=True, slots=True)
class Chip:
    """A chip that the process has used."""

    device: int
    """Its index in the process."""
    name: str
    """As the adapter gives it, "Ascend910B3"."""
    capacity_bytes: int
    """Of its memory."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """What one tensor argument or result looked like."""

    name: str
    """The argument's name in the schema; tensors of a list share one. Empty for results."""
    dtype: str
    """PyTorch's name: "bfloat16"."""
    shape: tuple[int, ...]
    """Elements along each dimension."""
    device: str = "npu"
    """"npu" or "cpu"."""


@dataclass(frozen=True, slots=True)
class Signature:
    """An operator with the shapes it was called with; many calls share one."""

    operator: str
    """With namespace and overload: "aten::add.Tensor"."""
    support: Support
    """What becomes of it on a real chip."""
    inputs: tuple[Tensor, ...]
    """Tensor arguments in the order of the schema, None left out."""
    arguments: Mapping[str, object]
    """Other arguments: int, bool, str, or list of int. Floats and defaults are left out."""
    outputs: tuple[Tensor, ...]
    """Results. An operator that works in place gives its argument."""
    input_bytes: int
    """Size of the inputs' elements together."""
    output_bytes: int
    """Size of the outputs' elements together."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the program operators are called; many calls share one."""

    module: str
    """Class of the outermost nn.Module and the path from it: "GPT.h.0.attn". Empty outside."""
    site: str
    """file:line of the nearest frame outside PyTorch; in the backward that of its forward."""
    phase: Phase
    """What the program was doing there."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How far the results of one call are from float32 on the host with the same inputs."""

    absolute: float
    """The largest difference between two finite elements."""
    relative: float
    """The largest difference divided by the float32 value, where that is not about zero."""
    beyond: float
    """The share of elements beyond the tolerance of the dtype, from 0 to 1."""
    lost: int
    """Elements that are infinite or NaN and finite in float32."""


@dataclass(frozen=True, slots=True)
class Call:
    """One operator, once."""

    number: int
    """In the process, in the order of beginning, from 1."""
    signature: Signature
    """Which operator, on what."""
    place: Place
    """From where."""
    device: int
    """Index of the chip in the process."""
    stream: int
    """The adapter's number of the stream; the default stream has 0."""
    time_s: float
    """Host seconds since tracing began. They say nothing about the speed of a chip."""
    took_s: float
    """Until it had its result, or had raised."""
    waited_s: float = 0.0
    """How much of that it waited for work before it on its stream, such as a collective."""
    within: int | None = None
    """Number of the call that made this one: a host fallback copies its arguments."""
    failed: str | None = None
    """What the operator raised instead of giving results; "" where that is not known."""
    difference: Difference | None = None
    """Only where the run compares with the CPU."""
    uncompared: str | None = None
    """Why it was left out of the comparison."""


@dataclass(frozen=True, slots=True)
class Memory:
    """How much of a chip's memory a process holds at one moment."""

    number: int
    """Of the last call before."""
    device: int
    """Index of the chip in the process."""
    time_s: float
    """Host seconds since tracing began."""
    allocated_bytes: int
    """In tensors."""
    reserved_bytes: int
    """By the caching allocator, tensors included."""
    peak_bytes: int
    """The most in tensors since the program last reset the peak."""


@dataclass(frozen=True, slots=True)
class Message:
    """Bytes from one rank to another."""

    sends: bool
    """Whether it goes to the peer or comes from it."""
    peer: int
    """The other rank."""
    size_bytes: int
    """How much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One rank's part in one operation of HCCL. Times are of CLOCK_MONOTONIC."""

    number: int
    """Of a collective, the same on all ranks of the communicator; 0 for messages."""
    what: str
    """The function that was called: "HcclAllReduce"."""
    group: str
    """Name of the communicator."""
    identity: str
    """Tells communicators apart that have one name; the same on all ranks."""
    ranks: int
    """How many ranks the communicator has."""
    rank: int
    """Which of them this is."""
    chip: int
    """Its chip as the machine numbers it."""
    stream: int
    """The runtime's number of the stream."""
    size_bytes: int
    """Of what the rank gives or gets, whichever is larger; of all messages together."""
    issued_s: float
    """When the program called."""
    begun_s: float | None
    """When it had its turn on the stream; None where it never did."""
    met_s: float | None
    """When all ranks were there; None for messages, and where they never were."""
    ended_s: float
    """When it ended, well or not; when it was last seen, where it is open."""
    code: int
    """0, or what the stream failed with."""
    is_open: bool = False
    """Whether its end was never written down, because the process was ended in it."""
    messages: tuple[Message, ...] = ()
    """Those of a send, a receive or a batch."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The exception that ended the program."""

    kind: str
    """Its class."""
    message: str
    """What it says."""
    site: str
    """file:line of the last frame outside PyTorch."""
    trace: str
    """The traceback as Python prints it."""


@dataclass(frozen=True, slots=True)
class Process:
    """Everything one process wrote."""

    header: Header
    chips: tuple[Chip, ...]
    calls: tuple[Call, ...]
    """In the order of their numbers."""
    memory: tuple[Memory, ...]
    operations: tuple[Operation, ...]
    """Of HCCL, in the order in which they ended."""
    failure: Failure | None
    finished: bool
    """Whether it came to its own end; False where it was killed."""
