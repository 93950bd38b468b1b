package dev.espalier.tools.gpu;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.espalier.kernels.cuda.DeviceTensor;
import dev.espalier.kernels.cuda.KernelChecks;
import dev.espalier.natives.cuda.CuBlas;
import dev.espalier.natives.cuda.CuBlasLt;
import dev.espalier.natives.cuda.CuSolver;
import dev.espalier.natives.cuda.CuSparse;
import dev.espalier.natives.cuda.CuSparseLt;
import dev.espalier.natives.cuda.CudaException;
import dev.espalier.natives.cuda.CudaLibrary;
import dev.espalier.natives.cuda.CudaType;
import dev.espalier.natives.cuda.DeviceMemory;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.Optional;
import java.util.Random;
import java.util.function.Consumer;
import java.util.function.Supplier;

/// Part (a): every kernel and every library call once, against the CPU.
final class Correctness implements GpuPart {
    static final String PASSED = "passed";
    static final String ABSENT = "absent";
    static final String LEFT_OUT = "left out";

    private static final double UNIT = 0x1p-24;
    private static final int IN = 96;
    private static final int OUT = 48;

    @Override
    public String letter() {
        return "a";
    }

    @Override
    public String title() {
        return "Every kernel and library call against the CPU";
    }

    @Override
    public void run(GpuRig rig, Deadline deadline, Consumer<ObjectNode> rows) {
        library(rig, CudaLibrary.CUBLAS, "gemm", rows, () -> gemm(rig));
        library(rig, CudaLibrary.CUBLAS, "syrk", rows, () -> syrk(rig));
        library(rig, CudaLibrary.CUBLASLT, "linear", rows, () -> linearLt(rig));
        library(rig, CudaLibrary.CUSPARSE, "CSR, one token", rows, () -> csr(rig, 1));
        library(rig, CudaLibrary.CUSPARSE, "CSR, 16 tokens", rows, () -> csr(rig, 16));
        library(rig, CudaLibrary.CUSPARSELT, "2:4 linear", rows, () -> twoFour(rig));
        library(rig, CudaLibrary.CUSOLVER, "potrf, potri", rows, () -> inverse(rig));
        new KernelChecks(rig.kernels, rig.stream, rig.cpu, rig.workload.checks(), deadline::passed)
                .run(result -> rows.accept(row("kernel", result.kernel())
                        .put("result", result.leftOut() ? LEFT_OUT : result.passed() ? PASSED : FAILED)
                        .put("cases", result.cases())
                        .put("worst", Double.isFinite(result.worst()) ? result.worst() : null)
                        .put("why", result.leftOut() ? Deadline.NO_TIME : result.problem())));
    }

    private static ObjectNode row(String kind, String name) {
        return GpuPart.row().put("kind", kind).put("name", name);
    }

    /// Runs one call, whose supplier gives the largest error as a fraction of what rounding explains.
    private static void library(
            GpuRig rig, CudaLibrary library, String call, Consumer<ObjectNode> rows, Supplier<Double> check) {
        ObjectNode row = row("library", library.baseName() + ": " + call);
        Optional<String> absent = rig.absent(library);
        if (absent.isPresent()) {
            rows.accept(
                    row.put("result", ABSENT).put("cases", 0).putNull("worst").put("why", absent.get()));
            return;
        }
        try {
            double worst = check.get();
            boolean right = worst <= 1;
            rows.accept(row.put("result", right ? PASSED : FAILED)
                    .put("cases", 1)
                    .put("worst", Double.isFinite(worst) ? worst : null)
                    .put("why", right ? null : "the largest difference is more than rounding explains"));
        } catch (CudaException | IllegalArgumentException | IllegalStateException e) {
            rows.accept(
                    row.put("result", FAILED).put("cases", 1).putNull("worst").put("why", e.getMessage()));
        }
    }

    private static double gemm(GpuRig rig) {
        try (Arena arena = Arena.ofShared();
                CuBlas blas = CuBlas.create();
                DeviceTensor x = upload(random(arena, DType.F32, 17, IN, 1));
                DeviceTensor w = upload(random(arena, DType.F32, OUT, IN, 2));
                DeviceTensor y = DeviceTensor.allocate(DType.F32, 17, OUT, "y")) {
            blas.gemm(
                    rig.stream,
                    false,
                    true,
                    17,
                    OUT,
                    IN,
                    1f,
                    x.memory(),
                    w.memory(),
                    CudaType.F32,
                    0f,
                    y.memory(),
                    CudaType.F32);
            return compare(rig, arena, x, w, y, 0);
        }
    }

    private static double linearLt(GpuRig rig) {
        try (Arena arena = Arena.ofShared();
                CuBlasLt blas = CuBlasLt.create();
                DeviceTensor x = upload(random(arena, DType.BF16, 17, IN, 3));
                DeviceTensor w = upload(random(arena, DType.BF16, OUT, IN, 4));
                DeviceTensor y = DeviceTensor.allocate(DType.F32, 17, OUT, "y");
                CuBlasLt.Linear linear = blas.linear(17, IN, OUT, CudaType.BF16, CudaType.F32, 8)) {
            double worst = 0;
            for (int i = 0; i < linear.algorithms(); i++) {
                linear.select(i);
                linear.run(rig.stream, x.memory(), w.memory(), y.memory());
                worst = Math.max(worst, compare(rig, arena, x, w, y, 0));
            }
            return worst;
        }
    }

    private static double csr(GpuRig rig, int tokens) {
        try (Arena arena = Arena.ofShared();
                CuSparse sparse = CuSparse.create()) {
            Tensor dense = random(arena, DType.BF16, OUT, IN, 5);
            for (int i = 0; i < dense.size(); i += 3) {
                dense.set(i / IN, i % IN, 0f);
            }
            try (DeviceTensor x = upload(random(arena, DType.BF16, tokens, IN, 6));
                    DeviceTensor w = upload(dense);
                    DeviceTensor y = DeviceTensor.allocate(DType.F32, tokens, OUT, "y");
                    CsrWeights csr = CsrWeights.upload(dense);
                    CuSparse.Linear linear = sparse.linear(rig.stream, csr.matrix(), tokens, CudaType.F32)) {
                linear.run(rig.stream, x.memory(), y.memory());
                return compare(rig, arena, x, w, y, 0);
            }
        }
    }

    private static double twoFour(GpuRig rig) {
        try (Arena arena = Arena.ofShared();
                CuSparseLt sparse = CuSparseLt.create()) {
            Tensor dense = random(arena, DType.BF16, OUT, IN, 7);
            for (int i = 0; i < dense.size(); i++) {
                if (i % 4 == i / IN % 4 || i % 4 == (i / IN + 1 + i / 4 % 3) % 4) {
                    dense.set(i / IN, i % IN, 0f);
                }
            }
            try (DeviceTensor x = upload(random(arena, DType.BF16, 16, IN, 8));
                    DeviceTensor w = upload(dense);
                    DeviceTensor y = DeviceTensor.allocate(DType.BF16, 16, OUT, "y");
                    CuSparseLt.Linear linear = sparse.linear(16, IN, OUT, CudaType.BF16);
                    DeviceMemory compressed = linear.compress(rig.stream, w.memory())) {
                if (!linear.isInPattern(rig.stream, w.memory())) {
                    throw new IllegalStateException("the library does not see that the weights are 2:4");
                }
                linear.run(rig.stream, x.memory(), compressed, y.memory());
                // y is rounded to BF16.
                return compare(rig, arena, x, w, y, 0x1p-8);
            }
        }
    }

    private static double syrk(GpuRig rig) {
        int n = 40;
        try (Arena arena = Arena.ofShared();
                CuBlas blas = CuBlas.create()) {
            Tensor a = random(arena, DType.F32, 70, n, 9);
            try (DeviceTensor deviceA = upload(a);
                    DeviceTensor c = DeviceTensor.allocate(DType.F32, n, n, "c")) {
                blas.syrk(rig.stream, n, 70, 1, deviceA.memory(), 0, c.memory(), CudaType.F32);
                rig.stream.synchronize();
                Tensor result = c.download(arena);
                double worst = 0;
                for (int i = 0; i < n; i++) {
                    for (int j = 0; j <= i; j++) {
                        double sum = 0;
                        double magnitude = 0;
                        for (int k = 0; k < 70; k++) {
                            double product = (double) a.get(k, i) * a.get(k, j);
                            sum += product;
                            magnitude += Math.abs(product);
                        }
                        worst = Math.max(worst, Math.abs(sum - result.get(i, j)) / (71 * UNIT * magnitude));
                    }
                }
                return worst;
            }
        }
    }

    private static double inverse(GpuRig rig) {
        int n = 64;
        try (Arena arena = Arena.ofShared();
                CuSolver solver = CuSolver.create()) {
            Tensor a = Factorizations.spd(arena, n);
            try (DeviceTensor deviceA = upload(a)) {
                int minor = solver.potrf(rig.stream, n, deviceA.memory(), CudaType.F32);
                int zero = solver.potri(rig.stream, n, deviceA.memory(), CudaType.F32);
                if (minor != 0 || zero != 0) {
                    throw new IllegalStateException("a positive definite matrix is refused at " + minor + ", " + zero);
                }
                rig.stream.synchronize();
                Tensor inverse = deviceA.download(arena);
                double worst = 0;
                for (int i = 0; i < n; i++) {
                    for (int j = 0; j < n; j++) {
                        double sum = i == j ? -1 : 0;
                        for (int k = 0; k < n; k++) {
                            sum += a.get(i, k) * (double) inverse.get(Math.max(k, j), Math.min(k, j));
                        }
                        // The matrix is diagonally dominant: its condition number is below 4.
                        worst = Math.max(worst, Math.abs(sum) / (16 * n * UNIT));
                    }
                }
                return worst;
            }
        }
    }

    private static DeviceTensor upload(Tensor tensor) {
        return DeviceTensor.upload(tensor, "check");
    }

    private static Tensor random(Arena arena, DType type, int rows, int columns, int seed) {
        Random random = new Random(seed);
        Tensor tensor = Tensor.allocate(arena, type, rows, columns);
        for (int i = 0; i < tensor.size(); i++) {
            tensor.set(i / columns, i % columns, (float) random.nextGaussian());
        }
        return tensor;
    }

    /// The largest error of y = x Wᵀ, as a fraction of what rounding explains.
    private static double compare(
            GpuRig rig, Arena arena, DeviceTensor x, DeviceTensor w, DeviceTensor y, double rounding) {
        rig.stream.synchronize();
        Tensor inputs = x.download(arena);
        Tensor weights = w.download(arena);
        Tensor result = y.download(arena);
        double worst = 0;
        for (int token = 0; token < y.rows(); token++) {
            for (int row = 0; row < y.columns(); row++) {
                double sum = 0;
                double magnitude = 0;
                for (int k = 0; k < x.columns(); k++) {
                    double product = (double) inputs.get(token, k) * weights.get(row, k);
                    sum += product;
                    magnitude += Math.abs(product);
                }
                // Tensor cores cut instead of rounding: twice the unit.
                double allowed = 2 * (x.columns() + 1) * UNIT * magnitude + rounding * Math.abs(sum);
                double error = Math.abs(sum - result.get(token, row));
                worst = Math.max(worst, Double.isNaN(error) ? Double.POSITIVE_INFINITY : error / allowed);
            }
        }
        return worst;
    }
}
