package dev.espalier.prune.solver;

import dev.espalier.prune.calibrate.Scratch;
import dev.espalier.tensor.Mask;
import dev.espalier.tensor.Tensor;

/// The best weights on a fixed support, by conjugate gradients: for every output, [(ŵ − w) A]_S = 0 on its support S
/// (ALPS, Meng et al. 2024, algorithm 2). In the coordinates of [Scaling], where A has a unit diagonal, that is Jacobi's
/// preconditioner.
///
/// Outputs are independent systems that share each product with A; each has its own step sizes (the paper's algorithm has
/// one for all). An output stops when its residual, ‖[(w − ŵ) A]_S‖, is at most `tolerance` times ‖[w A]_S‖.
///
/// @param iterations the most, for each output
/// @param tolerance where an output stops; 0: at the last iteration, or when nothing is left
record ConjugateGradients(int iterations, double tolerance) {
    /// Bytes of scratch memory for a layer of this size.
    static long scratchBytes(long rows, long columns) {
        return 3L * Tiles.height(rows) * columns * Float.BYTES;
    }

    /// Overwrites `x` `[out, in]`, in scaled coordinates and zero where `support` prunes, with the solution.
    ///
    /// @param a A, `[in, in]`
    /// @param norms e, with which a weight is multiplied to be in scaled coordinates
    /// @param dense the dense weights `[out, in]`, not scaled
    /// @return the largest residual of an output, relative to ‖[w A]_S‖
    double solve(LayerProblem problem, Tensor a, float[] norms, Tensor dense, Tensor x, Mask support, Scratch memory) {
        double[] worst = new double[1];
        try (Scratch scratch = memory.child()) {
            int height = Tiles.height(x.rows());
            Tensor residuals = scratch.tensor(height, x.columns());
            Tensor directions = scratch.tensor(height, x.columns());
            Tensor products = scratch.tensor(height, x.columns());
            Tiles.forEach(x.rows(), (from, to) -> {
                Tile tile = new Tile(
                        problem,
                        a,
                        norms,
                        dense,
                        x,
                        support,
                        from,
                        residuals.slice(0, to - from),
                        directions.slice(0, to - from),
                        products.slice(0, to - from));
                worst[0] = Math.max(worst[0], tile.solve(iterations, tolerance));
            });
        }
        return worst[0];
    }

    private record Tile(
            LayerProblem problem,
            Tensor a,
            float[] norms,
            Tensor dense,
            Tensor x,
            Mask support,
            int from,
            Tensor residuals,
            Tensor directions,
            Tensor products) {
        double solve(int iterations, double tolerance) {
            int rows = residuals.rows();
            double[] targets = new double[rows];
            double[] squares = new double[rows];
            if (tolerance > 0) {
                difference(false);
                product();
                maskedNorms(products, targets);
            }
            int done = 0;
            while (true) {
                difference(true);
                product();
                Rows.map(products, 0, residuals, problem.workers(), (r, row) -> {});
                maskedNorms(residuals, squares);
                Rows.map(residuals, 0, directions, problem.workers(), (r, row) -> {});
                double before = worst(squares, targets);
                if (before <= tolerance || done >= iterations) {
                    return before;
                }
                int steps = descend(iterations - done, tolerance, targets, squares);
                done += steps;
                if (tolerance == 0 || steps == 0) {
                    return worst(squares, targets);
                }
            }
        }

        /// `directions` = w − x, or w alone.
        private void difference(boolean minusX) {
            int n = x.columns();
            Rows.map(dense, from, directions, problem.workers(), () -> {
                float[] now = new float[n];
                return (r, row) -> {
                    if (minusX) {
                        Rows.read(x, r, 0, now, n);
                    }
                    for (int j = 0; j < n; j++) {
                        row[j] = row[j] * norms[j] - now[j];
                    }
                };
            });
        }

        private void product() {
            problem.algebra().gemm(directions, false, a, false, products);
        }

        private void maskedNorms(Tensor values, double[] squares) {
            int n = x.columns();
            Rows.map(values, 0, values, problem.workers(), () -> {
                float[] keep = new float[n];
                return (r, row) -> {
                    Rows.read(support, from + r, keep);
                    double sum = 0;
                    for (int j = 0; j < n; j++) {
                        row[j] *= keep[j];
                        sum += (double) row[j] * row[j];
                    }
                    squares[r] = sum;
                };
            });
        }

        /// Up to `most` steps for those outputs whose residual is not small enough; returns how many it took.
        private int descend(int most, double tolerance, double[] targets, double[] squares) {
            int n = x.columns();
            int steps = 0;
            for (; steps < most && worst(squares, targets) > tolerance; steps++) {
                product();
                Rows.map(residuals, 0, residuals, problem.workers(), () -> {
                    float[] direction = new float[n];
                    float[] product = new float[n];
                    float[] solution = new float[n];
                    float[] keep = new float[n];
                    return (r, row) -> {
                        if (squares[r] <= tolerance * tolerance * targets[r]) {
                            return;
                        }
                        Rows.read(directions, r, 0, direction, n);
                        Rows.read(products, r, 0, product, n);
                        Rows.read(x, from + r, 0, solution, n);
                        Rows.read(support, from + r, keep);
                        double curvature = 0;
                        for (int j = 0; j < n; j++) {
                            curvature += (double) direction[j] * product[j];
                        }
                        float alpha = curvature > 0 ? (float) (squares[r] / curvature) : 0f;
                        double left = 0;
                        for (int j = 0; j < n; j++) {
                            solution[j] += alpha * direction[j];
                            row[j] = (row[j] - alpha * product[j]) * keep[j];
                            left += (double) row[j] * row[j];
                        }
                        float beta = (float) (left / squares[r]);
                        for (int j = 0; j < n; j++) {
                            direction[j] = row[j] + beta * direction[j];
                        }
                        squares[r] = alpha == 0 ? 0 : left;
                        Rows.write(solution, n, x, from + r, 0);
                        Rows.write(direction, n, directions, r, 0);
                    };
                });
            }
            return steps;
        }

        /// The largest residual, relative to its output's target where there is one.
        private static double worst(double[] squares, double[] targets) {
            double worst = 0;
            for (int r = 0; r < squares.length; r++) {
                worst = Math.max(worst, targets[r] > 0 ? squares[r] / targets[r] : squares[r]);
            }
            return Math.sqrt(worst);
        }
    }
}
