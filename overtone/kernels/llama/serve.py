"""A whole step of a Llama-like decoder as one compiled function that a team of threads runs together.

Every row is computed for itself and in one fixed order: its numbers do not depend on the batch, the chunk or
the threads. The formulas are model/decoder.py's.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from overtone.kernels.calls import opaque
from overtone.kernels.formulas import exp, normalise, rotate, softmax
from overtone.kernels.simd import (
    add_panel,
    add_panel_three,
    clear,
    dot_f16,
    dot_f16_three,
    round_block,
    to_f16,
)
from overtone.kernels.threads import phase, tasks_at_once
from overtone.kernels.tile_products import LARGEST_ACTIVATION, PRODUCTS, multiply_rows_wide, widen
from overtone.kernels.tiles import Q4, Q8, QUANT_BLOCK, TILE
from overtone.kernels.views import (
    compiled,
    entry_point,
    free_order,
    read_f16,
    read_i8,
    read_i64,
    view_f32,
    view_i64,
)

Array = np.ndarray[Any, Any]

ADAPTER_PANEL = 32  # outputs of an adapter's B that are computed together
PANELS_AT_ONCE = 8  # adapter panels of the MLP's inner values that are computed together
CACHE_BLOCK = 16  # places
Q4_BYTES = Q4.block_bytes
HEAD_BYTES = Q8.block_bytes
PHASES_PER_LAYER = 9
LOGIT_SEGMENTS = 8  # of the vocabulary, when a row of logits is summed up

TOGETHER = 3  # rows of one adapter that are computed together: twelve vectors of sums in registers
ENOUGH = 12  # rows for which it pays to widen a tile's weights

_q4_1, _q4_2, _q4_4 = (PRODUCTS[Q4, rows] for rows in (1, 2, 4))
_q8_1, _q8_2, _q8_4 = (PRODUCTS[Q8, rows] for rows in (1, 2, 4))


class Model(NamedTuple):
    """The base and the cache: sizes, then addresses. Tiles are those of kernels/tiles.py, layer after layer."""

    num_layers: int
    width: int
    num_heads: int
    num_kv_heads: int  # keys and values; each is shared by num_heads / num_kv_heads query heads
    head_size: int
    inner: int
    vocabulary: int
    num_places: int  # of the cache
    block_bytes: int  # of a tile's quant block in the layers: tells 4 bits from 8; the head has 8
    eps: float
    scale: float
    qkv: int
    o: int
    gate_up: int
    down: int
    head: int  # also the embedding
    norms: int  # [layer, 2, D] float32: before attention, before the MLP
    final_norm: int
    cos: int  # [position, K / 2]
    sin: int
    k: int  # [layer, place, key head, K] float16
    v: int


class EngineStep(NamedTuple):
    """One step: T rows, some of which want logits. Integers are int64, working memory is float32."""

    num_threads: int
    num_rows: int
    num_kept: int
    num_adapted: int  # rows with an adapter
    table_width: int
    u_width: int
    panel_bytes: int
    context: int
    ids: int  # [T]
    positions: int  # [T]
    places: int  # [T] where in the cache the row's own key and value go
    tables: int  # [sequence, n] the first place of its n-th block
    table_of: int  # [T] the row's sequence
    adapters: int  # [T] the address of the row's adapter, 0: none
    ranks: int  # [T]
    keep: int  # [kept]
    hidden: int  # [T, D] the residual stream
    normed: int  # [T, D]
    queries: int  # [T, qkv]
    mixed: int  # [T, H K] attention's result
    gates: int  # [T, 2 I]
    acts: int  # [T, I]
    out: int  # [T, D] of a projection back to the width
    u: int  # [T, 3 R] the adapters' inner values
    ints: int  # [T, blocks, 32] int16: activations as the tiles want them
    factors: int  # [T, blocks, 2] their scale and scaled sum
    scores: int  # [thread, context]
    panels: int  # [thread, panel_bytes] a tile's weights, widened
    counters: int  # [phase, 8] tasks claimed and tasks done
    logits: int  # [kept, V]
    best: int  # [kept, segment] int64: the likeliest token of each segment of the vocabulary
    log_sums: int  # [kept, segment] log Σ e^logit


class StepProjection(NamedTuple):
    """A matrix, its input and output, and where an adapter of rank 1 has its share: first A, then B."""

    kind: int  # bytes of a tile's quant block
    tiles: int
    x: int
    num_inputs: int
    y: int
    num_outputs: int
    start: int
    num_parts: int  # 0: no adapter reaches here


def count_phases(num_layers: int) -> int:
    """Return how many counters a step needs."""
    return 5 + PHASES_PER_LAYER * num_layers


@compiled
def multiply_rows(
    kind: int,
    num_rows: int,
    tile: int,
    ints: int,
    factors: int,
    y: int,
    num_blocks: int,
    num_steps: int,
    output_width: int,
) -> None:
    """Multiply 4, 2 or 1 rows of activations by one tile."""
    if kind == Q4_BYTES:
        if num_rows == 4:
            _q4_4(tile, ints, factors, y, num_blocks, num_steps, output_width)
        elif num_rows == 2:
            _q4_2(tile, ints, factors, y, num_blocks, num_steps, output_width)
        else:
            _q4_1(tile, ints, factors, y, num_blocks, num_steps, output_width)
    elif num_rows == 4:
        _q8_4(tile, ints, factors, y, num_blocks, num_steps, output_width)
    elif num_rows == 2:
        _q8_2(tile, ints, factors, y, num_blocks, num_steps, output_width)
    else:
        _q8_1(tile, ints, factors, y, num_blocks, num_steps, output_width)


@compiled
def multiply(
    step: EngineStep, matrix: StepProjection, num_rows: int, first: int, last: int, panel: int
) -> None:
    """y[rows, first * 16 : last * 16] = activations · tilesᵀ, for tiles first … last - 1 of a matrix."""
    kind = matrix.kind
    num_inputs = matrix.num_inputs
    num_blocks = matrix.num_inputs // QUANT_BLOCK
    num_steps = num_inputs // num_blocks // 4  # 8, but LLVM must not know
    is_wide = num_rows >= ENOUGH
    for index in range(first, last):
        tile = matrix.tiles + index * num_blocks * kind
        row = 0
        if is_wide:
            widen(kind, tile, panel, num_blocks)
        while row < num_rows:
            left = num_rows - row
            count = 4 if left >= 4 else left if is_wide else 2 if left >= 2 else 1
            ints, factors = step.ints + row * num_inputs * 2, step.factors + row * num_blocks * 8
            y = matrix.y + 4 * (row * matrix.num_outputs + index * TILE)
            width = matrix.num_outputs
            if is_wide:
                for n in range(count):
                    clear(y + 4 * n * width, TILE)
                multiply_rows_wide(kind, count, tile, panel, ints, factors, y, num_blocks, width)
            else:
                multiply_rows(kind, count, tile, ints, factors, y, num_blocks, num_steps, width)
            row += count


@compiled
def round_blocks(step: EngineStep, x: int, row: int, width: int, first: int, last: int) -> None:
    """Round quant blocks first … last - 1 of a row of `width` numbers that begins at x."""
    for block in range(first, last):
        at = row * width + block * QUANT_BLOCK
        ints, factors = step.ints + 2 * at, step.factors + 8 * (at // QUANT_BLOCK)
        round_block(x + 4 * block * QUANT_BLOCK, ints, factors, LARGEST_ACTIVATION)


@free_order
def add(x: Array, y: Array) -> None:
    """x += y."""
    for i in range(len(x)):
        x[i] += y[i]


@free_order
def silu_times(gate: Array, up: Array, out: Array) -> None:
    """out = silu(gate) · up."""
    for i in range(len(out)):
        out[i] = gate[i] / (np.float32(1) + exp(-gate[i])) * up[i]


@compiled
def scale_numbers(x: Array, factor: float) -> None:
    """x *= factor."""
    for i in range(len(x)):
        x[i] *= np.float32(factor)


@compiled
def attend(
    q: int, k: int, v: int, size: int, stride: int, cache_blocks: Array, scores: int, count: int, out: int
) -> None:
    """out = softmax(q kᵀ) v for one head over `count` places; q is scaled already.

    Addresses: of the query and the result, of `k` and `v` in the layer's first place; `stride` is in bytes.
    """
    weights = view_f32(scores, count)
    largest = np.float32(-np.inf)
    for n in range(count):
        place = cache_blocks[n // CACHE_BLOCK] + n % CACHE_BLOCK
        weights[n] = dot_f16(k + place * stride, q, size)
        largest = max(largest, weights[n])
    softmax(weights, largest)
    clear(out, size)
    for first in range(0, count, CACHE_BLOCK):
        here = v + cache_blocks[first // CACHE_BLOCK] * stride
        length = min(CACHE_BLOCK, count - first)
        for panel in range(size // ADAPTER_PANEL):
            at = ADAPTER_PANEL * panel
            add_panel(out + 4 * at, here + 2 * at, stride, scores + 4 * first, length)


@compiled
def shrink(step: EngineStep, row: int, x: int, num_inputs: int, start: int, num_parts: int) -> None:
    """u = A x for a row with an adapter. `start`: where A begins at rank 1; at rank R all is R times."""
    adapter, rank = read_i64(step.adapters, row), read_i64(step.ranks, row)
    if adapter:
        u = view_f32(step.u + 4 * row * step.u_width, num_parts * rank)
        for r in range(len(u)):
            u[r] = dot_f16(adapter + 2 * (start * rank + r * num_inputs), x, num_inputs)


@compiled
def share_adapter(step: EngineStep, first: int, last: int) -> bool:
    """Say whether these are three rows of one adapter: its numbers then become floats once for all."""
    adapter = read_i64(step.adapters, first)
    if not adapter or last - first != TOGETHER:
        return False
    return read_i64(step.adapters, first + 1) == adapter and read_i64(step.adapters, first + 2) == adapter


@compiled
def shrink_rows(step: EngineStep, matrix: StepProjection, first: int, last: int) -> None:
    """`shrink` for rows first … last - 1."""
    num_inputs = matrix.num_inputs
    stride_row = 4 * num_inputs
    stride_u = 4 * step.u_width
    if share_adapter(step, first, last):
        rank = read_i64(step.ranks, first)
        a = read_i64(step.adapters, first) + 2 * matrix.start * rank
        x = matrix.x + first * stride_row
        for r in range(matrix.num_parts * rank):
            u = step.u + first * stride_u + 4 * r
            dot_f16_three(a + 2 * r * num_inputs, x, stride_row, num_inputs, u, stride_u)
    else:
        for row in range(first, last):
            shrink(step, row, matrix.x + row * stride_row, num_inputs, matrix.start, matrix.num_parts)


@compiled
def rows_at_once(step: EngineStep, num_rows: int) -> int:
    """Return how many rows are adapted together: three when there are many, and any have an adapter."""
    return TOGETHER if num_rows >= ENOUGH and step.num_adapted else 1


@compiled
def expand(
    step: EngineStep, matrix: StepProjection, part: int, begin: int, end: int, first: int, last: int
) -> None:
    """y += B u in panels begin … end - 1 for rows first … last - 1; `part`: which u."""
    if not step.num_adapted:
        return
    start = matrix.start + matrix.num_parts * matrix.num_inputs  # of B at rank 1
    stride_row = 4 * matrix.num_outputs
    stride_u = 4 * step.u_width
    together = TOGETHER if share_adapter(step, first, last) else 1
    for row in range(first, last, together):
        adapter, rank = read_i64(step.adapters, row), read_i64(step.ranks, row)
        u = step.u + row * stride_u + 4 * part * rank
        y = matrix.y + row * stride_row
        for panel in range(begin, end):
            b = adapter + 2 * rank * (start + panel * ADAPTER_PANEL)
            here = y + 4 * panel * ADAPTER_PANEL
            if together == TOGETHER:
                add_panel_three(here, stride_row, b, 2 * ADAPTER_PANEL, u, stride_u, rank)
            elif adapter:
                add_panel(here, b, 2 * ADAPTER_PANEL, u, rank)


@compiled
def projection_of(model: Model, step: EngineStep, index: int) -> StepProjection:
    """Return the index-th projection: qkv, o, gate_up and down of each layer, and in the end the head."""
    layer, which = index // 4, index % 4
    width = model.width
    inner = model.inner
    mixed = model.num_heads * model.head_size
    qkv = mixed + 2 * model.num_kv_heads * model.head_size
    kind = model.block_bytes
    start = layer * (7 * width + mixed + 3 * inner + qkv)
    before = layer * kind  # bytes of the layers before this, for each quant block of each tile
    if layer == model.num_layers:
        return StepProjection(HEAD_BYTES, model.head, step.normed, width, step.logits, model.vocabulary, 0, 0)
    if which == 0:
        tiles = model.qkv + before * (width // QUANT_BLOCK) * (qkv // TILE)
        return StepProjection(kind, tiles, step.normed, width, step.queries, qkv, start, 3)
    start += 3 * width + qkv
    if which == 1:
        tiles = model.o + before * (mixed // QUANT_BLOCK) * (width // TILE)
        return StepProjection(kind, tiles, step.mixed, mixed, step.out, width, start, 1)
    start += mixed + width
    if which == 2:
        tiles = model.gate_up + before * (width // QUANT_BLOCK) * (2 * inner // TILE)
        return StepProjection(kind, tiles, step.normed, width, step.gates, 2 * inner, start, 2)
    start += 2 * width + 2 * inner
    tiles = model.down + before * (inner // QUANT_BLOCK) * (width // TILE)
    return StepProjection(kind, tiles, step.acts, inner, step.out, width, start, 1)


@compiled
def num_tile_tasks(step: EngineStep, matrix: StepProjection) -> int:
    """Return how many tasks a matrix' tiles are multiplied in: about six for each thread."""
    num_tiles = matrix.num_outputs // TILE
    return -(-num_tiles // tasks_at_once(num_tiles, step.num_threads))


@compiled
def num_shrinks(step: EngineStep, matrix: StepProjection, num_rows: int) -> int:
    """Return how many tasks u = A x is made in beside them; none where no adapter reaches."""
    return -(-num_rows // rows_at_once(step, num_rows)) if matrix.num_parts and step.num_adapted else 0


@phase("num_tile_tasks(step, matrix) + num_shrinks(step, matrix, num_rows)")
def project(step: EngineStep, matrix: StepProjection, num_rows: int, thread: int, task: int) -> None:
    """Multiply rows by the tiles and, beside it, u = A x for rows with adapters."""
    num_tiles = matrix.num_outputs // TILE
    num_tasks = num_tile_tasks(step, matrix)
    if task < num_tasks:
        size = tasks_at_once(num_tiles, step.num_threads)
        panel = step.panels + thread * step.panel_bytes
        multiply(step, matrix, num_rows, task * size, min((task + 1) * size, num_tiles), panel)
    else:
        together = rows_at_once(step, num_rows)
        first = (task - num_tasks) * together
        shrink_rows(step, matrix, first, min(first + together, num_rows))


@compiled
def prepare_head(
    model: Model, step: EngineStep, layer: int, matrix: StepProjection, head: int, first: int, last: int
) -> None:
    """For rows first … last - 1: add LoRA to a head; rotate a query or key; put a key or value into the cache."""
    size = model.head_size
    num_heads = model.num_heads
    num_kv_heads = model.num_kv_heads
    part = 0 if head < num_heads else 1 if head < num_heads + num_kv_heads else 2
    expand(step, matrix, part, head * size // ADAPTER_PANEL, (head + 1) * size // ADAPTER_PANEL, first, last)
    for row in range(first, last):
        y = step.queries + 4 * (row * (num_heads + 2 * num_kv_heads) + head) * size
        values = view_f32(y, size)
        position = read_i64(step.positions, row)
        if part < 2:
            at = 4 * position * (size // 2)
            rotate(values, view_f32(model.cos + at, size // 2), view_f32(model.sin + at, size // 2), 1.0)
        if part == 0:
            scale_numbers(values, model.scale)
        else:
            kv_head = (head - num_heads) % num_kv_heads
            place = (layer * model.num_places + read_i64(step.places, row)) * num_kv_heads + kv_head
            to_f16((model.k if part == 1 else model.v) + 2 * place * size, y, size)


@compiled
def num_heads_of_row(model: Model) -> int:
    """Return how many heads a row has: of queries, keys and values."""
    return model.num_heads + 2 * model.num_kv_heads


@compiled
def num_row_chunks(step: EngineStep, num_rows: int) -> int:
    """Return how many times as many rows are adapted together as `rows_at_once` says."""
    return -(-num_rows // rows_at_once(step, num_rows))


@phase("num_row_chunks(step, step.num_rows) * num_heads_of_row(model)", many=True)
def prepare_heads(model: Model, step: EngineStep, layer: int, matrix: StepProjection, task: int) -> None:
    """`prepare_head` for all."""
    together = rows_at_once(step, step.num_rows)
    per_row = num_heads_of_row(model)
    first = task // per_row * together
    prepare_head(model, step, layer, matrix, task % per_row, first, min(first + together, step.num_rows))


@phase("step.num_rows * model.num_heads")
def attend_all(model: Model, step: EngineStep, layer: int, thread: int, task: int) -> None:
    """Attention for every row and head, its result rounded for the output projection."""
    size = model.head_size
    num_heads = model.num_heads
    num_kv_heads = model.num_kv_heads
    row = task // num_heads
    head = task % num_heads
    stride = 2 * num_kv_heads * size
    start = 2 * (layer * model.num_places * num_kv_heads + head * num_kv_heads // num_heads) * size
    q = step.queries + 4 * (row * num_heads_of_row(model) + head) * size
    cache_blocks = view_i64(
        step.tables + 8 * read_i64(step.table_of, row) * step.table_width, step.table_width
    )
    scores = step.scores + 4 * thread * step.context
    count = read_i64(step.positions, row) + 1
    mixed = step.mixed + 4 * row * num_heads * size
    attend(
        q,
        model.k + start,
        model.v + start,
        size,
        stride,
        cache_blocks,
        scores,
        count,
        mixed + 4 * head * size,
    )
    first = head * size // QUANT_BLOCK
    round_blocks(step, mixed, row, num_heads * size, first, first + size // QUANT_BLOCK)


@phase("num_row_chunks(step, num_rows)")
def add_and_normalise(
    model: Model, step: EngineStep, matrix: StepProjection, num_rows: int, norm: int, adds: int, task: int
) -> None:
    """hidden += out (if adds), with LoRA; normed = norm(hidden), also as integers."""
    width = model.width
    together = rows_at_once(step, num_rows)
    first = task * together
    last = min(first + together, num_rows)
    if adds:
        expand(step, matrix, opaque(0), opaque(0), width // ADAPTER_PANEL, first, last)
    for row in range(first, last):
        at = 4 * row * width
        hidden = view_f32(step.hidden + at, width)
        if adds:
            add(hidden, view_f32(step.out + at, width))
        normalise(hidden, view_f32(norm, width), model.eps, view_f32(step.normed + at, width))
        round_blocks(step, step.normed + at, row, width, 0, width // QUANT_BLOCK)


@compiled
def num_inner_chunks(model: Model) -> int:
    return -(-(model.inner // ADAPTER_PANEL) // PANELS_AT_ONCE)


@phase("num_row_chunks(step, num_rows) * num_inner_chunks(model)")
def activate(model: Model, step: EngineStep, matrix: StepProjection, num_rows: int, task: int) -> None:
    """Combine gate and up, with LoRA, also as integers."""
    inner = model.inner
    panels = model.inner // ADAPTER_PANEL
    together = rows_at_once(step, num_rows)
    first = task // num_inner_chunks(model) * together
    begin = task % num_inner_chunks(model) * PANELS_AT_ONCE
    last = min(first + together, num_rows)
    end = min(begin + PANELS_AT_ONCE, panels)
    expand(step, matrix, opaque(0), begin, end, first, last)
    expand(step, matrix, opaque(1), panels + begin, panels + end, first, last)
    at = 4 * begin * ADAPTER_PANEL
    count = (end - begin) * ADAPTER_PANEL
    for row in range(first, last):
        y = step.gates + 8 * row * inner
        acts = step.acts + 4 * row * inner
        silu_times(view_f32(y + at, count), view_f32(y + 4 * inner + at, count), view_f32(acts + at, count))
        round_blocks(step, acts, row, inner, begin, end)


@phase("step.num_rows")
def embed_all(model: Model, step: EngineStep, row: int) -> None:
    """hidden = the rows' embeddings, from the 8-bit tiles."""
    token = read_i64(step.ids, row)
    hidden = view_f32(step.hidden + 4 * row * model.width, model.width)
    vector, lane = token % TILE // 8, token % 8
    for block in range(model.width // QUANT_BLOCK):
        at = model.head + (token // TILE * (model.width // QUANT_BLOCK) + block) * HEAD_BYTES
        scale = read_f16(at + TILE * QUANT_BLOCK + 2 * (token % TILE))
        for i in range(QUANT_BLOCK):
            weight = read_i8(at + ((i // 2) * 2 + vector) * 16 + 2 * lane + i % 2)
            hidden[block * QUANT_BLOCK + i] = scale * np.float32(weight)


@compiled
def move_row(start: int, size: int, source: int, target: int) -> None:
    """Copy row `source` of float32 numbers over row `target`."""
    here, there = view_f32(start + 4 * source * size, size), view_f32(start + 4 * target * size, size)
    for i in range(size):
        there[i] = here[i]


@phase("1")
def gather_kept(model: Model, step: EngineStep, task: int) -> None:
    """Move the rows that want logits to the front, in order.

    After the last layer's attention nobody needs the others. Two 16-bit integers are moved as one float.
    """
    mixed = model.num_heads * model.head_size
    adapters, ranks = view_i64(step.adapters, step.num_rows), view_i64(step.ranks, step.num_rows)
    for n in range(step.num_kept):
        row = read_i64(step.keep, n)
        if row > n:
            move_row(step.hidden, model.width, row, n)
            move_row(step.mixed, mixed, row, n)
            move_row(step.ints, mixed // 2, row, n)
            move_row(step.factors, 2 * (mixed // QUANT_BLOCK), row, n)
            adapters[n], ranks[n] = adapters[row], ranks[row]


@free_order
def sum_up(logits: Array) -> tuple[int, float]:
    """Return where the largest number stands and log Σ e^number."""
    best = 0
    largest = logits[0]
    for n in range(len(logits)):
        largest = max(largest, logits[n])
    while best < len(logits) - 1 and logits[best] != largest:  # never equal where there are NaNs
        best += 1
    total = np.float32(0)
    for n in range(len(logits)):
        total += exp(logits[n] - largest)
    return best, largest + np.log(total)


@phase("step.num_kept * LOGIT_SEGMENTS")
def sum_up_all(model: Model, step: EngineStep, task: int) -> None:
    """`sum_up` every segment of every row of logits."""
    total = step.num_kept * LOGIT_SEGMENTS
    size = model.vocabulary // LOGIT_SEGMENTS
    row, segment = task // LOGIT_SEGMENTS, task % LOGIT_SEGMENTS
    first = segment * size
    length = size if segment < LOGIT_SEGMENTS - 1 else model.vocabulary - first
    best, log_sum = sum_up(view_f32(step.logits + 4 * (row * model.vocabulary + first), length))
    view_i64(step.best, total)[task] = first + best
    view_f32(step.log_sums, total)[task] = log_sum


@compiled
def follow(
    model: Model,
    step: EngineStep,
    matrix: StepProjection,
    num_rows: int,
    layer: int,
    which: int,
    adds: int,
    phase: int,
    thread: int,
) -> int:
    """Do what comes after a layer's projection `which`; return the next phase's number."""
    if which == 0:
        phase = prepare_heads(model, step, layer, matrix, phase)
        return attend_all(model, step, layer, thread, phase)
    if which == 2:
        return activate(model, step, matrix, num_rows, phase)
    number = 2 * layer + 1 if which == 1 else 2 * layer + 2
    norm = model.norms + 4 * number * model.width if number < 2 * model.num_layers else model.final_norm
    return add_and_normalise(model, step, matrix, num_rows, norm, adds, phase)


@entry_point
def run_step(thread: int, model: Model, step: EngineStep) -> None:
    """Compute the logits of the kept rows, and every row's keys and values in the cache.

    Every thread of the team calls this with its own number; the counters are zero before. One loop over all
    projections and no constant arguments, because numba compiles a function for every constant anew.
    """
    phase = embed_all(model, step, opaque(0))
    adds = 0
    num_rows = step.num_rows
    for index in range(-1, 4 * model.num_layers):  # at -1 only the first layer's norm
        layer = index // 4
        which = index % 4
        matrix = projection_of(model, step, max(index, 0))
        if index >= 0:
            phase = project(step, matrix, num_rows, thread, phase)
            adds = 1
        phase = follow(model, step, matrix, num_rows, layer, which, adds, phase, thread)
        if index == 4 * (model.num_layers - 1):
            phase = gather_kept(model, step, phase)
            num_rows = step.num_kept
    phase = project(step, projection_of(model, step, 4 * model.num_layers), num_rows, thread, phase)
    sum_up_all(model, step, phase)
