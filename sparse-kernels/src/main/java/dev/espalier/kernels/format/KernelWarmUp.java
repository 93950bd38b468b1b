package dev.espalier.kernels.format;

import dev.espalier.kernels.FormatChoice;
import dev.espalier.kernels.Linear;
import dev.espalier.kernels.WeightFormat;
import dev.espalier.kernels.cpu.CpuBackend;
import dev.espalier.kernels.simd.VectorCheck;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/// Runs kernels on tiny matrices while the weights are packed, so that C2 has compiled them when the first token comes:
/// interpreted, it takes seconds.
///
/// Once a process and kernel, in a daemon thread that nobody waits for.
public final class KernelWarmUp {
    private static final Set<String> ASKED = ConcurrentHashMap.newKeySet();
    private static final int TOKENS = 24;
    private static final long GEMM_NANOS = 1_500_000_000L;

    /// A compiled matrix product of this size takes some tens of microseconds.
    private static final long COMPILED_NANOS = 300_000;

    private KernelWarmUp() {}

    /// `choice`, but what it chooses is warmed up from then on.
    public static FormatChoice around(FormatChoice choice) {
        return choice.changed((format, dense) -> {
            ask(format, dense.dtype());
            return format;
        });
    }

    /// Starts to warm up what multiplies matrices of `dtype` in `format`, unless that was asked for before. Of what is deferred
    /// nothing is: the first tokens need other kernels than the others.
    private static void ask(WeightFormat format, DType dtype) {
        if (dtype != DType.I8
                && !format.equals(Dense.deferred())
                && VectorCheck.compiled()
                && ASKED.add(format.name() + " " + dtype)) {
            Thread.ofPlatform().daemon().name("espalier-warm-up").start(() -> run(format, dtype));
        }
    }

    /// Runs what multiplies matrices of `dtype` in `format` until it is compiled, in the calling thread.
    public static void run(WeightFormat format, DType dtype) {
        KernelRate.warmUp(format, dtype);
        try (CpuBackend one = new CpuBackend(1);
                Arena arena = Arena.ofShared();
                Linear small = format.pack(KernelRate.tiny(arena, format, dtype))) {
            Tensor x = Tensor.allocate(arena, DType.F32, TOKENS, small.columns());
            Tensor y = Tensor.allocate(arena, DType.F32, TOKENS, small.rows());
            long begin = System.nanoTime();
            long took = Long.MAX_VALUE;
            while (took > COMPILED_NANOS && System.nanoTime() - begin < GEMM_NANOS) {
                long start = System.nanoTime();
                one.linear(small, null, x, y);
                took = System.nanoTime() - start;
            }
        }
    }
}
