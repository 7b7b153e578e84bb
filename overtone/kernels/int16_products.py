"""Sums of products of 16-bit integers, two at a time: the fastest exact multiplication without matrix units.

On x86 it is written out in instructions, for AVX2 and for AVX-512 with VNNI, where a product of pairs and its addition
are one instruction: a compiler that is free to order them keeps too much in registers, spills, and reaches little more
than half of this. Elsewhere LLVM does it. Integers are exact: every way gives the same bits.
"""

from __future__ import annotations

from llvmlite import binding, ir
from numba.core import cgutils

from overtone.kernels.llvm import I16, I32, I32_8, I64, LANES, broadcast, load
from overtone.kernels.tiles import PANEL, QUANT_BLOCK
from overtone.processor import has_avx2, has_avx512_vnni

MOST_ROWS = 4  # that meet a panel together: eight vectors of sums in registers
BLOCK_PANEL_BYTES = 2 * PANEL * QUANT_BLOCK  # of int16: a panel's weights for the 32 products of one sum
I16_16 = ir.VectorType(I16, 16)
I32_16 = ir.VectorType(I32, 16)

HAS_AVX2 = has_avx2()
HAS_VNNI = has_avx512_vnni()
if HAS_AVX2:
    binding.initialize_native_asmparser()


def add_pair_products(builder: ir.IRBuilder, total: ir.Value, left: ir.Value, right: ir.Value) -> ir.Value:
    """total[i] += left[2i] right[2i] + left[2i+1] right[2i+1]: one or two instructions on x86."""
    if HAS_VNNI:
        signature = ir.FunctionType(I32_8, [I32_8] * 3)
        add = cgutils.get_or_insert_function(builder.module, signature, "llvm.x86.avx512.vpdpwssd.256")
        return builder.call(add, [total, *(builder.bitcast(words, I32_8) for words in (left, right))])
    if HAS_AVX2:
        signature = ir.FunctionType(I32_8, [I16_16] * 2)
        multiply = cgutils.get_or_insert_function(builder.module, signature, "llvm.x86.avx2.pmadd.wd")
        return builder.add(total, builder.call(multiply, [left, right]))
    sums = []
    for first in (0, 1):
        lanes = ir.Constant(I32_8, list(range(first, 16, 2)))
        a, b = (builder.sext(builder.shuffle_vector(v, v, lanes), I32_8) for v in (left, right))
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
    for pair in range(QUANT_BLOCK // 2):
        weights = f"${num_sums + pair % 2}"
        code.append(f"vmovdqu64 {64 * pair}(${num_sums + 2}), {weights}")
        for row in range(len(rows)):
            total = f"${row * chains + pair % chains}"
            code.append(f"vpdpwssd {4 * pair}(${num_sums + 3 + row}){{1to16}}, {weights}, {total}")
    results = ir.LiteralStructType([I32_16] * (num_sums + 2))
    constraints = ["=&v"] * (num_sums + 2) + ["r"] * (1 + len(rows)) + ["~{memory}"]
    signature = ir.FunctionType(results, [I64] * (1 + len(rows)))
    assembly = ir.InlineAsm(signature, "; ".join(code), ",".join(constraints), side_effect=True)
    done = builder.call(assembly, [panel, *rows])
    sums = []
    for row in range(len(rows)):
        total = builder.add(*(builder.extract_value(done, chains * row + n) for n in range(chains)))
        for vector in range(PANEL // LANES):
            lanes = ir.Constant(I32_8, list(range(LANES * vector, LANES * (vector + 1))))
            sums.append(builder.shuffle_vector(total, total, lanes))
    return sums


def _in_avx2(builder: ir.IRBuilder, panel: ir.Value, rows: list[ir.Value]) -> list[ir.Value]:
    num_sums = 2 * len(rows)
    w_0, w_1, *temporary = (f"${num_sums + n}" for n in range(6))
    code = []
    for pair in range(QUANT_BLOCK // 2):
        code += [
            f"vmovdqu {64 * pair}(${num_sums + 6}), {w_0}",
            f"vmovdqu {64 * pair + 32}(${num_sums + 6}), {w_1}",
        ]
        for row in range(len(rows)):
            a, b = temporary[row % 2 * 2 :][:2]
            sum_0, sum_1 = f"${2 * row}", f"${2 * row + 1}"
            code.append(f"vpbroadcastd {4 * pair}(${num_sums + 7 + row}), {a}")
            if pair == 0:
                code += [f"vpmaddwd {w_0}, {a}, {sum_0}", f"vpmaddwd {w_1}, {a}, {sum_1}"]
            else:
                code += [f"vpmaddwd {w_0}, {a}, {b}", f"vpmaddwd {w_1}, {a}, {a}"]
                code += [f"vpaddd {b}, {sum_0}, {sum_0}", f"vpaddd {a}, {sum_1}, {sum_1}"]
    results = ir.LiteralStructType([I32_8] * (num_sums + 6))
    constraints = ["=&x"] * (num_sums + 6) + ["r"] * (1 + len(rows)) + ["~{memory}"]
    signature = ir.FunctionType(results, [I64] * (1 + len(rows)))
    assembly = ir.InlineAsm(signature, "; ".join(code), ",".join(constraints), side_effect=True)
    done = builder.call(assembly, [panel, *rows])
    return [builder.extract_value(done, n) for n in range(num_sums)]


def _in_vectors(builder: ir.IRBuilder, panel: ir.Value, rows: list[ir.Value]) -> list[ir.Value]:
    sums = [cgutils.alloca_once_value(builder, ir.Constant(I32_8, [0] * LANES)) for _ in range(2 * len(rows))]
    for place in sums:
        builder.store(ir.Constant(I32_8, [0] * LANES), place)
    with cgutils.for_range(builder, I64(QUANT_BLOCK // 2)) as loop:
        here = builder.add(panel, builder.mul(loop.index, I64(4 * PANEL)))
        weights = [load(builder, here, 32 * vector, I16_16) for vector in (0, 1)]
        for n, row in enumerate(rows):
            pair = load(builder, builder.add(row, builder.mul(loop.index, I64(4))), 0, I32)
            for vector, weight in enumerate(weights):
                place = sums[2 * n + vector]
                two = builder.bitcast(broadcast(builder, pair), I16_16)
                builder.store(add_pair_products(builder, builder.load(place), weight, two), place)
    return [builder.load(place) for place in sums]
