package dev.espalier.kernels.format;

import dev.espalier.kernels.WeightFormat;
import dev.espalier.kernels.cpu.CpuLinear;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.AuxCounters;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/// One token through one layer on one thread: y = x Wᵀ with a random matrix in every format.
///
/// ```
/// ./mvnw -Dquick -DskipTests -Pjmh -pl sparse-kernels -am verify
/// ./mvnw -Dquick -DskipTests -Pjmh -pl sparse-kernels -am verify -Djmh.arguments="-p format=dense,swell -p sparsity=0.8"
/// ```
///
/// Beside the products a nanosecond it prints `weights`, weights of the dense matrix a nanosecond (Gweights/s), and `bytes`,
/// the bytes that the packed one takes (GB/s). A shape of a mebibyte or less is in the cache; 4096x4096 is not. JMH runs each
/// case in a JVM of its own, one after the other: for ratios that the machine's moods must not touch take
/// `espalier bench kernels`, which takes turns.
@State(Scope.Thread)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(
        value = 1,
        jvmArgsAppend = {
            "--add-modules",
            "jdk.incubator.vector",
            "--enable-native-access=ALL-UNNAMED",
            "-XX:PerMethodTrapLimit=100000"
        })
public class KernelBenchmark {
    /// A name of [WeightFormats].
    @Param({"dense", "bitmask", "swell", "2:4", "4:8", "13:64", "dense-int8", "bitmask-int8", "swell-int8"})
    public String format;

    /// The fraction of zeros; N:M formats have their own.
    @Param({"0.5", "0.8"})
    public double sparsity;

    @Param("BF16")
    public DType dtype;

    /// OUTxIN.
    @Param({"512x512", "4096x4096"})
    public String shape;

    private final Arena arena = Arena.ofShared();
    private CpuLinear packed;
    private MemorySegment x;
    private MemorySegment y;

    /// Packs a seeded matrix.
    @Setup
    public void pack() {
        String[] parts = shape.split("x", -1);
        int rows = Integer.parseInt(parts[0]);
        int columns = Integer.parseInt(parts[1]);
        WeightFormat chosen = WeightFormats.named(format);
        packed = (CpuLinear) chosen.pack(random(chosen, rows, columns));
        x = arena.allocate(packed.input().bytes(columns), 64);
        for (int c = 0; c < columns; c++) {
            x.setAtIndex(ValueLayout.JAVA_FLOAT, c, 1f / (c + 1));
        }
        y = arena.allocate(4L * rows, 64);
    }

    private Tensor random(WeightFormat chosen, int rows, int columns) {
        Random random = new Random(1);
        Tensor dense = Tensor.allocate(arena, dtype, rows, columns);
        for (int row = 0; row < rows; row++) {
            int left = 0;
            for (int c = 0; c < columns; c++) {
                boolean keeps;
                if (chosen instanceof NOfM pattern) {
                    // Of the places that are left in the group, each is as likely as the others.
                    int place = c % pattern.group();
                    left = place == 0 ? pattern.kept() : left;
                    keeps = random.nextInt(pattern.group() - place) < left;
                    left -= keeps ? 1 : 0;
                } else {
                    keeps = random.nextDouble() >= sparsity;
                }
                if (keeps) {
                    dense.set(row, c, (float) random.nextGaussian());
                }
            }
        }
        return dense;
    }

    @TearDown
    public void close() {
        packed.close();
        arena.close();
    }

    /// What a product takes from memory, and for how many weights.
    @AuxCounters(AuxCounters.Type.OPERATIONS)
    @State(Scope.Thread)
    public static class Work {
        public long weights;
        public long bytes;
    }

    /// One product.
    @Benchmark
    public float multiply(Work work) {
        packed.multiply(x, y, 0, packed.rows());
        work.weights += (long) packed.rows() * packed.columns();
        work.bytes += packed.bytes();
        return y.get(ValueLayout.JAVA_FLOAT, 0);
    }
}
