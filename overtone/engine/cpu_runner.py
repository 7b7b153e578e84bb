"""The compiled runner: quantised Llama-like bases on the processor, through the compiled kernels.

It computes the same as torch_runner.py; tests compare the two. A row's result depends only on its own text and
adapter, so an answer is the same alone and in a batch, however its prompt was split into chunks.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from overtone.engine.runner import NUM_TOKENS
from overtone.engine.sampling import Logits
from overtone.engine.scheduler import Chunk
from overtone.kernels.llama import serve as llama
from overtone.kernels.threads import Team
from overtone.kernels.tile_products import SUMS_BYTES
from overtone.kernels.tiles import Q4, QUANT_BLOCK, TILE
from overtone.kernels.views import addresses, aligned_zeros
from overtone.model.adapter import Adapter
from overtone.model.base_tiles import read_head, read_layers, round_head, round_layers
from overtone.model.decoder_config import FAMILIES, DecoderConfig
from overtone.model.projections import JOINED, module_sizes
from overtone.model.weight_arrays import WeightArrays
from overtone.processor import num_cores

Array = np.ndarray[Any, Any]


def is_supported(base_folder: Path) -> bool:
    """Whether this runner can serve a base: Llama's layers without biases, a tied head, sizes in whole quant blocks."""
    config = DecoderConfig.load(base_folder)
    floats = WeightArrays(base_folder)
    sizes = {config.width, config.head_size, config.inner_size}
    return (
        config.family == FAMILIES["llama"]
        and config.tied
        and not any(config.windows)
        and all(size % QUANT_BLOCK == 0 for size in sizes)
        and config.vocab_size % TILE == 0
        and not any(floats.has_bias(0, name) for name in JOINED)
        and len(config.ropes[0].inv_freq) * 2 == config.head_size
    )


class CpuRunner:
    """Holds the base's tiles, the cache in float16, and adapters as flat float16 buffers."""

    block_size = llama.CACHE_BLOCK
    device = "cpu"

    def __init__(self, base_folder: Path, max_rows: int, num_tokens: int = NUM_TOKENS, num_threads: int = 0):
        """Load a base. `max_rows` is the largest step, `num_tokens` the cache's size, at least one context."""
        self.config = DecoderConfig.load(base_folder)
        self.num_blocks = -(-max(num_tokens, self.config.context_length) // llama.CACHE_BLOCK)
        self._team = Team(num_threads or num_cores())
        self._weights = load_weights(base_folder, self.config) | self._make_cache()
        self._model = _describe(self.config, self._weights)
        self._max_rows = max_rows
        self._scratch = self._make_scratch(rank=16)
        self._adapters: dict[int, tuple[int, Array]] = {}

    @property
    def precision(self) -> str:
        bits = 4 if self._model.block_bytes == Q4.block_bytes else 8
        return f"compiled kernels on {bits}-bit blocks"

    def prepare(self, adapter: Adapter) -> tuple[int, Array]:
        """Convert an adapter to its rank and one flat buffer. Safe in another thread during a step."""
        return adapter.rank, flatten(adapter, self.config)

    def install(self, slot: int, prepared: tuple[int, Array]) -> None:
        """Put a prepared adapter into a slot and replace its old content."""
        self._adapters[slot] = prepared
        if 3 * prepared[0] > self._scratch["u"].shape[1]:
            self._scratch = self._make_scratch(prepared[0])

    def step(self, chunks: Sequence[Chunk], slots: Sequence[int]) -> Logits:
        """Compute the chunks, each with its slot's adapter. Return the logits of every prompt's last chunk."""
        plan = self._plan(chunks, slots)
        assert len(plan["ids"]) <= self._max_rows, "the step has more rows than the working memory"
        num_kept = len(plan["keep"])
        plan["logits"] = np.empty((num_kept, self.config.vocab_size), np.float32)
        plan["best"] = np.empty((num_kept, llama.LOGIT_SEGMENTS), np.int64)
        plan["log_sums"] = np.empty((num_kept, llama.LOGIT_SEGMENTS), np.float32)
        step = llama.EngineStep(
            num_threads=self._team.num_threads,
            num_rows=len(plan["ids"]),
            num_kept=num_kept,
            num_adapted=int(np.count_nonzero(plan["adapters"])),
            table_width=plan["tables"].shape[1],
            u_width=self._scratch["u"].shape[1],
            panel_bytes=self._scratch["panels"].nbytes // self._team.num_threads,
            context=self.config.context_length,
            **addresses(plan | self._scratch),
        )
        self._team.run(llama.run_step, self._model, step, memory=plan)
        return _summarise(plan["logits"], plan["best"], plan["log_sums"])

    def _plan(self, chunks: Sequence[Chunk], slots: Sequence[int]) -> dict[str, Array]:
        """Return the step's integers by their names in `llama.EngineStep`."""
        counts = [chunk.count for chunk in chunks]
        tables = np.zeros((len(chunks), max(len(chunk.sequence.blocks) for chunk in chunks)), np.int64)
        for table, chunk in zip(tables, chunks, strict=True):
            table[: len(chunk.sequence.blocks)] = chunk.sequence.blocks
        tables *= llama.CACHE_BLOCK
        positions = np.concatenate([np.arange(chunk.start, chunk.start + chunk.count) for chunk in chunks])
        table_of = np.repeat(np.arange(len(chunks)), counts)
        adapters = [self._adapters[slot] if slot else (0, None) for slot in slots]
        addresses = [0 if buffer is None else buffer.ctypes.data for _, buffer in adapters]
        ids = [chunk.sequence.ids[chunk.start : chunk.start + chunk.count] for chunk in chunks]
        ends = np.cumsum(counts).tolist()
        return {
            "ids": np.concatenate(ids).astype(np.int64),
            "positions": positions,
            "places": tables[table_of, positions // llama.CACHE_BLOCK] + positions % llama.CACHE_BLOCK,
            "tables": tables,
            "table_of": table_of,
            "adapters": np.repeat(np.array(addresses, np.int64), counts),
            "ranks": np.repeat(np.array([rank for rank, _ in adapters], np.int64), counts),
            "counters": np.zeros((llama.count_phases(self.config.num_layers), 8), np.int64),
            "keep": np.array(
                [end - 1 for end, chunk in zip(ends, chunks, strict=True) if chunk.is_last], np.int64
            ),
        }

    def _make_scratch(self, rank: int) -> dict[str, Array]:
        """Return working memory for the largest step and adapters up to a rank, by the names in `llama.EngineStep`."""
        config = self.config
        rows = self._max_rows
        mixed = config.num_heads * config.head_size
        widest = max(config.width, mixed, config.inner_size)
        widths = {
            "hidden": config.width,
            "normed": config.width,
            "queries": sum(config.qkv_sizes),
            "mixed": mixed,
            "gates": 2 * config.inner_size,
            "acts": config.inner_size,
            "out": config.width,
            "u": 3 * rank,
            "factors": 2 * widest // QUANT_BLOCK,
        }
        return {
            **{name: aligned_zeros((rows, width), np.float32) for name, width in widths.items()},
            "ints": aligned_zeros((rows, widest), np.int16),
            "scores": aligned_zeros((self._team.num_threads, config.context_length), np.float32),
            "panels": aligned_zeros((self._team.num_threads, TILE * widest + SUMS_BYTES // 2), np.int16),
        }

    def _make_cache(self) -> dict[str, Array]:
        """Return empty keys and values as float16 bits. The system allocates the memory when it is first written."""
        config = self.config
        shape = (
            config.num_layers,
            self.num_blocks * llama.CACHE_BLOCK,
            config.num_kv_heads,
            config.head_size,
        )
        return {"k": aligned_zeros(shape, np.int16), "v": aligned_zeros(shape, np.int16)}


def load_weights(base_folder: Path, config: DecoderConfig) -> dict[str, Array]:
    """Return a base's tiles with layers stacked, norms and rotary tables, by the names in `llama.Model`."""
    floats = WeightArrays(base_folder)
    layers = read_layers(base_folder, config) or round_layers(floats, config)
    head = read_head(base_folder, config) or round_head(floats, config)
    names = ("input_layernorm", "post_attention_layernorm")
    norms = [
        floats.get(f"model.layers.{n}.{name}.weight") for n in range(config.num_layers) for name in names
    ]
    cos, sin = config.ropes[0].tables(np.arange(config.context_length))
    return {
        **layers.data,
        "head": head.data,
        "norms": np.stack(norms),
        "final_norm": floats.get("model.norm.weight").copy(),
        "cos": cos,
        "sin": sin,
    }


def _summarise(logits: Array, best: Array, log_sums: Array) -> Logits:
    """Combine the kernels' partial results over the segments of each row."""
    rows = np.arange(len(logits))
    values = np.take_along_axis(logits, best, axis=1)
    likeliest = best[rows, values.argmax(axis=1)]
    with np.errstate(invalid="ignore"):  # the adapter's weights overflowed; the loop ends its call
        totals = np.logaddexp.reduce(log_sums.astype(np.float64), axis=1)
    return Logits(logits, likeliest.tolist(), totals.tolist())


def _describe(config: DecoderConfig, arrays: dict[str, Array]) -> llama.Model:
    return llama.Model(
        num_layers=config.num_layers,
        width=config.width,
        num_heads=config.num_heads,
        num_kv_heads=config.num_kv_heads,
        head_size=config.head_size,
        inner=config.inner_size,
        vocabulary=config.vocab_size,
        num_places=arrays["k"].shape[1],
        block_bytes=arrays["qkv"].shape[-1],
        eps=config.norm_eps,
        scale=config.scale,
        **addresses(arrays),
    )


@np.errstate(over="ignore")  # weights that are too large: the loop ends their calls
def flatten(adapter: Adapter, config: DecoderConfig) -> Array:
    """Return an adapter as one row of float16: by layer and projection, A of all its modules, then scaled B.

    B is stored in panels of 32 outputs, [panel, rank, output], as the kernels read it. Missing modules are zeros.
    """
    sizes = module_sizes(config)
    parts: list[Array] = []
    for layer in range(config.num_layers):
        for modules in JOINED.values():
            places = [(layer, module) for module in modules]
            width_in = sizes[modules[0]][0]
            parts += [
                adapter.a.get(place, np.zeros((adapter.rank, width_in), np.float32)) for place in places
            ]
            for place in places:
                b_OR = adapter.b.get(place, np.zeros((sizes[place[1]][1], adapter.rank), np.float32))
                panels = b_OR.reshape(-1, llama.ADAPTER_PANEL, adapter.rank) * adapter.scale
                parts.append(panels.swapaxes(1, 2))
    return np.concatenate([part.astype(np.float16).ravel() for part in parts])
