package dev.espalier.kernels.cpu;

import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.espalier.kernels.Backend.Activation;
import dev.espalier.kernels.Backend.Attention;
import dev.espalier.kernels.Backend.Norm;
import dev.espalier.kernels.Linear;
import dev.espalier.kernels.LinearGroup;
import dev.espalier.kernels.WeightFormat;
import dev.espalier.kernels.format.KernelRate;
import dev.espalier.kernels.format.WeightFormats;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.lang.management.ManagementFactory;
import java.util.LinkedHashMap;
import java.util.Map;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/// The operations of a decoded token leave no garbage once they are compiled, whatever the format of the weights. A kernel
/// that fails here does not only allocate: its vectors are objects, and it is several times as slow.
@Tag("allocation")
class DecodeAllocationTest {
    private static final int CALLS = 200;
    private static final long MOST_NANOS = 20_000_000_000L;

    @Test
    void aTokensOperationsAllocateNothing() throws Throwable {
        MethodHandle allocated = allocatedBytes();
        // One thread: what others allocate is not counted here.
        try (CpuBackend backend = new CpuBackend(1);
                Arena arena = Arena.ofShared()) {
            for (Map.Entry<String, Runnable> operation :
                    operations(backend, arena).entrySet()) {
                long bytes = least(operation.getValue(), allocated);
                assertTrue(bytes < CALLS, operation.getKey() + ": " + bytes + " bytes in " + CALLS + " calls");
            }
        }
    }

    private static Map<String, Runnable> operations(CpuBackend backend, Arena arena) {
        Tensor x = Tensor.allocate(arena, DType.F32, 1, 512);
        Tensor y = Tensor.allocate(arena, DType.F32, 1, 512);
        Tensor out = Tensor.allocate(arena, DType.F32, 1, 16);
        Tensor other = Tensor.allocate(arena, DType.F32, 1, 16);
        Tensor bias = Tensor.allocate(arena, DType.F32, 1, 16);
        Tensor ones = Tensor.allocate(arena, DType.F32, 1, 512);
        Tensor keys = Tensor.allocate(arena, DType.F32, 64, 256);
        Tensor half = Tensor.allocate(arena, DType.F32, 1, 256);
        Tensor angles = Tensor.allocate(arena, DType.F32, 1, 64);
        Tensor table = Tensor.allocate(arena, DType.BF16, 8, 512);
        int[] rows = {3};
        int[] positions = {40};
        float[] frequencies = new float[32];
        Norm rms = new Norm(Norm.Kind.RMS, 1e-5f, 0);
        Norm layer = new Norm(Norm.Kind.LAYER, 1e-5f, 0);
        Attention shape = new Attention(8, 4, 64, 0.125f, 0, 0);
        Map<String, Runnable> operations = new LinkedHashMap<>();
        for (WeightFormat format : WeightFormats.all()) {
            Linear packed = format.pack(KernelRate.tiny(arena, format, DType.BF16));
            operations.put(format.name(), () -> backend.linear(packed, null, x, out));
            operations.put(format.name() + " with bias", () -> backend.linear(packed, bias, x, out));
            LinearGroup group = new LinearGroup();
            operations.put(format.name() + " twice", () -> {
                group.clear().add(packed, null, out);
                group.add(packed, bias, other);
                backend.linear(group, x);
            });
        }
        operations.put("gather", () -> backend.gather(table, rows, 2f, y));
        operations.put("gatherAdd", () -> backend.gatherAdd(table, rows, y));
        operations.put("rms norm", () -> backend.norm(rms, x, ones, null, y));
        operations.put("layer norm", () -> backend.norm(layer, x, ones, ones, y));
        operations.put("angles", () -> backend.angles(frequencies, positions, angles));
        operations.put("rotate", () -> backend.rotate(x, angles));
        operations.put("copyRows", () -> backend.copyRows(half, keys, 3));
        operations.put("attention", () -> backend.attention(shape, x, keys, keys, 40, y));
        operations.put("activate", () -> backend.activate(Activation.RELU, y));
        operations.put("gate", () -> backend.gate(Activation.SILU, x, y));
        operations.put("add", () -> backend.add(x, y));
        operations.put("softcap", () -> backend.softcap(30f, y));
        return operations;
    }

    /// The fewest bytes that so many calls allocate, of many rounds: the first ones are interpreted, and a compiler at work
    /// takes some seconds.
    private static long least(Runnable operation, MethodHandle allocated) throws Throwable {
        long begin = System.nanoTime();
        long least = Long.MAX_VALUE;
        while (least >= CALLS && System.nanoTime() - begin < MOST_NANOS) {
            long before = (long) allocated.invokeExact();
            for (int i = 0; i < CALLS; i++) {
                operation.run();
            }
            least = Math.min(least, (long) allocated.invokeExact() - before);
        }
        return least;
    }

    /// Bytes that this thread has allocated so far; looked up by name, because this module does not read the one that
    /// counts them.
    private static MethodHandle allocatedBytes() throws ReflectiveOperationException {
        Class<?> type = Class.forName("com.sun.management.ThreadMXBean");
        return MethodHandles.publicLookup()
                .findVirtual(type, "getCurrentThreadAllocatedBytes", MethodType.methodType(long.class))
                .bindTo(ManagementFactory.getThreadMXBean());
    }
}
