package dev.espalier.prune.solver;

import dev.espalier.kernels.LinearAlgebra;

final class TestAlgebra {
    private TestAlgebra() {}

    static LinearAlgebra algebra() {
        return new NaiveAlgebra();
    }
}
