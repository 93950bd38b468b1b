package dev.espalier.tools.gpu;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.espalier.kernels.cuda.DeviceTensor;
import dev.espalier.kernels.cuda.DeviceWeights;
import dev.espalier.natives.cuda.CuBlasLt;
import dev.espalier.natives.cuda.CuSparse;
import dev.espalier.natives.cuda.CudaLibrary;
import dev.espalier.natives.cuda.CudaType;
import dev.espalier.natives.cuda.DeviceMemory;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.Comparator;
import java.util.Optional;
import java.util.function.BiFunction;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.stream.Stream;

/// Part (b): one token through the layers of LLaMA-7B and 13B, in every format.
final class GemvTable implements GpuPart {
    private static final double[] SPARSITIES = {0.5, 0.7, 0.8, 0.9};

    /// cuSPARSE reads one matrix only: so much that it hardly profits from a cache, and profits, if at all.
    private static final int CSR_LAUNCHES = 8;

    @Override
    public String letter() {
        return "b";
    }

    @Override
    public String title() {
        return "GEMV: one token, BF16 weights; weights come from memory, not from a cache";
    }

    @Override
    public void run(GpuRig rig, Deadline deadline, Consumer<ObjectNode> rows) {
        for (Shapes shape : rig.workload.layers()) {
            LayerTable.attempt(deadline, label(shape), rows, () -> layer(rig, deadline, shape, rows));
        }
    }

    private static void layer(GpuRig rig, Deadline deadline, Shapes shape, Consumer<ObjectNode> rows) {
        try (Arena arena = Arena.ofShared();
                Race race = new Race(rig, deadline)) {
            // Not zeros: a GPU draws less power for them, and its clock is higher.
            Tensor input = new Shapes("x", 1, shape.in()).weights(arena, 0, 9);
            DeviceTensor half = race.own(DeviceTensor.upload(input, "x"));
            DeviceTensor x = race.own(DeviceTensor.upload(Tensor.of(arena, 1, shape.in(), input.toFloats()), "x"));
            DeviceTensor y = race.own(DeviceTensor.allocate(DType.F32, 1, shape.out(), "y"));
            WeightCopies dense =
                    race.own(copies(rig, shape, own -> shape.weights(own, 0, 0), DeviceWeights.Dense::upload));
            Race.Way kernel = enter(rig, race, "dense", 0, dense, x, y);
            Race.Way library = race.enter(CudaLibrary.CUBLASLT, "dense, cuBLASLt", 0, () -> {
                CuBlasLt lt = race.own(CuBlasLt.create());
                CuBlasLt.Linear linear =
                        race.own(lt.linear(1, shape.in(), shape.out(), CudaType.BF16, CudaType.F32, 8));
                return LayerTable.fastestAlgorithm(
                        rig,
                        deadline,
                        linear,
                        new Race.Launches(
                                dense.launches(),
                                dense.bytes(),
                                i -> linear.run(rig.stream, half.memory(), values(dense.get(i)), y.memory())));
            });
            WeightCopies pairs =
                    race.own(copies(rig, shape, own -> shape.twoFour(own, 1), DeviceWeights.TwoFour::upload));
            enter(rig, race, "2:4", 0.5, pairs, x, y);
            for (double sparsity : SPARSITIES) {
                WeightCopies packed =
                        race.own(copies(rig, shape, own -> weights(own, shape, sparsity), DeviceWeights.Delta::upload));
                enter(rig, race, "delta", sparsity, packed, x, y);
            }
            for (double sparsity : SPARSITIES) {
                race.enter(CudaLibrary.CUSPARSE, "CSR, cuSPARSE", sparsity, () -> {
                    CuSparse sparse = race.own(CuSparse.create());
                    CsrWeights csr;
                    try (Arena own = Arena.ofShared()) {
                        csr = race.own(CsrWeights.upload(weights(own, shape, sparsity)));
                    }
                    CuSparse.Linear linear = race.own(sparse.linear(rig.stream, csr.matrix(), 1, CudaType.F32));
                    return new Race.Launches(
                            CSR_LAUNCHES, csr.bytes(), i -> linear.run(rig.stream, half.memory(), y.memory()));
                });
            }
            race.run();
            Optional<Race.Way> fastest = Stream.of(kernel, library)
                    .filter(Race.Way::measured)
                    .min(Comparator.comparingDouble(Race.Way::seconds));
            race.ways().forEach(way -> rows.accept(row(rig, shape, way, fastest)));
        }
    }

    private static ObjectNode label(Shapes shape) {
        return shape.describe(GpuPart.row()).put("out", shape.out()).put("in", shape.in());
    }

    private static WeightCopies copies(
            GpuRig rig,
            Shapes shape,
            Function<Arena, Tensor> weights,
            BiFunction<Tensor, String, DeviceWeights> upload) {
        try (Arena arena = Arena.ofShared()) {
            return new WeightCopies(rig, upload.apply(weights.apply(arena), shape.layer()));
        }
    }

    private static Tensor weights(Arena arena, Shapes shape, double sparsity) {
        return shape.weights(arena, sparsity, Math.round(100 * sparsity));
    }

    /// Our own kernel.
    private static Race.Way enter(
            GpuRig rig,
            Race race,
            String format,
            double sparsity,
            WeightCopies weights,
            DeviceTensor x,
            DeviceTensor y) {
        String refusal = rig.kernels.refuses(weights.get(0));
        if (refusal != null) {
            return race.skip(format, sparsity, refusal);
        }
        return race.enter(
                format,
                sparsity,
                () -> new Race.Launches(
                        weights.launches(),
                        weights.bytes(),
                        i -> rig.kernels.gemv(weights.get(i), null, x, y, rig.stream)));
    }

    private static DeviceMemory values(DeviceWeights weights) {
        return ((DeviceWeights.Dense) weights).values();
    }

    private static ObjectNode row(GpuRig rig, Shapes shape, Race.Way way, Optional<Race.Way> fastest) {
        ObjectNode row = way.describe(label(shape));
        if (way.measured()) {
            double bytesPerSecond = way.bytes() / way.seconds();
            row.put("us", way.seconds() * 1e6)
                    .put("gb_per_s", bytesPerSecond / 1e9)
                    .put("copy_share", bytesPerSecond / rig.copyBandwidth());
            fastest.ifPresent(dense -> row.put("ratio_to_fastest_dense", way.ratioTo(dense)));
        }
        return row;
    }
}
