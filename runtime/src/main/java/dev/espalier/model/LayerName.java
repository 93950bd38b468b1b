package dev.espalier.model;

import dev.espalier.checkpoint.Checkpoint;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;

/// One prunable linear layer of a checkpoint, without loading it.
///
/// @param weight the checkpoint's own name of its weight `[out, in]`
public record LayerName(int block, Projection projection, String weight) {
    /// All linear layers of `checkpoint`, block by block, in the order of [Projection].
    ///
    /// @throws dev.espalier.tensor.InputException if its tensors do not fit its config
    public static List<LayerName> of(Checkpoint checkpoint) {
        ModelConfig config = ModelConfig.of(checkpoint);
        ModelFamily family = ModelFamilies.of(config);
        ModelSpec spec = family.spec(config);
        Weights weights = new Weights(checkpoint, spec, family.names());
        List<LayerName> layers = new ArrayList<>();
        for (int block = 0; block < spec.blocks(); block++) {
            int index = block;
            new EnumMap<>(family.names().projections())
                    .forEach((projection, leaf) ->
                            layers.add(new LayerName(index, projection, weights.name(index, leaf) + ".weight")));
        }
        return layers;
    }
}
