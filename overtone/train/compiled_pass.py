"""The compiled pass: a Llama-like base in float32 on the processor, through the compiled kernels.

It keeps the activations of every layer. A pass that is too large for that goes through the plain pass (loop.py),
which supports every family, device and length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from overtone.kernels.compiled import compile_once
from overtone.kernels.threads import shared_team
from overtone.kernels.tiles import PANEL, QUANT_BLOCK, Tiles
from overtone.kernels.views import addresses, aligned_empty
from overtone.model.base_tiles import LayerTiles, read_head, read_layers
from overtone.model.decoder import Decoder
from overtone.model.decoder_config import DecoderConfig, Family
from overtone.model.lora import JobRows
from overtone.model.projections import JOINED
from overtone.model.rotation import make_tables
from overtone.processor import has_fused_multiply_add
from overtone.train.packing import Pack

Array = np.ndarray[Any, Any]


def can_run(decoder: Decoder, jobs: Sequence[JobRows]) -> bool:
    """Tell whether the kernels support this base and these ranks."""
    return all(job.lora.rank % PANEL == 0 for job in jobs) and knows(decoder)


def knows(decoder: Decoder) -> bool:
    """Tell whether the kernels support this base."""
    return not obstacle(decoder.config, decoder.device, decoder.dtype)


def obstacle(config: DecoderConfig, device: torch.device, dtype: torch.dtype) -> str:
    """Return why the kernels cannot compute a model, or "". They support Llama's layers, sizes in whole panels."""
    if device.type != "cpu":
        return f"the kernels are for processors, not for {device.type}"
    if dtype != torch.float32:
        return f"the kernels compute in float32, not in {str(dtype).removeprefix('torch.')}"
    if replace(config.family, sliding=False, packed=False) != Family():
        return "the kernels do not support this family's norms or activation"
    if any(config.windows):
        return "the kernels do not support sliding windows"
    if config.attn_softcap is not None or config.logit_softcap is not None:
        return "the kernels do not support soft caps"
    if len(set(config.ropes)) != 1 or len(config.ropes[0].inv_freq) * 2 != config.head_size:
        return "the kernels apply rope to whole heads, with the same angles in each layer"
    sizes = {
        "hidden_size": config.width,
        "head_dim": config.head_size,
        "intermediate_size": config.inner_size,
        "vocab_size": config.vocab_size,
    }
    odd = next(
        (f"{name} is {size}, not a multiple of {PANEL}" for name, size in sizes.items() if size % PANEL), ""
    )
    return odd or ("" if has_fused_multiply_add() else "the processor has no fused multiply-add")


class CompiledPass:
    """A base's addresses for the kernels, their threads, and their working memory, which grows as needed."""

    def __init__(self, decoder: Decoder, in_integers: bool = False):
        """`in_integers`: multiply with the base's quant blocks in 16-bit integers, if it has any.

        This changes gradients by 0.1% of their length; bfloat16 changes them by 5 to 12%.
        """
        compile_once()
        from overtone.kernels import float_products, rounded_products
        from overtone.kernels.llama import train as llama  # importing it compiles

        self._kernels = llama
        self._products = float_products
        self.decoder = decoder
        self._functions = float_products.ADDRESSES | rounded_products.ADDRESSES
        self._team = shared_team(torch.get_num_threads())
        layers = read_layers(decoder.base_folder, decoder.config)  # if any: a seventh of the floats
        head = read_head(decoder.base_folder, decoder.config)
        step_sizes, head_step_sizes = _step_sizes(layers, head) if in_integers else (None, None)
        self.in_integers = step_sizes is not None
        tables = _tables(decoder, layers, step_sizes)
        self._base = _describe(decoder, tables, layers, head, head_step_sizes)
        # kept while a helper thread may read them
        self._weights = (tables, step_sizes, head_step_sizes, layers, head)
        self._memory: dict[str, Array] = {}
        self._room: tuple[int, ...] = (0, 0, 0, 0)

    def run(self, packed: Pack, jobs: Sequence[JobRows], weight_N: Tensor, backward: bool = True) -> Tensor:
        """Return every trained token's weighted loss. With `backward`, add to each job's gradients.

        Any rows of a text may be kept, in any number of runs. Asserts everything else that the kernels rely on,
        because otherwise they would read and write out of bounds.
        """
        _require_layout(packed, jobs)
        assert 0 <= packed.targets_N.min() <= packed.targets_N.max() < self.decoder.config.vocab_size, (
            "no such token"
        )
        strips, kept_strips = _strips(packed)
        plan = self._plan(packed, jobs, weight_N) | {"strips": np.array(strips + kept_strips, np.int64)}
        rank = max(job.lora.rank for job in jobs)
        longest = _longest(packed)
        self._make_room(len(packed.ids_T), len(packed.keep_N), rank, longest)
        self._embed(packed.ids_T)
        run = self._kernels.Pass(
            num_threads=self._team.num_threads,
            num_rows=len(packed.ids_T),
            num_kept=len(packed.keep_N),
            num_jobs=len(jobs),
            num_strips=len(strips),
            num_kept_strips=len(kept_strips),
            most_rows=max(job.rows.stop - job.rows.start for job in jobs),
            rank=rank,
            backward=int(backward),
            panel_bytes=self._memory["panels"].nbytes // self._team.num_threads,
            score_bytes=4 * _score_width(longest),
            **addresses(plan | self._memory),
            **self._functions,
        )
        self._team.run(self._kernels.run_pass, self._base, run, memory=(plan, self._weights))
        return torch.from_numpy(plan["terms"])

    def _plan(self, packed: Pack, jobs: Sequence[JobRows], weight_N: Tensor) -> dict[str, Any]:
        """Return the arguments of one pass by their names in the kernels' `Pass`."""
        rope = self.decoder.config.ropes[0]
        num_kept = len(packed.keep_N)
        cos_T1R, sin_T1R = make_tables(rope, packed.positions_T, torch.float32)
        half = self.decoder.config.head_size // 2
        return {
            "cos": np.ascontiguousarray(cos_T1R[:, 0, :half].numpy()),
            "sin": np.ascontiguousarray(sin_T1R[:, 0, half:].numpy()),
            "keep": packed.keep_N.numpy(),
            "jobs": np.array([_describe_job(job) for job in jobs], np.int64),
            "scales": np.array([job.lora.scale for job in jobs], np.float32),
            "targets": packed.targets_N.numpy(),
            "shares": weight_N.numpy(),
            "terms": np.empty(num_kept, np.float32),
            "counters": np.zeros((self._kernels.count_phases(self._base.num_layers, num_kept), 8), np.int64),
        }

    def _embed(self, ids_T: Tensor) -> None:
        """Write the tokens' embeddings to the input of the first layer."""
        embedded_TD = F.embedding(ids_T, self.decoder.embed_VD).numpy()
        num_rows, width = embedded_TD.shape
        row_width = self._products.padded(width)
        self._memory["x"][: num_rows * row_width].reshape(num_rows, row_width)[:, :width] = embedded_TD

    def _make_room(self, *wanted: int) -> None:
        """Make the working memory large enough for T rows, N kept ones, a rank, and texts of this length."""
        if all(size <= room for size, room in zip(wanted, self._room, strict=True)):
            return
        self._memory.clear()  # release it before allocating more
        self._room = tuple(max(pair) for pair in zip(wanted, self._room, strict=True))
        sizes = _sizes(self.decoder, self._team.num_threads, *self._room)
        self._memory = {name: aligned_empty((size,), np.float32) for name, size in sizes.items()}


def _require_layout(packed: Pack, jobs: Sequence[JobRows]) -> None:
    """Assert that kept rows ascend, each within its job, and that a text sees its job's first text or none."""
    keep_N = packed.keep_N.numpy()
    assert len(keep_N) == len(packed.targets_N) and (np.diff(keep_N) > 0).all(), "kept rows do not ascend"
    assert [job.rows for job in jobs] == list(packed.rows.values()), (
        "these are other jobs than those of the pack"
    )
    for job, texts in zip(jobs, packed.texts.values(), strict=True):
        assert job.lora.rank % PANEL == 0, f"the rank {job.lora.rank} is not a multiple of {PANEL}"
        assert job.kept_rows is not None and job.kept_rows.start < job.kept_rows.stop, "a job keeps no rows"
        first, last = keep_N[job.kept_rows][[0, -1]]
        assert job.rows.start <= first and last < job.rows.stop, "a job keeps rows of another"
        seen = {text.shared for text in texts} - {range(0)}
        assert all(shared == texts[0].own for shared in seen), (
            "a text sees rows of a text that is not the first"
        )


def _longest(packed: Pack) -> int:
    """Return the largest number of tokens that a query sees."""
    return max(len(text.shared) + len(text.own) for texts in packed.texts.values() for text in texts)


def _score_width(longest: int) -> int:
    """Return the size of a query's attention weights, with room for a panel that begins at the last key."""
    from overtone.kernels.float_products import padded

    return padded(-(-longest // PANEL) * PANEL + PANEL)


def _sizes(
    decoder: Decoder, num_threads: int, rows: int, kept: int, rank: int, longest: int
) -> dict[str, int]:
    """Return the size of each array of working memory, in numbers."""
    from overtone.kernels.attention import STRIP
    from overtone.kernels.float_products import PANEL_DEPTH, padded
    from overtone.kernels.llama.train import HEAD_SEGMENTS, LOGIT_ROWS
    from overtone.kernels.rounded_products import PANEL_BLOCKS
    from overtone.kernels.tile_products import SUMS_BYTES

    config = decoder.config
    layers = decoder.config.num_layers
    heads = decoder.config.num_heads
    widths = (
        config.width,
        sum(config.qkv_sizes),
        config.qkv_sizes[0],
        config.inner_size,
        2 * config.inner_size,
    )
    width, qkv, mixed, inner, gates = map(padded, widths)
    widest_input = max(widths[0], widths[2], widths[3])
    widest = max(widths)
    panel = max(  # float32s, or twice as many int16s
        PANEL * PANEL_DEPTH,
        PANEL * widest_input // 2 + SUMS_BYTES // 4,
        PANEL * QUANT_BLOCK * PANEL_BLOCKS // 2,
    )
    scores = _score_width(longest)
    per_row = {
        "x": (layers + 1) * width,
        "middle": layers * width,
        "scale_1": layers + 1,
        "scale_2": layers,
        "normed_1": (layers + 1) * width,
        "normed_2": layers * width,
        "log_sums": layers * heads,
        "mixed": layers * mixed,
        "gates": layers * gates,
        "acts": layers * inner,
        "u": layers * 12 * rank,
        "g": width,
        "d_normed": width,
        "d_qkv": qkv,
        "d_mixed": mixed,
        "d_gates": gates,
        "d_acts": inner,
        "du": 3 * rank,
        "attention": heads * scores,
        "d_attention": heads * scores,
        "ints": widest // 2,
        "factors": 2 * (widest // QUANT_BLOCK),
    }
    logit_rows = min(kept, LOGIT_ROWS)
    return {name: rows * size for name, size in per_row.items()} | {
        "qkv": (rows * layers + PANEL) * qkv,  # attention reads whole panels of keys, past the last key
        "g_kept": kept * width,
        "logits": logit_rows * padded(config.vocab_size),
        "logit_ints": logit_rows * config.vocab_size // 2,
        "logit_factors": logit_rows * config.vocab_size // 16,
        "partial": HEAD_SEGMENTS * LOGIT_ROWS * width,
        "panels": num_threads * panel,
        "scores": num_threads * STRIP * scores,
    }


def _strips(packed: Pack) -> tuple[list[list[int]], list[list[int]]]:
    """Return the strips of all rows and of the kept rows, in the form of the kernels' `Strip`."""
    from overtone.kernels.attention import STRIP

    keep_N = packed.keep_N.numpy()
    strips: list[list[int]] = []
    kept: list[list[int]] = []
    for texts in packed.texts.values():
        bounds = [(len(strips), len(kept))]
        for text in texts:
            own = text.own
            stretch = [text.shared.start, len(text.shared), text.own.start]
            for row in range(own.start, own.stop, STRIP):
                count = min(STRIP, own.stop - row)
                strips.append([row, count, row, *stretch, row + count - own.start])
            for low, high in _runs(keep_N, own):
                for n in range(low, high, STRIP):
                    row = int(keep_N[n])
                    count = min(STRIP, high - n)
                    span = -(-(row + count - own.start) // STRIP) * STRIP
                    kept.append([row, count, n, *stretch, min(span, len(own)), 0, 0, 0, 0])
            bounds.append((len(strips), len(kept)))
        for number, text in enumerate(texts):
            (first, kept_first) = bounds[number]
            (end, kept_end) = bounds[number + 1]
            last, kept_last = bounds[-1] if text.own == texts[-1].shared else (end, kept_end)
            for index in range(first, end):
                while kept_first < kept_last and sum(kept[kept_first][:2]) <= strips[index][0]:
                    kept_first += 1
                strips[index] += [index, last, kept_first, kept_last]
    return strips, kept


def _runs(keep_N: Array, own: range) -> Iterator[tuple[int, int]]:
    """Yield start and end of each run of consecutive kept rows of a text, because a strip has no gap."""
    low, high = np.searchsorted(keep_N, (own.start, own.stop)).tolist()
    gaps = np.flatnonzero(np.diff(keep_N[low:high]) != 1) + 1
    yield from pairwise([low, *(low + gaps).tolist(), high])


def _describe_job(job: JobRows) -> tuple[int, ...]:
    assert job.kept_rows is not None
    bounds = job.rows.start, job.rows.stop, job.kept_rows.start, job.kept_rows.stop
    return *bounds, job.lora.rank, job.lora.flat.data_ptr(), job.lora.grad.data_ptr()


def _step_sizes(
    layers: LayerTiles | None, head: Tiles | None
) -> tuple[dict[str, list[Array]] | None, Array | None]:
    """Return what the integer products need besides the tiles, or None to multiply in float32."""
    from overtone.kernels.rounded_products import BLOCK_TILES, step_sizes_of

    def fits(num_tiles: int) -> bool:
        return num_tiles % BLOCK_TILES == 0

    of_layers = None
    if layers is not None and all(fits(data.shape[1]) for data in layers.data.values()):
        of_layers = {
            name: [step_sizes_of(layers.kind, one) for one in all] for name, all in layers.data.items()
        }
    of_head = None if head is None or not fits(len(head.data)) else step_sizes_of(head.kind, head.data)
    return of_layers, of_head


def _tables(
    decoder: Decoder, tiles: LayerTiles | None, step_sizes: dict[str, list[Array]] | None
) -> dict[str, Array]:
    """Return the addresses of the base's tensors by their names in the kernels' `FrozenBase`."""
    norms = ("before_attention", "before_mlp")

    def weight(layer: int, name: str) -> int:
        if tiles is None:
            return _address(decoder.layers[layer].weights[name])
        return int(tiles.data[name][layer].ctypes.data)

    rows = {
        "weights": [[weight(layer, name) for name in JOINED] for layer in range(len(decoder.layers))],
        "step_sizes": [
            [step_sizes[name][layer].ctypes.data if step_sizes else 0 for name in JOINED]
            for layer in range(len(decoder.layers))
        ],
        "biases": [[_address(layer.biases.get(name)) for name in JOINED] for layer in decoder.layers],
        "norms": [[_address(layer.norms[name]) for name in norms] for layer in decoder.layers],
    }
    return {name: np.array(row, np.int64) for name, row in rows.items()}


def _address(tensor: Tensor | None) -> int:
    assert tensor is None or tensor.is_contiguous()
    return 0 if tensor is None else tensor.data_ptr()


def _describe(
    decoder: Decoder,
    tables: dict[str, Array],
    layers: LayerTiles | None,
    head: Tiles | None,
    head_step_sizes: Array | None,
) -> Any:
    from overtone.kernels.llama.train import FrozenBase
    from overtone.kernels.panels import FLOATS

    config = decoder.config
    return FrozenBase(
        num_layers=config.num_layers,
        width=config.width,
        num_heads=config.num_heads,
        num_kv_heads=config.num_kv_heads,
        head_size=config.head_size,
        inner=config.inner_size,
        vocabulary=config.vocab_size,
        eps=config.norm_eps,
        scale=config.scale,
        kind=FLOATS if layers is None else layers.kind.block_bytes,
        head_kind=FLOATS if head is None else head.kind.block_bytes,
        final_norm=decoder.final_norm_D.data_ptr(),
        head=_address(decoder.head_VD) if head is None else head.data.ctypes.data,
        head_step_sizes=0 if head_step_sizes is None else head_step_sizes.ctypes.data,
        **addresses(tables),
    )
