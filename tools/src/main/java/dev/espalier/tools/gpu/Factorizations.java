package dev.espalier.tools.gpu;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.espalier.natives.cuda.CuBlas;
import dev.espalier.natives.cuda.CuSolver;
import dev.espalier.natives.cuda.CudaLibrary;
import dev.espalier.natives.cuda.CudaType;
import dev.espalier.natives.cuda.DeviceMemory;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.SplittableRandom;
import java.util.function.Consumer;
import java.util.stream.IntStream;

/// Part (e): what solvers ask of a device: Cholesky, the inverse of a symmetric matrix, XᵀX.
final class Factorizations implements GpuPart {
    private static final int[] SIZES = {4096, 11008};
    private static final int ROUNDS = 5;

    @Override
    public String letter() {
        return "e";
    }

    @Override
    public String title() {
        return "Cholesky, symmetric inverse and syrk, float32; cuSOLVER's workspace is allocated within the time";
    }

    @Override
    public void run(GpuRig rig, Deadline deadline, Consumer<ObjectNode> rows) {
        for (int n : SIZES) {
            if (deadline.passed()) {
                rows.accept(JsonNodeFactory.instance.objectNode().put("n", n).put("skipped", "no time left"));
                continue;
            }
            try (Arena arena = Arena.ofShared();
                    DeviceMemory original = DeviceMemory.allocate(4L * n * n, "a symmetric matrix");
                    DeviceMemory work = DeviceMemory.allocate(4L * n * n, "a symmetric matrix")) {
                original.upload(spd(arena, n).segment());
                if (absent(CudaLibrary.CUSOLVER, n, rows)) {
                    continue;
                }
                try (CuSolver solver = CuSolver.create()) {
                    double cholesky = median(rig, work, original, () -> require(solver, rig, n, work, false));
                    rows.accept(row("Cholesky", n, cholesky, (double) n * n * n / 3));
                    double inverse = median(rig, work, original, () -> require(solver, rig, n, work, true));
                    rows.accept(row("inverse (Cholesky and potri)", n, inverse, (double) n * n * n));
                }
                if (absent(CudaLibrary.CUBLAS, n, rows)) {
                    continue;
                }
                try (CuBlas blas = CuBlas.create();
                        DeviceMemory gram = DeviceMemory.allocate(4L * n * n, "a Gram matrix")) {
                    double syrk = median(
                            rig, work, original, () -> blas.syrk(rig.stream, n, n, 1, work, 0, gram, CudaType.F32));
                    rows.accept(row("syrk, as many tokens as features", n, syrk, (double) n * n * n));
                }
            }
        }
    }

    private static void require(CuSolver solver, GpuRig rig, int n, DeviceMemory a, boolean invert) {
        int minor = solver.potrf(rig.stream, n, a, CudaType.F32);
        int zero = invert ? solver.potri(rig.stream, n, a, CudaType.F32) : 0;
        if (minor != 0 || zero != 0) {
            throw new IllegalStateException("a positive definite matrix of order " + n + " is refused");
        }
    }

    private static boolean absent(CudaLibrary library, int n, Consumer<ObjectNode> rows) {
        if (library.library().found()) {
            return false;
        }
        rows.accept(JsonNodeFactory.instance
                .objectNode()
                .put("n", n)
                .put(
                        "skipped",
                        library.baseName() + " is absent: "
                                + library.library().whyNot().orElse("")));
        return true;
    }

    private static double median(GpuRig rig, DeviceMemory work, DeviceMemory original, Runnable body) {
        double[] seconds = new double[ROUNDS];
        for (int round = -1; round < ROUNDS; round++) {
            work.copyFrom(original, rig.stream);
            rig.stream.synchronize();
            double time = rig.seconds(body);
            if (round >= 0) {
                seconds[round] = time;
            }
        }
        return GpuRig.median(seconds);
    }

    private static ObjectNode row(String operation, int n, double seconds, double flops) {
        return JsonNodeFactory.instance
                .objectNode()
                .put("operation", operation)
                .put("n", n)
                .put("ms", seconds * 1e3)
                .put("tflop_per_s", flops / seconds / 1e12);
    }

    /// A symmetric, diagonally dominant, so positive definite matrix.
    static Tensor spd(Arena arena, int n) {
        Tensor a = Tensor.allocate(arena, DType.F32, n, n);
        IntStream.range(0, n).parallel().forEach(i -> {
            SplittableRandom random = new SplittableRandom(i);
            for (int j = 0; j < i; j++) {
                float value = (float) ((random.nextDouble() - 0.5) / n);
                a.set(i, j, value);
                a.set(j, i, value);
            }
            a.set(i, i, 1f);
        });
        return a;
    }
}
