"""Checks that a base folder holds what its config.json says, before anything is computed with it.

Compiled kernels use the sizes in config.json as array bounds, so the sizes are compared with the shapes in the
files' headers; no weight is read. A pull also checks that every token id has a row in the embedding and that the
chat template renders a turn.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from overtone import json_file
from overtone.bases.chat import Chat
from overtone.dataset.examples import Example
from overtone.errors import InvalidArgument, OvertoneError
from overtone.model import projections, safetensors_file
from overtone.model.decoder_config import DecoderConfig

FLOATS = ("F64", "F32", "F16", "BF16")
QUANT_BLOCK = 32  # elements that share one scale
QUANT_BLOCK_PARTS = {  # dtype and elements each → parts
    ("U8", 2): "q",
    ("I8", 1): "q",
    ("F16", QUANT_BLOCK): "d m",
}
COMPUTED_ELSEWHERE = ("rotary_emb.inv_freq",)  # old files store it, but it follows from config.json
MAX_NAMED = 3  # at most this many tensors are named in one error

Shape = tuple[int, ...]


def check_base(folder: Path) -> None:
    """Check everything that can be checked without computing; a pull does this before it reports success.

    Raises OvertoneError that names the file, what is wrong and what would be right.
    """
    config = check_weights(folder)
    chat = Chat(folder)
    try:
        ids, _ = chat.encode_example(Example.pair("a question", "an answer"))
    except (OvertoneError, InvalidArgument) as error:
        raise OvertoneError(f"The chat template cannot render one question and its answer: {error}") from None
    if max([*ids, *chat.eos_ids]) >= config.vocab_size:
        raise OvertoneError(
            f"The chat template or an end-of-text token has the id {max([*ids, *chat.eos_ids])}; the model has "
            f"{config.vocab_size} tokens, counted from 0. tokenizer.json belongs to another model."
        )


def check_weights(folder: Path) -> DecoderConfig:
    """Compare config.json with the headers of the weight files. Raises OvertoneError; takes milliseconds."""
    raw = json_file.read(folder / "config.json")
    _refuse_quantised(raw)
    config = DecoderConfig.parse(raw)
    _check_sizes(config)
    found = _read_shapes(folder)
    expected = dict(_expected(config, found))
    for name, shape in expected.items():
        _check_shape(name, shape, found)
    _refuse_foreign(found, {*expected, "lm_head.weight"})
    if (folder / "blocks.safetensors").is_file():
        _check_blocks(folder / "blocks.safetensors", found)
    return config


def _check_sizes(config: DecoderConfig) -> None:
    sizes = (config.vocab_size, config.width, config.num_layers, config.inner_size, config.head_size)
    if min(*sizes, config.num_heads, config.num_kv_heads) < 1:
        raise OvertoneError("config.json has a size below 1.")
    if config.num_heads % config.num_kv_heads:
        raise OvertoneError(
            f"config.json says {config.num_heads} num_attention_heads, which is not a multiple of "
            f"{config.num_kv_heads} num_key_value_heads."
        )


def _refuse_quantised(config: Mapping[str, Any]) -> None:
    method = config.get("quantization_config")
    if method:
        name = method.get("quant_method", "") if isinstance(method, dict) else method
        raise OvertoneError(
            f"The weights are quantised ({name or 'quantization_config in config.json'}) in a format that is not "
            "supported; use the model's unquantised safetensors, or a GGUF of it."
        )


def _read_shapes(folder: Path) -> dict[str, Shape]:
    """Return each weight's shape. Raises OvertoneError for weights that are not floating-point numbers."""
    found = {}
    for path in safetensors_file.weight_files(folder):
        try:
            header, _ = safetensors_file.read_header(path)
        except ValueError as error:
            raise OvertoneError(f"{error}.") from error
        for name, spec in header.items():
            if name == "__metadata__":
                continue
            if spec["dtype"] not in FLOATS and not name.endswith(COMPUTED_ELSEWHERE):
                raise OvertoneError(
                    f"{name} has the type {spec['dtype']}; supported are {', '.join(FLOATS)}. "
                    "Use the model's unquantised safetensors, or a GGUF of it."
                )
            found[name] = tuple(spec["shape"])
    return found


def _expected(config: DecoderConfig, found: Mapping[str, Shape]) -> Iterator[tuple[str, Shape]]:
    """Yield the name and the shape of every weight that the decoder uses."""
    family = config.family
    width = config.width
    yield "model.embed_tokens.weight", (config.vocab_size, width)
    yield "model.norm.weight", (width,)
    if not config.tied:
        yield "lm_head.weight", (config.vocab_size, width)
    rows = _projection_shapes(config, found)
    norms = [name for name in vars(family.norms).values() if name]
    heads = {"head": (config.head_size, config.head_size), "full": config.qkv_sizes[:2]}.get(family.qk_norm)
    for index in range(config.num_layers):
        layer = f"model.layers.{index}"
        for name, shape in rows.items():
            yield f"{layer}.{name}.weight", shape
            if f"{layer}.{name}.bias" in found:
                yield f"{layer}.{name}.bias", shape[:1]
        for name in norms:
            yield f"{layer}.{name}.weight", (width,)
        for name, size in zip(("q_norm", "k_norm"), heads or (), strict=False):
            yield f"{layer}.self_attn.{name}.weight", (size,)


def _projection_shapes(config: DecoderConfig, found: Mapping[str, Shape]) -> dict[str, Shape]:
    """Return the shape of each of a layer's projections, packed or not as the file has them."""
    sizes = projections.module_sizes(config)
    first_packed = f"model.layers.0.{projections.module_path(projections.PACKED['qkv'])}.weight"
    is_packed = config.family.packed and first_packed in found
    shapes: dict[str, Shape] = {}
    for joined, modules in projections.JOINED.items():
        packed = projections.PACKED.get(joined) if is_packed else None
        outputs = [sizes[module][1] for module in modules]
        stored = {packed: sum(outputs)} if packed else dict(zip(modules, outputs, strict=True))
        for module, num_outputs in stored.items():
            shapes[projections.module_path(module)] = (num_outputs, sizes[modules[0]][0])
    return shapes


def _check_shape(name: str, expected: Shape, found: Mapping[str, Shape]) -> None:
    if name not in found:
        raise OvertoneError(
            f"The weights have no {name}: a file of the model is missing, or config.json belongs to another model."
        )
    has = found[name]
    of_tokens = name in ("model.embed_tokens.weight", "lm_head.weight")
    if has == expected or (of_tokens and has[1:] == expected[1:] and has[0] > expected[0]):
        return
    raise OvertoneError(
        f"{name} has the shape {_shown(has)}; config.json says {_shown(expected)}. "
        "Correct config.json, or use the weights that belong to it."
    )


def _refuse_foreign(found: Iterable[str], known: Container[str]) -> None:
    """Refuse weights that the decoder would not use: without them it would compute a different model."""
    foreign = sorted(name for name in found if name not in known and not name.endswith(COMPUTED_ELSEWHERE))
    if foreign:
        more = f" and {len(foreign) - MAX_NAMED} more" if len(foreign) > MAX_NAMED else ""
        raise OvertoneError(
            f"The weights hold {', '.join(foreign[:MAX_NAMED])}{more}, which Overtone does not use: the answers would "
            "be wrong. Use the unquantised safetensors of a supported architecture."
        )


def _check_blocks(path: Path, weights: Mapping[str, Shape]) -> None:
    """Compare the quant blocks with the shapes of the weights that they encode."""
    try:
        header, _ = safetensors_file.read_header(path)
    except ValueError as error:
        raise OvertoneError(f"{error}.") from error
    for name, spec in header.items():
        weight, _, part = name.rpartition(".")
        if name == "__metadata__":
            continue
        rows, columns = weights.get(weight, (0, 0))
        fits = any(
            spec["dtype"] == dtype and part in parts.split() and spec["shape"] == [rows, columns // each]
            for (dtype, each), parts in QUANT_BLOCK_PARTS.items()
        )
        if not fits:
            raise OvertoneError(
                f"{path} holds {name} as {spec['dtype']} {_shown(spec['shape'])}, which does not match the weight's "
                f"{_shown((rows, columns))}; pull the base again."
            )


def _shown(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "one number"
