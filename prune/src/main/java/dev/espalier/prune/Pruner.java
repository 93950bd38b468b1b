package dev.espalier.prune;

import dev.espalier.model.Model;
import dev.espalier.prune.calibrate.CalibrationData;

/// Prunes a model in place and reports what it did.
public interface Pruner {
    /// Prunes `model`, whose linear layers are replaced one by one. What it throws leaves the model half pruned.
    ///
    /// @param data what the model reads meanwhile; null where the method needs none
    /// @param listener hears how far it is, and may stop it
    /// @throws dev.espalier.tensor.InputException if model, plan and data do not fit together; said before any work
    /// @throws PruneException if the work cannot be done, for want of memory for example
    /// @throws java.io.UncheckedIOException if the hidden states' temporary file, or who receives the weights, fails
    /// @throws java.util.concurrent.CancellationException if `listener` stopped it
    PruneReport prune(Model model, CalibrationData data, PruneListener listener);
}
