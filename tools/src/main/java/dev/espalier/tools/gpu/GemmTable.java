package dev.espalier.tools.gpu;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.espalier.kernels.cuda.DeviceTensor;
import dev.espalier.kernels.cuda.DeviceWeights;
import dev.espalier.natives.cuda.CuBlasLt;
import dev.espalier.natives.cuda.CuSparseLt;
import dev.espalier.natives.cuda.CudaLibrary;
import dev.espalier.natives.cuda.CudaType;
import dev.espalier.natives.cuda.DeviceMemory;
import dev.espalier.tensor.DType;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;

/// Part (c): many tokens through the same layers: cuBLASLt dense, cuSPARSELt 2:4, and a bitmask expanded before cuBLASLt.
final class GemmTable implements GpuPart {
    private static final int[] TOKENS = {512, 4096};
    private static final double[] SPARSITIES = {0.5, 0.8};
    private static final int LAUNCHES = 4;

    @Override
    public String letter() {
        return "c";
    }

    @Override
    public String title() {
        return "GEMM: 512 and 4096 tokens, BF16; TFLOP/s count the zeros too";
    }

    private record Entry(String format, double sparsity, int runner) {}

    @Override
    public void run(GpuRig rig, Deadline deadline, Consumer<ObjectNode> rows) {
        if (!CudaLibrary.CUBLASLT.library().found()) {
            rows.accept(JsonNodeFactory.instance
                    .objectNode()
                    .put(
                            "skipped",
                            "cublasLt is absent: "
                                    + CudaLibrary.CUBLASLT.library().whyNot().orElse("")));
            return;
        }
        for (Shapes shape : Shapes.LAYERS) {
            for (int tokens : TOKENS) {
                if (deadline.passed()) {
                    rows.accept(JsonNodeFactory.instance
                            .objectNode()
                            .put("layer", shape.layer())
                            .put("tokens", tokens)
                            .put("skipped", "no time left"));
                    continue;
                }
                layer(rig, shape, tokens, rows);
            }
        }
    }

    private static void layer(GpuRig rig, Shapes shape, int tokens, Consumer<ObjectNode> rows) {
        List<AutoCloseable> owned = new ArrayList<>();
        List<Entry> entries = new ArrayList<>();
        try (Race race = new Race(rig);
                Arena arena = Arena.ofShared()) {
            // Not zeros: a GPU draws less power for them, and its clock is higher.
            DeviceTensor x =
                    own(owned, DeviceTensor.upload(new Shapes("x", tokens, shape.in()).weights(arena, 0, 9), "x"));
            DeviceTensor y = own(owned, DeviceTensor.allocate(DType.BF16, tokens, shape.out(), "y"));
            DeviceTensor dense = own(owned, DeviceTensor.upload(shape.weights(arena, 0, 0), "dense weights"));
            CuBlasLt library = own(owned, CuBlasLt.create());
            CuBlasLt.Linear linear =
                    own(owned, library.linear(tokens, shape.in(), shape.out(), CudaType.BF16, CudaType.BF16, 8));
            GemvTable.fastestAlgorithm(
                    rig, linear, i -> linear.run(rig.stream, x.memory(), dense.memory(), y.memory()));
            int first = race.enter(LAUNCHES, i -> linear.run(rig.stream, x.memory(), dense.memory(), y.memory()));
            entries.add(new Entry("dense, cuBLASLt", 0, first));
            if (CudaLibrary.CUSPARSELT.library().found()) {
                CuSparseLt sparse = own(owned, CuSparseLt.create());
                CuSparseLt.Linear pairs = own(owned, sparse.linear(tokens, shape.in(), shape.out(), CudaType.BF16));
                DeviceTensor kept = own(owned, DeviceTensor.upload(shape.twoFour(arena, 1), "2:4 weights"));
                DeviceMemory compressed = own(owned, pairs.compress(rig.stream, kept.memory()));
                pairs.search(rig.stream, x.memory(), compressed, y.memory());
                int runner = race.enter(LAUNCHES, i -> pairs.run(rig.stream, x.memory(), compressed, y.memory()));
                entries.add(new Entry("2:4, cuSPARSELt", 0.5, runner));
            }
            DeviceTensor tile =
                    own(owned, DeviceTensor.allocate(DType.BF16, shape.out(), shape.in(), "expanded weights"));
            for (double sparsity : SPARSITIES) {
                DeviceWeights.Bitmask packed = own(
                        owned,
                        DeviceWeights.Bitmask.upload(
                                shape.weights(arena, sparsity, Math.round(100 * sparsity)), shape.layer()));
                int runner = race.enter(LAUNCHES, i -> {
                    rig.kernels.expand(packed, 0, shape.out(), tile, rig.stream);
                    linear.run(rig.stream, x.memory(), tile.memory(), y.memory());
                });
                entries.add(new Entry("bitmask, expanded, cuBLASLt", sparsity, runner));
            }
            race.run();
            for (Entry entry : entries) {
                double seconds = race.seconds(entry.runner());
                rows.accept(JsonNodeFactory.instance
                        .objectNode()
                        .put("layer", shape.layer())
                        .put("tokens", tokens)
                        .put("format", entry.format())
                        .put("sparsity", entry.sparsity())
                        .put("us", seconds * 1e6)
                        .put("tflop_per_s", 2.0 * tokens * shape.out() * shape.in() / seconds / 1e12)
                        .put("ratio_to_dense", race.ratio(entry.runner(), first)));
            }
        } finally {
            Owned.close(owned);
        }
    }

    private static <T extends AutoCloseable> T own(List<AutoCloseable> owned, T object) {
        owned.add(object);
        return object;
    }
}
