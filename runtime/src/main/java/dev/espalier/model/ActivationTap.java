package dev.espalier.model;

import dev.espalier.tensor.Tensor;

/// Sees what a block's linear layers read, while the block runs.
@FunctionalInterface
public interface ActivationTap {
    /// `input` `[tokens, features]`, F32, in the backend's memory; valid during the call only, not to be changed.
    void see(Site site, Tensor input);
}
