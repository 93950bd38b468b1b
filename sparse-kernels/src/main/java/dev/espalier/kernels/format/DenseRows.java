package dev.espalier.kernels.format;

import dev.espalier.kernels.WeightFormat;
import dev.espalier.kernels.cpu.CpuLinear;
import dev.espalier.kernels.simd.CompilerHints;
import dev.espalier.kernels.simd.Convert;
import dev.espalier.kernels.simd.Raw;
import dev.espalier.kernels.simd.Sums;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/// A dense matrix as a checkpoint holds it: row after row, no padding, in borrowed memory.
///
/// ```
///   row 0   | c0 c1 c2 ... c(in-1) |
///   row 1   | c0 c1 c2 ... c(in-1) |      2 bytes a weight (BF16, F16), 4 (F32)
/// ```
///
/// Four rows are read at a time, which is four streams: about half the memory's speed. [DenseTiles] is the fast one.
final class DenseRows implements CpuLinear {
    private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
    private static final VectorSpecies<Integer> I = IntVector.SPECIES_PREFERRED;
    private static final int LANES = F.length();
    private static final ByteOrder ORDER = ByteOrder.LITTLE_ENDIAN;
    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
    /// A binary16's bits, shifted into a binary32, are 2^-112 of its value; half of that goes into x, half into the sum.
    private static final float F16_SCALE = 0x1p56f;

    static {
        CompilerHints.excludeFromC1(DenseRows.class);
    }

    private final Tensor weights;
    private final MemorySegment memory;
    private final int columns;

    DenseRows(Tensor weights) {
        this.weights = weights;
        this.memory = weights.segment();
        this.columns = weights.columns();
    }

    @Override
    public int rows() {
        return weights.rows();
    }

    @Override
    public int columns() {
        return columns;
    }

    @Override
    public DType dtype() {
        return weights.dtype();
    }

    @Override
    public WeightFormat format() {
        return Dense.mapped();
    }

    @Override
    public long bytes() {
        return weights.bytes();
    }

    @Override
    public long nonZeros() {
        return NonZeros.count(weights);
    }

    @Override
    public void unpack(Tensor target) {
        Copy.rows(weights, target);
    }

    @Override
    public Input input() {
        return weights.dtype() == DType.F32 ? Input.PLAIN : Input.EVEN_ODD;
    }

    @Override
    public int grain() {
        return 4;
    }

    @Override
    public void multiply(MemorySegment x, MemorySegment y, int from, int to) {
        int row = from;
        for (; row + 4 <= to; row += 4) {
            switch (weights.dtype()) {
                case F32 -> fourRows32(x, y, row);
                case BF16 -> fourRowsBf16(x, y, row);
                default -> fourRowsF16(x, y, row);
            }
        }
        for (; row < to; row++) {
            y.set(FLOAT, row * 4L, row(x, row));
        }
    }

    private void fourRows32(MemorySegment x, MemorySegment y, int row) {
        long stride = columns * 4L;
        long p = row * stride;
        FloatVector a = FloatVector.zero(F);
        FloatVector b = FloatVector.zero(F);
        FloatVector c = FloatVector.zero(F);
        FloatVector d = FloatVector.zero(F);
        long end = columns / LANES * (LANES * 4L);
        for (long q = 0; q != end; q += LANES * 4L) {
            FloatVector v = FloatVector.fromMemorySegment(F, x, q, ORDER);
            a = FloatVector.fromMemorySegment(F, memory, p + q, ORDER).fma(v, a);
            b = FloatVector.fromMemorySegment(F, memory, p + stride + q, ORDER).fma(v, b);
            c = FloatVector.fromMemorySegment(F, memory, p + 2 * stride + q, ORDER)
                    .fma(v, c);
            d = FloatVector.fromMemorySegment(F, memory, p + 3 * stride + q, ORDER)
                    .fma(v, d);
        }
        store(x, y, row, (int) (end / 4), 1f, a, b, c, d);
    }

    private void fourRowsBf16(MemorySegment x, MemorySegment y, int row) {
        long stride = columns * 2L;
        long p = row * stride;
        FloatVector a = FloatVector.zero(F);
        FloatVector b = FloatVector.zero(F);
        FloatVector c = FloatVector.zero(F);
        FloatVector d = FloatVector.zero(F);
        int groups = columns / 32;
        for (int g = 0; g < groups; g++) {
            for (int j = 0; j < 16; j += LANES) {
                FloatVector even = FloatVector.fromMemorySegment(F, x, (g * 32L + j) * 4, ORDER);
                FloatVector odd = FloatVector.fromMemorySegment(F, x, (g * 32L + 16 + j) * 4, ORDER);
                long q = p + g * 64L + j * 4L;
                IntVector v = IntVector.fromMemorySegment(I, memory, q, ORDER);
                a = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(even, a);
                a = v.and(0xffff0000).reinterpretAsFloats().fma(odd, a);
                v = IntVector.fromMemorySegment(I, memory, q + stride, ORDER);
                b = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(even, b);
                b = v.and(0xffff0000).reinterpretAsFloats().fma(odd, b);
                v = IntVector.fromMemorySegment(I, memory, q + 2 * stride, ORDER);
                c = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(even, c);
                c = v.and(0xffff0000).reinterpretAsFloats().fma(odd, c);
                v = IntVector.fromMemorySegment(I, memory, q + 3 * stride, ORDER);
                d = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(even, d);
                d = v.and(0xffff0000).reinterpretAsFloats().fma(odd, d);
            }
        }
        store(x, y, row, groups * 32, 1f, a, b, c, d);
    }

    private void fourRowsF16(MemorySegment x, MemorySegment y, int row) {
        long stride = columns * 2L;
        long p = row * stride;
        FloatVector a = FloatVector.zero(F);
        FloatVector b = FloatVector.zero(F);
        FloatVector c = FloatVector.zero(F);
        FloatVector d = FloatVector.zero(F);
        int groups = columns / 32;
        for (int g = 0; g < groups; g++) {
            for (int j = 0; j < 16; j += LANES) {
                FloatVector even = FloatVector.fromMemorySegment(F, x, (g * 32L + j) * 4, ORDER)
                        .mul(F16_SCALE);
                FloatVector odd = FloatVector.fromMemorySegment(F, x, (g * 32L + 16 + j) * 4, ORDER)
                        .mul(F16_SCALE);
                long q = p + g * 64L + j * 4L;
                IntVector v = IntVector.fromMemorySegment(I, memory, q, ORDER);
                a = low16(v).fma(even, a);
                a = high16(v).fma(odd, a);
                v = IntVector.fromMemorySegment(I, memory, q + stride, ORDER);
                b = low16(v).fma(even, b);
                b = high16(v).fma(odd, b);
                v = IntVector.fromMemorySegment(I, memory, q + 2 * stride, ORDER);
                c = low16(v).fma(even, c);
                c = high16(v).fma(odd, c);
                v = IntVector.fromMemorySegment(I, memory, q + 3 * stride, ORDER);
                d = low16(v).fma(even, d);
                d = high16(v).fma(odd, d);
            }
        }
        store(x, y, row, groups * 32, F16_SCALE, a, b, c, d);
    }

    private static FloatVector low16(IntVector v) {
        return v.lanewise(VectorOperators.LSHL, 16)
                .lanewise(VectorOperators.ASHR, 3)
                .and(0x8fffffff)
                .reinterpretAsFloats();
    }

    private static FloatVector high16(IntVector v) {
        return v.lanewise(VectorOperators.ASHR, 3).and(0x8fffe000).reinterpretAsFloats();
    }

    private void store(
            MemorySegment x,
            MemorySegment y,
            int row,
            int done,
            float scale,
            FloatVector a,
            FloatVector b,
            FloatVector c,
            FloatVector d) {
        long sums = Sums.scratch();
        a.intoMemorySegment(Raw.ALL, sums, ORDER);
        b.intoMemorySegment(Raw.ALL, sums + Sums.STRIDE, ORDER);
        c.intoMemorySegment(Raw.ALL, sums + 2 * Sums.STRIDE, ORDER);
        d.intoMemorySegment(Raw.ALL, sums + 3 * Sums.STRIDE, ORDER);
        Sums.fold(sums, 4, scale, Raw.address(y, (row + 4) * 4L) + row * 4L);
        for (int r = row; done < columns && r < row + 4; r++) {
            y.set(FLOAT, r * 4L, y.get(FLOAT, r * 4L) + tail(x, r, done));
        }
    }

    /// One row alone; only the last rows of a matrix, so a row's sum never depends on the number of threads.
    private float row(MemorySegment x, int row) {
        return tail(x, row, 0);
    }

    /// The columns from `done` on, one by one.
    private float tail(MemorySegment x, int row, int done) {
        float sum = 0;
        boolean split = input() == Input.EVEN_ODD;
        for (int c = done; c < columns; c++) {
            int at = split ? (c & ~31) + (c & 1) * 16 + ((c & 31) >> 1) : c;
            sum += weights.dtype().get(memory, (long) row * columns + c) * x.get(FLOAT, at * 4L);
        }
        return sum;
    }

    @Override
    public void expand(int rowFrom, int rowTo, int colFrom, int colTo, MemorySegment panel, int stride) {
        for (int row = rowFrom; row < rowTo; row++) {
            Convert.toFloat(
                    weights.dtype(),
                    memory,
                    (long) row * columns + colFrom,
                    panel,
                    (long) (row - rowFrom) * stride,
                    colTo - colFrom);
        }
    }

    @Override
    public void close() {
        // The memory is borrowed.
    }
}
