package dev.espalier.model;

/// The four places of a block where its linear layers read their inputs.
public enum Site {
    /// What Q, K and V read: the block's input, normed where the family norms before.
    ATTENTION_INPUT,
    /// What O reads: the heads' weighted values.
    ATTENTION_OUTPUT,
    /// What GATE and UP read.
    MLP_INPUT,
    /// What DOWN reads: the MLP's inner activations.
    MLP_OUTPUT
}
