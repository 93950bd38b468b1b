package dev.espalier.model;

import dev.espalier.kernels.Backend;
import dev.espalier.kernels.Backend.Activation;
import dev.espalier.kernels.Backend.Norm;
import dev.espalier.model.ModelSpec.Norms.Placement;
import dev.espalier.model.ModelSpec.Positions;
import java.util.List;
import java.util.Map;

/// OPT. Against LLaMA: learned positions (row position + 2), layer norms, biases, every head its own keys, a plain MLP
/// with ReLU; the 350M shape norms after each branch and has a narrower embedding between two matrices.
///
/// Keys that may be missing, as in published files: `word_embed_proj_dim` (the hidden size), `do_layer_norm_before`
/// (true), `_remove_final_layer_norm` (false), `activation_function` (relu), `enable_bias`,
/// `layer_norm_elementwise_affine`, `tie_word_embeddings` (true). The norms' epsilon, 1e-5, is in no config.
public final class Opt implements ModelFamily {
    private static final float EPSILON = 1e-5f;
    private static final int POSITION_OFFSET = 2;

    /// Stateless; [ModelFamilies] has the one that is used.
    Opt() {}

    @Override
    public String modelType() {
        return "opt";
    }

    @Override
    public ModelSpec spec(ModelConfig config) {
        int hidden = config.count("hidden_size", ModelConfig.LARGEST);
        int heads = config.count("num_attention_heads", hidden);
        if (hidden % heads != 0) {
            throw config.bad("num_attention_heads", "it must divide hidden_size, " + hidden);
        }
        int headDim = hidden / heads;
        boolean bias = config.flag("enable_bias", true);
        boolean before = config.flag("do_layer_norm_before", true);
        boolean affine = config.flag("layer_norm_elementwise_affine", true);
        return new ModelSpec(
                modelType(),
                new ModelSpec.Sizes(
                        config.count("vocab_size", ModelConfig.LARGEST),
                        hidden,
                        config.count("num_hidden_layers", 10_000),
                        config.count("max_position_embeddings", ModelConfig.LARGEST)),
                new ModelSpec.Embedding(config.count("word_embed_proj_dim", ModelConfig.LARGEST, hidden), 1),
                new Positions.Learned(POSITION_OFFSET),
                new ModelSpec.Norms(
                        new Norm(Norm.Kind.LAYER, EPSILON, 0),
                        before ? Placement.BEFORE : Placement.AFTER,
                        affine,
                        affine,
                        before && !config.flag("_remove_final_layer_norm", false)),
                new ModelSpec.Attention(
                        new Backend.Attention(heads, heads, headDim, (float) (1 / Math.sqrt(headDim)), 0, 0),
                        bias,
                        bias),
                new ModelSpec.Mlp(
                        config.count("ffn_dim", ModelConfig.LARGEST),
                        config.activation("activation_function", Activation.RELU),
                        false,
                        bias),
                new ModelSpec.Head(config.flag("tie_word_embeddings", true), 0));
    }

    @Override
    public TensorNames names() {
        return new TensorNames(
                List.of("model.decoder.", "decoder."),
                "embed_tokens",
                "embed_positions",
                "project_in",
                "project_out",
                "layers.",
                "self_attn_layer_norm",
                "final_layer_norm",
                "final_layer_norm",
                Map.of(
                        Projection.Q, "self_attn.q_proj",
                        Projection.K, "self_attn.k_proj",
                        Projection.V, "self_attn.v_proj",
                        Projection.O, "self_attn.out_proj",
                        Projection.UP, "fc1",
                        Projection.DOWN, "fc2"));
    }
}
