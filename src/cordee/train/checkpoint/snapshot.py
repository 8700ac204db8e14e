"""One state in a file that other programs can read, too: safetensors, with what we need to check it and go on.

The format (github.com/huggingface/safetensors, README, "Format"): the length of a table, the table as JSON, and the
bytes of all tensors one after another. Our own values are in its `__metadata__`. The length is written last: a file
whose writer died before has none. The sum covers table and bytes; what is kept in memory alone has none.

Where each part of a larger tensor begins is said as PyTorch says it, so that `torch.distributed.checkpoint` reads the
files of all parts as one state (torch/distributed/checkpoint/hf_storage.py, `HuggingFaceStorageReader.read_metadata`).
"""

import mmap
import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from cordee.core.errors import CordeeError

LENGTH_BYTES = 8
PIECE_BYTES = 1 << 20
START = b'{"__metadata__":{"crc32":"'
NO_SUM = "00000000"
TYPES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
}
"""The format's names for PyTorch's types."""
NAMES = {name: dtype for dtype, name in TYPES.items()}


class Broken(CordeeError):
    """A file has no whole state."""


@dataclass(frozen=True, slots=True)
class About:
    """What is said of a state."""

    step: int
    written_ns: int
    model: str
    """A digest of the parameters' shapes and types."""
    header: str
    """What the state has but for its numbers, as JSON."""


@dataclass(frozen=True, slots=True)
class Block:
    """One tensor."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: memoryview
    begins: tuple[int, ...] = ()
    """Where it begins in the larger tensor that it is a part of; nothing: at the first number."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A state that was read, and found whole."""

    about: About
    blocks: tuple[Block, ...]
    """Its tensors, as they lie in the file."""


class _Row(msgspec.Struct, frozen=True):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def write(descriptor: int, about: About, blocks: Sequence[Block], *, summed: bool = True) -> int:
    """Write a state over what is in a file; gives the bytes. Raises `OSError`, `CordeeError`.

    Blocks of types with more bytes come first, so that all lie aligned.
    """
    text = _table(about, blocks)
    if summed:
        total = zlib.crc32(text)
        for block in blocks:
            total = zlib.crc32(block.data, total)
        text = text.replace(NO_SUM.encode(), f"{total:08x}".encode(), 1)
    _put(descriptor, 0, memoryview(bytes(LENGTH_BYTES)))
    at = LENGTH_BYTES
    for part in (memoryview(text), *(block.data for block in blocks)):
        at += _put(descriptor, at, part)
    os.ftruncate(descriptor, at)
    _put(descriptor, 0, memoryview(len(text).to_bytes(LENGTH_BYTES, "little")))
    return at


def copy(descriptor: int, size: int, read: Callable[[memoryview], int]) -> None:
    """Write the bytes of a whole file over what is in another one. `read` puts some of them in. Raises `OSError`, `EOFError`."""
    length, piece = bytearray(LENGTH_BYTES), bytearray(PIECE_BYTES)
    _put(descriptor, 0, memoryview(bytes(LENGTH_BYTES)))
    fill(memoryview(length), read)
    for at in range(LENGTH_BYTES, size, PIECE_BYTES):
        part = memoryview(piece)[: size - at]
        fill(part, read)
        _put(descriptor, at, part)
    os.ftruncate(descriptor, size)
    _put(descriptor, 0, memoryview(length))


def fill(part: memoryview, read: Callable[[memoryview], int]) -> None:
    """Read until all of it is there. Raises `EOFError` where that ends before."""
    done = 0
    while done < len(part):
        count = read(part[done:])
        if count == 0:
            raise EOFError
        done += count


def read(file: Path) -> Snapshot:
    """The state in a file. Raises `Broken` where it is not whole, `OSError`."""
    mapped, size = _mapped(file)
    text = mapped[LENGTH_BYTES:size].tobytes()
    if not text.startswith(START):
        raise Broken(f"{file} is no state of a cordee job")
    sum_at = len(START)
    told = text[sum_at : sum_at + len(NO_SUM)].decode("ascii", "replace")
    clean = text[:sum_at] + NO_SUM.encode() + text[sum_at + len(NO_SUM) :]
    if told != NO_SUM and f"{zlib.crc32(mapped[size:], zlib.crc32(clean)):08x}" != told:
        raise Broken(f"{file} is damaged: its sum is not {told}")
    table = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    about = _about(table.pop("__metadata__"))
    rows = {name: msgspec.json.decode(raw, type=_Row) for name, raw in table.items()}
    data = mapped[size:]
    if max((row.data_offsets[1] for row in rows.values()), default=0) > len(data):
        raise Broken(f"{file} is damaged: it is cut short")
    return Snapshot(about, tuple(_block(name, row, data) for name, row in rows.items()))


def about_in(file: Path) -> About:
    """What is said of the state in a file, which may be damaged. Raises `Broken`, `OSError`."""
    mapped, size = _mapped(file)
    try:
        table = msgspec.json.decode(mapped[LENGTH_BYTES:size], type=dict[str, msgspec.Raw])
        return _about(table["__metadata__"])
    except (msgspec.DecodeError, KeyError, ValueError) as error:
        raise Broken(f"{file} is no state of a cordee job") from error


def _about(told: msgspec.Raw) -> About:
    said = msgspec.json.decode(told, type=dict[str, str])
    return About(int(said["step"]), int(said["written_ns"]), said["model"], said["header"])


def _block(name: str, row: _Row, data: memoryview) -> Block:
    first, end = row.data_offsets
    return Block(name, NAMES[row.dtype], row.shape, data[first:end])


def _mapped(file: Path) -> tuple[memoryview, int]:
    """All bytes of a file, and where those of its tensors begin."""
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        whole = os.fstat(descriptor).st_size
        if whole <= LENGTH_BYTES:
            raise Broken(f"{file} is empty")
        # A private copy of whatever is written to: PyTorch takes no memory that is read-only.
        mapped = memoryview(mmap.mmap(descriptor, whole, access=mmap.ACCESS_COPY))
    finally:
        os.close(descriptor)
    length = int.from_bytes(mapped[:LENGTH_BYTES], "little")
    if not 0 < length <= whole - LENGTH_BYTES:
        raise Broken(f"{file} was not written to its end")
    return mapped, LENGTH_BYTES + length


def _table(about: About, blocks: Sequence[Block]) -> bytes:
    """The table, with no sum yet, padded as the format asks for."""
    said = {
        "crc32": NO_SUM,
        "step": str(about.step),
        "written_ns": str(about.written_ns),
        "model": about.model,
        "header": about.header,
    }
    if any(block.begins for block in blocks):
        said["DCP_SHARDING_INFO"] = _parts(blocks)
    rows: dict[str, object] = {"__metadata__": said}
    at = 0
    for block in blocks:
        if block.dtype not in TYPES:
            raise CordeeError(f"{block.name} is of {block.dtype}: a checkpoint cannot hold that")
        end = at + block.data.nbytes
        rows[block.name] = _Row(TYPES[block.dtype], block.shape, (at, end))
        at = end
    text = msgspec.json.encode(rows)
    return text + b" " * (-len(text) % LENGTH_BYTES)


def _parts(blocks: Sequence[Block]) -> str:
    told = {
        block.name: {"saved_offsets": block.begins or (0,) * len(block.shape)} for block in blocks
    }
    return msgspec.json.encode(told).decode()


def _put(descriptor: int, at: int, data: memoryview) -> int:
    """Write all of it at a place. Not by a mapping: where memory is full that would end the process."""
    done = 0
    while done < len(data):
        done += os.pwrite(descriptor, data[done:], at + done)
    return done
