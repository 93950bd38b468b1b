package dev.espalier.kernels.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.Random;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/// A token's attention has the same bits however it is cut into calls: what a cache held before, and whose heads share a
/// thread, must not show in the text.
@Tag("lanes")
class AttentionKernelsTest {
    private static final int[] DIMS = {8, 20, 64, 80, 128};
    private static final float UNTOUCHED = 12345f;

    private final Random random = new Random(11);

    @Test
    void aScoreDoesNotDependOnWhereItsKeyStands() {
        try (Arena arena = Arena.ofConfined()) {
            for (int dim : DIMS) {
                for (int count : new int[] {1, 7, 8, 9, 15, 16, 17, 40, 67}) {
                    Tensor query = random(arena, 1, dim);
                    Tensor keys = random(arena, count, 2 * dim);
                    Tensor scores = filled(arena, count + AttentionKernels.KEYS + 1);
                    AttentionKernels.scores(address(query), address(keys), dim * 8L, dim, count, 0.3f, address(scores));
                    for (int p = 0; p < count; p++) {
                        Tensor one = filled(arena, 1 + AttentionKernels.KEYS);
                        AttentionKernels.scores(
                                address(query), address(keys) + p * (dim * 8L), dim * 8L, dim, 1, 0.3f, address(one));
                        assertEquals(one.get(0, 0), scores.get(0, p), dim + " floats, key " + p + " of " + count);
                    }
                    assertEquals(UNTOUCHED, scores.get(0, count + AttentionKernels.KEYS), "behind the room");
                }
            }
        }
    }

    @Test
    void aMixIsTheSameInPiecesAndForTwoHeads() {
        int rows = 37;
        try (Arena arena = Arena.ofConfined()) {
            for (int dim : DIMS) {
                Tensor weights = random(arena, 2, rows);
                Tensor values = random(arena, rows, 3 * dim);
                long stride = dim * 12L;
                Tensor whole = random(arena, 2, dim);
                Tensor pieces = copy(arena, whole);
                Tensor both = copy(arena, whole);
                for (int head = 0; head < 2; head++) {
                    long w = address(weights) + head * (rows * 4L);
                    long y = head * (dim * 4L);
                    AttentionKernels.mix(w, address(values), stride, rows, dim, address(whole) + y);
                    AttentionKernels.mix(w, address(values), stride, 5, dim, address(pieces) + y);
                    AttentionKernels.mix(
                            w + 20, address(values) + 5 * stride, stride, rows - 5, dim, address(pieces) + y);
                }
                long w = address(weights);
                long y = address(both);
                AttentionKernels.mixTwice(w, w + rows * 4L, address(values), stride, rows, dim, y, y + dim * 4L);
                for (int i = 0; i < 2 * dim; i++) {
                    assertEquals(whole.get(i / dim, i % dim), pieces.get(i / dim, i % dim), "in pieces, " + dim);
                    assertEquals(whole.get(i / dim, i % dim), both.get(i / dim, i % dim), "two heads, " + dim);
                }
            }
        }
    }

    private Tensor random(Arena arena, int rows, int columns) {
        Tensor tensor = Tensor.allocate(arena, DType.F32, rows, columns);
        for (int i = 0; i < rows * columns; i++) {
            tensor.set(i / columns, i % columns, (float) random.nextGaussian());
        }
        return tensor;
    }

    private static Tensor filled(Arena arena, int count) {
        Tensor tensor = Tensor.allocate(arena, DType.F32, 1, count);
        for (int i = 0; i < count; i++) {
            tensor.set(0, i, UNTOUCHED);
        }
        return tensor;
    }

    private static Tensor copy(Arena arena, Tensor from) {
        Tensor tensor = Tensor.allocate(arena, DType.F32, from.rows(), from.columns());
        tensor.segment().copyFrom(from.segment());
        return tensor;
    }

    private static long address(Tensor tensor) {
        return tensor.segment().address();
    }
}
