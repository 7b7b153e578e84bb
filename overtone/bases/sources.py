"""Writes the files of a base folder from a GGUF or from safetensors."""

from __future__ import annotations

import codecs
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from overtone import json_file
from overtone.bases.gguf_base import GgufBase
from overtone.bases.gguf_tokenizer import build_tokenizer
from overtone.errors import OvertoneError
from overtone.model import safetensors_file

SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.safetensors")
Report = Callable[[str, int, int], None]  # stage, bytes done, bytes in all


def write_gguf(gguf: GgufBase, folder: Path, report: Report, beside: Path | None = None) -> None:
    """Convert a GGUF. A tokenizer.json or chat template beside the file overrides the one inside."""
    own_tokenizer = beside / "tokenizer.json" if beside else None
    if own_tokenizer and own_tokenizer.is_file():
        shutil.copyfile(own_tokenizer, folder / "tokenizer.json")
    else:
        build_tokenizer(gguf.fields).save(str(folder / "tokenizer.json"))
    _write_chat_template(folder, _find_chat_template(beside) or gguf.fields.get("tokenizer.chat_template"))
    (folder / "config.json").write_text(json.dumps(gguf.config(), indent=2) + "\n", encoding="utf-8")
    _save(folder, {"model": gguf.weights(), "blocks": gguf.blocks()}, report)


def write_safetensors(source: Path, folder: Path, report: Report) -> None:
    """Join a publisher's weight files, sharded or not, into one, in their original precision.

    Raises OvertoneError that names what is missing or damaged.
    """
    for name in ("config.json", "tokenizer.json"):
        if not (source / name).is_file():
            raise OvertoneError(
                f"{source} has no {name}; a base needs config.json, tokenizer.json and weights."
            )
        _copy_json(source / name, folder)
    for name in ("generation_config.json", "tokenizer_config.json"):
        if (source / name).is_file():
            _copy_json(source / name, folder)
    _write_chat_template(folder, _find_chat_template(source))
    try:
        weights = [entry for path in _weight_files(source) for entry in safetensors_file.list_entries(path)]
    except ValueError as error:
        raise OvertoneError(f"{error}.") from error
    _refuse_twice(weights, source)
    _save(folder, {"model": weights}, report)


def find_gguf(source: Path) -> Path | None:
    """Return the GGUF file at this path or in this folder, or None for a folder of safetensors."""
    if source.is_file():
        return source
    if any(source.glob("*.safetensors")):
        return None
    found = sorted(source.glob("*.gguf"))
    if len(found) > 1:
        raise OvertoneError(f"{source} holds {len(found)} GGUF files; name one of them.")
    return found[0] if found else None


def find_licence(source: Path) -> str | None:
    """Return the licence that a model page's front matter states (`license: apache-2.0`), or None."""
    page = source / "README.md"
    lines = page.read_text(encoding="utf-8", errors="replace").splitlines() if page.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines[:60] if line.startswith("license:")), None)


def require_space(folder: Path, num_bytes: int) -> None:
    """Raise OvertoneError if the disk has less free space than this."""
    free = shutil.disk_usage(folder).free
    if free < num_bytes:
        needed_gb, free_gb = num_bytes / 1e9, free / 1e9
        raise OvertoneError(
            f"The base needs {needed_gb:.1f} GB; the disk of {folder} has {free_gb:.1f} GB free."
        )


def _copy_json(source: Path, folder: Path) -> None:
    """Copy a publisher's JSON file without its byte order mark, if it has one."""
    json_file.read(source)
    (folder / source.name).write_bytes(source.read_bytes().removeprefix(codecs.BOM_UTF8))


def _weight_files(source: Path) -> list[Path]:
    """Return the files that hold the weights: those in the index, a single file, or one complete set of shards.

    Raises OvertoneError that names the missing file or the ambiguous ones.
    """
    index = source / "model.safetensors.index.json"
    found = sorted(source.glob("model*.safetensors")) or sorted(source.glob("*.safetensors"))
    if index.is_file():
        if (source / "model.safetensors").is_file():
            raise OvertoneError(
                f"{source} has both model.safetensors and shards ({index.name}); remove one of them."
            )
        names = json_file.read(index).get("weight_map", {}).values()
        found = [source / name for name in sorted(set(map(str, names)))]
    sets = {SHARD.sub(r"\1-of-\3", path.name) for path in found}
    if len(sets) > 1:
        raise OvertoneError(
            f"{source} has weights of {len(sets)} models ({', '.join(sorted(sets))}); keep one."
        )
    for place in SHARD.findall("\n".join(path.name for path in found)):
        found = [
            source / f"{place[0]}-{number:05}-of-{place[2]}.safetensors"
            for number in range(1, int(place[2]) + 1)
        ]
        break
    missing = next((path for path in found if not path.is_file()), None)
    if missing:
        raise OvertoneError(f"{missing} is missing: the model has {len(found)} files of weights.")
    if not found or ((source / "adapter_config.json").is_file() and found[0].name.startswith("adapter")):
        nothing = "neither *.safetensors nor a *.gguf"
        what = "only an adapter; pull its base model instead" if found else nothing
        raise OvertoneError(f"{source} holds {what}.")
    return found


def _refuse_twice(weights: Sequence[safetensors_file.Entry], source: Path) -> None:
    counts = Counter(entry.name for entry in weights)
    twice = next((name for name, count in counts.items() if count > 1), None)
    if twice:
        raise OvertoneError(f"{source} holds {twice} in two files; keep the files of one model.")


def _save(folder: Path, files: dict[str, list[safetensors_file.Entry]], report: Report) -> None:
    total = sum(entry.num_bytes for entries in files.values() for entry in entries)
    require_space(folder, total)
    done = 0

    def add(num_bytes: int) -> None:
        nonlocal done
        done += num_bytes
        report("convert", done, total)

    for name, entries in files.items():
        if entries:
            safetensors_file.save(folder / f"{name}.safetensors", entries, add)


def _find_chat_template(source: Path | None) -> str | None:
    if source is None:
        return None
    if (source / "chat_template.jinja").is_file():
        return (source / "chat_template.jinja").read_text(encoding="utf-8")
    found = json_file.read_if_there(source / "tokenizer_config.json").get("chat_template")
    if isinstance(found, list):  # several chat templates, by name
        return {entry["name"]: entry["template"] for entry in found}.get("default")
    return found if isinstance(found, str) else None


def _write_chat_template(folder: Path, chat_template: str | None) -> None:
    if not chat_template:
        raise OvertoneError(
            "The model has no chat template, so its prompt format is not known; "
            "put a chat_template.jinja beside its files."
        )
    (folder / "chat_template.jinja").write_text(chat_template, encoding="utf-8")
