package dev.espalier.tools;

import dev.espalier.kernels.FormatChoice;
import dev.espalier.kernels.WeightFormat;
import dev.espalier.kernels.format.Dense;
import dev.espalier.kernels.format.WeightFormats;
import dev.espalier.tensor.InputException;

/// The choices of a weight format that options name.
public final class Formats {
    private Formats() {}

    /// `auto`, or the one format called `name` for every layer, which is refused where it does not suit a layer.
    ///
    /// @param option what the user gave, for errors
    /// @throws InputException if there is no such format
    public static FormatChoice named(String name, String option) {
        if (name.equals("auto")) {
            return dense -> Dense.tiled();
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

    /// Our fastest dense format.
    public static FormatChoice dense() {
        return weights -> Dense.tiled();
    }

    private static WeightFormat require(String name, String option) {
        try {
            return WeightFormats.named(name);
        } catch (InputException e) {
            throw new InputException(option + ": " + e.getMessage() + ", auto.", e);
        }
    }
}
