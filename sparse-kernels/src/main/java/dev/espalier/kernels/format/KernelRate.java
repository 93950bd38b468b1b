package dev.espalier.kernels.format;

import dev.espalier.kernels.Linear;
import dev.espalier.kernels.WeightFormat;
import dev.espalier.kernels.cpu.CpuLinear;
import dev.espalier.kernels.simd.VectorCheck;
import dev.espalier.kernels.simd.Workers;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Set;

/// How fast a kernel multiplies when it does not wait for memory: all threads at once, a matrix that lies in their caches, one
/// token. All at once, because two threads may share a core and its arithmetic.
///
/// Beside the memory's bandwidth it tells what bounds decode: a kernel cannot be faster than this, however few its bytes.
public final class KernelRate {
    private static final int ROWS = 48;
    private static final int SLICES = 4;
    private static final int MOST_SLICES = 60;
    /// A slice faster than this, against the fastest before, says that something was not compiled yet.
    private static final double BETTER = 0.97;

    private static final int TINY_ROWS = 16;
    private static final int TINY_COLUMNS = 512;
    /// Columns from one kept weight to the next.
    private static final int USUALLY_APART = 4;

    private static final int FAR_APART = 16;
    private static final long WARM_NANOS = 5_000_000_000L;

    private final Set<String> warm = new HashSet<>();

    /// Takes every kernel as not compiled yet.
    public KernelRate() {}

    /// A sample of `dense` whose bytes are about `bytes`: some consecutive rows from the middle, at least 48 if there are as
    /// many; no copy.
    public static Tensor sample(Tensor dense, long bytes) {
        long rowBytes = Math.max(1, (long) dense.columns() * dense.dtype().bytes());
        long fitting = bytes / rowBytes / ROWS * ROWS;
        int count = (int) Math.min(dense.rows(), Math.max(ROWS, fitting));
        int from = (dense.rows() - count) / 2;
        return dense.slice(from, from + count);
    }

    /// Nanoseconds that the threads of `workers` together take for a product with `packed`, each running products of its own: the
    /// least of [#SLICES] means in a row that brought nothing better; so many take `nanos` or a product a thread and mean. The kernel
    /// is compiled by then, but what calls it may not be: measured too early, bitmask stood at 50 instead of 89 Gweights/s.
    public double nanos(Linear packed, long nanos, Workers workers) {
        CpuLinear matrix = (CpuLinear) packed;
        warm(matrix);
        double least = Double.MAX_VALUE;
        try (Arena arena = Arena.ofShared()) {
            MemorySegment x = input(arena, matrix);
            MemorySegment[] y = new MemorySegment[workers.threads()];
            Arrays.setAll(y, thread -> output(arena, matrix.rows()));
            double[] perNano = new double[y.length];
            int same = 0;
            for (int slice = 0; slice < MOST_SLICES && same < SLICES; slice++) {
                workers.rows(y.length, 1, (from, to, thread) -> {
                    for (int i = from; i < to; i++) {
                        perNano[i] = rate(matrix, x, y[i], nanos / SLICES);
                    }
                });
                double mean = 1 / Arrays.stream(perNano).sum();
                same = mean < BETTER * least ? 1 : same + 1;
                least = Math.min(least, mean);
            }
        }
        return least;
    }

    /// Products a nanosecond, in the calling thread.
    private static double rate(CpuLinear packed, MemorySegment x, MemorySegment y, long nanos) {
        long begin = System.nanoTime();
        long now = begin;
        long products = 0;
        while (now - begin < nanos || products == 0) {
            packed.multiply(x, y, 0, packed.rows());
            products++;
            now = System.nanoTime();
        }
        return products / (double) Math.max(1, now - begin);
    }

    private static MemorySegment input(Arena arena, CpuLinear matrix) {
        return arena.allocate(matrix.input().bytes(matrix.columns()), 64);
    }

    private static MemorySegment output(Arena arena, int rows) {
        return arena.allocate(Math.max(1, 4L * rows), 64);
    }

    private static double least(CpuLinear packed, MemorySegment x, MemorySegment y, long nanos) {
        long begin = System.nanoTime();
        long best = Long.MAX_VALUE;
        for (long now = begin; now - begin < nanos || best == Long.MAX_VALUE; ) {
            packed.multiply(x, y, 0, packed.rows());
            long end = System.nanoTime();
            best = Math.min(best, Math.max(1, end - now));
            now = end;
        }
        return best;
    }

    private void warm(CpuLinear packed) {
        if (warm.add(packed.format().name() + packed.dtype())) {
            DType dtype = packed.dtype() == DType.I8 ? DType.F32 : packed.dtype();
            warmUp(packed.format(), dtype);
        }
    }

    /// Runs a format's kernel on a tiny matrix until C2 has compiled it: it counts calls, and interpreted calls on large ones
    /// take long. A kernel that stays slow is left as it is.
    public static void warmUp(WeightFormat format, DType dtype) {
        if (!VectorCheck.compiled()) {
            return;
        }
        // Swell has two kernels in narrow lanes, for matrices that keep many weights and few.
        warmUp(format, dtype, USUALLY_APART);
        warmUp(format, dtype, FAR_APART);
    }

    private static void warmUp(WeightFormat format, DType dtype, int apart) {
        try (Arena arena = Arena.ofShared();
                Linear small = format.pack(tiny(arena, format, dtype, apart))) {
            MemorySegment x = input(arena, (CpuLinear) small);
            MemorySegment y = output(arena, small.rows());
            long begin = System.nanoTime();
            // 8192 weights take a compiled kernel a microsecond, interpreted it takes hundreds.
            while (System.nanoTime() - begin < WARM_NANOS && least((CpuLinear) small, x, y, 1_000_000) > 6_000) {
                Thread.onSpinWait();
            }
        }
    }

    /// A matrix that every pattern of `format` fits.
    public static Tensor tiny(Arena arena, WeightFormat format, DType dtype) {
        return tiny(arena, format, dtype, USUALLY_APART);
    }

    private static Tensor tiny(Arena arena, WeightFormat format, DType dtype, int spacing) {
        int columns = format instanceof NOfM pattern
                ? Math.ceilDiv(TINY_COLUMNS, pattern.group()) * pattern.group()
                : TINY_COLUMNS;
        int apart = format instanceof NOfM pattern ? pattern.group() : spacing;
        Tensor tiny = Tensor.allocate(arena, dtype, TINY_ROWS, columns);
        for (int row = 0; row < TINY_ROWS; row++) {
            for (int column = row % apart; column < columns; column += apart) {
                tiny.set(row, column, 1f);
            }
        }
        return tiny;
    }
}
