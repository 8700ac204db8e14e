"""An engine put together: a model folder, a kind of chip, and how much memory it may take."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cordee.core.errors import UsageError
from cordee.serve.engine.checkpoint import Checkpoint
from cordee.serve.engine.decoder import Decoder
from cordee.serve.engine.operators.table import BLOCK_TOKENS
from cordee.serve.engine.shape import Shape, read_shape
from cordee.serve.engine.tensor_parallel import ALONE, Part
from cordee.serve.engine.worker import Pace, Worker
from cordee.serve.text.model import Model, read_model

Device = Literal["cpu", "cuda", "ascend"]
SAMPLES, SAMPLE_BYTES = 64, 4096
"""How much of each file of weights goes into the fingerprint, besides its header."""
MEMORY_SHARE = 0.25
"""Of the host's memory, for the cache of keys and values, where nobody says how much."""
CONTEXTS = 16
"""And no more than so many of the longest contexts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says."""

    folder: Path
    name: str
    device: Device = "cpu"
    threads: int = 0
    weights: str = ""
    max_model_len: int = 0
    kv_tokens: int = 0
    step_rows: int = 0
    most_running: int = 0
    most_waiting: int = 1024
    drafts: bool = True
    canary: bool | None = None
    tensor_parallel: int = 1
    portable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What an engine says of itself."""

    numerics: str
    """Engines with the same value give the same answers bit for bit."""
    device: str
    chip: str | None
    generation: str
    """Another after each start."""


@dataclass(frozen=True, slots=True)
class Engine:
    """All of an engine but its port."""

    worker: Worker[Any, Any, Any]
    model: Model
    identity: Identity


def build(options: Options) -> Engine:
    """Read the model and make the engine. Raises `UsageError` where either cannot be."""
    shape = read_shape(options.folder)
    Part(0, options.tensor_parallel).check(shape)
    longest = _context(shape, options)
    model = read_model(options.folder, options.name, shape.vocabulary, longest)
    checkpoint = Checkpoint(options.folder)
    decoder, numerics, chip = _decoder(options, shape, checkpoint)
    pace = Pace(
        step_rows=options.step_rows or decoder.operators.step_rows,
        most_running=options.most_running or (64 if options.device == "cpu" else 256),
        most_waiting=options.most_waiting,
        drafts=options.drafts,
    )
    canary, blocks = _blocks(shape, options, longest)
    worker = Worker(decoder, blocks, pace, canary=canary)
    fingerprint = _fingerprint(options.folder, numerics)
    identity = Identity(
        numerics=fingerprint, device=options.device, chip=chip, generation=os.urandom(6).hex()
    )
    return Engine(worker, model, identity)


def follow(options: Options) -> None:
    """Be one of the other chips of a tensor-parallel engine, until rank 0 ends."""
    from cordee.serve.engine import distributed

    shape = read_shape(options.folder)
    decoder, _, _ = _decoder(options, shape, Checkpoint(options.folder))
    _, blocks = _blocks(shape, options, _context(shape, options))
    assert isinstance(decoder.part.group, distributed.Distributed)
    distributed.follow(decoder, decoder.cache(blocks), decoder.part.group)


def _decoder(
    options: Options, shape: Shape, checkpoint: Checkpoint
) -> tuple[Decoder[Any, Any, Any], str, str | None]:
    """The decoder, alone or in its group, what its numbers depend on, and the chip's name."""
    count = options.tensor_parallel
    if count == 1:
        operators, numerics, chip = _operators(options, 0)
        return Decoder(shape, checkpoint, operators, ALONE), numerics, chip
    from cordee.serve.engine.distributed import RANK, STORE, Distributed, Leader

    rank = int(os.environ[RANK])
    operators, numerics, chip = _operators(options, rank)
    group = Distributed(rank, count, options.device, os.environ[STORE])
    part = Part(rank, count, group)
    if rank:
        return Decoder(shape, checkpoint, operators, part), numerics, chip
    leader: Leader[Any, Any, Any] = Leader(shape, checkpoint, operators, part)
    leader.group = group
    return leader, numerics, chip


def _blocks(shape: Shape, options: Options, longest: int) -> tuple[bool, int]:
    """Whether there is a canary, and how many blocks the cache has, with the canary's own."""
    canary = options.device != "cpu" if options.canary is None else options.canary
    return canary, -(-_cache_tokens(shape, options, longest) // BLOCK_TOKENS) + int(canary)


def _operators(options: Options, rank: int) -> tuple[Any, str, str | None]:
    """The operator table, what its numbers depend on, and the chip's name."""
    if options.device == "cpu":
        from cordee.serve.engine.kernels.library import sources_digest
        from cordee.serve.engine.operators.cpu import CpuOperators

        operators = CpuOperators(options.threads, options.weights, tiles=not options.portable)
        return operators, f"cpu {operators.numerics} {sources_digest()}", None
    import torch

    torch.set_grad_enabled(False)
    dtype = _dtype(options.folder, options.weights)
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.device == "ascend":
        return _ascend(options, dtype, rank)
    if not torch.cuda.is_available():
        raise UsageError(
            "PyTorch sees no CUDA device here: use --device cpu, or --chip Ascend910B3"
        )
    from cordee.serve.engine.operators.torch import TorchOperators

    chip = torch.cuda.get_device_name()
    torch.backends.cuda.matmul.allow_tf32 = False
    numerics = f"cuda {chip} {torch.__version__} {dtype} {options.weights}"
    return TorchOperators(f"cuda:{rank}", dtype, options.weights), numerics, chip


def _ascend(options: Options, dtype: Any, rank: int) -> tuple[Any, str, str | None]:
    import torch

    npu = getattr(torch, "npu", None)
    if npu is None or not npu.is_available():
        raise UsageError(
            "torch_npu sees no Ascend chip here: start under `cordee run`, or give --chip to `cordee serve`"
        )
    from cordee.serve.engine.operators.ascend import AscendOperators

    if rank >= npu.device_count():
        raise UsageError(
            f"{options.tensor_parallel} chips are asked for, {npu.device_count()} are here"
        )
    npu.set_device(rank)
    chip: str = npu.get_device_name(rank)
    numerics = f"ascend {chip} {torch.__version__} {dtype} {options.weights}"
    return AscendOperators(f"npu:{rank}", dtype, options.weights), numerics, chip


def _dtype(folder: Path, weights: str) -> Any:
    import torch

    from cordee.serve.text.vocabulary import read_json

    config = read_json(folder / "config.json")
    named = weights if weights in ("float32", "float16", "bfloat16") else None
    given = str(named or config.get("dtype") or config.get("torch_dtype") or "bfloat16")
    found = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    return found.get(given.removeprefix("torch."), torch.bfloat16)


def _context(shape: Shape, options: Options) -> int:
    longest = options.max_model_len or shape.positions
    if longest > shape.positions:
        raise UsageError(
            f"--max-model-len {longest}: the model has positions for {shape.positions} tokens"
        )
    if options.kv_tokens and options.kv_tokens < longest:
        if options.max_model_len:
            raise UsageError(
                f"--kv-tokens {options.kv_tokens}: a context of {longest} tokens would not fit"
            )
        return options.kv_tokens
    return longest


def _cache_tokens(shape: Shape, options: Options, longest: int) -> int:
    if options.kv_tokens:
        return options.kv_tokens
    each = shape.layers * 2 * shape.kv_heads * shape.head_width * 4
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(longest, min(CONTEXTS * longest, int(memory * MEMORY_SHARE) // each))


def _fingerprint(folder: Path, numerics: str) -> str:
    """The same for engines that give the same bits: same model, weights, kernels and kind of chip."""
    digest = hashlib.blake2b(numerics.encode(), digest_size=12)
    digest.update((folder / "config.json").read_bytes())
    for file in sorted(folder.glob("*.safetensors")):
        size = file.stat().st_size
        digest.update(size.to_bytes(8, "little"))
        with file.open("rb") as handle:
            for sample in range(SAMPLES):
                handle.seek(size * sample // SAMPLES)
                digest.update(handle.read(SAMPLE_BYTES))
    return digest.hexdigest()
