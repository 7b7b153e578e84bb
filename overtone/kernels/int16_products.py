"""Sums of products of 16-bit integers, two at a time: the fastest exact multiplication without matrix units.

On x86 it is written out in instructions, for AVX2 and for AVX-512 with VNNI, where a product of pairs and its addition
are one instruction: a compiler that is free to order them keeps too much in registers, spills, and reaches little more
than half of this. Elsewhere LLVM does it. Integers are exact: every way gives the same bits.
"""

from __future__ import annotations

from llvmlite import binding, ir
from numba.core import cgutils

from overtone.kernels.llvm import I16, I32, I64, INTS_8, LANES, broadcast, load
from overtone.processor import has_avx2, has_avx512_vnni

COLUMNS = 16  # of a panel
DEPTH = 32  # products in a sum
MOST_ROWS = 4  # that meet a panel together: eight vectors of sums in registers
PANEL_BYTES = 2 * COLUMNS * DEPTH
WORDS_16 = ir.VectorType(I16, 16)
INTS_16 = ir.VectorType(I32, 16)

HAS_AVX2 = has_avx2()
HAS_VNNI = has_avx512_vnni()
if HAS_AVX2:
    binding.initialize_native_asmparser()


def add_pair_products(builder: ir.IRBuilder, total: ir.Value, left: ir.Value, right: ir.Value) -> ir.Value:
    """total[i] += left[2i] right[2i] + left[2i+1] right[2i+1]: one or two instructions on x86."""
    if HAS_VNNI:
        signature = ir.FunctionType(INTS_8, [INTS_8] * 3)
        add = cgutils.get_or_insert_function(builder.module, signature, "llvm.x86.avx512.vpdpwssd.256")
        return builder.call(add, [total, *(builder.bitcast(words, INTS_8) for words in (left, right))])
    if HAS_AVX2:
        signature = ir.FunctionType(INTS_8, [WORDS_16] * 2)
        multiply = cgutils.get_or_insert_function(builder.module, signature, "llvm.x86.avx2.pmadd.wd")
        return builder.add(total, builder.call(multiply, [left, right]))
    sums = []
    for first in (0, 1):
        lanes = ir.Constant(INTS_8, list(range(first, 16, 2)))
        a, b = (builder.sext(builder.shuffle_vector(v, v, lanes), INTS_8) for v in (left, right))
        sums.append(builder.mul(a, b))
    return builder.add(total, builder.add(*sums))


def multiply_panel_by(builder: ir.IRBuilder, panel: ir.Value, rows: list[ir.Value]) -> list[list[ir.Value]]:
    """Return Σ_k x[r, k] w[k, 0:16] for up to four rows: for each, two vectors of eight int32.

    `rows` are addresses of int16 [32], `panel` that of int16 [16, 16, 2]: two k beside each other.
    """
    emit = _in_avx512 if HAS_VNNI else _in_avx2 if HAS_AVX2 else _in_vectors
    sums = emit(builder, panel, rows)
    return [sums[2 * row : 2 * row + 2] for row in range(len(rows))]


def _in_avx512(builder: ir.IRBuilder, panel: ir.Value, rows: list[ir.Value]) -> list[ir.Value]:
    """Two chains of sums a row, because an instruction waits for the sum before it."""
    chains = 2
    num_sums = chains * len(rows)
    code = [f"vpxord ${n}, ${n}, ${n}" for n in range(num_sums)]
    for pair in range(DEPTH // 2):
        weights = f"${num_sums + pair % 2}"
        code.append(f"vmovdqu64 {64 * pair}(${num_sums + 2}), {weights}")
        for row in range(len(rows)):
            total = f"${row * chains + pair % chains}"
            code.append(f"vpdpwssd {4 * pair}(${num_sums + 3 + row}){{1to16}}, {weights}, {total}")
    results = ir.LiteralStructType([INTS_16] * (num_sums + 2))
    constraints = ["=&v"] * (num_sums + 2) + ["r"] * (1 + len(rows)) + ["~{memory}"]
    signature = ir.FunctionType(results, [I64] * (1 + len(rows)))
    block = ir.InlineAsm(signature, "; ".join(code), ",".join(constraints), side_effect=True)
    done = builder.call(block, [panel, *rows])
    sums = []
    for row in range(len(rows)):
        total = builder.add(*(builder.extract_value(done, chains * row + n) for n in range(chains)))
        for half in range(COLUMNS // LANES):
            lanes = ir.Constant(INTS_8, list(range(LANES * half, LANES * (half + 1))))
            sums.append(builder.shuffle_vector(total, total, lanes))
    return sums


def _in_avx2(builder: ir.IRBuilder, panel: ir.Value, rows: list[ir.Value]) -> list[ir.Value]:
    num_sums = 2 * len(rows)
    w_0, w_1, *temporary = (f"${num_sums + n}" for n in range(6))
    code = []
    for pair in range(DEPTH // 2):
        code += [
            f"vmovdqu {64 * pair}(${num_sums + 6}), {w_0}",
            f"vmovdqu {64 * pair + 32}(${num_sums + 6}), {w_1}",
        ]
        for row in range(len(rows)):
            a, b, sum_0, sum_1 = *temporary[row % 2 * 2 :][:2], f"${2 * row}", f"${2 * row + 1}"
            code.append(f"vpbroadcastd {4 * pair}(${num_sums + 7 + row}), {a}")
            if pair == 0:
                code += [f"vpmaddwd {w_0}, {a}, {sum_0}", f"vpmaddwd {w_1}, {a}, {sum_1}"]
            else:
                code += [f"vpmaddwd {w_0}, {a}, {b}", f"vpmaddwd {w_1}, {a}, {a}"]
                code += [f"vpaddd {b}, {sum_0}, {sum_0}", f"vpaddd {a}, {sum_1}, {sum_1}"]
    results = ir.LiteralStructType([INTS_8] * (num_sums + 6))
    constraints = ["=&x"] * (num_sums + 6) + ["r"] * (1 + len(rows)) + ["~{memory}"]
    signature = ir.FunctionType(results, [I64] * (1 + len(rows)))
    block = ir.InlineAsm(signature, "; ".join(code), ",".join(constraints), side_effect=True)
    done = builder.call(block, [panel, *rows])
    return [builder.extract_value(done, n) for n in range(num_sums)]


def _in_vectors(builder: ir.IRBuilder, panel: ir.Value, rows: list[ir.Value]) -> list[ir.Value]:
    sums = [
        cgutils.alloca_once_value(builder, ir.Constant(INTS_8, [0] * LANES)) for _ in range(2 * len(rows))
    ]
    for place in sums:
        builder.store(ir.Constant(INTS_8, [0] * LANES), place)
    with cgutils.for_range(builder, I64(DEPTH // 2)) as loop:
        here = builder.add(panel, builder.mul(loop.index, I64(4 * COLUMNS)))
        weights = [load(builder, here, 32 * half, WORDS_16) for half in (0, 1)]
        for n, row in enumerate(rows):
            pair = load(builder, builder.add(row, builder.mul(loop.index, I64(4))), 0, I32)
            for half, weight in enumerate(weights):
                place = sums[2 * n + half]
                two = builder.bitcast(broadcast(builder, pair), WORDS_16)
                builder.store(add_pair_products(builder, builder.load(place), weight, two), place)
    return [builder.load(place) for place in sums]
