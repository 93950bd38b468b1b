package dev.espalier.tools.bench;

import dev.espalier.kernels.LinearAlgebra;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.SplittableRandom;

/// How fast this machine multiplies matrices, from a short try: what estimates of solvers' times start from.
public final class GemmSpeed {
    private static final int SIZE = 768;
    private static final int WARM_UP = 3;
    private static final double NANOS = 3e8;

    private GemmSpeed() {}

    /// Multiplications (each with its addition) of float32 numbers a second, the best of about a third of a second.
    public static double multiplicationsPerSecond(LinearAlgebra algebra) {
        try (Arena arena = Arena.ofShared()) {
            Tensor a = random(arena, 1);
            Tensor b = random(arena, 2);
            Tensor c = Tensor.allocate(arena, DType.F32, SIZE, SIZE);
            for (int i = 0; i < WARM_UP; i++) {
                algebra.gemm(a, false, b, false, c);
            }
            long best = Long.MAX_VALUE;
            long start = System.nanoTime();
            do {
                long before = System.nanoTime();
                algebra.gemm(a, false, b, false, c);
                best = Math.min(best, System.nanoTime() - before);
            } while (System.nanoTime() - start < NANOS);
            return Math.pow(SIZE, 3) / (Math.max(1, best) / 1e9);
        }
    }

    private static Tensor random(Arena arena, long seed) {
        SplittableRandom random = new SplittableRandom(seed);
        Tensor tensor = Tensor.allocate(arena, DType.F32, SIZE, SIZE);
        for (long i = 0; i < tensor.size(); i++) {
            DType.F32.set(tensor.segment(), i, random.nextFloat() - 0.5f);
        }
        return tensor;
    }
}
