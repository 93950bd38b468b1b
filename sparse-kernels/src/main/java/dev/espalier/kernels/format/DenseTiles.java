package dev.espalier.kernels.format;

import dev.espalier.kernels.WeightFormat;
import dev.espalier.kernels.cpu.CpuLinear;
import dev.espalier.kernels.simd.CompilerHints;
import dev.espalier.kernels.simd.Raw;
import dev.espalier.kernels.simd.Sums;
import dev.espalier.kernels.simd.VectorCheck;
import dev.espalier.natives.os.Memory;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

/// A dense matrix in tiles that one thread reads as a single stream.
///
/// A tile is 64 bytes of each of R rows: 32 columns of BF16 or F16, 16 of F32. R is 16 for 16-bit weights where vectors
/// have 16 lanes, else 8. The tiles of R rows follow one another, then those of the next R rows; rows and columns are
/// filled up with zeros.
///
/// ```
///   tile 0            tile 1            ...      (rows 0 to R-1)
///   row 0   | 64 B |  row 0   | 64 B |
///   row 1   | 64 B |  row 1   | 64 B |
///   ...               ...
///   row R-1 | 64 B |  row R-1 | 64 B |
/// ```
///
/// x is loaded once for R rows, and the hardware's prefetcher sees one stream (measured against rows in
/// `docs/benchmarks/cpu.md`). A 32-bit lane of 16-bit weights holds an even column in its low half and the next odd one
/// in its high half.
final class DenseTiles implements CpuLinear {
    /// See [CpuLinear#fewTokens].
    static final int FEW_TOKENS = 24;

    private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
    private static final VectorSpecies<Integer> I = IntVector.SPECIES_PREFERRED;
    private static final int VECTOR_BYTES = F.vectorByteSize();
    private static final ByteOrder ORDER = ByteOrder.LITTLE_ENDIAN;
    private static final ThreadLocal<AheadChoice> AHEAD = AheadChoice.perThread();
    private static final long GIVEN_UP_BYTES = 4 << 20;

    private final Arena arena = Arena.ofShared();
    private final DType dtype;
    private final int rows;
    private final int columns;
    private final int tileRows;
    private final int tileColumns;
    /// Bytes of one row in all its tiles.
    private final long rowBytes;

    /// -1 until somebody asks.
    private long nonZeros = -1;

    private final MemorySegment memory;

    DenseTiles(Tensor dense) {
        dtype = dense.dtype();
        rows = dense.rows();
        columns = dense.columns();
        tileRows = tileRows(dtype);
        tileColumns = 64 / dtype.bytes();
        rowBytes = Math.ceilDiv(columns, tileColumns) * 64L;
        memory = Ahead.allocate(bytes(dtype, rows, columns), arena);
        int whole = columns / tileColumns;
        long stride = (long) columns * dtype.bytes();
        long kept = 0;
        for (int row = 0; row < rows; row++) {
            if (row * stride - kept >= GIVEN_UP_BYTES) {
                // A large matrix is not there twice: of a file, what is copied goes back at once.
                Memory.giveUp(dense.segment().asSlice(kept, row * stride - kept));
                kept = row * stride;
            }
            copyRow(dense.segment(), row * stride, at(row, 0), whole);
            long done = whole * 64L;
            if (done < stride) {
                MemorySegment.copy(
                        dense.segment(), row * stride + done, memory, at(row, whole * tileColumns), stride - done);
            }
        }
    }

    /// Rows of a tile.
    static int tileRows(DType dtype) {
        return dtype == DType.F32 || VECTOR_BYTES < 64 ? 8 : 16;
    }

    /// What a matrix takes in tiles.
    static long bytes(DType dtype, int rows, int columns) {
        int tileRows = tileRows(dtype);
        long rowBytes = Math.ceilDiv(columns, 64 / dtype.bytes()) * 64L;
        return Math.max(64, Math.ceilDiv(rows, tileRows) * (tileRows * rowBytes));
    }

    /// The first `whole` times 64 bytes of a row from `from` on, to the tiles from `to` on. Word by word: for so few bytes
    /// a call that copies takes longer than the copy.
    private void copyRow(MemorySegment source, long from, long to, int whole) {
        long step = tileRows * 64L;
        for (int tile = 0; tile < whole; tile++) {
            for (long word = 0; word < 64; word += Long.BYTES) {
                memory.set(Raw.LONG, to + tile * step + word, source.get(Raw.LONG, from + tile * 64L + word));
            }
        }
    }

    /// Where the 64 bytes of `row` that hold `column` begin.
    private long at(int row, int column) {
        long tile = column / tileColumns;
        return row / tileRows * (tileRows * rowBytes) + tile * tileRows * 64L + row % tileRows * 64L;
    }

    @Override
    public int rows() {
        return rows;
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
        return Dense.tiled();
    }

    @Override
    public long bytes() {
        return memory.byteSize();
    }

    @Override
    public synchronized long nonZeros() {
        if (nonZeros < 0) {
            long count = 0;
            // Columns beyond the matrix are zeros.
            long elements = memory.byteSize() / dtype.bytes();
            for (long i = 0; i < elements; i++) {
                count += NonZeros.is(dtype, memory, i) ? 1 : 0;
            }
            nonZeros = count;
        }
        return nonZeros;
    }

    @Override
    public void unpack(Tensor target) {
        if (target.dtype() != dtype) {
            Weights.unpack(this, target);
            return;
        }
        for (int row = 0; row < rows; row++) {
            for (int column = 0; column < columns; column += tileColumns) {
                MemorySegment.copy(
                        memory,
                        at(row, column),
                        target.segment(),
                        ((long) row * columns + column) * dtype.bytes(),
                        (long) Math.min(tileColumns, columns - column) * dtype.bytes());
            }
        }
    }

    @Override
    public Input input() {
        return dtype == DType.F32 ? Input.PLAIN : Input.EVEN_ODD;
    }

    @Override
    public int grain() {
        return tileRows;
    }

    @Override
    public int fewTokens() {
        return FEW_TOKENS;
    }

    @Override
    public void multiply(MemorySegment x, MemorySegment y, int from, int to) {
        long xs = Raw.address(x, rowBytes / dtype.bytes() * 4);
        long ys = Raw.address(y, 4L * to);
        long sums = Sums.scratch();
        int shift = Weights.shift(dtype);
        int low = Weights.lowMask(dtype);
        int high = Weights.highMask(dtype);
        float scale = Weights.scale(dtype);
        AheadChoice ahead = AHEAD.get();
        boolean pages = ahead.begin((to - from) * rowBytes);
        for (int row = from; row < to; row += tileRows) {
            long begin = memory.address() + row * rowBytes;
            long end = begin + tileRows * rowBytes;
            int count = Math.min(tileRows, to - row);
            if (!VectorCheck.compiled()) {
                scalar(row, count, xs, ys);
                continue;
            }
            if (dtype == DType.F32) {
                Kernel.single8(begin, end, xs, sums, pages);
            } else if (dtype == DType.BF16 && tileRows == 16) {
                Kernel.bf16By16(begin, end, xs, high, sums, pages);
            } else if (dtype == DType.BF16) {
                Kernel.bf16By8(begin, end, xs, high, sums, pages);
            } else if (tileRows == 16) {
                Kernel.f16By16(begin, end, xs, scale, shift, low, high, sums, pages);
            } else {
                Kernel.f16By8(begin, end, xs, scale, shift, low, high, sums, pages);
            }
            Sums.fold(sums, count, scale, ys + 4L * row);
        }
        ahead.end();
    }

    private void scalar(int from, int count, long x, long y) {
        for (int row = from; row < from + count; row++) {
            float sum = 0;
            for (int column = 0; column < columns; column++) {
                int c = dtype == DType.F32 ? column : (column & ~31) + (column & 1) * 16 + (column & 31) / 2;
                float weight = dtype.get(memory, at(row, column) / dtype.bytes() + column % tileColumns);
                sum += weight * Raw.ALL.get(Raw.FLOAT, x + 4L * c);
            }
            Raw.ALL.set(Raw.FLOAT, y + 4L * row, sum);
        }
    }

    /// The rows of one tile.
    private static final class Kernel {
        private static final boolean FMA = CompilerHints.fma();

        private static final VectorSpecies<Short> HALF =
                VectorSpecies.of(short.class, VectorShape.forBitSize(Math.max(64, F.vectorBitSize() / 2)));

        static {
            CompilerHints.excludeFromC1(Kernel.class);
        }

        private Kernel() {}

        /// 16 rows of BF16; the accumulators go to `sums`.
        static void bf16By16(long begin, long end, long x, int high, long sums, boolean pages) {
            FloatVector a0 = FloatVector.zero(F);
            FloatVector a1 = FloatVector.zero(F);
            FloatVector a2 = FloatVector.zero(F);
            FloatVector a3 = FloatVector.zero(F);
            FloatVector a4 = FloatVector.zero(F);
            FloatVector a5 = FloatVector.zero(F);
            FloatVector a6 = FloatVector.zero(F);
            FloatVector a7 = FloatVector.zero(F);
            FloatVector a8 = FloatVector.zero(F);
            FloatVector a9 = FloatVector.zero(F);
            FloatVector a10 = FloatVector.zero(F);
            FloatVector a11 = FloatVector.zero(F);
            FloatVector a12 = FloatVector.zero(F);
            FloatVector a13 = FloatVector.zero(F);
            FloatVector a14 = FloatVector.zero(F);
            FloatVector a15 = FloatVector.zero(F);
            IntVector v;
            FloatVector w;
            long xp = x;
            long distance = Ahead.distance(pages);
            long alignment = Ahead.alignment(pages);
            long ahead = 0;
            for (long p = begin; p != end; p += 1024) {
                p &= Raw.ADDRESS;
                xp &= Raw.ADDRESS;
                ahead ^= Raw.ALL.get(Raw.LONG, (p + distance & alignment) & Raw.ADDRESS);
                for (int j = 0; j < 64; j += VECTOR_BYTES) {
                    FloatVector even = FloatVector.fromMemorySegment(F, Raw.ALL, xp + j, ORDER);
                    FloatVector odd = FloatVector.fromMemorySegment(F, Raw.ALL, xp + 64 + j, ORDER);
                    long q = p + j;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 0, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                    a0 = FMA ? even.fma(w, a0) : even.mul(w).add(a0);
                    w = v.and(high).reinterpretAsFloats();
                    a0 = FMA ? odd.fma(w, a0) : odd.mul(w).add(a0);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 64, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                    a1 = FMA ? even.fma(w, a1) : even.mul(w).add(a1);
                    w = v.and(high).reinterpretAsFloats();
                    a1 = FMA ? odd.fma(w, a1) : odd.mul(w).add(a1);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 128, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                    a2 = FMA ? even.fma(w, a2) : even.mul(w).add(a2);
                    w = v.and(high).reinterpretAsFloats();
                    a2 = FMA ? odd.fma(w, a2) : odd.mul(w).add(a2);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 192, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                    a3 = FMA ? even.fma(w, a3) : even.mul(w).add(a3);
                    w = v.and(high).reinterpretAsFloats();
                    a3 = FMA ? odd.fma(w, a3) : odd.mul(w).add(a3);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 256, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                    a4 = FMA ? even.fma(w, a4) : even.mul(w).add(a4);
                    w = v.and(high).reinterpretAsFloats();
                    a4 = FMA ? odd.fma(w, a4) : odd.mul(w).add(a4);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 320, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                    a5 = FMA ? even.fma(w, a5) : even.mul(w).add(a5);
                    w = v.and(high).reinterpretAsFloats();
                    a5 = FMA ? odd.fma(w, a5) : odd.mul(w).add(a5);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 384, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                    a6 = FMA ? even.fma(w, a6) : even.mul(w).add(a6);
                    w = v.and(high).reinterpretAsFloats();
                    a6 = FMA ? odd.fma(w, a6) : odd.mul(w).add(a6);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 448, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                    a7 = FMA ? even.fma(w, a7) : even.mul(w).add(a7);
                    w = v.and(high).reinterpretAsFloats();
                    a7 = FMA ? odd.fma(w, a7) : odd.mul(w).add(a7);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 512, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                    a8 = FMA ? even.fma(w, a8) : even.mul(w).add(a8);
                    w = v.and(high).reinterpretAsFloats();
                    a8 = FMA ? odd.fma(w, a8) : odd.mul(w).add(a8);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 576, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                    a9 = FMA ? even.fma(w, a9) : even.mul(w).add(a9);
                    w = v.and(high).reinterpretAsFloats();
                    a9 = FMA ? odd.fma(w, a9) : odd.mul(w).add(a9);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 640, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                    a10 = FMA ? even.fma(w, a10) : even.mul(w).add(a10);
                    w = v.and(high).reinterpretAsFloats();
                    a10 = FMA ? odd.fma(w, a10) : odd.mul(w).add(a10);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 704, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                    a11 = FMA ? even.fma(w, a11) : even.mul(w).add(a11);
                    w = v.and(high).reinterpretAsFloats();
                    a11 = FMA ? odd.fma(w, a11) : odd.mul(w).add(a11);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 768, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                    a12 = FMA ? even.fma(w, a12) : even.mul(w).add(a12);
                    w = v.and(high).reinterpretAsFloats();
                    a12 = FMA ? odd.fma(w, a12) : odd.mul(w).add(a12);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 832, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                    a13 = FMA ? even.fma(w, a13) : even.mul(w).add(a13);
                    w = v.and(high).reinterpretAsFloats();
                    a13 = FMA ? odd.fma(w, a13) : odd.mul(w).add(a13);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 896, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                    a14 = FMA ? even.fma(w, a14) : even.mul(w).add(a14);
                    w = v.and(high).reinterpretAsFloats();
                    a14 = FMA ? odd.fma(w, a14) : odd.mul(w).add(a14);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 960, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                    a15 = FMA ? even.fma(w, a15) : even.mul(w).add(a15);
                    w = v.and(high).reinterpretAsFloats();
                    a15 = FMA ? odd.fma(w, a15) : odd.mul(w).add(a15);
                }
                xp += 128;
            }
            sums &= Raw.ADDRESS;
            a0.intoMemorySegment(Raw.ALL, sums + 0 * Sums.STRIDE, ORDER);
            a1.intoMemorySegment(Raw.ALL, sums + 1 * Sums.STRIDE, ORDER);
            a2.intoMemorySegment(Raw.ALL, sums + 2 * Sums.STRIDE, ORDER);
            a3.intoMemorySegment(Raw.ALL, sums + 3 * Sums.STRIDE, ORDER);
            a4.intoMemorySegment(Raw.ALL, sums + 4 * Sums.STRIDE, ORDER);
            a5.intoMemorySegment(Raw.ALL, sums + 5 * Sums.STRIDE, ORDER);
            a6.intoMemorySegment(Raw.ALL, sums + 6 * Sums.STRIDE, ORDER);
            a7.intoMemorySegment(Raw.ALL, sums + 7 * Sums.STRIDE, ORDER);
            a8.intoMemorySegment(Raw.ALL, sums + 8 * Sums.STRIDE, ORDER);
            a9.intoMemorySegment(Raw.ALL, sums + 9 * Sums.STRIDE, ORDER);
            a10.intoMemorySegment(Raw.ALL, sums + 10 * Sums.STRIDE, ORDER);
            a11.intoMemorySegment(Raw.ALL, sums + 11 * Sums.STRIDE, ORDER);
            a12.intoMemorySegment(Raw.ALL, sums + 12 * Sums.STRIDE, ORDER);
            a13.intoMemorySegment(Raw.ALL, sums + 13 * Sums.STRIDE, ORDER);
            a14.intoMemorySegment(Raw.ALL, sums + 14 * Sums.STRIDE, ORDER);
            a15.intoMemorySegment(Raw.ALL, sums + 15 * Sums.STRIDE, ORDER);
            Raw.ALL.set(Raw.LONG, sums + Sums.SPARE, ahead);
        }

        /// 16 rows of F16; the accumulators go to `sums`.
        static void f16By16(
                long begin, long end, long x, float scale, int shift, int low, int high, long sums, boolean pages) {

            FloatVector a0 = FloatVector.zero(F);
            FloatVector a1 = FloatVector.zero(F);
            FloatVector a2 = FloatVector.zero(F);
            FloatVector a3 = FloatVector.zero(F);
            FloatVector a4 = FloatVector.zero(F);
            FloatVector a5 = FloatVector.zero(F);
            FloatVector a6 = FloatVector.zero(F);
            FloatVector a7 = FloatVector.zero(F);
            FloatVector a8 = FloatVector.zero(F);
            FloatVector a9 = FloatVector.zero(F);
            FloatVector a10 = FloatVector.zero(F);
            FloatVector a11 = FloatVector.zero(F);
            FloatVector a12 = FloatVector.zero(F);
            FloatVector a13 = FloatVector.zero(F);
            FloatVector a14 = FloatVector.zero(F);
            FloatVector a15 = FloatVector.zero(F);
            IntVector v;
            FloatVector w;
            long xp = x;
            long distance = Ahead.distance(pages);
            long alignment = Ahead.alignment(pages);
            long ahead = 0;
            for (long p = begin; p != end; p += 1024) {
                p &= Raw.ADDRESS;
                xp &= Raw.ADDRESS;
                ahead ^= Raw.ALL.get(Raw.LONG, (p + distance & alignment) & Raw.ADDRESS);
                for (int j = 0; j < 64; j += VECTOR_BYTES) {
                    FloatVector even = FloatVector.fromMemorySegment(F, Raw.ALL, xp + j, ORDER)
                            .mul(scale);
                    FloatVector odd = FloatVector.fromMemorySegment(F, Raw.ALL, xp + 64 + j, ORDER)
                            .mul(scale);
                    long q = p + j;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 0, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a0 = FMA ? even.fma(w, a0) : even.mul(w).add(a0);
                    w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                    a0 = FMA ? odd.fma(w, a0) : odd.mul(w).add(a0);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 64, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a1 = FMA ? even.fma(w, a1) : even.mul(w).add(a1);
                    w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                    a1 = FMA ? odd.fma(w, a1) : odd.mul(w).add(a1);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 128, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a2 = FMA ? even.fma(w, a2) : even.mul(w).add(a2);
                    w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                    a2 = FMA ? odd.fma(w, a2) : odd.mul(w).add(a2);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 192, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a3 = FMA ? even.fma(w, a3) : even.mul(w).add(a3);
                    w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                    a3 = FMA ? odd.fma(w, a3) : odd.mul(w).add(a3);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 256, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a4 = FMA ? even.fma(w, a4) : even.mul(w).add(a4);
                    w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                    a4 = FMA ? odd.fma(w, a4) : odd.mul(w).add(a4);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 320, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a5 = FMA ? even.fma(w, a5) : even.mul(w).add(a5);
                    w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                    a5 = FMA ? odd.fma(w, a5) : odd.mul(w).add(a5);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 384, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a6 = FMA ? even.fma(w, a6) : even.mul(w).add(a6);
                    w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                    a6 = FMA ? odd.fma(w, a6) : odd.mul(w).add(a6);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 448, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a7 = FMA ? even.fma(w, a7) : even.mul(w).add(a7);
                    w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                    a7 = FMA ? odd.fma(w, a7) : odd.mul(w).add(a7);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 512, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a8 = FMA ? even.fma(w, a8) : even.mul(w).add(a8);
                    w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                    a8 = FMA ? odd.fma(w, a8) : odd.mul(w).add(a8);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 576, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a9 = FMA ? even.fma(w, a9) : even.mul(w).add(a9);
                    w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                    a9 = FMA ? odd.fma(w, a9) : odd.mul(w).add(a9);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 640, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a10 = FMA ? even.fma(w, a10) : even.mul(w).add(a10);
                    w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                    a10 = FMA ? odd.fma(w, a10) : odd.mul(w).add(a10);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 704, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a11 = FMA ? even.fma(w, a11) : even.mul(w).add(a11);
                    w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                    a11 = FMA ? odd.fma(w, a11) : odd.mul(w).add(a11);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 768, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a12 = FMA ? even.fma(w, a12) : even.mul(w).add(a12);
                    w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                    a12 = FMA ? odd.fma(w, a12) : odd.mul(w).add(a12);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 832, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a13 = FMA ? even.fma(w, a13) : even.mul(w).add(a13);
                    w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                    a13 = FMA ? odd.fma(w, a13) : odd.mul(w).add(a13);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 896, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a14 = FMA ? even.fma(w, a14) : even.mul(w).add(a14);
                    w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                    a14 = FMA ? odd.fma(w, a14) : odd.mul(w).add(a14);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 960, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a15 = FMA ? even.fma(w, a15) : even.mul(w).add(a15);
                    w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                    a15 = FMA ? odd.fma(w, a15) : odd.mul(w).add(a15);
                }
                xp += 128;
            }
            sums &= Raw.ADDRESS;
            a0.intoMemorySegment(Raw.ALL, sums + 0 * Sums.STRIDE, ORDER);
            a1.intoMemorySegment(Raw.ALL, sums + 1 * Sums.STRIDE, ORDER);
            a2.intoMemorySegment(Raw.ALL, sums + 2 * Sums.STRIDE, ORDER);
            a3.intoMemorySegment(Raw.ALL, sums + 3 * Sums.STRIDE, ORDER);
            a4.intoMemorySegment(Raw.ALL, sums + 4 * Sums.STRIDE, ORDER);
            a5.intoMemorySegment(Raw.ALL, sums + 5 * Sums.STRIDE, ORDER);
            a6.intoMemorySegment(Raw.ALL, sums + 6 * Sums.STRIDE, ORDER);
            a7.intoMemorySegment(Raw.ALL, sums + 7 * Sums.STRIDE, ORDER);
            a8.intoMemorySegment(Raw.ALL, sums + 8 * Sums.STRIDE, ORDER);
            a9.intoMemorySegment(Raw.ALL, sums + 9 * Sums.STRIDE, ORDER);
            a10.intoMemorySegment(Raw.ALL, sums + 10 * Sums.STRIDE, ORDER);
            a11.intoMemorySegment(Raw.ALL, sums + 11 * Sums.STRIDE, ORDER);
            a12.intoMemorySegment(Raw.ALL, sums + 12 * Sums.STRIDE, ORDER);
            a13.intoMemorySegment(Raw.ALL, sums + 13 * Sums.STRIDE, ORDER);
            a14.intoMemorySegment(Raw.ALL, sums + 14 * Sums.STRIDE, ORDER);
            a15.intoMemorySegment(Raw.ALL, sums + 15 * Sums.STRIDE, ORDER);
            Raw.ALL.set(Raw.LONG, sums + Sums.SPARE, ahead);
        }

        /// 8 rows of BF16; the accumulators go to `sums`.
        static void bf16By8(long begin, long end, long x, int high, long sums, boolean pages) {
            FloatVector a0 = FloatVector.zero(F);
            FloatVector a1 = FloatVector.zero(F);
            FloatVector a2 = FloatVector.zero(F);
            FloatVector a3 = FloatVector.zero(F);
            FloatVector a4 = FloatVector.zero(F);
            FloatVector a5 = FloatVector.zero(F);
            FloatVector a6 = FloatVector.zero(F);
            FloatVector a7 = FloatVector.zero(F);
            IntVector v;
            FloatVector w;
            long xp = x;
            long distance = Ahead.distance(pages);
            long alignment = Ahead.alignment(pages);
            long ahead = 0;
            for (long p = begin; p != end; p += 512) {
                p &= Raw.ADDRESS;
                xp &= Raw.ADDRESS;
                ahead ^= Raw.ALL.get(Raw.LONG, (p + distance & alignment) & Raw.ADDRESS);
                for (int j = 0; j < 64; j += VECTOR_BYTES) {
                    FloatVector even = FloatVector.fromMemorySegment(F, Raw.ALL, xp + j, ORDER);
                    FloatVector odd = FloatVector.fromMemorySegment(F, Raw.ALL, xp + 64 + j, ORDER);
                    long q = p + j;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 0, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                    a0 = FMA ? even.fma(w, a0) : even.mul(w).add(a0);
                    w = v.and(high).reinterpretAsFloats();
                    a0 = FMA ? odd.fma(w, a0) : odd.mul(w).add(a0);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 64, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                    a1 = FMA ? even.fma(w, a1) : even.mul(w).add(a1);
                    w = v.and(high).reinterpretAsFloats();
                    a1 = FMA ? odd.fma(w, a1) : odd.mul(w).add(a1);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 128, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                    a2 = FMA ? even.fma(w, a2) : even.mul(w).add(a2);
                    w = v.and(high).reinterpretAsFloats();
                    a2 = FMA ? odd.fma(w, a2) : odd.mul(w).add(a2);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 192, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                    a3 = FMA ? even.fma(w, a3) : even.mul(w).add(a3);
                    w = v.and(high).reinterpretAsFloats();
                    a3 = FMA ? odd.fma(w, a3) : odd.mul(w).add(a3);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 256, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                    a4 = FMA ? even.fma(w, a4) : even.mul(w).add(a4);
                    w = v.and(high).reinterpretAsFloats();
                    a4 = FMA ? odd.fma(w, a4) : odd.mul(w).add(a4);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 320, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                    a5 = FMA ? even.fma(w, a5) : even.mul(w).add(a5);
                    w = v.and(high).reinterpretAsFloats();
                    a5 = FMA ? odd.fma(w, a5) : odd.mul(w).add(a5);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 384, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                    a6 = FMA ? even.fma(w, a6) : even.mul(w).add(a6);
                    w = v.and(high).reinterpretAsFloats();
                    a6 = FMA ? odd.fma(w, a6) : odd.mul(w).add(a6);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 448, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                    a7 = FMA ? even.fma(w, a7) : even.mul(w).add(a7);
                    w = v.and(high).reinterpretAsFloats();
                    a7 = FMA ? odd.fma(w, a7) : odd.mul(w).add(a7);
                }
                xp += 128;
            }
            sums &= Raw.ADDRESS;
            a0.intoMemorySegment(Raw.ALL, sums + 0 * Sums.STRIDE, ORDER);
            a1.intoMemorySegment(Raw.ALL, sums + 1 * Sums.STRIDE, ORDER);
            a2.intoMemorySegment(Raw.ALL, sums + 2 * Sums.STRIDE, ORDER);
            a3.intoMemorySegment(Raw.ALL, sums + 3 * Sums.STRIDE, ORDER);
            a4.intoMemorySegment(Raw.ALL, sums + 4 * Sums.STRIDE, ORDER);
            a5.intoMemorySegment(Raw.ALL, sums + 5 * Sums.STRIDE, ORDER);
            a6.intoMemorySegment(Raw.ALL, sums + 6 * Sums.STRIDE, ORDER);
            a7.intoMemorySegment(Raw.ALL, sums + 7 * Sums.STRIDE, ORDER);
            Raw.ALL.set(Raw.LONG, sums + Sums.SPARE, ahead);
        }

        /// 8 rows of F16; the accumulators go to `sums`.
        static void f16By8(
                long begin, long end, long x, float scale, int shift, int low, int high, long sums, boolean pages) {

            FloatVector a0 = FloatVector.zero(F);
            FloatVector a1 = FloatVector.zero(F);
            FloatVector a2 = FloatVector.zero(F);
            FloatVector a3 = FloatVector.zero(F);
            FloatVector a4 = FloatVector.zero(F);
            FloatVector a5 = FloatVector.zero(F);
            FloatVector a6 = FloatVector.zero(F);
            FloatVector a7 = FloatVector.zero(F);
            IntVector v;
            FloatVector w;
            long xp = x;
            long distance = Ahead.distance(pages);
            long alignment = Ahead.alignment(pages);
            long ahead = 0;
            for (long p = begin; p != end; p += 512) {
                p &= Raw.ADDRESS;
                xp &= Raw.ADDRESS;
                ahead ^= Raw.ALL.get(Raw.LONG, (p + distance & alignment) & Raw.ADDRESS);
                for (int j = 0; j < 64; j += VECTOR_BYTES) {
                    FloatVector even = FloatVector.fromMemorySegment(F, Raw.ALL, xp + j, ORDER)
                            .mul(scale);
                    FloatVector odd = FloatVector.fromMemorySegment(F, Raw.ALL, xp + 64 + j, ORDER)
                            .mul(scale);
                    long q = p + j;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 0, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a0 = FMA ? even.fma(w, a0) : even.mul(w).add(a0);
                    w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                    a0 = FMA ? odd.fma(w, a0) : odd.mul(w).add(a0);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 64, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a1 = FMA ? even.fma(w, a1) : even.mul(w).add(a1);
                    w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                    a1 = FMA ? odd.fma(w, a1) : odd.mul(w).add(a1);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 128, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a2 = FMA ? even.fma(w, a2) : even.mul(w).add(a2);
                    w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                    a2 = FMA ? odd.fma(w, a2) : odd.mul(w).add(a2);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 192, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a3 = FMA ? even.fma(w, a3) : even.mul(w).add(a3);
                    w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                    a3 = FMA ? odd.fma(w, a3) : odd.mul(w).add(a3);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 256, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a4 = FMA ? even.fma(w, a4) : even.mul(w).add(a4);
                    w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                    a4 = FMA ? odd.fma(w, a4) : odd.mul(w).add(a4);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 320, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a5 = FMA ? even.fma(w, a5) : even.mul(w).add(a5);
                    w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                    a5 = FMA ? odd.fma(w, a5) : odd.mul(w).add(a5);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 384, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a6 = FMA ? even.fma(w, a6) : even.mul(w).add(a6);
                    w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                    a6 = FMA ? odd.fma(w, a6) : odd.mul(w).add(a6);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, q + 448, ORDER);
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a7 = FMA ? even.fma(w, a7) : even.mul(w).add(a7);
                    w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                    a7 = FMA ? odd.fma(w, a7) : odd.mul(w).add(a7);
                }
                xp += 128;
            }
            sums &= Raw.ADDRESS;
            a0.intoMemorySegment(Raw.ALL, sums + 0 * Sums.STRIDE, ORDER);
            a1.intoMemorySegment(Raw.ALL, sums + 1 * Sums.STRIDE, ORDER);
            a2.intoMemorySegment(Raw.ALL, sums + 2 * Sums.STRIDE, ORDER);
            a3.intoMemorySegment(Raw.ALL, sums + 3 * Sums.STRIDE, ORDER);
            a4.intoMemorySegment(Raw.ALL, sums + 4 * Sums.STRIDE, ORDER);
            a5.intoMemorySegment(Raw.ALL, sums + 5 * Sums.STRIDE, ORDER);
            a6.intoMemorySegment(Raw.ALL, sums + 6 * Sums.STRIDE, ORDER);
            a7.intoMemorySegment(Raw.ALL, sums + 7 * Sums.STRIDE, ORDER);
            Raw.ALL.set(Raw.LONG, sums + Sums.SPARE, ahead);
        }

        /// One row of `tiles` tiles of 16-bit weights, `step` bytes apart, as float32.
        static void widen(long from, int tiles, long step, long to, float scale, int shift, int low) {
            long target = to;
            long end = from + tiles * step;
            for (long tile = from; tile != end; tile += step) {
                for (int j = 0; j < 64; j += VECTOR_BYTES / 2) {
                    ((IntVector) ShortVector.fromMemorySegment(HALF, Raw.ALL, tile + j, ORDER)
                                    .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0))
                            .lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats()
                            .mul(scale)
                            .intoMemorySegment(Raw.ALL, target, ORDER);
                    target += VECTOR_BYTES;
                }
            }
        }

        /// 8 rows of F32 weights.
        static void single8(long begin, long end, long x, long sums, boolean pages) {
            FloatVector a0 = FloatVector.zero(F);
            FloatVector a1 = FloatVector.zero(F);
            FloatVector a2 = FloatVector.zero(F);
            FloatVector a3 = FloatVector.zero(F);
            FloatVector a4 = FloatVector.zero(F);
            FloatVector a5 = FloatVector.zero(F);
            FloatVector a6 = FloatVector.zero(F);
            FloatVector a7 = FloatVector.zero(F);
            long xp = x;
            long distance = Ahead.distance(pages);
            long alignment = Ahead.alignment(pages);
            long ahead = 0;
            for (long p = begin; p != end; p += 512) {
                p &= Raw.ADDRESS;
                xp &= Raw.ADDRESS;
                ahead ^= Raw.ALL.get(Raw.LONG, (p + distance & alignment) & Raw.ADDRESS);
                for (int j = 0; j < 64; j += VECTOR_BYTES) {
                    FloatVector v = FloatVector.fromMemorySegment(F, Raw.ALL, xp + j, ORDER);
                    FloatVector w;
                    long q = p + j;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    w = FloatVector.fromMemorySegment(F, Raw.ALL, q + 0, ORDER);
                    a0 = FMA ? v.fma(w, a0) : v.mul(w).add(a0);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    w = FloatVector.fromMemorySegment(F, Raw.ALL, q + 64, ORDER);
                    a1 = FMA ? v.fma(w, a1) : v.mul(w).add(a1);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    w = FloatVector.fromMemorySegment(F, Raw.ALL, q + 128, ORDER);
                    a2 = FMA ? v.fma(w, a2) : v.mul(w).add(a2);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    w = FloatVector.fromMemorySegment(F, Raw.ALL, q + 192, ORDER);
                    a3 = FMA ? v.fma(w, a3) : v.mul(w).add(a3);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    w = FloatVector.fromMemorySegment(F, Raw.ALL, q + 256, ORDER);
                    a4 = FMA ? v.fma(w, a4) : v.mul(w).add(a4);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    w = FloatVector.fromMemorySegment(F, Raw.ALL, q + 320, ORDER);
                    a5 = FMA ? v.fma(w, a5) : v.mul(w).add(a5);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    w = FloatVector.fromMemorySegment(F, Raw.ALL, q + 384, ORDER);
                    a6 = FMA ? v.fma(w, a6) : v.mul(w).add(a6);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    w = FloatVector.fromMemorySegment(F, Raw.ALL, q + 448, ORDER);
                    a7 = FMA ? v.fma(w, a7) : v.mul(w).add(a7);
                }
                xp += 64;
            }
            sums &= Raw.ADDRESS;
            a0.intoMemorySegment(Raw.ALL, sums + 0 * Sums.STRIDE, ORDER);
            a1.intoMemorySegment(Raw.ALL, sums + 1 * Sums.STRIDE, ORDER);
            a2.intoMemorySegment(Raw.ALL, sums + 2 * Sums.STRIDE, ORDER);
            a3.intoMemorySegment(Raw.ALL, sums + 3 * Sums.STRIDE, ORDER);
            a4.intoMemorySegment(Raw.ALL, sums + 4 * Sums.STRIDE, ORDER);
            a5.intoMemorySegment(Raw.ALL, sums + 5 * Sums.STRIDE, ORDER);
            a6.intoMemorySegment(Raw.ALL, sums + 6 * Sums.STRIDE, ORDER);
            a7.intoMemorySegment(Raw.ALL, sums + 7 * Sums.STRIDE, ORDER);
            Raw.ALL.set(Raw.LONG, sums + Sums.SPARE, ahead);
        }
    }

    @Override
    public void expand(int rowFrom, int rowTo, int colFrom, int colTo, MemorySegment panel, int stride) {
        long target = Raw.address(panel, 0);
        float scale = Weights.scale(dtype) * Weights.scale(dtype);
        for (int row = rowFrom; row < rowTo; row++) {
            long from = memory.address() + at(row, colFrom);
            long to = target + 4L * (row - rowFrom) * stride;
            int tiles = Math.ceilDiv(colTo - colFrom, tileColumns);
            if (VectorCheck.compiled() && dtype != DType.F32) {
                Kernel.widen(from, tiles, 64L * tileRows, to, scale, Weights.shift(dtype), Weights.lowMask(dtype));
                continue;
            }
            for (int tile = 0; tile < tiles; tile++) {
                for (int c = 0; c < tileColumns; c++) {
                    long source = from + 64L * tileRows * tile + (long) c * dtype.bytes();
                    Raw.ALL.set(Raw.FLOAT, to + 4L * ((long) tile * tileColumns + c), Weights.value(dtype, source));
                }
            }
        }
    }

    @Override
    public void close() {
        if (arena.scope().isAlive()) {
            arena.close();
        }
    }
}
