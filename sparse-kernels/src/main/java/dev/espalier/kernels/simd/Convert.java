package dev.espalier.kernels.simd;

import dev.espalier.tensor.DType;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

/// Widens stored elements to float32, a vector at a time.
public final class Convert {
    private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
    private static final VectorSpecies<Integer> I = IntVector.SPECIES_PREFERRED;
    private static final VectorSpecies<Short> HALF =
            VectorSpecies.of(short.class, VectorShape.forBitSize(Math.max(64, F.vectorBitSize() / 2)));
    private static final int LANES = F.length();
    private static final ByteOrder ORDER = ByteOrder.LITTLE_ENDIAN;
    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
    /// 2^112: what a binary16 lacks when its bits are read as those of a binary32 with a shifted exponent.
    private static final float F16_SCALE = 0x1p112f;

    static {
        CompilerHints.excludeFromC1(Convert.class);
    }

    private Convert() {}

    /// Widens `count` elements of `type`, from element `from` of `source` on, into float32 from float `at` of `target`
    /// on. Exact; nothing outside either range is touched.
    public static void toFloat(DType type, MemorySegment source, long from, MemorySegment target, long at, int count) {
        if (type == DType.F32) {
            MemorySegment.copy(source, from * 4, target, at * 4, count * 4L);
            return;
        }
        long weights = Raw.address(source, (from + count) * type.bytes());
        long floats = Raw.address(target, (at + count) * 4);
        int i = 0;
        switch (type) {
            case BF16 -> {
                for (; i <= count - LANES; i += LANES) {
                    IntVector bits =
                            (IntVector) ShortVector.fromMemorySegment(HALF, Raw.ALL, weights + (from + i) * 2, ORDER)
                                    .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0);
                    bits.lanewise(VectorOperators.LSHL, 16).intoMemorySegment(Raw.ALL, floats + (at + i) * 4, ORDER);
                }
            }
            case F16 -> {
                for (; i <= count - LANES; i += LANES) {
                    IntVector bits =
                            (IntVector) ShortVector.fromMemorySegment(HALF, Raw.ALL, weights + (from + i) * 2, ORDER)
                                    .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0);
                    bits.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, 3)
                            .and(0x8fffffff)
                            .reinterpretAsFloats()
                            .mul(F16_SCALE)
                            .intoMemorySegment(Raw.ALL, floats + (at + i) * 4, ORDER);
                }
            }
            case F32, I8 -> {
                // Floats are copied, and no kernel reads plain bytes in bulk.
            }
        }
        for (; i < count; i++) {
            target.set(FLOAT, (at + i) * 4, type.get(source, from + i));
        }
    }
}
