"""The fast pass: short texts over a Llama-like base in float32 on the processor, through the compiled kernels.

At fifty tokens libraries spend more time around the products than in them. In texts of many hundred tokens the
products are all that counts, and the plain pass (loop.py) is as fast; it also knows every family and device.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from llvmlite.binding import get_host_cpu_features
from torch import Tensor

from overtone.kernels.memory import addresses
from overtone.kernels.team import Team
from overtone.model.decoder import PROJECTIONS, Decoder
from overtone.model.decoder_config import Family
from overtone.model.lora import Slot
from overtone.train.packing import Pack

Array = np.ndarray[Any, Any]

MAX_ROWS = 1024  # of a pass
MAX_SEEN = 384  # tokens of a text with its shared beginning; longer ones are as fast without these kernels
PANEL = 16  # as in kernels/products.py, which is imported where it is used: that compiles it


def can_run(decoder: Decoder, packed: Pack, slots: Sequence[Slot]) -> bool:
    """Say whether the kernels know this base and these ranks, and are the faster way for these texts."""
    small = len(packed.ids_T) <= MAX_ROWS and _longest(packed) <= MAX_SEEN
    return small and all(slot.lora.rank % PANEL == 0 for slot in slots) and knows(decoder)


def knows(decoder: Decoder) -> bool:
    """Say whether the kernels compute what this base is: Llama's layers, sizes in whole panels."""
    config = decoder.config
    sizes = (config.width, config.head_size, config.inner_size, config.vocab_size)
    return (
        decoder.device.type == "cpu"
        and decoder.dtype == torch.float32
        and replace(config.family, sliding=False, fused=False) == Family()
        and not any(config.windows)
        and config.attn_softcap is None
        and config.logit_softcap is None
        and len(set(config.ropes)) == 1
        and len(config.ropes[0].inv_freq) * 2 == config.head_size
        and all(size % PANEL == 0 for size in sizes)
        and _has_fused_multiply_add()
    )


def of(decoder: Decoder) -> CompiledPass:
    """Return the decoder's own, made when first asked for and kept as long as the decoder."""
    if decoder not in _made:
        _made[decoder] = CompiledPass(decoder)
    return _made[decoder]


class CompiledPass:
    """The kernels' view of a base, their threads, and their working memory, which grows as needed."""

    def __init__(self, decoder: Decoder):
        from overtone.train.kernels import llama, products  # compiles: only where it is used

        self._kernels, self._products, self.decoder = llama, products, weakref.proxy(decoder)
        self._team = _team(torch.get_num_threads())
        self._tables = _tables(decoder)
        self._base = _describe(decoder, self._tables)
        self._memory: dict[str, Array] = {}
        self._room: tuple[int, ...] = (0, 0, 0, 0)

    def run(self, packed: Pack, slots: Sequence[Slot], weight_N: Tensor) -> Tensor:
        """Add the slots' gradients to theirs; return every output token's weighted loss."""
        plan = self._plan(packed, slots, weight_N)
        rank = max(slot.lora.rank for slot in slots)
        longest = _longest(packed)
        self._make_room(len(packed.ids_T), len(packed.keep_N), rank, longest)
        self._embed(packed.ids_T)
        run = self._kernels.Pass(
            num_threads=self._team.num_threads,
            num_rows=len(packed.ids_T),
            num_kept=len(packed.keep_N),
            num_slots=len(slots),
            most_rows=max(slot.rows.stop - slot.rows.start for slot in slots),
            rank=rank,
            longest=longest,
            **addresses(plan | self._memory),
            **self._products.ADDRESSES,
        )
        self._team.run(self._kernels.run_pass, self._base, run, memory=(plan, self._tables))
        return torch.from_numpy(plan["terms"])

    def _plan(self, packed: Pack, slots: Sequence[Slot], weight_N: Tensor) -> dict[str, Any]:
        """Return what is particular to one pass, by the names of the kernels' `Pass`."""
        rope, keep_N = self.decoder.config.ropes[0], packed.keep_N.numpy()
        cos_T1R, sin_T1R = rope.tables(packed.positions_T, torch.float32)
        half = self.decoder.config.head_size // 2
        return _who_sees_whom(packed) | {
            "cos": np.ascontiguousarray(cos_T1R[:, 0, :half].numpy()),
            "sin": np.ascontiguousarray(sin_T1R[:, 0, half:].numpy()),
            "query_rows": np.concatenate([np.arange(len(packed.ids_T)), keep_N]),
            "slots": np.array([_describe_slot(slot) for slot in slots], np.int64),
            "scales": np.array([slot.lora.scale for slot in slots], np.float32),
            "targets": packed.targets_N.numpy(),
            "shares": weight_N.numpy(),
            "terms": np.empty(len(keep_N), np.float32),
            "counters": np.zeros(
                (self._kernels.count_phases(self._base.num_layers, len(keep_N)), 8), np.int64
            ),
        }

    def _embed(self, ids_T: Tensor) -> None:
        """Put the tokens' embeddings where the first layer looks for its input."""
        embedded_TD = F.embedding(ids_T, self.decoder.embed_VD).numpy()
        num_rows, width = embedded_TD.shape
        row_width = self._products.padded(width)
        self._memory["x"][: num_rows * row_width].reshape(num_rows, row_width)[:, :width] = embedded_TD

    def _make_room(self, *wanted: int) -> None:
        """Make the working memory large enough for T rows, N kept ones, a rank, and texts so long."""
        if all(size <= room for size, room in zip(wanted, self._room, strict=True)):
            return
        self._memory.clear()  # before more is asked for
        self._room = tuple(max(pair) for pair in zip(wanted, self._room, strict=True))
        sizes = _sizes(self.decoder, self._team.num_threads, *self._room)
        self._memory = {name: np.empty(size, np.float32) for name, size in sizes.items()}


def _longest(packed: Pack) -> int:
    """Return how many tokens a query sees at most."""
    return max(len(text.shared) + len(text.own) for texts in packed.texts.values() for text in texts)


def _sizes(
    decoder: Decoder, num_threads: int, rows: int, kept: int, rank: int, longest: int
) -> dict[str, int]:
    """Return how many numbers each array of working memory holds."""
    from overtone.train.kernels.llama import LOGIT_ROWS, SEGMENTS
    from overtone.train.kernels.products import DEPTH, padded

    config, layers, heads = decoder.config, decoder.config.num_layers, decoder.config.num_heads
    widths = (
        config.width,
        sum(config.qkv_sizes),
        config.qkv_sizes[0],
        config.inner_size,
        2 * config.inner_size,
    )
    width, qkv, mixed, inner, gates = map(padded, widths)
    per_row = {
        "x": (layers + 1) * width, "middle": layers * width, "scale_1": layers + 1, "scale_2": layers,
        "normed_1": (layers + 1) * width, "normed_2": layers * width, "qkv": layers * qkv,
        "log_sums": layers * heads, "mixed": layers * mixed, "gates": layers * gates, "acts": layers * inner,
        "u": layers * 12 * rank, "g": width, "d_normed": width, "d_qkv": qkv, "d_mixed": mixed,
        "d_gates": gates, "d_acts": inner, "du": 3 * rank,
        "attention": heads * longest, "d_attention": heads * longest,
    }  # fmt: skip
    logit_rows = min(kept, LOGIT_ROWS)
    return {name: rows * size for name, size in per_row.items()} | {
        "g_kept": kept * width, "logits": logit_rows * padded(config.vocab_size),
        "partial": SEGMENTS * LOGIT_ROWS * width,
        "panels": num_threads * DEPTH * PANEL, "scores": num_threads * longest,
    }  # fmt: skip


def _who_sees_whom(packed: Pack) -> dict[str, Array]:
    """Return, for each row, the rows that it sees and the queries that may see it."""
    num_rows, keep_N = len(packed.ids_T), packed.keep_N.numpy()
    shared_begin, shared_end, own_begin, last = (np.zeros(num_rows, np.int64) for _ in range(4))
    for slot, texts in packed.texts.items():
        for text in texts:
            own = slice(text.own.start, text.own.stop)
            shared_begin[own], shared_end[own] = text.shared.start, text.shared.stop
            own_begin[own], last[own] = text.own.start, text.own.stop
            last[text.shared.start : text.shared.stop] = packed.rows[slot].stop
    first = np.arange(num_rows)
    return {
        "shared_begin": shared_begin,
        "shared_end": shared_end,
        "own_begin": own_begin,
        "seers_begin": np.stack([first, np.searchsorted(keep_N, first)]),
        "seers_end": np.stack([last, np.searchsorted(keep_N, last)]),
    }


def _describe_slot(slot: Slot) -> tuple[int, ...]:
    assert slot.kept_rows is not None
    bounds = slot.rows.start, slot.rows.stop, slot.kept_rows.start, slot.kept_rows.stop
    return *bounds, slot.lora.rank, slot.lora.flat.data_ptr(), slot.lora.grad.data_ptr()


def _tables(decoder: Decoder) -> dict[str, Array]:
    """Return the addresses of the base's tensors, by the names of the kernels' `Base`."""

    def address(tensor: Tensor | None) -> int:
        assert tensor is None or tensor.is_contiguous()
        return 0 if tensor is None else tensor.data_ptr()

    norms = ("before_attention", "before_mlp")
    rows = {
        "weights": [[address(layer.weights[name]) for name in PROJECTIONS] for layer in decoder.layers],
        "biases": [[address(layer.biases.get(name)) for name in PROJECTIONS] for layer in decoder.layers],
        "norms": [[address(layer.norms[name]) for name in norms] for layer in decoder.layers],
    }
    return {name: np.array(row, np.int64) for name, row in rows.items()}


def _describe(decoder: Decoder, tables: dict[str, Array]) -> Any:
    from overtone.train.kernels.llama import Base

    config = decoder.config
    return Base(
        num_layers=config.num_layers,
        width=config.width,
        num_heads=config.num_heads,
        num_groups=config.num_kv_heads,
        head_size=config.head_size,
        inner=config.inner_size,
        vocabulary=config.vocab_size,
        eps=config.norm_eps,
        scale=config.scale,
        final_norm=decoder.final_norm_D.data_ptr(),
        head=decoder.head_VD.data_ptr(),
        **addresses(tables),
    )


@cache
def _has_fused_multiply_add() -> bool:
    features = get_host_cpu_features()
    return bool(features.get("fma") or features.get("neon"))


@cache
def _team(num_threads: int) -> Team:
    return Team(num_threads)


_made: weakref.WeakKeyDictionary[Decoder, CompiledPass] = weakref.WeakKeyDictionary()
