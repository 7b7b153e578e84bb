"""Writing safetensors files tensor by tensor: a base may be larger than the memory.

The format (https://github.com/huggingface/safetensors#format): eight bytes of header length, a JSON header
with each tensor's dtype, shape and place, then the bytes. The library's own writer wants every tensor in
memory at once.
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
COPY_BYTES = 16 << 20


class Writer(Protocol):
    """What tensors are written to: a file, or something that looks at the bytes on their way."""

    def write(self, data: Any, /) -> int:
        """Write bytes, or what shows them without a copy."""


class Hashing:
    """A file of which the SHA-256 is computed as it is written."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self.hash = hashlib.sha256()

    def write(self, data: Any, /) -> int:
        self.hash.update(data)
        return self._file.write(data)


@dataclass(frozen=True)
class Entry:
    """A tensor to be written: its place in the header now, its bytes when `write` is called."""

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
    """Return an entry for a numpy array that is made only when its turn comes."""
    kind = np.dtype(dtype)
    sizes = tuple(int(size) for size in shape)
    num_bytes = math.prod(sizes) * kind.itemsize
    return Entry(name, DTYPES[kind.name], sizes, num_bytes, lambda file: _write_array(file, make(), kind))


def list_entries(path: Path) -> list[Entry]:
    """Return the tensors of a file as entries that copy their bytes. Raises ValueError when it is damaged."""
    header, start = read_header(path)
    return [_file_entry(path, start, name, spec) for name, spec in header.items() if name != "__metadata__"]


def read_header(path: Path) -> tuple[dict[str, Any], int]:
    """Return a file's header and where its bytes begin. Raises ValueError when the file is not whole."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= path.stat().st_size - 8:
            raise ValueError(f"{path} is not a safetensors file, or it is cut short")
        try:
            header = json.loads(file.read(length))
        except ValueError:
            raise ValueError(f"{path} is not a safetensors file: its header is no JSON") from None
    ends = [spec["data_offsets"][1] for name, spec in header.items() if name != "__metadata__"]
    if 8 + length + max(ends, default=0) != path.stat().st_size:
        raise ValueError(f"{path} is cut short: its header promises more than it holds")
    return header, 8 + length


def weight_files(base_folder: Path) -> list[Path]:
    """Return model.safetensors, or the shards that model.safetensors.index.json names."""
    index = base_folder / "model.safetensors.index.json"
    if index.exists():
        names = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        return [base_folder / name for name in sorted(set(names))]
    return [base_folder / "model.safetensors"]


def save(
    path: Path, entries: Sequence[Entry], report: Callable[[int], None] = lambda num_bytes: None
) -> None:
    """Write the entries and fsync the file; `report` hears how many bytes each finished tensor has."""
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
    return text + b" " * (-len(text) % 8)  # readers want the bytes aligned


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
