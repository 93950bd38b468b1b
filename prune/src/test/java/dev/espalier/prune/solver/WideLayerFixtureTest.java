package dev.espalier.prune.solver;

import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.espalier.kernels.LinearAlgebra;
import dev.espalier.kernels.cpu.CpuLinearAlgebra;
import dev.espalier.kernels.simd.Workers;
import dev.espalier.prune.Npz;
import dev.espalier.prune.TestModels;
import dev.espalier.prune.calibrate.Gram;
import dev.espalier.prune.calibrate.Scratch;
import dev.espalier.prune.pattern.Pattern;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.Test;

/// The released codes' masks on a synthetic layer behind a ReLU, 512 x 2048, whose Gram matrix is stored in the folder
/// `shared` (too large to be kept with the project).
class WideLayerFixtureTest {
    private static final int ROWS = 512;
    private static final int COLUMNS = 2048;

    /// Adds the stored matrix in place of the first sequence's products, and nothing for the seven others.
    private record StoredGram(LinearAlgebra inner, float[] upper, boolean[] added) implements LinearAlgebra {
        @Override
        public void accumulateGram(Tensor x, MemorySegment gram) {
            for (int i = 0, at = 0; !added[0] && i < COLUMNS; i++) {
                for (int j = i; j < COLUMNS; j++, at++) {
                    gram.setAtIndex(ValueLayout.JAVA_DOUBLE, (long) i * COLUMNS + j, upper[at]);
                    gram.setAtIndex(ValueLayout.JAVA_DOUBLE, (long) j * COLUMNS + i, upper[at]);
                }
            }
            added[0] = true;
        }

        @Override
        public void gemm(float alpha, Matrix a, boolean ta, Matrix b, boolean tb, float beta, Matrix c) {
            inner.gemm(alpha, a, ta, b, tb, beta, c);
        }

        @Override
        public void cholesky(Tensor a) {
            inner.cholesky(a);
        }

        @Override
        public void invertTriangular(Tensor l) {
            inner.invertTriangular(l);
        }

        @Override
        public void inverseSpd(Tensor a) {
            inner.inverseSpd(a);
        }

        @Override
        public void upperCholeskyOfInverse(Tensor a, Tensor u) {
            inner.upperCholeskyOfInverse(a, u);
        }

        @Override
        public float selectKth(Tensor values, long k) {
            return inner.selectKth(values, k);
        }
    }

    /// Wanda within 2e-5: its scores come from the float32 matrix, whose diagonal is not the running mean's to the last
    /// bit. SparseGPT within 1e-4.
    @Test
    void masksAreTheReferencesUnderTheReleasedCounts() {
        Npz input = Npz.file(TestModels.shared("fixtures/solvers/case_C_input.npz"));
        Npz masks = Npz.file(TestModels.shared("fixtures/solvers/case_C_masks.npz"));
        try (Workers workers = new Workers(2);
                Scratch memory = new Scratch()) {
            LinearAlgebra algebra =
                    new StoredGram(new CpuLinearAlgebra(workers), input.floats("H_upper"), new boolean[1]);
            try (Gram gram = new Gram(COLUMNS, algebra)) {
                for (int s = 0; s < 8; s++) {
                    gram.add(Tensor.allocate(Arena.ofAuto(), DType.F32, 1, COLUMNS));
                }
                for (Solver solver : new Solver[] {new Wanda(), new SparseGpt()}) {
                    for (String pattern : new String[] {"70", "2of4"}) {
                        Tensor w = Tensor.of(Arena.ofAuto(), ROWS, COLUMNS, input.floats("W"));
                        boolean group = pattern.contains("of");
                        solver.solve(new LayerProblem(
                                "case C",
                                w,
                                gram,
                                Pattern.parse(group ? pattern.replace("of", ":") : "unstructured"),
                                group ? 0.5 : 0.7,
                                Double.NaN,
                                true,
                                algebra,
                                workers,
                                memory));
                        float[] packed = masks.floats(solver.name() + "_" + pattern);
                        int different = 0;
                        for (int i = 0; i < ROWS * COLUMNS; i++) {
                            boolean theirs = ((int) packed[i >> 3] >> (7 - (i & 7)) & 1) != 0;
                            different += theirs != (w.get(i / COLUMNS, i % COLUMNS) != 0) ? 1 : 0;
                        }
                        double allowed = solver instanceof Wanda ? 2e-5 : 1e-4;
                        assertTrue(
                                different <= allowed * ROWS * COLUMNS,
                                solver.name() + " " + pattern + ": " + different + " bits");
                    }
                }
            }
        }
    }
}
