package dev.espalier.kernels.cpu;

import dev.espalier.kernels.cpu.CpuLinear.Input;
import dev.espalier.kernels.simd.CompilerHints;
import dev.espalier.kernels.simd.Raw;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorShuffle;
import jdk.incubator.vector.VectorSpecies;

/// Takes float32s apart for kernels that look up their halves: see [CpuLinear.Input#HALVES].
final class Halves {
    private static final VectorSpecies<Short> S = ShortVector.SPECIES_PREFERRED;
    private static final int LANES = S.length();
    private static final VectorShuffle<Short> EVENS = VectorShuffle.makeUnzip(S, 0);
    private static final VectorShuffle<Short> ODDS = VectorShuffle.makeUnzip(S, 1);

    static {
        CompilerHints.excludeFromC1(Halves.class);
    }

    private Halves() {}

    /// Writes the halves of `columns` floats from float `from` of `xMemory` on into `toMemory`; what lies past the last column is left
    /// as it is.
    static void split(MemorySegment xMemory, long from, MemorySegment toMemory, int columns) {
        long x = Raw.address(xMemory, (from + columns) * 4) + from * 4;
        long to = Raw.address(toMemory, Input.LOWER + columns * 2L);
        int whole = columns / LANES * LANES;
        for (int c = 0; c < whole; c += LANES) {
            ShortVector a = ShortVector.fromMemorySegment(S, Raw.ALL, x + 4L * c, Raw.ORDER);
            ShortVector b = ShortVector.fromMemorySegment(S, Raw.ALL, x + 4L * c + 2L * LANES, Raw.ORDER);
            a.rearrange(ODDS, b).intoMemorySegment(Raw.ALL, to + 2L * c, Raw.ORDER);
            a.rearrange(EVENS, b).intoMemorySegment(Raw.ALL, to + 2L * c + Input.LOWER, Raw.ORDER);
        }
        for (int c = whole; c < columns; c++) {
            Raw.ALL.set(Raw.SHORT, to + 2L * c, Raw.ALL.get(Raw.SHORT, x + 4L * c + 2));
            Raw.ALL.set(Raw.SHORT, to + 2L * c + Input.LOWER, Raw.ALL.get(Raw.SHORT, x + 4L * c));
        }
    }
}
