package dev.espalier.kernels.format;

import dev.espalier.kernels.WeightFormat;
import dev.espalier.kernels.cpu.CpuLinear;
import dev.espalier.kernels.simd.CompilerHints;
import dev.espalier.kernels.simd.Convert;
import dev.espalier.kernels.simd.Raw;
import dev.espalier.kernels.simd.Sums;
import dev.espalier.kernels.simd.VectorCheck;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.MemorySegment;
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
/// Four rows are read at a time, which is four streams: about half the memory's speed. [DenseTiles] is the fast one, and
/// adds up in the same order: where rows fill whole vectors ([#sumsAsTiles]), both give the same bits.
final class DenseRows implements CpuLinear {
    private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
    private static final VectorSpecies<Integer> I = IntVector.SPECIES_PREFERRED;
    private static final int VECTOR_BYTES = F.vectorByteSize();
    private static final ByteOrder ORDER = ByteOrder.LITTLE_ENDIAN;
    private static final int ROWS = 4;

    private final Tensor weights;
    private final MemorySegment memory;
    private final DType dtype;
    private final int columns;

    DenseRows(Tensor weights) {
        this.weights = weights;
        this.memory = weights.segment();
        this.dtype = weights.dtype();
        this.columns = weights.columns();
    }

    /// Whether a matrix like `weights` gives the same bits here and in tiles.
    static boolean sumsAsTiles(Tensor weights) {
        return (long) weights.columns() * weights.dtype().bytes() % 64 == 0 && VectorCheck.compiled();
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
        return dtype;
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
        return dtype == DType.F32 ? Input.PLAIN : Input.EVEN_ODD;
    }

    @Override
    public int grain() {
        return ROWS;
    }

    @Override
    public int fewTokens() {
        return DenseTiles.FEW_TOKENS;
    }

    @Override
    public void multiply(MemorySegment x, MemorySegment y, int from, int to) {
        long stride = (long) columns * dtype.bytes();
        long xs = Raw.address(x, Math.ceilDiv(stride, 64) * 64 / dtype.bytes() * 4);
        long ys = Raw.address(y, 4L * to);
        long weights = Raw.address(memory, stride * to);
        long sums = Sums.scratch();
        int shift = Weights.shift(dtype);
        int low = Weights.lowMask(dtype);
        int high = Weights.highMask(dtype);
        float scale = Weights.scale(dtype);
        long bytes = stride / 64 * 64;
        for (int row = from; row < to; row += ROWS) {
            int count = Math.min(ROWS, to - row);
            long first = weights + row * stride;
            if (!VectorCheck.compiled()) {
                scalar(first, count, xs, ys + 4L * row);
                continue;
            }
            // Where fewer than four rows are left, the last one is read again.
            long second = first + (count > 1 ? stride : 0);
            long third = second + (count > 2 ? stride : 0);
            long fourth = third + (count > 3 ? stride : 0);
            if (dtype == DType.F32) {
                Kernel.single(first, second, third, fourth, bytes, xs, sums);
            } else {
                Kernel.half(first, second, third, fourth, bytes, xs, scale, shift, low, high, sums);
            }
            Sums.fold(sums, count, scale, ys + 4L * row);
            if (bytes < stride) {
                tail(first, count, (int) (bytes / dtype.bytes()), xs, ys + 4L * row);
            }
        }
    }

    /// Adds the products of the columns from `done` on, which fill no vector.
    private void tail(long weights, int count, int done, long x, long y) {
        for (int row = 0; row < count; row++) {
            float sum = sum(weights + (long) row * columns * dtype.bytes(), done, x);
            Raw.ALL.set(Raw.FLOAT, y + 4L * row, Raw.ALL.get(Raw.FLOAT, y + 4L * row) + sum);
        }
    }

    private void scalar(long weights, int count, long x, long y) {
        for (int row = 0; row < count; row++) {
            Raw.ALL.set(Raw.FLOAT, y + 4L * row, sum(weights + (long) row * columns * dtype.bytes(), 0, x));
        }
    }

    private float sum(long row, int from, long x) {
        float sum = 0;
        for (int column = from; column < columns; column++) {
            int c = dtype == DType.F32 ? column : (column & ~31) + (column & 1) * 16 + (column & 31) / 2;
            sum += Weights.value(dtype, row + (long) column * dtype.bytes()) * Raw.ALL.get(Raw.FLOAT, x + 4L * c);
        }
        return sum;
    }

    /// Four rows at a time, each a stream of its own.
    private static final class Kernel {
        private static final boolean FMA = CompilerHints.fma();

        static {
            CompilerHints.excludeFromC1(Kernel.class);
        }

        private Kernel() {}

        /// `bytes` bytes of each of four rows of 16-bit weights; the accumulators go to `sums`.
        static void half(
                long first,
                long second,
                long third,
                long fourth,
                long bytes,
                long x,
                float scale,
                int shift,
                int low,
                int high,
                long sums) {
            FloatVector a = FloatVector.zero(F);
            FloatVector b = FloatVector.zero(F);
            FloatVector c = FloatVector.zero(F);
            FloatVector d = FloatVector.zero(F);
            IntVector v;
            FloatVector w;
            long xp = x;
            for (long p = 0; p != bytes; p += 64) {
                for (int j = 0; j < 64; j += VECTOR_BYTES) {
                    FloatVector even = FloatVector.fromMemorySegment(F, Raw.ALL, xp + j, ORDER)
                            .mul(scale);
                    FloatVector odd = FloatVector.fromMemorySegment(F, Raw.ALL, xp + 64 + j, ORDER)
                            .mul(scale);
                    long q = p + j;
                    v = IntVector.fromMemorySegment(I, Raw.ALL, first + q, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a = FMA ? even.fma(w, a) : even.mul(w).add(a);
                    w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                    a = FMA ? odd.fma(w, a) : odd.mul(w).add(a);
                    v = IntVector.fromMemorySegment(I, Raw.ALL, second + q, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    b = FMA ? even.fma(w, b) : even.mul(w).add(b);
                    w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                    b = FMA ? odd.fma(w, b) : odd.mul(w).add(b);
                    v = IntVector.fromMemorySegment(I, Raw.ALL, third + q, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    c = FMA ? even.fma(w, c) : even.mul(w).add(c);
                    w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                    c = FMA ? odd.fma(w, c) : odd.mul(w).add(c);
                    v = IntVector.fromMemorySegment(I, Raw.ALL, fourth + q, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    d = FMA ? even.fma(w, d) : even.mul(w).add(d);
                    w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                    d = FMA ? odd.fma(w, d) : odd.mul(w).add(d);
                }
                xp += 128;
            }
            a.intoMemorySegment(Raw.ALL, sums, ORDER);
            b.intoMemorySegment(Raw.ALL, sums + Sums.STRIDE, ORDER);
            c.intoMemorySegment(Raw.ALL, sums + 2 * Sums.STRIDE, ORDER);
            d.intoMemorySegment(Raw.ALL, sums + 3 * Sums.STRIDE, ORDER);
        }

        /// The same of float32 weights.
        static void single(long first, long second, long third, long fourth, long bytes, long x, long sums) {
            FloatVector a = FloatVector.zero(F);
            FloatVector b = FloatVector.zero(F);
            FloatVector c = FloatVector.zero(F);
            FloatVector d = FloatVector.zero(F);
            FloatVector w;
            for (long p = 0; p != bytes; p += VECTOR_BYTES) {
                FloatVector v = FloatVector.fromMemorySegment(F, Raw.ALL, x + p, ORDER);
                w = FloatVector.fromMemorySegment(F, Raw.ALL, first + p, ORDER);
                a = FMA ? v.fma(w, a) : v.mul(w).add(a);
                w = FloatVector.fromMemorySegment(F, Raw.ALL, second + p, ORDER);
                b = FMA ? v.fma(w, b) : v.mul(w).add(b);
                w = FloatVector.fromMemorySegment(F, Raw.ALL, third + p, ORDER);
                c = FMA ? v.fma(w, c) : v.mul(w).add(c);
                w = FloatVector.fromMemorySegment(F, Raw.ALL, fourth + p, ORDER);
                d = FMA ? v.fma(w, d) : v.mul(w).add(d);
            }
            a.intoMemorySegment(Raw.ALL, sums, ORDER);
            b.intoMemorySegment(Raw.ALL, sums + Sums.STRIDE, ORDER);
            c.intoMemorySegment(Raw.ALL, sums + 2 * Sums.STRIDE, ORDER);
            d.intoMemorySegment(Raw.ALL, sums + 3 * Sums.STRIDE, ORDER);
        }
    }

    @Override
    public void expand(int rowFrom, int rowTo, int colFrom, int colTo, MemorySegment panel, int stride) {
        for (int row = rowFrom; row < rowTo; row++) {
            Convert.toFloat(
                    dtype,
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
