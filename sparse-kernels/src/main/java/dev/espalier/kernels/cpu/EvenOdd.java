package dev.espalier.kernels.cpu;

import dev.espalier.kernels.simd.CompilerHints;
import dev.espalier.kernels.simd.Raw;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorShuffle;
import jdk.incubator.vector.VectorSpecies;

/// Lays activations out for kernels whose 32-bit lanes hold two 16-bit weights, or four bytes: see
/// [CpuLinear.Input#EVEN_ODD] and [CpuLinear.Input#BY_FOUR].
final class EvenOdd {
    private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
    private static final int LANES = F.length();
    private static final ByteOrder ORDER = ByteOrder.LITTLE_ENDIAN;
    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final VectorShuffle<Float> EVENS = VectorShuffle.makeUnzip(F, 0);
    private static final VectorShuffle<Float> ODDS = VectorShuffle.makeUnzip(F, 1);

    static {
        CompilerHints.excludeFromC1(EvenOdd.class);
    }

    private EvenOdd() {}

    /// Writes `columns` floats from float `from` of `xMemory` on into `toMemory`; what lies past the last column in its group
    /// of 32 is left as it is.
    static void split(MemorySegment xMemory, long from, MemorySegment toMemory, int columns) {
        long x = Raw.address(xMemory, (from + columns) * 4);
        long to = Raw.address(toMemory, Math.ceilDiv(columns, 32) * 128L);
        int whole = columns / 32 * 32;
        for (int group = 0; group < whole; group += 32) {
            for (int i = 0; i < 16; i += LANES) {
                FloatVector a = FloatVector.fromMemorySegment(F, Raw.ALL, x + (from + group + 2L * i) * 4, ORDER);
                FloatVector b =
                        FloatVector.fromMemorySegment(F, Raw.ALL, x + (from + group + 2L * i + LANES) * 4, ORDER);
                a.rearrange(EVENS, b).intoMemorySegment(Raw.ALL, to + (group + i) * 4L, ORDER);
                a.rearrange(ODDS, b).intoMemorySegment(Raw.ALL, to + (group + 16 + i) * 4L, ORDER);
            }
        }
        for (int c = whole; c < columns; c++) {
            int at = whole + (c & 1) * 16 + (c - whole) / 2;
            Raw.ALL.set(FLOAT, to + at * 4L, Raw.ALL.get(FLOAT, x + (from + c) * 4));
        }
    }

    /// The same by fours: what lies past the last column in its group of 64 is left as it is.
    static void splitByFour(MemorySegment xMemory, long from, MemorySegment toMemory, int columns) {
        long x = Raw.address(xMemory, (from + columns) * 4);
        long to = Raw.address(toMemory, Math.ceilDiv(columns, 64) * 256L);
        int whole = columns / 64 * 64;
        for (int group = 0; group < whole; group += 64) {
            for (int i = 0; i < 16; i += LANES) {
                long at = from + group + 4L * i;
                FloatVector a = FloatVector.fromMemorySegment(F, Raw.ALL, x + at * 4, ORDER);
                FloatVector b = FloatVector.fromMemorySegment(F, Raw.ALL, x + (at + LANES) * 4, ORDER);
                FloatVector c = FloatVector.fromMemorySegment(F, Raw.ALL, x + (at + 2L * LANES) * 4, ORDER);
                FloatVector d = FloatVector.fromMemorySegment(F, Raw.ALL, x + (at + 3L * LANES) * 4, ORDER);
                FloatVector low = a.rearrange(EVENS, b);
                FloatVector high = c.rearrange(EVENS, d);
                low.rearrange(EVENS, high).intoMemorySegment(Raw.ALL, to + (group + i) * 4L, ORDER);
                low.rearrange(ODDS, high).intoMemorySegment(Raw.ALL, to + (group + 32 + i) * 4L, ORDER);
                low = a.rearrange(ODDS, b);
                high = c.rearrange(ODDS, d);
                low.rearrange(EVENS, high).intoMemorySegment(Raw.ALL, to + (group + 16 + i) * 4L, ORDER);
                low.rearrange(ODDS, high).intoMemorySegment(Raw.ALL, to + (group + 48 + i) * 4L, ORDER);
            }
        }
        for (int c = whole; c < columns; c++) {
            int at = whole + (c & 3) * 16 + (c - whole) / 4;
            Raw.ALL.set(FLOAT, to + at * 4L, Raw.ALL.get(FLOAT, x + (from + c) * 4));
        }
    }
}
