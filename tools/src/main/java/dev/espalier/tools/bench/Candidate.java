package dev.espalier.tools.bench;

import dev.espalier.kernels.FormatChoice;
import dev.espalier.kernels.cpu.CpuBackend;
import dev.espalier.tensor.InputException;
import dev.espalier.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// One contender of a benchmark: a format, and the zeros that the weights are given before they are packed into it.
///
/// @param format the format's name; `auto`: what is chosen for each layer
/// @param kept weights kept of each `group` consecutive ones; 0 = unstructured
/// @param group see `kept`
/// @param sparsity the fraction of zeros that is made; NaN: the weights stay as they are
public record Candidate(String format, int kept, int group, double sparsity) {
    private static final Pattern N_OF_M = Pattern.compile("(\\d{1,3}):(\\d{1,3})(-int8)?");

    /// In place of a sparsity: the zeros that the weights have.
    private static final String OWN = "own";

    /// The dense weights as they are.
    public static final Candidate DENSE = new Candidate("dense", 0, 0, Double.NaN);

    /// The contenders of a list such as `dense,bitmask@0.5,2:4`; the first is always `dense`.
    ///
    /// @throws InputException if the list names something that is not there
    public static List<Candidate> list(List<String> names) {
        List<Candidate> candidates = new ArrayList<>();
        candidates.add(DENSE);
        for (String name : names) {
            Candidate candidate = of(name.strip());
            if (!candidates.contains(candidate)) {
                candidates.add(candidate);
            }
        }
        return candidates;
    }

    private static Candidate of(String name) {
        int at = name.indexOf('@');
        String format = at < 0 ? name : name.substring(0, at);
        Formats.check(format, "--formats " + name);
        Matcher pattern = N_OF_M.matcher(format);
        if (pattern.matches()) {
            int kept = Integer.parseInt(pattern.group(1));
            int group = Integer.parseInt(pattern.group(2));
            double own = 1 - (double) kept / group;
            if (at >= 0 && Math.abs(sparsity(name, at) - own) > 1e-9) {
                throw new InputException("--formats %s: %s has a sparsity of %s of its own; leave the @ out."
                        .formatted(name, format, own));
            }
            return new Candidate(format, kept, group, own);
        }
        if (at < 0 && format.equals("dense-int8")) {
            return new Candidate(format, 0, 0, Double.NaN);
        }
        if (at < 0 && !format.equals("dense")) {
            throw new InputException(
                    "--formats %s: it needs a sparsity, as in %s@0.5, or @own for the zeros that are there."
                            .formatted(name, format));
        }
        return at < 0 ? DENSE : new Candidate(format, 0, 0, sparsity(name, at));
    }

    private static double sparsity(String name, int at) {
        if (name.substring(at + 1).equals(OWN)) {
            return Double.NaN;
        }
        try {
            double sparsity = Double.parseDouble(name.substring(at + 1));
            if (sparsity >= 0 && sparsity < 1) {
                return sparsity;
            }
        } catch (NumberFormatException e) {
            throw new InputException("--formats %s: what follows the @ is not a number.".formatted(name), e);
        }
        throw new InputException(
                "--formats %s: a sparsity is at least 0 and below 1, or `own` for the zeros that are there."
                        .formatted(name));
    }

    /// `unstructured`, or N:M.
    public String pattern() {
        return group == 0 ? "unstructured" : kept + ":" + group;
    }

    /// Whether weights are changed at all.
    public boolean prunes() {
        return !Double.isNaN(sparsity) && sparsity > 0;
    }

    /// What a table calls it: `bitmask@0.5`.
    public String label() {
        if (group != 0 || equals(DENSE) || format.equals("dense-int8") && !prunes()) {
            return format;
        }
        return format + "@" + (prunes() ? String.format(Locale.ROOT, "%s", sparsity) : OWN);
    }

    /// The choice of this format, refusing what it cannot hold.
    public FormatChoice formats(CpuBackend backend) {
        return Formats.named(format, "--formats " + label(), backend);
    }

    /// Gives `weights` their zeros: the smallest magnitudes go, in every group or in the whole matrix.
    ///
    /// @throws InputException if the columns are not a multiple of the group
    public void prune(Tensor weights) {
        if (!prunes()) {
            return;
        }
        requireColumns(weights.columns());
        if (group == 0) {
            Zeros.unstructured(weights, sparsity);
        } else {
            Zeros.grouped(weights, kept, group);
        }
    }

    /// Refuses layers of `columns` inputs if groups do not fit them.
    ///
    /// @throws InputException if they are not a multiple of the group
    public void requireColumns(int columns) {
        if (group != 0 && columns % group != 0) {
            throw new InputException("--formats %s: a layer has %d columns, which %d does not divide."
                    .formatted(format, columns, group));
        }
    }
}
