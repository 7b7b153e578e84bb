"""What a base model may come from, GGUF or safetensors, written out as the files of a base folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from overtone.errors import OvertoneError
from overtone.model import safetensors_file
from overtone.model.gguf_base import GgufBase
from overtone.model.gguf_tokenizer import build_tokenizer

Report = Callable[[str, int, int], None]  # stage, bytes done, bytes in all


def write_gguf(gguf: GgufBase, folder: Path, report: Report, beside: Path | None = None) -> None:
    """Convert a GGUF. A tokenizer.json or a chat template that lies beside the file goes before its own."""
    own_tokenizer = beside / "tokenizer.json" if beside else None
    if own_tokenizer and own_tokenizer.is_file():
        shutil.copyfile(own_tokenizer, folder / "tokenizer.json")
    else:
        build_tokenizer(gguf.fields).save(str(folder / "tokenizer.json"))
    _write_template(folder, _find_template(beside) or gguf.fields.get("tokenizer.chat_template"))
    (folder / "config.json").write_text(json.dumps(gguf.config(), indent=2) + "\n", encoding="utf-8")
    _save(folder, {"model": gguf.weights(), "blocks": gguf.blocks()}, report)


def write_safetensors(source: Path, folder: Path, report: Report) -> None:
    """Join a publisher's files, sharded or not, into one, in the precision that they have.

    Raises OvertoneError naming what is missing or damaged.
    """
    for name in ("config.json", "tokenizer.json"):
        if not (source / name).is_file():
            raise OvertoneError(
                f"{source} has no {name}; a base needs config.json, tokenizer.json and weights."
            )
        shutil.copyfile(source / name, folder / name)
    if (source / "generation_config.json").is_file():
        shutil.copyfile(source / "generation_config.json", folder / "generation_config.json")
    _write_template(folder, _find_template(source))
    try:
        weights = [entry for path in _weight_files(source) for entry in safetensors_file.list_entries(path)]
    except ValueError as error:
        raise OvertoneError(f"{error}.") from error
    _save(folder, {"model": weights}, report)


def find_gguf(source: Path) -> Path | None:
    """Return the GGUF file that a path means, or None for a folder of safetensors."""
    if source.is_file():
        return source
    if any(source.glob("*.safetensors")):
        return None
    found = sorted(source.glob("*.gguf"))
    if len(found) > 1:
        raise OvertoneError(f"{source} holds {len(found)} GGUF files; name the one that you mean.")
    return found[0] if found else None


def find_licence(source: Path) -> str | None:
    """Return the licence that a model page's front matter states (`license: apache-2.0`), or None."""
    page = source / "README.md"
    lines = page.read_text(encoding="utf-8", errors="replace").splitlines() if page.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines[:60] if line.startswith("license:")), None)


def require_space(folder: Path, num_bytes: int) -> None:
    """Raise OvertoneError when the disk cannot hold this much more."""
    free = shutil.disk_usage(folder).free
    if free < num_bytes:
        needed_gb, free_gb = num_bytes / 1e9, free / 1e9
        raise OvertoneError(
            f"The base needs {needed_gb:.1f} GB; the disk of {folder} has {free_gb:.1f} GB free."
        )


def _weight_files(source: Path) -> list[Path]:
    found = sorted(source.glob("model*.safetensors")) or sorted(source.glob("*.safetensors"))
    if not found:
        raise OvertoneError(f"{source} holds neither *.safetensors nor a *.gguf file.")
    return found


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


def _find_template(source: Path | None) -> str | None:
    if source is None:
        return None
    if (source / "chat_template.jinja").is_file():
        return (source / "chat_template.jinja").read_text(encoding="utf-8")
    config = source / "tokenizer_config.json"
    found = json.loads(config.read_text(encoding="utf-8")).get("chat_template") if config.is_file() else None
    if isinstance(found, list):  # several templates, by name
        return {entry["name"]: entry["template"] for entry in found}.get("default")
    return found


def _write_template(folder: Path, template: str | None) -> None:
    if not template:
        raise OvertoneError(
            "The model carries no chat template, so it is not clear how to talk to it; "
            "put a chat_template.jinja beside its files."
        )
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
