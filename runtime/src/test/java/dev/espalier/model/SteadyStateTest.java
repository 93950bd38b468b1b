package dev.espalier.model;

import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.espalier.checkpoint.Checkpoint;
import dev.espalier.kernels.Backend;
import dev.espalier.kernels.Linear;
import dev.espalier.kernels.LinearAlgebra;
import dev.espalier.kernels.WeightFormat;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import dev.espalier.testing.ModelRuns;
import dev.espalier.testing.PlainBackend;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.nio.file.Path;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class SteadyStateTest {
    /// Iterators that the compiler has not yet removed; the smallest buffer of these models would be 128 bytes more.
    private static final long BYTES_PER_TOKEN = 100;

    @ParameterizedTest
    @ValueSource(strings = {"llama-gelu-head-dim", "llama-bf16", "opt-350m-style", "opt-gelu"})
    void aDecodedTokenAllocatesNothing(String name) throws Throwable {
        MethodHandle allocated = allocatedBytes();
        try (Backend backend = new Idle(new PlainBackend());
                Checkpoint checkpoint = Checkpoint.open(Path.of("src/test/resources/families", name));
                Model model = Model.load(checkpoint, backend, ModelRuns.DENSE);
                KvCache cache = model.newCache(48);
                Workspace workspace = model.newWorkspace(1)) {
            int[] token = {7};
            long least = Long.MAX_VALUE;
            // Many rounds, because the JVM links and compiles in between.
            for (int round = 0; round < 50; round++) {
                cache.truncate(0);
                model.forward(token, 0, 1, cache, workspace);
                long before = (long) allocated.invokeExact();
                for (int t = 0; t < 16; t++) {
                    model.forward(token, 0, 1, cache, workspace);
                }
                least = Math.min(least, ((long) allocated.invokeExact() - before) / 16);
            }
            long bytes = least;
            assertTrue(bytes < BYTES_PER_TOKEN, () -> name + ": " + bytes + " bytes a token");
        }
    }

    /// Bytes that this thread has allocated so far; looked up by name, because this module does not read the one that
    /// counts them.
    private static MethodHandle allocatedBytes() throws ReflectiveOperationException {
        Object bean = Class.forName("java.lang.management.ManagementFactory")
                .getMethod("getThreadMXBean")
                .invoke(null);
        Class<?> type = Class.forName("com.sun.management.ThreadMXBean");
        return MethodHandles.publicLookup()
                .findVirtual(type, "getCurrentThreadAllocatedBytes", MethodType.methodType(long.class))
                .bindTo(bean);
    }

    /// Holds memory and computes nothing, so that what is counted is the runtime's own.
    private record Idle(Backend memory) implements Backend {
        @Override
        public String name() {
            return "idle";
        }

        @Override
        public Tensor zeros(DType dtype, int rows, int columns) {
            return memory.zeros(dtype, rows, columns);
        }

        @Override
        public void free(Tensor tensor) {
            memory.free(tensor);
        }

        @Override
        public Tensor upload(Tensor host) {
            return memory.upload(host);
        }

        @Override
        public void download(Tensor device, Tensor host) {}

        @Override
        public void store(Tensor host, Tensor device) {}

        @Override
        public Linear linear(Tensor weight, WeightFormat format) {
            return memory.linear(weight, format);
        }

        @Override
        public void linear(Linear weight, Tensor bias, Tensor x, Tensor y) {}

        @Override
        public void gather(Tensor table, int[] rows, float scale, Tensor y) {}

        @Override
        public void gatherAdd(Tensor table, int[] rows, Tensor y) {}

        @Override
        public void norm(Norm norm, Tensor x, Tensor weight, Tensor bias, Tensor y) {}

        @Override
        public void angles(float[] inverseFrequencies, int[] positions, Tensor cosSin) {}

        @Override
        public void rotate(Tensor x, Tensor cosSin) {}

        @Override
        public void copyRows(Tensor source, Tensor target, int at) {}

        @Override
        public void attention(Attention shape, Tensor q, Tensor keys, Tensor values, int past, Tensor out) {}

        @Override
        public void activate(Activation f, Tensor x) {}

        @Override
        public void gate(Activation f, Tensor gate, Tensor up) {}

        @Override
        public void add(Tensor x, Tensor y) {}

        @Override
        public void softcap(float cap, Tensor x) {}

        @Override
        public LinearAlgebra algebra() {
            return memory.algebra();
        }

        @Override
        public void close() {
            memory.close();
        }
    }
}
