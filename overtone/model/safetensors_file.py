"""Writes safetensors files tensor by tensor, because a base may be larger than the memory.

The format (https://github.com/huggingface/safetensors#format) is eight bytes of header length, a JSON header with
each tensor's dtype, shape and offsets, then the bytes. The library's own writer needs all tensors in memory at once.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from overtone.disk import sync_file

DTYPES = {"float32": "F32", "float16": "F16", "uint8": "U8", "int8": "I8"}
FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
COPY_BYTES = 16 << 20


class Writer(Protocol):
    """The target that tensors are written to: a file, or a filter in front of one."""

    def write(self, data: Any, /) -> int:
        """Write bytes or a buffer."""


class Hashing:
    """A file whose SHA-256 is computed while it is written."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self.hash = hashlib.sha256()

    def write(self, data: Any, /) -> int:
        self.hash.update(data)
        return self._file.write(data)


@dataclass(frozen=True)
class Entry:
    """A tensor to be written: its header entry now, its bytes when `write` is called."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    num_bytes: int
    write: Callable[[Writer], None]

    @property
    def num_elements(self) -> int:
        return math.prod(self.shape)


def array_entry(
    name: str, dtype: type[np.generic], shape: Sequence[int], make: Callable[[], np.ndarray]
) -> Entry:
    """Return an entry for a numpy array that is created only when it is written."""
    kind = np.dtype(dtype)
    sizes = tuple(int(size) for size in shape)
    num_bytes = math.prod(sizes) * kind.itemsize
    return Entry(name, DTYPES[kind.name], sizes, num_bytes, lambda file: _write_array(file, make(), kind))


def list_entries(path: Path) -> list[Entry]:
    """Return the tensors of a file as entries that copy their bytes. Raises ValueError if it is damaged."""
    header, start = read_header(path)
    return [_file_entry(path, start, name, spec) for name, spec in header.items() if name != "__metadata__"]


def read_header(path: Path) -> tuple[dict[str, Any], int]:
    """Return a file's header and the offset of its data. Raises ValueError if the file is incomplete."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= path.stat().st_size - 8:
            raise ValueError(f"{path} is not a safetensors file, or it is incomplete")
        try:
            header = json.loads(file.read(length))
        except ValueError:
            raise ValueError(f"{path} is not a safetensors file: its header is not JSON") from None
    ends = [spec["data_offsets"][1] for name, spec in header.items() if name != "__metadata__"]
    if 8 + length + max(ends, default=0) != path.stat().st_size:
        raise ValueError(f"{path} is incomplete: its header describes more data than it holds")
    return header, 8 + length


def to_float32(data: Any, dtype: str, shape: Sequence[int]) -> np.ndarray:
    """Return a tensor of a file as float32: a view if it is already. Raises KeyError for a type that is no float.

    A bfloat16 is the upper half of a float32, so it is exact. numpy does not know the type.
    """
    if dtype == "BF16":
        upper = np.frombuffer(data, "<u2").astype(np.uint32)
        return (upper << 16).view(np.float32).reshape(shape)
    stored = np.frombuffer(data, FLOATS[dtype])
    with np.errstate(over="ignore"):
        return stored.astype(np.float32, copy=False).reshape(shape)


def weight_files(base_folder: Path) -> list[Path]:
    """Return model.safetensors, or the shards in model.safetensors.index.json."""
    index = base_folder / "model.safetensors.index.json"
    if index.exists():
        names = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        return [base_folder / name for name in sorted(set(names))]
    return [base_folder / "model.safetensors"]


def save(
    path: Path, entries: Sequence[Entry], report: Callable[[int], None] = lambda num_bytes: None
) -> None:
    """Write the entries and fsync the file. `report` gets the size in bytes of each finished tensor."""
    with path.open("wb") as file:
        write(file, entries, {"format": "pt"}, report)
        sync_file(file)


def write(
    file: Writer,
    entries: Sequence[Entry],
    metadata: Mapping[str, str],
    report: Callable[[int], None] = lambda num_bytes: None,
) -> None:
    """Write header and entries."""
    header = _header(entries, metadata)
    file.write(len(header).to_bytes(8, "little") + header)
    for entry in entries:
        entry.write(file)
        report(entry.num_bytes)


def _header(entries: Iterable[Entry], metadata: Mapping[str, str]) -> bytes:
    specs: dict[str, Any] = {"__metadata__": dict(metadata)}
    offset = 0
    for entry in entries:
        end = offset + entry.num_bytes
        specs[entry.name] = {"dtype": entry.dtype, "shape": entry.shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(specs, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8)  # the format aligns the data to 8 bytes


def _write_array(file: Writer, array: np.ndarray, dtype: np.dtype) -> None:
    file.write(np.ascontiguousarray(array, dtype=dtype).data)


def _file_entry(path: Path, start: int, name: str, spec: dict[str, Any]) -> Entry:
    begin, end = spec["data_offsets"]
    return Entry(
        name,
        spec["dtype"],
        tuple(spec["shape"]),
        end - begin,
        lambda file: _copy(path, file, start + begin, end - begin),
    )


def _copy(path: Path, target: Writer, offset: int, num_bytes: int) -> None:
    with path.open("rb") as source:
        source.seek(offset)
        while num_bytes and (chunk := source.read(min(COPY_BYTES, num_bytes))):
            target.write(chunk)
            num_bytes -= len(chunk)
