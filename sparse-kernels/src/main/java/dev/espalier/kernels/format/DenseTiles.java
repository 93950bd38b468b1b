package dev.espalier.kernels.format;

import dev.espalier.kernels.WeightFormat;
import dev.espalier.kernels.cpu.CpuLinear;
import dev.espalier.kernels.simd.CompilerHints;
import dev.espalier.kernels.simd.Convert;
import dev.espalier.natives.os.Memory;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;
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
    private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
    private static final VectorSpecies<Integer> I = IntVector.SPECIES_PREFERRED;
    private static final int VECTOR_BYTES = F.vectorByteSize();
    private static final ByteOrder ORDER = ByteOrder.LITTLE_ENDIAN;
    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final int HIGH = 0xffff0000;
    private static final int LOW_F16 = 0x8fffffff;
    private static final int HIGH_F16 = 0x8fffe000;
    /// A binary16's bits, shifted into a binary32, are 2^-112 of its value; half of that goes into x, half into the sum.
    private static final float F16_SCALE = 0x1p56f;

    static {
        CompilerHints.excludeFromC1(DenseTiles.class);
    }

    private final Arena arena = Arena.ofShared();
    private final DType dtype;
    private final int rows;
    private final int columns;
    private final int tileRows;
    private final int tileColumns;
    /// Bytes of one row in all its tiles.
    private final long rowBytes;

    private final long nonZeros;
    private final MemorySegment memory;

    DenseTiles(Tensor dense) {
        dtype = dense.dtype();
        rows = dense.rows();
        columns = dense.columns();
        tileRows = dtype == DType.F32 || VECTOR_BYTES < 64 ? 8 : 16;
        tileColumns = 64 / dtype.bytes();
        rowBytes = Math.ceilDiv(columns, tileColumns) * 64L;
        nonZeros = NonZeros.count(dense);
        memory = Memory.allocate(Math.max(64, Math.ceilDiv(rows, tileRows) * (tileRows * rowBytes)), arena);
        for (int row = 0; row < rows; row++) {
            for (int column = 0; column < columns; column += tileColumns) {
                long bytes = (long) Math.min(tileColumns, columns - column) * dtype.bytes();
                MemorySegment.copy(
                        dense.segment(), ((long) row * columns + column) * dtype.bytes(), memory, at(row, column), bytes);
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
    public long nonZeros() {
        return nonZeros;
    }

    @Override
    public void unpack(Tensor target) {
        for (int row = 0; row < rows; row++) {
            for (int column = 0; column < columns; column++) {
                long index = at(row, column) / dtype.bytes() + column % tileColumns;
                if (target.dtype() == dtype) {
                    MemorySegment.copy(
                            memory,
                            index * dtype.bytes(),
                            target.segment(),
                            ((long) row * columns + column) * dtype.bytes(),
                            dtype.bytes());
                } else {
                    target.set(row, column, dtype.get(memory, index));
                }
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
    public void multiply(MemorySegment x, MemorySegment y, int from, int to) {
        for (int row = from; row < to; row += tileRows) {
            switch (dtype) {
                case F32 -> block8F32(x, y, row);
                case BF16 -> {
                    if (tileRows == 16) {
                        block16Bf16(x, y, row);
                    } else {
                        block8Bf16(x, y, row);
                    }
                }
                default -> {
                    if (tileRows == 16) {
                        block16F16(x, y, row);
                    } else {
                        block8F16(x, y, row);
                    }
                }
            }
        }
    }

    private void put(MemorySegment y, int row, float value) {
        if (row < rows) {
            y.set(FLOAT, row * 4L, value);
        }
    }

    private void block16Bf16(MemorySegment x, MemorySegment y, int row) {
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
        long begin = row * rowBytes;
        long end = begin + 16 * rowBytes;
        long xp = 0;
        for (long p = begin; p != end; p += 1024) {
            for (int j = 0; j < 64; j += VECTOR_BYTES) {
                FloatVector even = FloatVector.fromMemorySegment(F, x, xp + j, ORDER);
                FloatVector odd = FloatVector.fromMemorySegment(F, x, xp + 64 + j, ORDER);
                long q = p + j;
                v = IntVector.fromMemorySegment(I, memory, q, ORDER);
                a0 = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(even, a0);
                a0 = v.and(HIGH).reinterpretAsFloats().fma(odd, a0);
                v = IntVector.fromMemorySegment(I, memory, q + 64, ORDER);
                a1 = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(even, a1);
                a1 = v.and(HIGH).reinterpretAsFloats().fma(odd, a1);
                v = IntVector.fromMemorySegment(I, memory, q + 128, ORDER);
                a2 = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(even, a2);
                a2 = v.and(HIGH).reinterpretAsFloats().fma(odd, a2);
                v = IntVector.fromMemorySegment(I, memory, q + 192, ORDER);
                a3 = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(even, a3);
                a3 = v.and(HIGH).reinterpretAsFloats().fma(odd, a3);
                v = IntVector.fromMemorySegment(I, memory, q + 256, ORDER);
                a4 = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(even, a4);
                a4 = v.and(HIGH).reinterpretAsFloats().fma(odd, a4);
                v = IntVector.fromMemorySegment(I, memory, q + 320, ORDER);
                a5 = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(even, a5);
                a5 = v.and(HIGH).reinterpretAsFloats().fma(odd, a5);
                v = IntVector.fromMemorySegment(I, memory, q + 384, ORDER);
                a6 = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(even, a6);
                a6 = v.and(HIGH).reinterpretAsFloats().fma(odd, a6);
                v = IntVector.fromMemorySegment(I, memory, q + 448, ORDER);
                a7 = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(even, a7);
                a7 = v.and(HIGH).reinterpretAsFloats().fma(odd, a7);
                v = IntVector.fromMemorySegment(I, memory, q + 512, ORDER);
                a8 = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(even, a8);
                a8 = v.and(HIGH).reinterpretAsFloats().fma(odd, a8);
                v = IntVector.fromMemorySegment(I, memory, q + 576, ORDER);
                a9 = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(even, a9);
                a9 = v.and(HIGH).reinterpretAsFloats().fma(odd, a9);
                v = IntVector.fromMemorySegment(I, memory, q + 640, ORDER);
                a10 = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(even, a10);
                a10 = v.and(HIGH).reinterpretAsFloats().fma(odd, a10);
                v = IntVector.fromMemorySegment(I, memory, q + 704, ORDER);
                a11 = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(even, a11);
                a11 = v.and(HIGH).reinterpretAsFloats().fma(odd, a11);
                v = IntVector.fromMemorySegment(I, memory, q + 768, ORDER);
                a12 = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(even, a12);
                a12 = v.and(HIGH).reinterpretAsFloats().fma(odd, a12);
                v = IntVector.fromMemorySegment(I, memory, q + 832, ORDER);
                a13 = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(even, a13);
                a13 = v.and(HIGH).reinterpretAsFloats().fma(odd, a13);
                v = IntVector.fromMemorySegment(I, memory, q + 896, ORDER);
                a14 = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(even, a14);
                a14 = v.and(HIGH).reinterpretAsFloats().fma(odd, a14);
                v = IntVector.fromMemorySegment(I, memory, q + 960, ORDER);
                a15 = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(even, a15);
                a15 = v.and(HIGH).reinterpretAsFloats().fma(odd, a15);
            }
            xp += 128;
        }
        put(y, row + 0, a0.reduceLanes(VectorOperators.ADD));
        put(y, row + 1, a1.reduceLanes(VectorOperators.ADD));
        put(y, row + 2, a2.reduceLanes(VectorOperators.ADD));
        put(y, row + 3, a3.reduceLanes(VectorOperators.ADD));
        put(y, row + 4, a4.reduceLanes(VectorOperators.ADD));
        put(y, row + 5, a5.reduceLanes(VectorOperators.ADD));
        put(y, row + 6, a6.reduceLanes(VectorOperators.ADD));
        put(y, row + 7, a7.reduceLanes(VectorOperators.ADD));
        put(y, row + 8, a8.reduceLanes(VectorOperators.ADD));
        put(y, row + 9, a9.reduceLanes(VectorOperators.ADD));
        put(y, row + 10, a10.reduceLanes(VectorOperators.ADD));
        put(y, row + 11, a11.reduceLanes(VectorOperators.ADD));
        put(y, row + 12, a12.reduceLanes(VectorOperators.ADD));
        put(y, row + 13, a13.reduceLanes(VectorOperators.ADD));
        put(y, row + 14, a14.reduceLanes(VectorOperators.ADD));
        put(y, row + 15, a15.reduceLanes(VectorOperators.ADD));
    }

    private void block8Bf16(MemorySegment x, MemorySegment y, int row) {
        FloatVector a0 = FloatVector.zero(F);
        FloatVector a1 = FloatVector.zero(F);
        FloatVector a2 = FloatVector.zero(F);
        FloatVector a3 = FloatVector.zero(F);
        FloatVector a4 = FloatVector.zero(F);
        FloatVector a5 = FloatVector.zero(F);
        FloatVector a6 = FloatVector.zero(F);
        FloatVector a7 = FloatVector.zero(F);
        IntVector v;
        long begin = row * rowBytes;
        long end = begin + 8 * rowBytes;
        long xp = 0;
        for (long p = begin; p != end; p += 512) {
            for (int j = 0; j < 64; j += VECTOR_BYTES) {
                FloatVector even = FloatVector.fromMemorySegment(F, x, xp + j, ORDER);
                FloatVector odd = FloatVector.fromMemorySegment(F, x, xp + 64 + j, ORDER);
                long q = p + j;
                v = IntVector.fromMemorySegment(I, memory, q, ORDER);
                a0 = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(even, a0);
                a0 = v.and(HIGH).reinterpretAsFloats().fma(odd, a0);
                v = IntVector.fromMemorySegment(I, memory, q + 64, ORDER);
                a1 = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(even, a1);
                a1 = v.and(HIGH).reinterpretAsFloats().fma(odd, a1);
                v = IntVector.fromMemorySegment(I, memory, q + 128, ORDER);
                a2 = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(even, a2);
                a2 = v.and(HIGH).reinterpretAsFloats().fma(odd, a2);
                v = IntVector.fromMemorySegment(I, memory, q + 192, ORDER);
                a3 = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(even, a3);
                a3 = v.and(HIGH).reinterpretAsFloats().fma(odd, a3);
                v = IntVector.fromMemorySegment(I, memory, q + 256, ORDER);
                a4 = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(even, a4);
                a4 = v.and(HIGH).reinterpretAsFloats().fma(odd, a4);
                v = IntVector.fromMemorySegment(I, memory, q + 320, ORDER);
                a5 = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(even, a5);
                a5 = v.and(HIGH).reinterpretAsFloats().fma(odd, a5);
                v = IntVector.fromMemorySegment(I, memory, q + 384, ORDER);
                a6 = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(even, a6);
                a6 = v.and(HIGH).reinterpretAsFloats().fma(odd, a6);
                v = IntVector.fromMemorySegment(I, memory, q + 448, ORDER);
                a7 = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(even, a7);
                a7 = v.and(HIGH).reinterpretAsFloats().fma(odd, a7);
            }
            xp += 128;
        }
        put(y, row + 0, a0.reduceLanes(VectorOperators.ADD));
        put(y, row + 1, a1.reduceLanes(VectorOperators.ADD));
        put(y, row + 2, a2.reduceLanes(VectorOperators.ADD));
        put(y, row + 3, a3.reduceLanes(VectorOperators.ADD));
        put(y, row + 4, a4.reduceLanes(VectorOperators.ADD));
        put(y, row + 5, a5.reduceLanes(VectorOperators.ADD));
        put(y, row + 6, a6.reduceLanes(VectorOperators.ADD));
        put(y, row + 7, a7.reduceLanes(VectorOperators.ADD));
    }

    private void block16F16(MemorySegment x, MemorySegment y, int row) {
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
        long begin = row * rowBytes;
        long end = begin + 16 * rowBytes;
        long xp = 0;
        for (long p = begin; p != end; p += 1024) {
            for (int j = 0; j < 64; j += VECTOR_BYTES) {
                FloatVector even = FloatVector.fromMemorySegment(F, x, xp + j, ORDER).mul(F16_SCALE);
                FloatVector odd = FloatVector.fromMemorySegment(F, x, xp + 64 + j, ORDER).mul(F16_SCALE);
                long q = p + j;
                v = IntVector.fromMemorySegment(I, memory, q, ORDER);
                a0 = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, 3)
                        .and(LOW_F16)
                        .reinterpretAsFloats()
                        .fma(even, a0);
                a0 = v.lanewise(VectorOperators.ASHR, 3).and(HIGH_F16).reinterpretAsFloats().fma(odd, a0);
                v = IntVector.fromMemorySegment(I, memory, q + 64, ORDER);
                a1 = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, 3)
                        .and(LOW_F16)
                        .reinterpretAsFloats()
                        .fma(even, a1);
                a1 = v.lanewise(VectorOperators.ASHR, 3).and(HIGH_F16).reinterpretAsFloats().fma(odd, a1);
                v = IntVector.fromMemorySegment(I, memory, q + 128, ORDER);
                a2 = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, 3)
                        .and(LOW_F16)
                        .reinterpretAsFloats()
                        .fma(even, a2);
                a2 = v.lanewise(VectorOperators.ASHR, 3).and(HIGH_F16).reinterpretAsFloats().fma(odd, a2);
                v = IntVector.fromMemorySegment(I, memory, q + 192, ORDER);
                a3 = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, 3)
                        .and(LOW_F16)
                        .reinterpretAsFloats()
                        .fma(even, a3);
                a3 = v.lanewise(VectorOperators.ASHR, 3).and(HIGH_F16).reinterpretAsFloats().fma(odd, a3);
                v = IntVector.fromMemorySegment(I, memory, q + 256, ORDER);
                a4 = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, 3)
                        .and(LOW_F16)
                        .reinterpretAsFloats()
                        .fma(even, a4);
                a4 = v.lanewise(VectorOperators.ASHR, 3).and(HIGH_F16).reinterpretAsFloats().fma(odd, a4);
                v = IntVector.fromMemorySegment(I, memory, q + 320, ORDER);
                a5 = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, 3)
                        .and(LOW_F16)
                        .reinterpretAsFloats()
                        .fma(even, a5);
                a5 = v.lanewise(VectorOperators.ASHR, 3).and(HIGH_F16).reinterpretAsFloats().fma(odd, a5);
                v = IntVector.fromMemorySegment(I, memory, q + 384, ORDER);
                a6 = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, 3)
                        .and(LOW_F16)
                        .reinterpretAsFloats()
                        .fma(even, a6);
                a6 = v.lanewise(VectorOperators.ASHR, 3).and(HIGH_F16).reinterpretAsFloats().fma(odd, a6);
                v = IntVector.fromMemorySegment(I, memory, q + 448, ORDER);
                a7 = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, 3)
                        .and(LOW_F16)
                        .reinterpretAsFloats()
                        .fma(even, a7);
                a7 = v.lanewise(VectorOperators.ASHR, 3).and(HIGH_F16).reinterpretAsFloats().fma(odd, a7);
                v = IntVector.fromMemorySegment(I, memory, q + 512, ORDER);
                a8 = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, 3)
                        .and(LOW_F16)
                        .reinterpretAsFloats()
                        .fma(even, a8);
                a8 = v.lanewise(VectorOperators.ASHR, 3).and(HIGH_F16).reinterpretAsFloats().fma(odd, a8);
                v = IntVector.fromMemorySegment(I, memory, q + 576, ORDER);
                a9 = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, 3)
                        .and(LOW_F16)
                        .reinterpretAsFloats()
                        .fma(even, a9);
                a9 = v.lanewise(VectorOperators.ASHR, 3).and(HIGH_F16).reinterpretAsFloats().fma(odd, a9);
                v = IntVector.fromMemorySegment(I, memory, q + 640, ORDER);
                a10 = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, 3)
                        .and(LOW_F16)
                        .reinterpretAsFloats()
                        .fma(even, a10);
                a10 = v.lanewise(VectorOperators.ASHR, 3).and(HIGH_F16).reinterpretAsFloats().fma(odd, a10);
                v = IntVector.fromMemorySegment(I, memory, q + 704, ORDER);
                a11 = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, 3)
                        .and(LOW_F16)
                        .reinterpretAsFloats()
                        .fma(even, a11);
                a11 = v.lanewise(VectorOperators.ASHR, 3).and(HIGH_F16).reinterpretAsFloats().fma(odd, a11);
                v = IntVector.fromMemorySegment(I, memory, q + 768, ORDER);
                a12 = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, 3)
                        .and(LOW_F16)
                        .reinterpretAsFloats()
                        .fma(even, a12);
                a12 = v.lanewise(VectorOperators.ASHR, 3).and(HIGH_F16).reinterpretAsFloats().fma(odd, a12);
                v = IntVector.fromMemorySegment(I, memory, q + 832, ORDER);
                a13 = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, 3)
                        .and(LOW_F16)
                        .reinterpretAsFloats()
                        .fma(even, a13);
                a13 = v.lanewise(VectorOperators.ASHR, 3).and(HIGH_F16).reinterpretAsFloats().fma(odd, a13);
                v = IntVector.fromMemorySegment(I, memory, q + 896, ORDER);
                a14 = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, 3)
                        .and(LOW_F16)
                        .reinterpretAsFloats()
                        .fma(even, a14);
                a14 = v.lanewise(VectorOperators.ASHR, 3).and(HIGH_F16).reinterpretAsFloats().fma(odd, a14);
                v = IntVector.fromMemorySegment(I, memory, q + 960, ORDER);
                a15 = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, 3)
                        .and(LOW_F16)
                        .reinterpretAsFloats()
                        .fma(even, a15);
                a15 = v.lanewise(VectorOperators.ASHR, 3).and(HIGH_F16).reinterpretAsFloats().fma(odd, a15);
            }
            xp += 128;
        }
        put(y, row + 0, F16_SCALE * a0.reduceLanes(VectorOperators.ADD));
        put(y, row + 1, F16_SCALE * a1.reduceLanes(VectorOperators.ADD));
        put(y, row + 2, F16_SCALE * a2.reduceLanes(VectorOperators.ADD));
        put(y, row + 3, F16_SCALE * a3.reduceLanes(VectorOperators.ADD));
        put(y, row + 4, F16_SCALE * a4.reduceLanes(VectorOperators.ADD));
        put(y, row + 5, F16_SCALE * a5.reduceLanes(VectorOperators.ADD));
        put(y, row + 6, F16_SCALE * a6.reduceLanes(VectorOperators.ADD));
        put(y, row + 7, F16_SCALE * a7.reduceLanes(VectorOperators.ADD));
        put(y, row + 8, F16_SCALE * a8.reduceLanes(VectorOperators.ADD));
        put(y, row + 9, F16_SCALE * a9.reduceLanes(VectorOperators.ADD));
        put(y, row + 10, F16_SCALE * a10.reduceLanes(VectorOperators.ADD));
        put(y, row + 11, F16_SCALE * a11.reduceLanes(VectorOperators.ADD));
        put(y, row + 12, F16_SCALE * a12.reduceLanes(VectorOperators.ADD));
        put(y, row + 13, F16_SCALE * a13.reduceLanes(VectorOperators.ADD));
        put(y, row + 14, F16_SCALE * a14.reduceLanes(VectorOperators.ADD));
        put(y, row + 15, F16_SCALE * a15.reduceLanes(VectorOperators.ADD));
    }

    private void block8F16(MemorySegment x, MemorySegment y, int row) {
        FloatVector a0 = FloatVector.zero(F);
        FloatVector a1 = FloatVector.zero(F);
        FloatVector a2 = FloatVector.zero(F);
        FloatVector a3 = FloatVector.zero(F);
        FloatVector a4 = FloatVector.zero(F);
        FloatVector a5 = FloatVector.zero(F);
        FloatVector a6 = FloatVector.zero(F);
        FloatVector a7 = FloatVector.zero(F);
        IntVector v;
        long begin = row * rowBytes;
        long end = begin + 8 * rowBytes;
        long xp = 0;
        for (long p = begin; p != end; p += 512) {
            for (int j = 0; j < 64; j += VECTOR_BYTES) {
                FloatVector even = FloatVector.fromMemorySegment(F, x, xp + j, ORDER).mul(F16_SCALE);
                FloatVector odd = FloatVector.fromMemorySegment(F, x, xp + 64 + j, ORDER).mul(F16_SCALE);
                long q = p + j;
                v = IntVector.fromMemorySegment(I, memory, q, ORDER);
                a0 = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, 3)
                        .and(LOW_F16)
                        .reinterpretAsFloats()
                        .fma(even, a0);
                a0 = v.lanewise(VectorOperators.ASHR, 3).and(HIGH_F16).reinterpretAsFloats().fma(odd, a0);
                v = IntVector.fromMemorySegment(I, memory, q + 64, ORDER);
                a1 = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, 3)
                        .and(LOW_F16)
                        .reinterpretAsFloats()
                        .fma(even, a1);
                a1 = v.lanewise(VectorOperators.ASHR, 3).and(HIGH_F16).reinterpretAsFloats().fma(odd, a1);
                v = IntVector.fromMemorySegment(I, memory, q + 128, ORDER);
                a2 = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, 3)
                        .and(LOW_F16)
                        .reinterpretAsFloats()
                        .fma(even, a2);
                a2 = v.lanewise(VectorOperators.ASHR, 3).and(HIGH_F16).reinterpretAsFloats().fma(odd, a2);
                v = IntVector.fromMemorySegment(I, memory, q + 192, ORDER);
                a3 = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, 3)
                        .and(LOW_F16)
                        .reinterpretAsFloats()
                        .fma(even, a3);
                a3 = v.lanewise(VectorOperators.ASHR, 3).and(HIGH_F16).reinterpretAsFloats().fma(odd, a3);
                v = IntVector.fromMemorySegment(I, memory, q + 256, ORDER);
                a4 = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, 3)
                        .and(LOW_F16)
                        .reinterpretAsFloats()
                        .fma(even, a4);
                a4 = v.lanewise(VectorOperators.ASHR, 3).and(HIGH_F16).reinterpretAsFloats().fma(odd, a4);
                v = IntVector.fromMemorySegment(I, memory, q + 320, ORDER);
                a5 = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, 3)
                        .and(LOW_F16)
                        .reinterpretAsFloats()
                        .fma(even, a5);
                a5 = v.lanewise(VectorOperators.ASHR, 3).and(HIGH_F16).reinterpretAsFloats().fma(odd, a5);
                v = IntVector.fromMemorySegment(I, memory, q + 384, ORDER);
                a6 = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, 3)
                        .and(LOW_F16)
                        .reinterpretAsFloats()
                        .fma(even, a6);
                a6 = v.lanewise(VectorOperators.ASHR, 3).and(HIGH_F16).reinterpretAsFloats().fma(odd, a6);
                v = IntVector.fromMemorySegment(I, memory, q + 448, ORDER);
                a7 = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, 3)
                        .and(LOW_F16)
                        .reinterpretAsFloats()
                        .fma(even, a7);
                a7 = v.lanewise(VectorOperators.ASHR, 3).and(HIGH_F16).reinterpretAsFloats().fma(odd, a7);
            }
            xp += 128;
        }
        put(y, row + 0, F16_SCALE * a0.reduceLanes(VectorOperators.ADD));
        put(y, row + 1, F16_SCALE * a1.reduceLanes(VectorOperators.ADD));
        put(y, row + 2, F16_SCALE * a2.reduceLanes(VectorOperators.ADD));
        put(y, row + 3, F16_SCALE * a3.reduceLanes(VectorOperators.ADD));
        put(y, row + 4, F16_SCALE * a4.reduceLanes(VectorOperators.ADD));
        put(y, row + 5, F16_SCALE * a5.reduceLanes(VectorOperators.ADD));
        put(y, row + 6, F16_SCALE * a6.reduceLanes(VectorOperators.ADD));
        put(y, row + 7, F16_SCALE * a7.reduceLanes(VectorOperators.ADD));
    }

    private void block8F32(MemorySegment x, MemorySegment y, int row) {
        FloatVector a0 = FloatVector.zero(F);
        FloatVector a1 = FloatVector.zero(F);
        FloatVector a2 = FloatVector.zero(F);
        FloatVector a3 = FloatVector.zero(F);
        FloatVector a4 = FloatVector.zero(F);
        FloatVector a5 = FloatVector.zero(F);
        FloatVector a6 = FloatVector.zero(F);
        FloatVector a7 = FloatVector.zero(F);
        long begin = row * rowBytes;
        long end = begin + 8 * rowBytes;
        long xp = 0;
        for (long p = begin; p != end; p += 512) {
            for (int j = 0; j < 64; j += VECTOR_BYTES) {
                FloatVector v = FloatVector.fromMemorySegment(F, x, xp + j, ORDER);
                long q = p + j;
                a0 = FloatVector.fromMemorySegment(F, memory, q, ORDER).fma(v, a0);
                a1 = FloatVector.fromMemorySegment(F, memory, q + 64, ORDER).fma(v, a1);
                a2 = FloatVector.fromMemorySegment(F, memory, q + 128, ORDER).fma(v, a2);
                a3 = FloatVector.fromMemorySegment(F, memory, q + 192, ORDER).fma(v, a3);
                a4 = FloatVector.fromMemorySegment(F, memory, q + 256, ORDER).fma(v, a4);
                a5 = FloatVector.fromMemorySegment(F, memory, q + 320, ORDER).fma(v, a5);
                a6 = FloatVector.fromMemorySegment(F, memory, q + 384, ORDER).fma(v, a6);
                a7 = FloatVector.fromMemorySegment(F, memory, q + 448, ORDER).fma(v, a7);
            }
            xp += 64;
        }
        put(y, row + 0, a0.reduceLanes(VectorOperators.ADD));
        put(y, row + 1, a1.reduceLanes(VectorOperators.ADD));
        put(y, row + 2, a2.reduceLanes(VectorOperators.ADD));
        put(y, row + 3, a3.reduceLanes(VectorOperators.ADD));
        put(y, row + 4, a4.reduceLanes(VectorOperators.ADD));
        put(y, row + 5, a5.reduceLanes(VectorOperators.ADD));
        put(y, row + 6, a6.reduceLanes(VectorOperators.ADD));
        put(y, row + 7, a7.reduceLanes(VectorOperators.ADD));
    }

    @Override
    public void expand(int rowFrom, int rowTo, int colFrom, int colTo, MemorySegment panel, int stride) {
        for (int row = rowFrom; row < rowTo; row++) {
            for (int column = colFrom; column < colTo; column += tileColumns) {
                Convert.toFloat(
                        dtype,
                        memory,
                        at(row, column) / dtype.bytes(),
                        panel,
                        (long) (row - rowFrom) * stride + column - colFrom,
                        tileColumns);
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
