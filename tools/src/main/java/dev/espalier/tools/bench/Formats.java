package dev.espalier.tools.bench;

import dev.espalier.kernels.FormatChoice;
import dev.espalier.kernels.WeightFormat;
import dev.espalier.kernels.cpu.CpuBackend;
import dev.espalier.kernels.format.FormatChooser;
import dev.espalier.kernels.format.WeightFormats;
import dev.espalier.tensor.InputException;

/// The choices of a weight format that options name.
public final class Formats {
    private Formats() {}

    /// Refuses a name that is neither `auto` nor a format's.
    ///
    /// @param option what the user gave, for errors
    /// @throws InputException if there is no such format
    public static void check(String name, String option) {
        if (!name.equals("auto")) {
            require(name, option);
        }
    }

    /// What is chosen for each layer, for `auto`, or the one format called `name`, which is refused where it does not suit
    /// a layer.
    ///
    /// @param option what the user gave, for errors
    /// @throws InputException if there is no such format
    public static FormatChoice named(String name, String option, CpuBackend backend) {
        if (name.equals("auto")) {
            return new FormatChooser(backend);
        }
        WeightFormat format = require(name, option);
        return dense -> {
            String reason = format.refuses(dense);
            if (reason != null) {
                throw new InputException("%s: a layer of %d x %d cannot be kept as %s: %s."
                        .formatted(option, dense.rows(), dense.columns(), name, reason));
            }
            return format;
        };
    }

    private static WeightFormat require(String name, String option) {
        try {
            return WeightFormats.named(name);
        } catch (InputException e) {
            throw new InputException(option + ": " + e.getMessage() + ", auto.", e);
        }
    }
}
