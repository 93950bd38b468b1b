package dev.espalier.tools.gpu;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.espalier.natives.cuda.CuBlas;
import dev.espalier.natives.cuda.CuSolver;
import dev.espalier.natives.cuda.CudaException;
import dev.espalier.natives.cuda.CudaLibrary;
import dev.espalier.natives.cuda.CudaType;
import dev.espalier.natives.cuda.DeviceMemory;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.Optional;
import java.util.SplittableRandom;
import java.util.function.Consumer;
import java.util.stream.IntStream;

/// Part (e): what solvers ask of a device: Cholesky, the inverse of a symmetric matrix, XᵀX.
final class Factorizations implements GpuPart {
    private static final int ROUNDS = 5;

    /// What the rounds after the first one may take together.
    private static final double SECONDS = 20;

    /// What is measured; the floating-point operations are `share` n³.
    private enum Operation {
        CHOLESKY("Cholesky", CudaLibrary.CUSOLVER, 1.0 / 3),
        INVERSE("inverse (Cholesky and potri)", CudaLibrary.CUSOLVER, 1),
        SYRK("syrk, as many tokens as features", CudaLibrary.CUBLAS, 1);

        final String title;
        final CudaLibrary library;
        final double share;

        Operation(String title, CudaLibrary library, double share) {
            this.title = title;
            this.library = library;
            this.share = share;
        }
    }

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
        for (int n : rig.workload.orders()) {
            for (Operation operation : Operation.values()) {
                rows.accept(row(rig, deadline, operation, n));
            }
        }
    }

    private static ObjectNode row(GpuRig rig, Deadline deadline, Operation operation, int n) {
        ObjectNode row = GpuPart.row().put("operation", operation.title).put("n", n);
        Optional<String> absent = rig.absent(operation.library);
        if (absent.isPresent() || deadline.passed()) {
            return row.put(SKIPPED, absent.orElse(Deadline.NO_TIME));
        }
        try {
            double[] seconds = seconds(rig, deadline, operation, n);
            double median = GpuRig.median(seconds);
            if (seconds.length < ROUNDS) {
                row.put("rounds", seconds.length);
            }
            return row.put("ms", median * 1e3).put("tflop_per_s", operation.share * n * n * n / median / 1e12);
        } catch (CudaException | IllegalArgumentException | IllegalStateException e) {
            return row.put(FAILED, e.getMessage());
        }
    }

    private static double[] seconds(GpuRig rig, Deadline deadline, Operation operation, int n) {
        long bytes = 4L * n * n;
        try (Arena arena = Arena.ofShared();
                DeviceMemory original = DeviceMemory.copyOf(spd(arena, n).segment(), "a symmetric matrix");
                DeviceMemory work = DeviceMemory.allocate(bytes, "its factor");
                CuSolver solver = operation.library == CudaLibrary.CUSOLVER ? CuSolver.create() : null;
                CuBlas blas = operation.library == CudaLibrary.CUBLAS ? CuBlas.create() : null) {
            Runnable body = () -> {
                switch (operation) {
                    case CHOLESKY -> factorize(rig, solver, n, work);
                    case INVERSE -> {
                        factorize(rig, solver, n, work);
                        require(n, solver.potri(rig.stream, n, work, CudaType.F32));
                    }
                    case SYRK -> blas.syrk(rig.stream, n, n, 1, original, 0, work, CudaType.F32);
                }
            };
            double first = round(rig, original, work, body); // not counted
            double[] seconds = new double[Math.clamp((long) (SECONDS / first), 1, ROUNDS)];
            int rounds = 0;
            while (rounds < seconds.length && (rounds == 0 || !deadline.passed())) {
                seconds[rounds++] = round(rig, original, work, body);
            }
            return java.util.Arrays.copyOf(seconds, rounds);
        }
    }

    private static double round(GpuRig rig, DeviceMemory original, DeviceMemory work, Runnable body) {
        work.copyFrom(original, rig.stream);
        rig.stream.synchronize();
        return rig.seconds(body);
    }

    private static void factorize(GpuRig rig, CuSolver solver, int n, DeviceMemory a) {
        require(n, solver.potrf(rig.stream, n, a, CudaType.F32));
    }

    private static void require(int n, int minor) {
        if (minor != 0) {
            throw new IllegalStateException(
                    "a positive definite matrix of order " + n + " is refused at its minor " + minor);
        }
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
