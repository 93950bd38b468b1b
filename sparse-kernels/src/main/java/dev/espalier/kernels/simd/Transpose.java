package dev.espalier.kernels.simd;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorShuffle;
import jdk.incubator.vector.VectorSpecies;

/// Transposes float32 matrices in blocks of as many rows as a vector has lanes.
///
/// A block goes through log₂(lanes) stages; stage h exchanges, in each pair of rows h apart, the off-diagonal squares of h
/// elements. One shuffle and one blend a vector and stage.
public final class Transpose {
    private static final VectorSpecies<Float> S = FloatVector.SPECIES_PREFERRED;
    private static final int L = S.length();
    private static final ByteOrder ORDER = ByteOrder.nativeOrder();
    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;

    private static final VectorShuffle<Float> UP1 = shift(-1);
    private static final VectorShuffle<Float> UP2 = shift(-2);
    private static final VectorShuffle<Float> UP4 = shift(-4);
    private static final VectorShuffle<Float> UP8 = shift(-8);
    private static final VectorShuffle<Float> DOWN1 = shift(1);
    private static final VectorShuffle<Float> DOWN2 = shift(2);
    private static final VectorShuffle<Float> DOWN4 = shift(4);
    private static final VectorShuffle<Float> DOWN8 = shift(8);
    private static final VectorMask<Float> HIGH1 = high(1);
    private static final VectorMask<Float> HIGH2 = high(2);
    private static final VectorMask<Float> HIGH4 = high(4);
    private static final VectorMask<Float> HIGH8 = high(8);

    static {
        CompilerHints.excludeFromC1(Transpose.class);
    }

    private Transpose() {}

    /// `target[j, i] = source[i, j]` for `rows` x `columns` elements.
    ///
    /// @param source the matrix; its first element is at float index `sourceAt`, its rows are `sourceStride` floats apart
    /// @param target where column j of the source becomes a row, at `targetAt + j * targetStride`
    public static void transpose(
            MemorySegment source,
            long sourceAt,
            long sourceStride,
            int rows,
            int columns,
            MemorySegment target,
            long targetAt,
            long targetStride) {
        int wholeRows = L <= 16 && L >= 4 ? rows - rows % L : 0;
        int wholeColumns = columns - columns % L;
        for (int i = 0; i < wholeRows; i += L) {
            for (int j = 0; j < wholeColumns; j += L) {
                block(
                        source,
                        (sourceAt + i * sourceStride + j) * 4,
                        sourceStride * 4,
                        target,
                        (targetAt + j * targetStride + i) * 4,
                        targetStride * 4);
            }
            scalar(source, sourceAt, sourceStride, i, i + L, wholeColumns, columns, target, targetAt, targetStride);
        }
        scalar(source, sourceAt, sourceStride, wholeRows, rows, 0, columns, target, targetAt, targetStride);
    }

    private static void scalar(
            MemorySegment source,
            long sourceAt,
            long sourceStride,
            int rowFrom,
            int rowTo,
            int columnFrom,
            int columnTo,
            MemorySegment target,
            long targetAt,
            long targetStride) {
        for (int i = rowFrom; i < rowTo; i++) {
            for (int j = columnFrom; j < columnTo; j++) {
                target.set(
                        FLOAT,
                        (targetAt + j * targetStride + i) * 4,
                        source.get(FLOAT, (sourceAt + i * sourceStride + j) * 4));
            }
        }
    }

    /// One block of L x L; offsets and strides in bytes. The stages after the first run in place in the target.
    private static void block(MemorySegment s, long from, long fromStride, MemorySegment t, long to, long toStride) {
        for (int i = 0; i < L; i += 2) {
            FloatVector a = FloatVector.fromMemorySegment(S, s, from + i * fromStride, ORDER);
            FloatVector b = FloatVector.fromMemorySegment(S, s, from + (i + 1) * fromStride, ORDER);
            a.blend(b.rearrange(UP1), HIGH1).intoMemorySegment(t, to + i * toStride, ORDER);
            a.rearrange(DOWN1).blend(b, HIGH1).intoMemorySegment(t, to + (i + 1) * toStride, ORDER);
        }
        for (int n = 0; n < L / 2; n++) {
            int i = (n & ~1) * 2 + (n & 1);
            FloatVector a = FloatVector.fromMemorySegment(S, t, to + i * toStride, ORDER);
            FloatVector b = FloatVector.fromMemorySegment(S, t, to + (i + 2) * toStride, ORDER);
            a.blend(b.rearrange(UP2), HIGH2).intoMemorySegment(t, to + i * toStride, ORDER);
            a.rearrange(DOWN2).blend(b, HIGH2).intoMemorySegment(t, to + (i + 2) * toStride, ORDER);
        }
        if (L >= 8) {
            for (int n = 0; n < L / 2; n++) {
                int i = (n & ~3) * 2 + (n & 3);
                FloatVector a = FloatVector.fromMemorySegment(S, t, to + i * toStride, ORDER);
                FloatVector b = FloatVector.fromMemorySegment(S, t, to + (i + 4) * toStride, ORDER);
                a.blend(b.rearrange(UP4), HIGH4).intoMemorySegment(t, to + i * toStride, ORDER);
                a.rearrange(DOWN4).blend(b, HIGH4).intoMemorySegment(t, to + (i + 4) * toStride, ORDER);
            }
        }
        if (L >= 16) {
            for (int i = 0; i < 8; i++) {
                FloatVector a = FloatVector.fromMemorySegment(S, t, to + i * toStride, ORDER);
                FloatVector b = FloatVector.fromMemorySegment(S, t, to + (i + 8) * toStride, ORDER);
                a.blend(b.rearrange(UP8), HIGH8).intoMemorySegment(t, to + i * toStride, ORDER);
                a.rearrange(DOWN8).blend(b, HIGH8).intoMemorySegment(t, to + (i + 8) * toStride, ORDER);
            }
        }
    }

    /// Lane j takes lane j + by, around the end.
    private static VectorShuffle<Float> shift(int by) {
        return VectorShuffle.fromOp(S, j -> Math.floorMod(j + by, L));
    }

    /// The lanes whose number has bit `h`.
    private static VectorMask<Float> high(int h) {
        boolean[] lanes = new boolean[L];
        for (int j = 0; j < L; j++) {
            lanes[j] = (j & h) != 0;
        }
        return VectorMask.fromArray(S, lanes, 0);
    }
}
