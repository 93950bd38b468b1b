package dev.espalier.prune.solver;

import dev.espalier.tensor.InputException;
import java.util.List;
import java.util.stream.Collectors;

/// The solvers there are. A new one is a file and an entry here; the contract tests run over the list.
public final class Solvers {
    private static final List<Solver> ALL =
            List.of(new Magnitude(), new Wanda(), new Dsnot(), new SparseGpt(), new AdmmGrad(), new Alps());

    private Solvers() {}

    /// Every solver, from the simplest to the best.
    public static List<Solver> all() {
        return ALL;
    }

    /// The best there is, for those who name none.
    public static Solver best() {
        return ALL.getLast();
    }

    /// The solver of this name.
    ///
    /// @throws InputException if there is none
    public static Solver named(String name) {
        return ALL.stream()
                .filter(solver -> solver.name().equals(name))
                .findFirst()
                .orElseThrow(() -> new InputException("method '" + name + "' is not known; known: "
                        + ALL.stream().map(Solver::name).collect(Collectors.joining(", "))));
    }
}
