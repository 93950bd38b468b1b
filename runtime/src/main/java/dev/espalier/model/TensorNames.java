package dev.espalier.model;

import java.util.List;
import java.util.Map;

/// What a family's checkpoints call their tensors, without `.weight` and `.bias`.
///
/// All but the head stand behind one prefix: published files of one family differ in it.
///
/// @param prefixes what may stand before a name, the usual one first
/// @param projectIn the matrix from the embedding's width to the hidden one, null where the family has none
/// @param projectOut the matrix back, null where the family has none
/// @param positions the table of learned positions, null where the family has none
/// @param block what stands before a block's number
/// @param attentionNorm the norm of a block's attention
/// @param mlpNorm the norm of a block's MLP
public record TensorNames(
        List<String> prefixes,
        String embedding,
        String positions,
        String projectIn,
        String projectOut,
        String block,
        String attentionNorm,
        String mlpNorm,
        String lastNorm,
        Map<Projection, String> projections) {

    /// The output matrix, the same in every family and never prefixed.
    static final String HEAD = "lm_head.weight";
}
