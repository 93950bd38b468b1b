package dev.espalier.prune;

import dev.espalier.tensor.Tensor;
import java.util.Optional;

/// Receives the pruned weights while they are made, so that they can be saved, and may give back those of an earlier run.
public interface PruneSink {
    /// Keeps nothing and has nothing.
    PruneSink NONE = new PruneSink() {};

    /// A layer of an earlier run of the same plan on the same model and data.
    ///
    /// @param weight `[out, in]` in the type that the model holds it in, zeros in place
    record Done(Tensor weight, LayerReport report) {}

    /// A layer is pruned: `weight` `[out, in]` on the host, in the type that the model holds it in, zeros in place; it
    /// stays valid as long as it is reachable.
    default void layer(LayerReport report, Tensor weight) {}

    /// All layers of a block have been handed over.
    default void blockDone(int block) {}

    /// The layer of this name from an earlier run, if there is one. A block is taken over if all its layers are there.
    default Optional<Done> done(String name) {
        return Optional.empty();
    }
}
