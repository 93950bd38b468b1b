package dev.espalier.model;

import dev.espalier.kernels.Backend;

/// Everything that distinguishes one decoder from another, as data.
///
/// @param family the `model_type` this was read from
public record ModelSpec(
        String family,
        Sizes sizes,
        Embedding embedding,
        Positions positions,
        Norms norms,
        Attention attention,
        Mlp mlp,
        Head head) {

    /// Entries of the embedding table.
    public int vocabulary() {
        return sizes.vocabulary();
    }

    /// Features of the residual stream.
    public int hidden() {
        return sizes.hidden();
    }

    /// Number of blocks.
    public int blocks() {
        return sizes.blocks();
    }

    /// The most tokens a sequence may have.
    public int context() {
        return sizes.context();
    }

    /// Whether a matrix stands between the embedding and the blocks, and another between the blocks and the head.
    public boolean projectsEmbedding() {
        return embedding.width() != sizes.hidden();
    }

    /// The sizes that every part shares.
    ///
    /// @param context the most tokens a sequence may have
    public record Sizes(int vocabulary, int hidden, int blocks, int context) {}

    /// How token ids become features.
    ///
    /// @param width features of the table; where it differs from `hidden`, a matrix maps one to the other
    /// @param scale factor of the looked-up row
    public record Embedding(int width, float scale) {}

    /// How a model tells one position from another.
    public sealed interface Positions {
        /// A learned vector for each position, added to the embedding: row `position + offset` of a table.
        record Learned(int offset) implements Positions {}

        /// Queries and keys rotated, dimension i with i + headDim/2, by position · `inverseFrequencies[i]`.
        ///
        /// @param inverseFrequencies `headDim / 2` of them, in radians per position
        @SuppressWarnings("ArrayRecordComponent")
        record Rotary(float[] inverseFrequencies) implements Positions {}
    }

    /// The normalizations.
    ///
    /// @param placement where a block's two norms stand
    /// @param weight whether they have a weight
    /// @param bias whether they have a bias
    /// @param last whether one more stands after the last block
    public record Norms(Backend.Norm norm, Placement placement, boolean weight, boolean bias, boolean last) {
        /// Where the norm of a branch stands.
        public enum Placement {
            /// x + f(norm(x))
            BEFORE,
            /// norm(x + f(x))
            AFTER
        }
    }

    /// The attention.
    ///
    /// @param inputBias whether Q, K and V have a bias
    /// @param outputBias whether O has one
    public record Attention(Backend.Attention shape, boolean inputBias, boolean outputBias) {
        /// Features of the queries: heads · headDim.
        public int queryWidth() {
            return shape.heads() * shape.headDim();
        }

        /// Features of the keys and of the values: kvHeads · headDim.
        public int keyWidth() {
            return shape.kvHeads() * shape.headDim();
        }
    }

    /// The feed-forward part.
    ///
    /// @param width its inner features
    /// @param gated down(f(gate x) ⊙ up x) where true, down(f(up x)) where false
    public record Mlp(int width, Backend.Activation activation, boolean gated, boolean bias) {}

    /// How features become logits.
    ///
    /// @param tied whether the head is the embedding table
    /// @param softcap cap·tanh(logit/cap); 0 = none
    public record Head(boolean tied, float softcap) {}
}
