package dev.espalier.model;

import dev.espalier.kernels.Backend;
import dev.espalier.kernels.Linear;
import dev.espalier.kernels.WeightFormat;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.EnumMap;
import java.util.Map;

/// Some tokens through a block of a model's make that is as small as it can be, so that the operations of a pass are
/// compiled before one is waited for.
///
/// Small, because a just-in-time compiler counts calls: a long loop that is interpreted is compiled in the middle, and once
/// more when it is called again.
final class Rehearsal {
    private static final int TOKENS = 24;
    private static final int WIDTH = 64;

    private final Backend backend;
    private final ModelSpec spec;
    private final Arena arena;

    private Rehearsal(Backend backend, ModelSpec spec, Arena arena) {
        this.backend = backend;
        this.spec = spec;
        this.arena = arena;
    }

    /// @param model what a block of the model is
    /// @param projections the linear layers that it has
    /// @param weights the type of their weights
    /// @param format how these lie in memory
    static void run(
            Backend backend, ModelSpec model, Iterable<Projection> projections, DType weights, WeightFormat format) {
        ModelSpec spec = tiny(model);
        try (Arena arena = Arena.ofShared();
                KvCache cache = new KvCache(backend, 1, spec.attention().keyWidth(), TOKENS, TOKENS);
                Workspace workspace = new Workspace(backend, spec, 1)) {
            Map<Projection, Block.Layer> layers = new EnumMap<>(Projection.class);
            try {
                Rehearsal rehearsal = new Rehearsal(backend, spec, arena);
                for (Projection projection : projections) {
                    layers.put(projection, rehearsal.layer(projection, weights, format));
                }
                Block.NormWeights norm = rehearsal.norm();
                Block block = new Block(backend, spec, 0, norm, norm, layers);
                for (int past = 0; past < TOKENS; past++) {
                    block.forward(workspace.hidden(1), past, cache, workspace, null);
                }
            } finally {
                layers.values().forEach(layer -> layer.linear().close());
            }
        }
    }

    private static ModelSpec tiny(ModelSpec model) {
        Backend.Attention shape = model.attention().shape();
        return new ModelSpec(
                model.family(),
                new ModelSpec.Sizes(1, WIDTH, 1, TOKENS),
                new ModelSpec.Embedding(WIDTH, model.embedding().scale()),
                model.positions(),
                model.norms(),
                new ModelSpec.Attention(
                        new Backend.Attention(2, 1, shape.headDim(), shape.scale(), shape.softcap(), shape.window()),
                        model.attention().inputBias(),
                        model.attention().outputBias()),
                new ModelSpec.Mlp(
                        WIDTH,
                        model.mlp().activation(),
                        model.mlp().gated(),
                        model.mlp().bias()),
                model.head());
    }

    private Block.Layer layer(Projection projection, DType weights, WeightFormat format) {
        int query = spec.attention().queryWidth();
        int key = spec.attention().keyWidth();
        int inner = spec.mlp().width();
        int hidden = spec.hidden();
        return switch (projection) {
            case Q -> layer(query, hidden, weights, format, spec.attention().inputBias());
            case K, V -> layer(key, hidden, weights, format, spec.attention().inputBias());
            case O -> layer(hidden, query, weights, format, spec.attention().outputBias());
            case GATE, UP -> layer(inner, hidden, weights, format, spec.mlp().bias());
            case DOWN -> layer(hidden, inner, weights, format, spec.mlp().bias());
        };
    }

    private Block.Layer layer(int out, int in, DType weights, WeightFormat format, boolean bias) {
        Linear linear = backend.linear(Tensor.allocate(arena, weights, out, in), format);
        return new Block.Layer("", linear, bias ? Tensor.allocate(arena, DType.F32, 1, out) : null);
    }

    private Block.NormWeights norm() {
        Tensor zeros = Tensor.allocate(arena, DType.F32, 1, spec.hidden());
        return new Block.NormWeights(
                spec.norms().weight() ? zeros : null, spec.norms().bias() ? zeros : null);
    }
}
