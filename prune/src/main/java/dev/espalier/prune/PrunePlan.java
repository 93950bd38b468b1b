package dev.espalier.prune;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.espalier.prune.pattern.NOfM;
import dev.espalier.prune.pattern.Pattern;
import dev.espalier.prune.pattern.Unstructured;
import dev.espalier.prune.solver.Refinement;
import dev.espalier.prune.solver.Solver;
import dev.espalier.prune.solver.Solvers;
import dev.espalier.tensor.InputException;

/// What a pruner is asked to do.
///
/// @param solver the method
/// @param pattern which weights may go together
/// @param sparsity fraction of each layer's weights to prune, 0 to below 1; an N:M pattern's own
/// @param damping a fraction of the Gram matrix's mean diagonal; NaN: the method's own, more where tokens are few
/// @param referenceQuirks counts, ties and damping as the papers' released codes have them
/// @param refinement what is done to each layer after the solver
public record PrunePlan(
        Solver solver,
        Pattern pattern,
        double sparsity,
        double damping,
        boolean referenceQuirks,
        Refinement refinement) {
    /// The sparsity of those who ask for none.
    public static final double DEFAULT_SPARSITY = 0.5;

    /// @throws InputException if a number is out of its range, or pattern and sparsity contradict each other
    public PrunePlan {
        if (!(sparsity >= 0 && sparsity < 1)) {
            throw new InputException("sparsity %s: it must be 0 or more and less than 1".formatted(sparsity));
        }
        if (pattern instanceof NOfM group && group.sparsity() != sparsity) {
            throw new InputException("pattern %s prunes %s of the weights, not the sparsity %s; leave one of them out"
                    .formatted(group.name(), group.sparsity(), sparsity));
        }
        if (damping < 0 || Double.isInfinite(damping)) {
            throw new InputException("damping %s: it must be 0 or more, or auto".formatted(damping));
        }
    }

    /// The plan that options ask for, each of which may be null.
    ///
    /// @param method a solver's name; null: the best there is
    /// @param pattern `unstructured` or `N:M`; null: unstructured
    /// @param sparsity null: the pattern's own, or [#DEFAULT_SPARSITY]
    /// @param damping a number or `auto`; null: auto
    /// @throws InputException if an option names nothing, or they contradict each other
    public static PrunePlan of(
            String method, String pattern, Double sparsity, String damping, boolean referenceQuirks) {
        return of(method, pattern, sparsity, damping, referenceQuirks, null);
    }

    /// The same with a refinement's name; null: none.
    public static PrunePlan of(
            String method,
            String pattern,
            Double sparsity,
            String damping,
            boolean referenceQuirks,
            String refinement) {
        Pattern chosen = pattern == null ? Unstructured.INSTANCE : Pattern.parse(pattern);
        double own = chosen instanceof NOfM group ? group.sparsity() : DEFAULT_SPARSITY;
        return new PrunePlan(
                method == null ? Solvers.best() : Solvers.named(method),
                chosen,
                sparsity == null ? own : sparsity,
                damping(damping),
                referenceQuirks,
                refinement == null ? Refinement.NONE : Refinement.named(refinement));
    }

    /// Whether it takes calibration text.
    public boolean usesData() {
        return solver.usesData() || refinement != Refinement.NONE;
    }

    private static double damping(String text) {
        if (text == null || text.equals("auto")) {
            return Double.NaN;
        }
        try {
            double damping = Double.parseDouble(text);
            if (Double.isNaN(damping)) {
                throw new NumberFormatException("NaN");
            }
            return damping;
        } catch (NumberFormatException e) {
            throw new InputException("damping '" + text + "': it must be a number, 0 or more, or auto", e);
        }
    }

    /// Puts every option into `json`, as reports name it; plans are told apart by it.
    public void putInto(ObjectNode json) {
        json.put("method", solver.name());
        json.put("pattern", pattern.name());
        json.put("sparsity", sparsity);
        json.put("allocation", "uniform");
        json.put("rows", "uniform");
        if (Double.isNaN(damping)) {
            json.put("damping", "auto");
        } else {
            json.put("damping", damping);
        }
        json.put("reference_quirks", referenceQuirks);
        json.put("refine", refinement.text());
    }

    /// The damping of a layer of `features` inputs that saw `tokens` tokens: what was asked for, or the method's own times
    /// max(1, 32 · features / tokens), at most 1. With few tokens a feature the Gram matrix knows the sample rather than
    /// the text, and more damping loses less on other text. NaN if the method has none.
    public double dampingFor(int features, long tokens) {
        return dampingFor(solver.damping(), features, tokens);
    }

    /// The refinement's damping of such a layer, if its solver had none.
    public double refinementDampingFor(int features, long tokens) {
        return dampingFor(Refinement.DAMPING, features, tokens);
    }

    private double dampingFor(double own, int features, long tokens) {
        if (!Double.isNaN(damping)) {
            return damping;
        }
        return referenceQuirks || Double.isNaN(own)
                ? own
                : Math.min(1, own * Math.max(1, 32.0 * features / Math.max(1, tokens)));
    }
}
