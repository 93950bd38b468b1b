package dev.espalier.tools.gpu;

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
import java.util.Optional;
import java.util.function.Consumer;

/// Part (c): many tokens through the same layers: cuBLASLt dense, cuSPARSELt 2:4, and deltas expanded before cuBLASLt.
final class GemmTable implements GpuPart {
    private static final double[] SPARSITIES = {0.5, 0.8};
    private static final int LAUNCHES = 4;

    @Override
    public String letter() {
        return "c";
    }

    @Override
    public String title() {
        return "GEMM: many tokens, BF16; TFLOP/s count the zeros too";
    }

    @Override
    public void run(GpuRig rig, Deadline deadline, Consumer<ObjectNode> rows) {
        Optional<String> absent = rig.absent(CudaLibrary.CUBLASLT);
        if (absent.isPresent()) {
            rows.accept(GpuPart.row().put(SKIPPED, absent.get()));
            return;
        }
        for (Shapes shape : rig.workload.layers()) {
            for (int tokens : rig.workload.tokens()) {
                ObjectNode label = label(shape, tokens);
                LayerTable.attempt(deadline, label, rows, () -> layer(rig, deadline, shape, tokens, rows));
            }
        }
    }

    private static void layer(GpuRig rig, Deadline deadline, Shapes shape, int tokens, Consumer<ObjectNode> rows) {
        try (Arena arena = Arena.ofShared();
                Race race = new Race(rig, deadline)) {
            // Not zeros: a GPU draws less power for them, and its clock is higher.
            DeviceTensor x =
                    race.own(DeviceTensor.upload(new Shapes("x", tokens, shape.in()).weights(arena, 0, 9), "x"));
            DeviceTensor y = race.own(DeviceTensor.allocate(DType.BF16, tokens, shape.out(), "y"));
            DeviceTensor weights = race.own(DeviceTensor.upload(shape.weights(arena, 0, 0), "dense weights"));
            CuBlasLt lt = race.own(CuBlasLt.create());
            CuBlasLt.Linear linear =
                    race.own(lt.linear(tokens, shape.in(), shape.out(), CudaType.BF16, CudaType.BF16, 8));
            Race.Way dense = race.enter(
                    "dense, cuBLASLt",
                    0,
                    () -> LayerTable.fastestAlgorithm(
                            rig,
                            deadline,
                            linear,
                            launches(shape, () -> linear.run(rig.stream, x.memory(), weights.memory(), y.memory()))));
            race.enter(CudaLibrary.CUSPARSELT, "2:4, cuSPARSELt", 0.5, () -> {
                CuSparseLt sparse = race.own(CuSparseLt.create());
                CuSparseLt.Linear pairs = race.own(sparse.linear(tokens, shape.in(), shape.out(), CudaType.BF16));
                DeviceTensor kept = race.own(DeviceTensor.upload(shape.twoFour(arena, 1), "2:4 weights"));
                DeviceMemory compressed = race.own(pairs.compress(rig.stream, kept.memory()));
                pairs.search(rig.stream, x.memory(), compressed, y.memory());
                return launches(shape, () -> pairs.run(rig.stream, x.memory(), compressed, y.memory()));
            });
            DeviceTensor tile =
                    race.own(DeviceTensor.allocate(DType.BF16, shape.out(), shape.in(), "expanded weights"));
            for (double sparsity : SPARSITIES) {
                race.enter("delta, expanded, cuBLASLt", sparsity, () -> {
                    DeviceWeights.Delta packed = race.own(DeviceWeights.Delta.upload(
                            shape.weights(arena, sparsity, Math.round(100 * sparsity)), shape.layer()));
                    return launches(shape, () -> {
                        rig.kernels.expand(packed, 0, shape.out(), tile, rig.stream);
                        linear.run(rig.stream, x.memory(), tile.memory(), y.memory());
                    });
                });
            }
            race.run();
            race.ways().forEach(way -> rows.accept(row(shape, tokens, way, dense)));
        }
    }

    private static ObjectNode label(Shapes shape, int tokens) {
        return shape.describe(GpuPart.row()).put("tokens", tokens);
    }

    private static Race.Launches launches(Shapes shape, Runnable work) {
        return new Race.Launches(LAUNCHES, 2L * shape.out() * shape.in(), i -> work.run());
    }

    private static ObjectNode row(Shapes shape, int tokens, Race.Way way, Race.Way dense) {
        ObjectNode row = way.describe(label(shape, tokens));
        if (way.measured()) {
            row.put("us", way.seconds() * 1e6)
                    .put("tflop_per_s", 2.0 * tokens * shape.out() * shape.in() / way.seconds() / 1e12);
            if (dense.measured()) {
                row.put("ratio_to_dense", way.ratioTo(dense));
            }
        }
        return row;
    }
}
