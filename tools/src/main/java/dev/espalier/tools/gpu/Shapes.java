package dev.espalier.tools.gpu;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;
import java.util.stream.IntStream;

/// A layer's weight matrix, and random weights for it.
///
/// @param layer what it is in the model
/// @param out output features
/// @param in input features
record Shapes(String layer, int out, int in) {
    /// Puts the layer's name into a row.
    ObjectNode describe(ObjectNode row) {
        return row.put("layer", layer);
    }

    /// Random BF16 weights between 1/4 and 1 in magnitude, of which about `sparsity` are zeros.
    Tensor weights(Arena arena, double sparsity, long seed) {
        Tensor tensor = Tensor.allocate(arena, DType.BF16, out, in);
        int threshold = (int) Math.round(sparsity * 65536);
        IntStream.range(0, out).parallel().forEach(row -> {
            SplittableRandom random = new SplittableRandom(seed * 1_000_003 + row);
            short[] bits = new short[in];
            for (int i = 0; i < in; i++) {
                int r = random.nextInt();
                bits[i] = (r >>> 16) < threshold ? 0 : (short) (0x3e80 | r & 0x80ff);
            }
            write(tensor, row, bits);
        });
        return tensor;
    }

    /// The same with two of each four columns zero, which two is random.
    Tensor twoFour(Arena arena, long seed) {
        Tensor tensor = Tensor.allocate(arena, DType.BF16, out, in);
        IntStream.range(0, out).parallel().forEach(row -> {
            SplittableRandom random = new SplittableRandom(seed * 1_000_003 + row);
            short[] bits = new short[in];
            for (int group = 0; group < in; group += 4) {
                int first = random.nextInt(4);
                int second = (first + 1 + random.nextInt(3)) % 4;
                bits[group + first] = (short) (0x3e80 | random.nextInt() & 0x80ff);
                bits[group + second] = (short) (0x3e80 | random.nextInt() & 0x80ff);
            }
            write(tensor, row, bits);
        });
        return tensor;
    }

    private static void write(Tensor tensor, int row, short[] bits) {
        MemorySegment.copy(
                bits, 0, tensor.segment(), ValueLayout.JAVA_SHORT_UNALIGNED, 2L * row * bits.length, bits.length);
    }
}
