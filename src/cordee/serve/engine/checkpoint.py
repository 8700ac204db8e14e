"""Weights of a model folder, in the pages of its own safetensors files.

Format: github.com/huggingface/safetensors, README, section "Format": eight bytes with the length of
a JSON header, the header, then the bytes of all tensors.
"""

import json
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cordee.core.errors import UsageError

BYTES = {"F32": 4, "BF16": 2, "F16": 2, "F64": 8, "I64": 8, "I32": 4, "I8": 1, "U8": 1, "BOOL": 1}
HEADER_MOST_BYTES = 100_000_000


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a file: `raw` holds its bytes, [..., itemsize]-wide integers for bfloat16."""

    name: str
    dtype: str
    """As safetensors names it: F32, BF16, F16."""
    raw: NDArray[np.generic]
    """float32 for F32, uint16 with a float's upper half for BF16, float16 for F16."""

    @property
    def shape(self) -> tuple[int, ...]:
        return self.raw.shape

    def floats(self) -> NDArray[np.float32]:
        """The values in float32, without a copy where they are that already."""
        if self.dtype == "BF16":
            return (self.raw.astype(np.uint32) << 16).view(np.float32)
        return np.ascontiguousarray(self.raw, dtype=np.float32)


class Checkpoint:
    """All tensors of a folder by name."""

    def __init__(self, folder: Path) -> None:
        """Map the files of `folder`. Raises `UsageError` where one is missing, cut off or broken."""
        self.folder = folder
        self._tensors: dict[str, Tensor] = {}
        for file in _files(folder):
            for tensor in _read(file):
                self._tensors[tensor.name] = tensor

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def tensor(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Give a tensor that must be there in `shape`. Raises `UsageError` where it is not."""
        found = self._tensors.get(name)
        if found is None:
            raise UsageError(f"{self.folder}: the weights lack {name}, which config.json calls for")
        if found.shape != shape:
            raise UsageError(
                f"{self.folder}: {name} has the shape {list(found.shape)}, "
                f"config.json calls for {list(shape)}"
            )
        return found


def _files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if index.exists():
        try:
            names = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise UsageError(f"{index}: is no index of safetensors files: {error}") from error
        if any(Path(name).name != name for name in names):
            raise UsageError(f"{index}: names a file outside its folder")
        return [folder / name for name in names]
    if not (folder / "model.safetensors").exists():
        raise UsageError(f"{folder}: has no model.safetensors, nor an index of several")
    return [folder / "model.safetensors"]


def _read(file: Path) -> Iterator[Tensor]:
    try:
        with file.open("rb") as handle:
            size = handle.seek(0, 2)
            if size < 8:
                raise UsageError(f"{file}: is cut off: it has {size} bytes")
            pages = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error
    length = int.from_bytes(pages[:8], "little")
    if not 2 <= length <= min(HEADER_MOST_BYTES, size - 8):
        raise UsageError(f"{file}: is no safetensors file, or is cut off in its header")
    try:
        header = json.loads(pages[8 : 8 + length])
        entries = [
            (
                str(name),
                str(e["dtype"]),
                [int(d) for d in e["shape"]],
                [int(o) for o in e["data_offsets"]],
            )
            for name, e in header.items()
            if name != "__metadata__"
        ]
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise UsageError(f"{file}: its header is no safetensors header: {error}") from error
    data = np.frombuffer(pages, dtype=np.uint8, offset=8 + length)
    for name, dtype, shape, offsets in entries:
        yield _tensor(file, data, name, dtype, shape, offsets)


def _tensor(
    file: Path, data: NDArray[np.uint8], name: str, dtype: str, shape: list[int], offsets: list[int]
) -> Tensor:
    begin, end = offsets if len(offsets) == 2 else (0, -1)
    if dtype not in BYTES:
        raise UsageError(f"{file}: {name} is {dtype}; the engine reads {', '.join(BYTES)}")
    if min(shape, default=0) < 0 or not 0 <= begin <= end:
        raise UsageError(f"{file}: {name} has a broken entry in the header")
    if end > data.size:
        raise UsageError(
            f"{file}: is cut off: {name} ends at byte {end}, the file's data at {data.size}"
        )
    count = 1
    for extent in shape:
        count *= extent
    if count * BYTES[dtype] != end - begin:
        raise UsageError(
            f"{file}: {name} has {end - begin} bytes, its shape calls for another number"
        )
    kinds = {"F32": np.float32, "BF16": np.uint16, "F16": np.float16}
    raw = data[begin:end]
    values = raw.view(kinds[dtype]) if dtype in kinds and begin % 2 == 0 else raw
    return Tensor(name, dtype, values.reshape(shape) if dtype in kinds else values)
