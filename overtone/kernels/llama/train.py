"""A whole pass of a Llama-like decoder with LoRA, forward and backward, as one compiled function.

A team of threads runs it together, phase by phase. It computes what model/decoder.py, model/lora.py,
train/attention.py and train/loss.py compute, with neither a graph nor an allocation between the products; tests
hold it against them. Every row and every element of a gradient is summed in one fixed order, whatever the
number of threads and whatever other jobs are in the pass.

In the last layer only rows that predict an output token ("kept") are computed past the attention's keys.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from overtone.kernels import float_products, rounded_products
from overtone.kernels.attention import STRIP, Kernels, KeySpan, attend, attend_back
from overtone.kernels.calls import caller, opaque
from overtone.kernels.float_products import PANEL_DEPTH, padded
from overtone.kernels.formulas import exp, normalise, rotate
from overtone.kernels.panels import FLOATS, bytes_of_row, pack_columns
from overtone.kernels.rounded_products import LARGEST_GRADIENT
from overtone.kernels.simd import add_scaled, clear, round_block
from overtone.kernels.threads import phase
from overtone.kernels.tile_products import LARGEST_ACTIVATION
from overtone.kernels.tiles import PANEL, QUANT_BLOCK, TILE
from overtone.kernels.views import Array, compiled, entry_point, free_order, read_i64, view_f32, view_i64

CHUNK_ROWS = 24  # rows of one task of a narrow product
ROUND_ROWS = 4  # of one task of rounding
TALL = 96  # rows of B's gradient in one task
LOGIT_ROWS = 64  # kept rows whose logits are held at once
HEAD_SEGMENTS = 16  # of the vocabulary, each summed by itself in the head's backward product
SEGMENT_DEPTH = 256  # of the head's rows: they stay in the second cache while all columns are computed
QKV, OUT, GATE_UP, DOWN = range(4)  # the joined projections, in the order of model/projections.py
row_width = compiled(padded)
PHASES_PER_LAYER = 32
PHASES_PER_CHUNK = 5
PHASES_BESIDE = 8

call_add_transposed = caller(float_products.add_transposed)
call_multiply_by_columns = caller(float_products.multiply_by_columns)
call_multiply_by_rows = caller(float_products.multiply_by_rows)
call_multiply_panel = caller(float_products.multiply_panel)
call_multiply_tile = caller(rounded_products.multiply_tile)
call_multiply_tiles_back = caller(rounded_products.multiply_tiles_back)


class FrozenBase(NamedTuple):
    """The frozen model: sizes, then addresses of float32 numbers and of tables of addresses."""

    num_layers: int
    width: int
    num_heads: int
    num_kv_heads: int  # keys and values; each is shared by num_heads / num_kv_heads query heads
    head_size: int
    inner: int
    vocabulary: int
    eps: float
    scale: float
    kind: int  # of the layers' weights, see panels.py
    head_kind: int
    weights: int  # [layer, 4] addresses of weight_OI: qkv, o, gate_up, down
    step_sizes: int  # [layer, 4] addresses of the rounded weights' step sizes, or 0: multiply in float32
    biases: int  # [layer, 4] addresses of bias_O, or 0
    norms: int  # [layer, 2] addresses: before attention, before the MLP
    final_norm: int
    head: int  # [V, D]
    head_step_sizes: int


class Pass(NamedTuple):
    """T rows of which N are kept; L layers. Integers are int64, numbers float32."""

    num_threads: int
    num_rows: int
    num_kept: int
    num_jobs: int
    num_strips: int  # of all rows
    num_kept_strips: int
    most_rows: int  # of a job
    rank: int  # the largest
    backward: int  # 0: the losses are wanted, no gradients
    panel_bytes: int
    score_bytes: int  # of a query's attention weights, with room for a panel more than it sees
    cos: int  # [T, K / 2]
    sin: int
    keep: int  # [N] the kept rows
    strips: int  # [strip, 11] see Strip; those of all rows, then those of the kept ones
    jobs: int  # [job, 7] see PassJob
    scales: int  # [job] alpha / rank
    targets: int  # [N]
    shares: int  # [N] the weight of each output token's loss
    terms: int  # [N] the output tokens' losses, weighted
    x: int  # [L + 1, T, D] the residual stream; the last for kept rows
    middle: int  # [L, T, D] between attention and MLP
    scale_1: int  # [L + 1, T] the norms' factors; the last is the final norm's
    scale_2: int
    normed_1: int  # [L + 1, T, D]
    normed_2: int
    qkv: int  # [L, T, Q] rotated by their positions
    log_sums: int  # [L, T, H] of attention's softmax
    mixed: int  # [L, T, H K] attention's result
    gates: int  # [L, T, 2 I]
    acts: int  # [L, T, I]
    u: int  # [L, 4, T, 3 R] scale · x Aᵀ
    g: int  # [T, D] the residual stream's gradient
    g_kept: int  # [N, D] the same in the last layer
    d_normed: int  # [T, D]
    d_qkv: int  # [T, Q]
    d_mixed: int  # [T, H K]
    d_gates: int  # [T, 2 I]
    d_acts: int  # [T, I]
    du: int  # [T, 3 R] scale · g B
    attention: int  # [H, T, score_bytes] softmax's weights
    d_attention: int  # [H, T, score_bytes] the scores' gradients
    logits: int  # [LOGIT_ROWS, V]
    logit_ints: int  # [LOGIT_ROWS, V] int16: their gradients
    logit_factors: int  # [LOGIT_ROWS, V / 32, 2]
    partial: int  # [HEAD_SEGMENTS, LOGIT_ROWS, D]
    ints: int  # [T, widest] int16: the rows that meet the base's tiles
    factors: int  # [T, widest / 32, 2] their scales, and their scaled sums
    panels: int  # [thread, panel_bytes]
    scores: int  # [thread, STRIP, score_bytes]
    counters: int  # [phase, 8]
    multiply_by_rows: int  # addresses of float_products.py's and rounded_products.py's functions
    multiply_by_columns: int
    multiply_panel: int
    add_transposed: int
    multiply_tile: int
    multiply_tiles_back: int


class PassJob(NamedTuple):
    """A job's rows and its adapter, whose matrices lie as model/lora.py lays them out."""

    begin: int
    end: int
    rank: int
    parameters: int
    gradients: int
    scale: float


class Strip(NamedTuple):
    """Neighbouring rows of one text that attend together, and those who see their keys."""

    row: int  # the first
    num_rows: int
    query: int  # the first row's number among those computed: the kept ones in the last layer
    shared: int  # the first row of the shared beginning
    num_shared: int
    own: int  # the first row of the text
    span: int  # of the text's rows: whole strips up to this one's last row
    first_seer: int  # the strips that may see these rows
    last_seer: int
    first_kept_seer: int  # and those of the kept rows
    last_kept_seer: int


class PassProjection(NamedTuple):
    """One joined projection: y_TO = x_TI Wᵀ, and where rank 1 of an adapter has its share."""

    which: int
    weight: int
    step_sizes: int
    bias: int
    num_inputs: int
    num_outputs: int
    num_parts: int
    start: int  # of A in an adapter of rank 1; B follows it
    x: int
    y: int
    u: int


def count_phases(num_layers: int, num_kept: int) -> int:
    """Return how many counters a pass needs."""
    num_chunks = -(-num_kept // LOGIT_ROWS)
    return PHASES_PER_LAYER * num_layers + PHASES_PER_CHUNK * num_chunks + PHASES_BESIDE


# Where things lie


@compiled
def is_last(base: FrozenBase, layer: int) -> bool:
    return layer == base.num_layers - 1


@compiled
def num_queries(base: FrozenBase, run: Pass, layer: int) -> int:
    """Return how many rows a layer computes past its keys and values."""
    return run.num_kept if is_last(base, layer) else run.num_rows


@compiled
def mixed_width(base: FrozenBase) -> int:
    return base.num_heads * base.head_size


@compiled
def qkv_width(base: FrozenBase) -> int:
    return (base.num_heads + 2 * base.num_kv_heads) * base.head_size


@compiled
def row_bytes(width: int) -> int:
    """Return how far apart rows of activations lie."""
    return 4 * row_width(width)


@compiled
def in_layer(run: Pass, address: int, layer: int, width: int) -> int:
    """Return where a layer's [T, width] begins."""
    return address + layer * run.num_rows * row_bytes(width)


@compiled
def numbers_in_layer(run: Pass, address: int, layer: int, count: int) -> int:
    """Return where a layer's [T, count] begins that no product reads: without padding."""
    return address + 4 * layer * run.num_rows * count


@compiled
def job_at(run: Pass, index: int, kept: bool) -> PassJob:
    fields = view_i64(run.jobs + 56 * index, 7)
    first = 2 if kept else 0
    scale = view_f32(run.scales, index + 1)[index]
    return PassJob(fields[first], fields[first + 1], fields[4], fields[5], fields[6], scale)


@compiled
def part_begin(base: FrozenBase, which: int, part: int) -> int:
    """Return where a module's outputs begin in its joined projection."""
    if which == QKV and part > 0:
        return (base.num_heads + (part - 1) * base.num_kv_heads) * base.head_size
    return part * (base.inner if which == GATE_UP else base.width)


@compiled
def part_of(base: FrozenBase, which: int, output: int) -> int:
    """Return to which module an output belongs."""
    part = 0
    if which in (QKV, GATE_UP):
        while part < (2 if which == QKV else 1) and output >= part_begin(base, which, part + 1):
            part += 1
    return part


@compiled
def projection_of(base: FrozenBase, run: Pass, layer: int, which: int) -> PassProjection:
    width = base.width
    inner = base.inner
    mixed = mixed_width(base)
    qkv = qkv_width(base)
    start = layer * (7 * width + mixed + 3 * inner + qkv)
    weight = read_i64(base.weights, 4 * layer + which)
    bias = read_i64(base.biases, 4 * layer + which)
    step_sizes = read_i64(base.step_sizes, 4 * layer + which)
    u = run.u + 12 * (4 * layer + which) * run.num_rows * run.rank
    middle = in_layer(run, run.middle, layer, width)
    acts = in_layer(run, run.acts, layer, inner)
    if which == QKV:
        x = in_layer(run, run.normed_1, layer, width)
        y = in_layer(run, run.qkv, layer, qkv)
        return PassProjection(which, weight, step_sizes, bias, width, qkv, 3, start, x, y, u)
    start += 3 * width + qkv
    if which == OUT:
        x = in_layer(run, run.mixed, layer, mixed)
        return PassProjection(which, weight, step_sizes, bias, mixed, width, 1, start, x, middle, u)
    start += mixed + width
    if which == GATE_UP:
        x = in_layer(run, run.normed_2, layer, width)
        y = in_layer(run, run.gates, layer, 2 * inner)
        return PassProjection(which, weight, step_sizes, bias, width, 2 * inner, 2, start, x, y, u)
    start += 2 * width + 2 * inner
    y = in_layer(run, run.x, layer + 1, width)
    return PassProjection(which, weight, step_sizes, bias, inner, width, 1, start, acts, y, u)


@compiled
def a_of(matrix: PassProjection, address: int, rank: int) -> int:
    """Return where A lies in an adapter's parameters or gradients."""
    return address + 4 * rank * matrix.start


@compiled
def b_of(matrix: PassProjection, address: int, rank: int, output: int) -> int:
    """Return where the row of B for an output lies."""
    return address + 4 * rank * (matrix.start + matrix.num_parts * matrix.num_inputs + output)


@compiled
def panel_of(run: Pass, thread: int) -> int:
    return run.panels + thread * run.panel_bytes


# Projections


@free_order
def scale_rows(address: int, stride: int, num_rows: int, factor: float) -> None:
    """Multiply a panel of rows by a factor."""
    for row in range(num_rows):
        x = view_f32(address + row * stride, PANEL)
        for i in range(PANEL):
            x[i] *= np.float32(factor)


@compiled
def shrink_chunk(
    run: Pass, matrix: PassProjection, job: PassJob, column: int, first: int, panel: int
) -> None:
    """u = scale · x Aᵀ in 16 columns for up to CHUNK_ROWS rows."""
    last = min(first + CHUNK_ROWS, job.end)
    stride = 12 * run.rank
    if first < last and column < matrix.num_parts * job.rank:
        stride_row = row_bytes(matrix.num_inputs)
        stride_a = 4 * matrix.num_inputs
        x = matrix.x + first * stride_row
        u = matrix.u + first * stride + 4 * column
        a = a_of(matrix, job.parameters, job.rank) + column * stride_a
        call_multiply_by_rows(
            run.multiply_by_rows,
            x,
            stride_row,
            last - first,
            FLOATS,
            a,
            matrix.num_inputs,
            stride_a,
            u,
            stride,
            0,
            panel,
        )
        scale_rows(u, stride, last - first, job.scale)


@compiled
def shrink_back_chunk(
    base: FrozenBase, run: Pass, matrix: PassProjection, job: PassJob, column: int, first: int, g: int
) -> None:
    """du = scale · g B in 16 columns for up to CHUNK_ROWS rows."""
    last = min(first + CHUNK_ROWS, job.end)
    stride = 12 * run.rank
    if first < last and column < matrix.num_parts * job.rank:
        part = column // job.rank
        begin = part_begin(base, matrix.which, part)
        is_last_part = part == matrix.num_parts - 1
        end = matrix.num_outputs if is_last_part else part_begin(base, matrix.which, part + 1)
        depth = end - begin
        stride_row = row_bytes(matrix.num_outputs)
        g_rows = g + first * stride_row + 4 * begin
        du = run.du + first * stride + 4 * column
        b = b_of(matrix, job.parameters, job.rank, begin) + 4 * (column % job.rank)
        call_multiply_panel(
            run.multiply_panel, g_rows, stride_row, last - first, b, 4 * job.rank, du, stride, depth, 0
        )
        scale_rows(du, stride, last - first, job.scale)


@compiled
def round_rows(x: int, width: int, ints: int, factors: int, first: int, last: int, largest: float) -> None:
    """Note rows of activations or gradients as integers."""
    for row in range(first, last):
        here = x + row * row_bytes(width)
        at = row * (width // QUANT_BLOCK)
        for block in range(width // QUANT_BLOCK):
            there = ints + 2 * QUANT_BLOCK * (at + block)
            round_block(
                here + 4 * QUANT_BLOCK * block, there, factors + 8 * (at + block), np.float32(largest)
            )


@compiled
def num_shrinks(run: Pass, matrix: PassProjection) -> int:
    """Return how many tasks u, or du, is made in: sixteen columns of up to CHUNK_ROWS rows of a job."""
    return run.num_jobs * (matrix.num_parts * run.rank // PANEL) * -(-run.most_rows // CHUNK_ROWS)


@compiled
def num_roundings(matrix: PassProjection, num_rows: int) -> int:
    """Return how many tasks rounding takes; none where the base is multiplied in float32."""
    return -(-num_rows // ROUND_ROWS) if matrix.step_sizes else 0


@phase("num_shrinks(run, matrix) + num_roundings(matrix, num_rows)")
def prepare(
    base: FrozenBase,
    run: Pass,
    matrix: PassProjection,
    kept: bool,
    num_rows: int,
    g: int,
    thread: int,
    task: int,
) -> None:
    """Compute u, or du where there is a gradient g, and round what meets the base."""
    num_columns = matrix.num_parts * run.rank // PANEL
    num_chunks = -(-run.most_rows // CHUNK_ROWS)
    if task < num_shrinks(run, matrix):
        job = job_at(run, task // (num_columns * num_chunks), kept)
        column = task // num_chunks % num_columns * PANEL
        first = job.begin + task % num_chunks * CHUNK_ROWS
        if g:
            shrink_back_chunk(base, run, matrix, job, column, first, g)
        else:
            shrink_chunk(run, matrix, job, column, first, panel_of(run, thread))
    else:
        first = (task - num_shrinks(run, matrix)) * ROUND_ROWS
        last = min(first + ROUND_ROWS, num_rows)
        if g:
            round_rows(g, matrix.num_outputs, run.ints, run.factors, first, last, LARGEST_GRADIENT)
        else:
            round_rows(matrix.x, matrix.num_inputs, run.ints, run.factors, first, last, LARGEST_ACTIVATION)


@compiled
def begin_rows(y: int, stride: int, num_rows: int, residual: int, bias: int) -> None:
    """Initialise 16 output columns with the residual stream (or zero) plus the bias; the product is added to them."""
    for row in range(num_rows):
        at = row * stride
        if residual != y:  # in the last layer they lie there already
            clear(y + at, PANEL)
            if residual:
                add_scaled(y + at, residual + at, np.float32(1), PANEL)
        if bias:
            add_scaled(y + at, bias, np.float32(1), PANEL)


@phase("matrix.num_outputs // PANEL")
def project_panels(
    base: FrozenBase,
    run: Pass,
    matrix: PassProjection,
    kept: bool,
    num_rows: int,
    residual: int,
    thread: int,
    task: int,
) -> None:
    """y = residual or bias + x Wᵀ + u Bᵀ, sixteen outputs at a time."""
    output = task * PANEL
    panel = panel_of(run, thread)
    stride_row = row_bytes(matrix.num_inputs)
    stride_w = bytes_of_row(base.kind, matrix.num_inputs)
    stride = row_bytes(matrix.num_outputs)
    y = matrix.y + 4 * output
    w = matrix.weight + output * stride_w
    at = 4 * output
    residual = residual + at if residual else 0
    bias = matrix.bias + at if matrix.bias else 0
    begin_rows(y, stride, num_rows, residual, bias)
    if matrix.step_sizes:
        num_blocks = matrix.num_inputs // QUANT_BLOCK
        call_multiply_tile(
            run.multiply_tile, base.kind, w, num_blocks, run.ints, run.factors, num_rows, y, stride, panel
        )
    else:
        call_multiply_by_rows(
            run.multiply_by_rows,
            matrix.x,
            stride_row,
            num_rows,
            base.kind,
            w,
            matrix.num_inputs,
            stride_w,
            y,
            stride,
            1,
            panel,
        )
    part = part_of(base, matrix.which, output)
    for index in range(run.num_jobs):
        job = job_at(run, index, kept)
        u = matrix.u + 4 * (job.begin * 3 * run.rank + part * job.rank)
        b = b_of(matrix, job.parameters, job.rank, output)
        call_multiply_by_rows(
            run.multiply_by_rows,
            u,
            12 * run.rank,
            job.end - job.begin,
            FLOATS,
            b,
            job.rank,
            4 * job.rank,
            y + job.begin * stride,
            stride,
            1,
            panel,
        )


@compiled
def project(
    base: FrozenBase, run: Pass, layer: int, which: int, residual: int, phase: int, thread: int
) -> int:
    """Run a projection with its adapters, onto the residual stream where there is one; return the next phase."""
    matrix = projection_of(base, run, layer, which)
    kept = is_last(base, layer) and which != QKV
    num_rows = run.num_kept if kept else run.num_rows
    phase = prepare(base, run, matrix, kept, num_rows, opaque(0), thread, phase)
    return project_panels(base, run, matrix, kept, num_rows, residual, thread, phase)


@compiled
def project_back_panel(
    base: FrozenBase,
    run: Pass,
    matrix: PassProjection,
    kept: bool,
    num_rows: int,
    g: int,
    d_x: int,
    column: int,
    panel: int,
) -> None:
    """dx = g W + du A in 16 columns."""
    stride = row_bytes(matrix.num_inputs)
    depth = matrix.num_outputs
    y = d_x + 4 * column
    stride_w = bytes_of_row(base.kind, matrix.num_inputs)
    begin_rows(y, stride, num_rows, 0, 0)
    if matrix.step_sizes:
        blocks = depth // QUANT_BLOCK
        step_sizes = matrix.step_sizes + 4 * (column // QUANT_BLOCK) * blocks
        call_multiply_tiles_back(
            run.multiply_tiles_back,
            base.kind,
            matrix.weight,
            TILE * stride_w,
            column,
            step_sizes,
            blocks,
            run.ints,
            run.factors,
            blocks,
            num_rows,
            y,
            stride,
            panel,
        )
    else:
        call_multiply_by_columns(
            run.multiply_by_columns,
            g,
            row_bytes(depth),
            num_rows,
            base.kind,
            matrix.weight,
            column,
            depth,
            stride_w,
            y,
            stride,
            1,
            panel,
        )
    for index in range(run.num_jobs):
        job = job_at(run, index, kept)
        call_multiply_by_columns(
            run.multiply_by_columns,
            run.du + 12 * job.begin * run.rank,
            12 * run.rank,
            job.end - job.begin,
            FLOATS,
            a_of(matrix, job.parameters, job.rank),
            column,
            matrix.num_parts * job.rank,
            4 * matrix.num_inputs,
            y + job.begin * stride,
            stride,
            1,
            panel,
        )


@compiled
def add_a_gradient(run: Pass, matrix: PassProjection, job: PassJob, column: int, panel: int) -> None:
    """dA += duᵀ x in 16 columns."""
    stride_row = row_bytes(matrix.num_inputs)
    first = job.begin
    a_grad = a_of(matrix, job.gradients, job.rank) + 4 * column
    while first < job.end:
        depth = min(PANEL_DEPTH, job.end - first)
        pack_columns(matrix.x + first * stride_row + 4 * column, stride_row, panel, depth)
        du = run.du + 12 * first * run.rank
        num_ranks = matrix.num_parts * job.rank
        stride_a = 4 * matrix.num_inputs
        call_add_transposed(
            run.add_transposed, du, 12 * run.rank, num_ranks, panel, 4 * PANEL, a_grad, stride_a, depth
        )
        first += depth


@compiled
def add_b_gradient(
    base: FrozenBase, run: Pass, matrix: PassProjection, job: PassJob, output: int, g: int
) -> None:
    """dB += gᵀ u in up to TALL rows, those of each module with its own columns of u."""
    last = min(output + TALL, matrix.num_outputs)
    stride_g = row_bytes(matrix.num_outputs)
    while output < last:
        part = part_of(base, matrix.which, output)
        end = min(last, part_begin(base, matrix.which, part + 1)) if part < matrix.num_parts - 1 else last
        for column in range(0, job.rank, PANEL):
            call_add_transposed(
                run.add_transposed,
                g + job.begin * stride_g + 4 * output,
                stride_g,
                end - output,
                matrix.u + 4 * (job.begin * 3 * run.rank + part * job.rank + column),
                12 * run.rank,
                b_of(matrix, job.gradients, job.rank, output) + 4 * column,
                4 * job.rank,
                job.end - job.begin,
            )
        output = end


@compiled
def num_back_panels(matrix: PassProjection, d_x: int) -> int:
    return matrix.num_inputs // PANEL if d_x else 0


@compiled
def num_gradient_tasks(matrix: PassProjection) -> int:
    """Return how many tasks a job's dA and dB are made in: sixteen columns of A, up to TALL rows of B."""
    return matrix.num_inputs // PANEL + -(-matrix.num_outputs // TALL)


@phase("num_back_panels(matrix, d_x) + run.num_jobs * num_gradient_tasks(matrix)")
def add_gradients(
    base: FrozenBase,
    run: Pass,
    matrix: PassProjection,
    kept: bool,
    num_rows: int,
    g: int,
    d_x: int,
    thread: int,
    task: int,
) -> None:
    """Compute dx where it is wanted, and add to every job's dA and dB."""
    panel = panel_of(run, thread)
    first = num_back_panels(matrix, d_x)
    if task < first:
        project_back_panel(base, run, matrix, kept, num_rows, g, d_x, task * PANEL, panel)
    else:
        job = job_at(run, (task - first) // num_gradient_tasks(matrix), kept)
        rest = (task - first) % num_gradient_tasks(matrix)
        num_panels = matrix.num_inputs // PANEL
        if rest < num_panels:
            add_a_gradient(run, matrix, job, rest * PANEL, panel)
        else:
            add_b_gradient(base, run, matrix, job, (rest - num_panels) * TALL, g)


@compiled
def project_back(
    base: FrozenBase, run: Pass, layer: int, which: int, g: int, d_x: int, phase: int, thread: int
) -> int:
    """Compute dx (where it is wanted) and add dA and dB; return the next phase."""
    matrix = projection_of(base, run, layer, which)
    kept = is_last(base, layer) and which != QKV
    num_rows = run.num_kept if kept else run.num_rows
    phase = prepare(base, run, matrix, kept, num_rows if d_x else 0, g, thread, phase)
    return add_gradients(base, run, matrix, kept, num_rows, g, d_x, thread, phase)


# Rows


@free_order
def normalise_back(d_normed: Array, x: Array, weight: Array, factor: float, g: Array) -> None:
    """g += r (d w - n mean(d w n)) with n = x r, the gradient of `normalise`; r is its factor."""
    r = np.float32(factor)
    mean = np.float32(0)
    for i in range(len(x)):
        mean += d_normed[i] * weight[i] * x[i]
    mean *= r * r / np.float32(len(x))
    for i in range(len(x)):
        g[i] += r * (d_normed[i] * weight[i] - mean * x[i])


@phase("num_rows", many=True)
def normalise_rows(
    base: FrozenBase, run: Pass, x: int, norm: int, normed: int, scales: int, num_rows: int, row: int
) -> None:
    """Normalise rows and note their factors."""
    at = row * row_bytes(base.width)
    width = base.width
    y = view_f32(normed + at, width)
    view_f32(scales, num_rows)[row] = normalise(view_f32(x + at, width), view_f32(norm, width), base.eps, y)


@phase("num_rows", many=True)
def normalise_rows_back(
    base: FrozenBase, run: Pass, x: int, norm: int, scales: int, g: int, num_rows: int, row: int
) -> None:
    """Add to the residual stream's gradient g what comes through a norm."""
    at = row * row_bytes(base.width)
    width = base.width
    d_normed = view_f32(run.d_normed + at, width)
    weight = view_f32(norm, width)
    factor = view_f32(scales, num_rows)[row]
    normalise_back(d_normed, view_f32(x + at, width), weight, factor, view_f32(g + at, width))


@free_order
def activate_row(gate: Array, up: Array, act: Array) -> None:
    """act = silu(gate) · up."""
    for i in range(len(act)):
        act[i] = gate[i] / (np.float32(1) + exp(-gate[i])) * up[i]


@free_order
def activate_row_back(d_act: Array, gate: Array, up: Array, d_gate: Array, d_up: Array) -> None:
    """With s = 1 / (1 + e^-gate): d_up = d s gate, d_gate = d up s (1 + gate (1 - s))."""
    for i in range(len(d_act)):
        s = np.float32(1) / (np.float32(1) + exp(-gate[i]))
        d_up[i] = d_act[i] * s * gate[i]
        d_gate[i] = d_act[i] * up[i] * s * (np.float32(1) + gate[i] * (np.float32(1) - s))


@phase("num_queries(base, run, layer)", many=True)
def activate(base: FrozenBase, run: Pass, layer: int, back: int, row: int) -> None:
    """Combine gate and up, or turn the result's gradient into theirs."""
    inner = base.inner
    to_gate, to_act = row * row_bytes(2 * inner), row * row_bytes(inner)
    gates = in_layer(run, run.gates, layer, 2 * inner) + to_gate
    gate, up = view_f32(gates, inner), view_f32(gates + 4 * inner, inner)
    if back:
        d_gate = view_f32(run.d_gates + to_gate, inner)
        d_up = view_f32(run.d_gates + to_gate + 4 * inner, inner)
        activate_row_back(view_f32(run.d_acts + to_act, inner), gate, up, d_gate, d_up)
    else:
        activate_row(gate, up, view_f32(in_layer(run, run.acts, layer, inner) + to_act, inner))


# Attention


@phase("run.num_rows", many=True)
def rotate_rows(base: FrozenBase, run: Pass, qkv: int, sign: int, row: int) -> None:
    """Rotate every row's queries and keys by its position."""
    half = base.head_size // 2
    cos, sin = view_f32(run.cos + 4 * row * half, half), view_f32(run.sin + 4 * row * half, half)
    x = qkv + row * row_bytes(qkv_width(base))
    for head in range(base.num_heads + base.num_kv_heads):
        rotate(view_f32(x + 8 * head * half, 2 * half), cos, sin, sign)


@compiled
def strip_at(run: Pass, index: int) -> Strip:
    f = view_i64(run.strips + 88 * index, 11)
    return Strip(f[0], f[1], f[2], f[3], f[4], f[5], f[6], f[7], f[8], f[9], f[10])


@compiled
def scores_of(run: Pass, scores: int, head: int, query: int) -> int:
    """Return where a query's weights, or their gradients, lie for a head."""
    return scores + (head * run.num_rows + query) * run.score_bytes


@compiled
def attend_strip(
    base: FrozenBase, run: Pass, layer: int, strip: Strip, head: int, back: int, thread: int
) -> None:
    """Attention for one strip and head, forward or (the queries' part of it) backward."""
    size = base.head_size
    stride = row_bytes(qkv_width(base))
    heads = base.num_heads
    qkv = in_layer(run, run.qkv, layer, qkv_width(base))
    stride_g = row_bytes(heads * size)
    key = qkv + 4 * (heads + head * base.num_kv_heads // heads) * size
    num_own = strip.row + strip.num_rows - strip.own
    keys = KeySpan(
        strip.num_rows,
        key + strip.shared * stride,
        strip.num_shared,
        key + strip.own * stride,
        num_own,
        strip.span,
        stride,
        size,
    )
    kernels = Kernels(run.multiply_by_rows, run.multiply_by_columns, panel_of(run, thread))
    log_sums = numbers_in_layer(run, run.log_sums, layer, heads) + 4 * (strip.query * heads + head)
    to_head = 4 * head * size
    to_value = 4 * base.num_kv_heads * size
    q = strip.row * stride + to_head
    at_mixed = strip.query * stride_g + to_head
    if back:
        attend_back(
            kernels,
            qkv + q,
            stride,
            keys,
            to_value,
            base.scale,
            scores_of(run, run.attention, head, strip.query),
            scores_of(run, run.d_attention, head, strip.query),
            run.score_bytes,
            run.d_mixed + at_mixed,
            stride_g,
            log_sums,
            4 * heads,
            run.d_qkv + q,
        )
    else:
        weights = run.scores + thread * STRIP * run.score_bytes
        out = in_layer(run, run.mixed, layer, heads * size) + at_mixed
        attend(
            kernels,
            qkv + q,
            stride,
            keys,
            to_value,
            base.scale,
            weights,
            run.score_bytes,
            out,
            stride_g,
            log_sums,
            4 * heads,
        )


@compiled
def num_query_strips(base: FrozenBase, run: Pass, layer: int) -> int:
    return run.num_kept_strips if is_last(base, layer) else run.num_strips


@phase("num_query_strips(base, run, layer) * base.num_heads")
def attend_strips(base: FrozenBase, run: Pass, layer: int, back: int, thread: int, task: int) -> None:
    """`attend_strip` for all, the last ones of a text, which see the most, first."""
    first = run.num_strips if is_last(base, layer) else 0
    strip = strip_at(run, first + num_query_strips(base, run, layer) - 1 - task // base.num_heads)
    attend_strip(base, run, layer, strip, task % base.num_heads, back, thread)


@phase("run.num_strips * base.num_kv_heads")
def gather_keys(base: FrozenBase, run: Pass, layer: int, task: int) -> None:
    """Sum the gradients of each strip's keys and values over all queries that see them."""
    strip = strip_at(run, task // base.num_kv_heads)
    kv_head = task % base.num_kv_heads
    size = base.head_size
    stride = row_bytes(qkv_width(base))
    heads = base.num_heads
    stride_g = row_bytes(heads * size)
    share = heads // base.num_kv_heads
    qkv = in_layer(run, run.qkv, layer, qkv_width(base))
    d_key = run.d_qkv + strip.row * stride + 4 * (heads + kv_head) * size
    d_value = d_key + 4 * base.num_kv_heads * size
    for n in range(strip.num_rows):
        clear(d_key + n * stride, size)
        clear(d_value + n * stride, size)
    first = strip.first_seer
    last = strip.last_seer
    place = strip.num_shared + strip.row - strip.own
    if is_last(base, layer):
        first, last = run.num_strips + strip.first_kept_seer, run.num_strips + strip.last_kept_seer
    for index in range(first, last):
        seer = strip_at(run, index)
        for head in range(kv_head * share, (kv_head + 1) * share):
            weights = scores_of(run, run.attention, head, seer.query) + 4 * place
            grads = scores_of(run, run.d_attention, head, seer.query) + 4 * place
            g, q = run.d_mixed + seer.query * stride_g, qkv + seer.row * stride
            for column in range(head * size, (head + 1) * size, PANEL):
                to = 4 * (column - head * size)
                call_add_transposed(
                    run.add_transposed,
                    weights,
                    run.score_bytes,
                    strip.num_rows,
                    g + 4 * column,
                    stride_g,
                    d_value + to,
                    stride,
                    seer.num_rows,
                )
                call_add_transposed(
                    run.add_transposed,
                    grads,
                    run.score_bytes,
                    strip.num_rows,
                    q + 4 * column,
                    stride,
                    d_key + to,
                    stride,
                    seer.num_rows,
                )


@compiled
def copy_row(source: int, target: int, width: int) -> None:
    """Copy a row, or clear it where there is no source."""
    clear(target, width)
    if source:
        add_scaled(target, source, np.float32(1), width)


@phase("1")
def select_kept(base: FrozenBase, run: Pass, task: int) -> None:
    """middle = the kept rows of the last layer's x."""
    width = base.width
    layer = base.num_layers - 1
    x, middle = in_layer(run, run.x, layer, width), in_layer(run, run.middle, layer, width)
    stride = row_bytes(width)
    for n in range(run.num_kept):
        copy_row(x + read_i64(run.keep, n) * stride, middle + n * stride, width)


@phase("1")
def scatter_kept(base: FrozenBase, run: Pass, task: int) -> None:
    """g, and the queries' gradients, of rows that were not kept are zero."""
    width = base.width
    stride = row_bytes(base.width)
    n = 0
    for row in range(run.num_rows):
        kept = n < run.num_kept and read_i64(run.keep, n) == row
        copy_row(run.g_kept + n * stride if kept else 0, run.g + row * stride, width)
        if kept:
            n += 1
        else:
            clear(run.d_qkv + row * row_bytes(qkv_width(base)), mixed_width(base))


# The loss


@free_order
def to_loss(logits: Array, target: int, share: float) -> float:
    """Turn logits into the gradient of share · -log p(target), in place; return it."""
    weight = np.float32(share)
    largest = logits[0]
    for n in range(len(logits)):
        largest = max(largest, logits[n])
    shifted = logits[target] - largest
    total = np.float64(0)
    for start in range(0, len(logits), 1024):
        part = np.float32(0)
        for n in range(start, min(start + 1024, len(logits))):
            logits[n] = exp(logits[n] - largest)
            part += logits[n]
        total += part
    factor = np.float32(weight / total)
    for n in range(len(logits)):
        logits[n] *= factor
    logits[target] -= weight
    return weight * (np.float32(np.log(total)) - shifted)


@phase("1")
def round_hidden(base: FrozenBase, run: Pass, begin: int, num_rows: int, task: int) -> None:
    """Round what the head is to be multiplied with."""
    if base.head_step_sizes:
        x = in_layer(run, run.normed_1, base.num_layers, base.width) + begin * row_bytes(base.width)
        round_rows(x, base.width, run.ints, run.factors, 0, num_rows, LARGEST_ACTIVATION)


@phase("base.vocabulary // PANEL", many=True)
def make_logits(base: FrozenBase, run: Pass, begin: int, num_rows: int, thread: int, task: int) -> None:
    """Compute the logits of some kept rows, sixteen at a time."""
    stride_row = row_bytes(base.width)
    stride = row_bytes(base.vocabulary)
    stride_w = bytes_of_row(base.head_kind, base.width)
    panel = panel_of(run, thread)
    w = base.head + task * PANEL * stride_w
    y = run.logits + 4 * PANEL * task
    if base.head_step_sizes:
        begin_rows(y, stride, num_rows, 0, 0)
        call_multiply_tile(
            run.multiply_tile,
            base.head_kind,
            w,
            base.width // QUANT_BLOCK,
            run.ints,
            run.factors,
            num_rows,
            y,
            stride,
            panel,
        )
    else:
        x = in_layer(run, run.normed_1, base.num_layers, base.width) + begin * stride_row
        call_multiply_by_rows(
            run.multiply_by_rows,
            x,
            stride_row,
            num_rows,
            base.head_kind,
            w,
            base.width,
            stride_w,
            y,
            stride,
            0,
            panel,
        )


@phase("num_rows")
def make_losses(base: FrozenBase, run: Pass, begin: int, num_rows: int, row: int) -> None:
    """Turn these logits into their gradients and note the loss of each row."""
    kept = begin + row
    target = read_i64(run.targets, kept)
    share = view_f32(run.shares, kept + 1)[kept]
    logits = view_f32(run.logits + row * row_bytes(base.vocabulary), base.vocabulary)
    view_f32(run.terms, kept + 1)[kept] = to_loss(logits, target, share)
    if base.head_step_sizes:
        ints = run.logit_ints
        factors = run.logit_factors
        width = base.vocabulary
        round_rows(run.logits, width, ints, factors, row, row + 1, LARGEST_GRADIENT)


@phase("HEAD_SEGMENTS")
def multiply_segments(base: FrozenBase, run: Pass, num_rows: int, thread: int, segment: int) -> None:
    """partial = the gradients of each segment of the logits times the head's rows there."""
    panel = panel_of(run, thread)
    stride = 4 * base.width
    stride_w = bytes_of_row(base.head_kind, base.width)
    size = QUANT_BLOCK if base.head_step_sizes else PANEL
    num_chunks = base.vocabulary // size
    y = run.partial + segment * LOGIT_ROWS * stride
    first = segment * num_chunks // HEAD_SEGMENTS * size
    end = (segment + 1) * num_chunks // HEAD_SEGMENTS * size
    for row in range(num_rows):
        clear(y + row * stride, base.width)
    while first < end:
        depth = min(SEGMENT_DEPTH, end - first)
        for column in range(0, base.width, PANEL):
            w = base.head + first * stride_w
            to = y + 4 * column
            if base.head_step_sizes:
                blocks = base.vocabulary // QUANT_BLOCK
                at = first // QUANT_BLOCK
                step_sizes = base.head_step_sizes + 4 * (column // QUANT_BLOCK * blocks + at)
                ints, factors = run.logit_ints + 2 * first, run.logit_factors + 8 * at
                call_multiply_tiles_back(
                    run.multiply_tiles_back,
                    base.head_kind,
                    w,
                    TILE * stride_w,
                    column,
                    step_sizes,
                    depth // QUANT_BLOCK,
                    ints,
                    factors,
                    blocks,
                    num_rows,
                    to,
                    stride,
                    panel,
                )
            else:
                call_multiply_by_columns(
                    run.multiply_by_columns,
                    run.logits + 4 * first,
                    row_bytes(base.vocabulary),
                    num_rows,
                    base.head_kind,
                    w,
                    column,
                    depth,
                    stride_w,
                    to,
                    stride,
                    1,
                    panel,
                )
        first += depth


@phase("num_rows")
def leave_head(base: FrozenBase, run: Pass, begin: int, num_rows: int, row: int) -> None:
    """Sum the segments and go back through the final norm, into g_kept."""
    width = base.width
    layer = base.num_layers
    total = run.partial + 4 * row * width
    at = (begin + row) * row_bytes(width)
    for segment in range(1, HEAD_SEGMENTS):
        add_scaled(total, total + 4 * segment * LOGIT_ROWS * width, np.float32(1), width)
    factor = view_f32(numbers_in_layer(run, run.scale_1, layer, 1), run.num_rows)[begin + row]
    x = view_f32(in_layer(run, run.x, layer, width) + at, width)
    g = view_f32(run.g_kept + at, width)
    clear(run.g_kept + at, width)
    normalise_back(view_f32(total, width), x, view_f32(base.final_norm, width), factor, g)


@compiled
def run_head(base: FrozenBase, run: Pass, phase: int, thread: int) -> int:
    """From the last layer's output to the loss and, where gradients are wanted, back."""
    layer = base.num_layers
    width = base.width
    begin = 0
    x = in_layer(run, run.x, layer, width)
    normed = in_layer(run, run.normed_1, layer, width)
    scales = numbers_in_layer(run, run.scale_1, layer, 1)
    phase = normalise_rows(base, run, x, base.final_norm, normed, scales, run.num_kept, phase)
    while begin < run.num_kept:
        num_rows = min(LOGIT_ROWS, run.num_kept - begin)
        phase = round_hidden(base, run, begin, num_rows, phase)
        phase = make_logits(base, run, begin, num_rows, thread, phase)
        phase = make_losses(base, run, begin, num_rows, phase)
        if run.backward:
            phase = multiply_segments(base, run, num_rows, thread, phase)
            phase = leave_head(base, run, begin, num_rows, phase)
        begin += num_rows
    return phase


# Layers


@compiled
def run_layer(base: FrozenBase, run: Pass, layer: int, phase: int, thread: int) -> int:
    """One layer forward: x[layer] → x[layer + 1]."""
    width = base.width
    num_rows = num_queries(base, run, layer)
    x, middle = in_layer(run, run.x, layer, width), in_layer(run, run.middle, layer, width)
    normed_1, normed_2 = in_layer(run, run.normed_1, layer, width), in_layer(run, run.normed_2, layer, width)
    scale_1, scale_2 = (
        numbers_in_layer(run, run.scale_1, layer, 1),
        numbers_in_layer(run, run.scale_2, layer, 1),
    )
    norm_1, norm_2 = read_i64(base.norms, 2 * layer), read_i64(base.norms, 2 * layer + 1)
    no = opaque(0)
    forth = opaque(1)
    phase = normalise_rows(base, run, x, norm_1, normed_1, scale_1, run.num_rows, phase)
    phase = project(base, run, layer, opaque(QKV), no, phase, thread)
    phase = rotate_rows(base, run, in_layer(run, run.qkv, layer, qkv_width(base)), forth, phase)
    phase = attend_strips(base, run, layer, no, thread, phase)
    if is_last(base, layer):
        phase = select_kept(base, run, phase)
        x = middle
    phase = project(base, run, layer, opaque(OUT), x, phase, thread)
    phase = normalise_rows(base, run, middle, norm_2, normed_2, scale_2, num_rows, phase)
    phase = project(base, run, layer, opaque(GATE_UP), no, phase, thread)
    phase = activate(base, run, layer, no, phase)
    return project(base, run, layer, opaque(DOWN), middle, phase, thread)


@compiled
def run_layer_back(base: FrozenBase, run: Pass, layer: int, phase: int, thread: int) -> int:
    """One layer backward: g (g_kept in the last layer) becomes the gradient of x[layer]."""
    width = base.width
    num_rows = num_queries(base, run, layer)
    x, middle = in_layer(run, run.x, layer, width), in_layer(run, run.middle, layer, width)
    scale_1, scale_2 = (
        numbers_in_layer(run, run.scale_1, layer, 1),
        numbers_in_layer(run, run.scale_2, layer, 1),
    )
    norm_1, norm_2 = read_i64(base.norms, 2 * layer), read_i64(base.norms, 2 * layer + 1)
    g = run.g_kept if is_last(base, layer) else run.g
    back = opaque(1)
    phase = project_back(base, run, layer, opaque(DOWN), g, run.d_acts, phase, thread)
    phase = activate(base, run, layer, back, phase)
    phase = project_back(base, run, layer, opaque(GATE_UP), run.d_gates, run.d_normed, phase, thread)
    phase = normalise_rows_back(base, run, middle, norm_2, scale_2, g, num_rows, phase)
    phase = project_back(base, run, layer, opaque(OUT), g, run.d_mixed, phase, thread)
    phase = attend_strips(base, run, layer, back, thread, phase)
    phase = gather_keys(base, run, layer, phase)
    if is_last(base, layer):
        phase = scatter_kept(base, run, phase)
    phase = rotate_rows(base, run, run.d_qkv, -back, phase)
    phase = project_back(
        base, run, layer, opaque(QKV), run.d_qkv, run.d_normed if layer else opaque(0), phase, thread
    )
    if layer:
        phase = normalise_rows_back(base, run, x, norm_1, scale_1, run.g, run.num_rows, phase)
    return phase


@entry_point
def run_pass(thread: int, base: FrozenBase, run: Pass) -> None:
    """Note the terms of every job's loss and, unless the pass is forward only, add to its gradients.

    Every thread of the team calls this with its own number. x[0] holds the embeddings; the counters are zero.
    """
    phase = 0
    for layer in range(base.num_layers):
        phase = run_layer(base, run, layer, phase, thread)
    phase = run_head(base, run, phase, thread)
    for index in range(base.num_layers if run.backward else 0):
        phase = run_layer_back(base, run, base.num_layers - 1 - index, phase, thread)
