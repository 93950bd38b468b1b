package dev.espalier.tools.gpu;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.espalier.kernels.cuda.DeviceTensor;
import dev.espalier.kernels.cuda.DeviceWeights;
import dev.espalier.natives.cuda.CuBlasLt;
import dev.espalier.natives.cuda.CuSparse;
import dev.espalier.natives.cuda.CudaLibrary;
import dev.espalier.natives.cuda.CudaType;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.IntConsumer;

/// Part (b): one token through the layers of LLaMA-7B and 13B, in every format.
final class GemvTable implements GpuPart {
    private static final double[] SPARSITIES = {0.5, 0.7, 0.8, 0.9};
    private static final int LAUNCHES = 32;

    @Override
    public String letter() {
        return "b";
    }

    @Override
    public String title() {
        return "GEMV: one token, BF16 weights; weights come from memory, not from a cache";
    }

    private record Entry(String format, double sparsity, long bytes, int runner) {}

    @Override
    public void run(GpuRig rig, Deadline deadline, Consumer<ObjectNode> rows) {
        for (Shapes shape : Shapes.LAYERS) {
            if (deadline.passed()) {
                rows.accept(JsonNodeFactory.instance
                        .objectNode()
                        .put("layer", shape.layer())
                        .put("skipped", "no time left"));
                continue;
            }
            layer(rig, shape, rows);
        }
    }

    private static void layer(GpuRig rig, Shapes shape, Consumer<ObjectNode> rows) {
        List<AutoCloseable> owned = new ArrayList<>();
        List<Entry> entries = new ArrayList<>();
        try (Race race = new Race(rig)) {
            DeviceTensor x = own(owned, DeviceTensor.allocate(DType.F32, 1, shape.in(), "x"));
            DeviceTensor half = own(owned, DeviceTensor.allocate(DType.BF16, 1, shape.in(), "x"));
            DeviceTensor y = own(owned, DeviceTensor.allocate(DType.F32, 1, shape.out(), "y"));
            x.memory().fill((byte) 0, rig.stream);
            half.memory().fill((byte) 0, rig.stream);
            WeightCopies dense = own(owned, packed(rig, shape, 0));
            int fastest = enterOwn(rig, race, entries, "dense", 0, dense, x, y);
            int libraryDense = -1;
            if (CudaLibrary.CUBLASLT.library().found()) {
                CuBlasLt library = own(owned, CuBlasLt.create());
                CuBlasLt.Linear linear =
                        own(owned, library.linear(1, shape.in(), shape.out(), CudaType.BF16, CudaType.F32, 8));
                IntConsumer launch = i -> linear.run(rig.stream, half.memory(), values(dense.get(i)), y.memory());
                fastestAlgorithm(rig, linear, launch);
                libraryDense = race.enter(LAUNCHES, launch);
                entries.add(new Entry("dense, cuBLASLt", 0, dense.bytes(), libraryDense));
            }
            try (Arena arena = Arena.ofShared()) {
                DeviceWeights pairs = DeviceWeights.TwoFour.upload(shape.twoFour(arena, 1), shape.layer());
                WeightCopies copies = own(owned, new WeightCopies(pairs, rig.stream));
                enterOwn(rig, race, entries, "2:4", 0.5, copies, x, y);
            }
            for (double sparsity : SPARSITIES) {
                WeightCopies copies = own(owned, packed(rig, shape, sparsity));
                enterOwn(rig, race, entries, "bitmask", sparsity, copies, x, y);
            }
            if (CudaLibrary.CUSPARSE.library().found()) {
                CuSparse library = own(owned, CuSparse.create());
                for (double sparsity : SPARSITIES) {
                    csr(rig, race, owned, entries, library, shape, sparsity, half, y);
                }
            }
            race.run();
            if (libraryDense >= 0 && race.seconds(libraryDense) < race.seconds(fastest)) {
                fastest = libraryDense;
            }
            for (Entry entry : entries) {
                rows.accept(row(rig, shape, race, entry, fastest));
            }
        } finally {
            Owned.close(owned);
        }
    }

    private static WeightCopies packed(GpuRig rig, Shapes shape, double sparsity) {
        try (Arena arena = Arena.ofShared()) {
            Tensor weights = shape.weights(arena, sparsity, Math.round(100 * sparsity));
            DeviceWeights first = sparsity == 0
                    ? DeviceWeights.Dense.upload(weights, shape.layer())
                    : DeviceWeights.Bitmask.upload(weights, shape.layer());
            return new WeightCopies(first, rig.stream);
        }
    }

    private static int enterOwn(
            GpuRig rig,
            Race race,
            List<Entry> entries,
            String format,
            double sparsity,
            WeightCopies weights,
            DeviceTensor x,
            DeviceTensor y) {
        String refusal = rig.kernels.refuses(weights.get(0));
        if (refusal != null) {
            return -1;
        }
        int runner = race.enter(LAUNCHES, i -> rig.kernels.gemv(weights.get(i), null, x, y, rig.stream));
        entries.add(new Entry(format, sparsity, weights.bytes(), runner));
        return runner;
    }

    /// One matrix only: cuSPARSE reads so much more of it that it hardly profits from a cache, and profits, if at all.
    private static void csr(
            GpuRig rig,
            Race race,
            List<AutoCloseable> owned,
            List<Entry> entries,
            CuSparse library,
            Shapes shape,
            double sparsity,
            DeviceTensor x,
            DeviceTensor y) {
        try (Arena arena = Arena.ofShared()) {
            CsrWeights weights =
                    own(owned, CsrWeights.upload(shape.weights(arena, sparsity, Math.round(100 * sparsity))));
            CuSparse.Linear linear = own(owned, library.linear(rig.stream, weights.matrix(), 1, CudaType.F32));
            int runner = race.enter(8, i -> linear.run(rig.stream, x.memory(), y.memory()));
            entries.add(new Entry("CSR, cuSPARSE", sparsity, weights.bytes(), runner));
        }
    }

    /// Selects the fastest of the algorithms that the library offers.
    static void fastestAlgorithm(GpuRig rig, CuBlasLt.Linear linear, IntConsumer launch) {
        int best = 0;
        double least = Double.MAX_VALUE;
        for (int algorithm = 0; algorithm < linear.algorithms(); algorithm++) {
            linear.select(algorithm);
            try (Race trial = new Race(rig)) {
                int runner = trial.enter(8, launch);
                trial.run();
                if (trial.seconds(runner) < least) {
                    least = trial.seconds(runner);
                    best = algorithm;
                }
            }
        }
        linear.select(best);
    }

    static dev.espalier.natives.cuda.DeviceMemory values(DeviceWeights weights) {
        return ((DeviceWeights.Dense) weights).values();
    }

    private static <T extends AutoCloseable> T own(List<AutoCloseable> owned, T object) {
        owned.add(object);
        return object;
    }

    private static ObjectNode row(GpuRig rig, Shapes shape, Race race, Entry entry, int fastest) {
        double seconds = race.seconds(entry.runner());
        double bytesPerSecond = entry.bytes() / seconds;
        return JsonNodeFactory.instance
                .objectNode()
                .put("layer", shape.layer())
                .put("out", shape.out())
                .put("in", shape.in())
                .put("format", entry.format())
                .put("sparsity", entry.sparsity())
                .put("us", seconds * 1e6)
                .put("gb_per_s", bytesPerSecond / 1e9)
                .put("copy_share", bytesPerSecond / rig.copyBandwidth())
                .put("ratio_to_fastest_dense", race.ratio(entry.runner(), fastest));
    }
}
