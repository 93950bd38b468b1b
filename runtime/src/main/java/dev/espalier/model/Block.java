package dev.espalier.model;

import dev.espalier.kernels.Backend;
import dev.espalier.kernels.Linear;
import dev.espalier.kernels.LinearGroup;
import dev.espalier.model.ModelSpec.Norms.Placement;
import dev.espalier.model.ModelSpec.Positions;
import dev.espalier.tensor.Tensor;
import java.util.Collections;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;

/// One decoder layer: attention, then an MLP, each added to the residual stream. One block runs every family.
///
/// Immutable while it serves, but for [#swap], which a pruner calls between passes.
public final class Block {
    /// A linear layer, its bias `[1, out]` or null, and the checkpoint's name of its weight.
    record Layer(String weightName, Linear linear, Tensor bias) {}

    /// A norm's weight and bias, `[1, hidden]`, each null where the family has none.
    record NormWeights(Tensor weight, Tensor bias) {}

    private final Backend backend;
    private final ModelSpec spec;
    private final int index;
    private final NormWeights attentionNorm;
    private final NormWeights mlpNorm;
    private final Map<Projection, Layer> layers;

    Block(
            Backend backend,
            ModelSpec spec,
            int index,
            NormWeights attentionNorm,
            NormWeights mlpNorm,
            Map<Projection, Layer> layers) {
        this.backend = backend;
        this.spec = spec;
        this.index = index;
        this.attentionNorm = attentionNorm;
        this.mlpNorm = mlpNorm;
        this.layers = new EnumMap<>(layers);
    }

    /// Runs the block over `hidden` `[tokens, hidden]`, which it changes in place; the tokens stand at positions `past`
    /// and after.
    ///
    /// @param past tokens before these
    /// @param cache holds the tokens before these and takes these; null: there are none before, and nothing is kept
    /// @param workspace of this model, for at least as many tokens
    /// @param tap sees what the linear layers read; null: nobody looks
    public void forward(Tensor hidden, int past, KvCache cache, Workspace workspace, ActivationTap tap) {
        run(hidden, past, cache, null, workspace, tap);
    }

    /// Runs the block over one more token of each of several sequences: row i of `hidden` `[sequences, hidden]`, changed in
    /// place, stands behind what `caches[i]` holds and goes into it. The linear layers read their weights once for all.
    void step(Tensor hidden, KvCache[] caches, Workspace workspace) {
        run(hidden, 0, null, caches, workspace, null);
    }

    private void run(Tensor hidden, int past, KvCache cache, KvCache[] caches, Workspace workspace, ActivationTap tap) {
        int tokens = hidden.rows();
        boolean normBefore = spec.norms().placement() == Placement.BEFORE;

        Tensor x = normBefore ? norm(attentionNorm, hidden, workspace.normed(tokens)) : hidden;
        LinearGroup group = workspace.group();
        Tensor q = add(group, Projection.Q, workspace.q(tokens));
        Tensor k = add(group, Projection.K, workspace.k(tokens));
        Tensor v = add(group, Projection.V, workspace.v(tokens));
        apply(group, Projection.Q, x, tap);
        Tensor attended = workspace.attended(tokens);
        if (caches == null) {
            attend(q, k, v, past, cache, attended, workspace);
        } else {
            attend(q, k, v, caches, attended, workspace);
        }
        backend.add(apply(Projection.O, attended, workspace.branch(tokens), tap), hidden);
        if (!normBefore) {
            norm(attentionNorm, hidden, hidden);
        }

        x = normBefore ? norm(mlpNorm, hidden, workspace.normed(tokens)) : hidden;
        Tensor inner = mlpInner(x, workspace, tap);
        backend.add(apply(Projection.DOWN, inner, workspace.branch(tokens), tap), hidden);
        if (!normBefore) {
            norm(mlpNorm, hidden, hidden);
        }
    }

    /// What the MLP's down projection reads.
    private Tensor mlpInner(Tensor x, Workspace workspace, ActivationTap tap) {
        int tokens = x.rows();
        if (!spec.mlp().gated()) {
            Tensor up = apply(Projection.UP, x, workspace.up(tokens), tap);
            backend.activate(spec.mlp().activation(), up);
            return up;
        }
        LinearGroup group = workspace.group();
        Tensor up = add(group, Projection.UP, workspace.up(tokens));
        Tensor gate = add(group, Projection.GATE, workspace.gate(tokens));
        apply(group, Projection.UP, x, tap);
        backend.gate(spec.mlp().activation(), gate, up);
        return gate;
    }

    /// The tokens of one sequence, behind what `cache` holds.
    private void attend(Tensor q, Tensor k, Tensor v, int past, KvCache cache, Tensor attended, Workspace workspace) {
        if (spec.positions() instanceof Positions.Rotary rotary) {
            rotate(q, k, workspace.angles(rotary, past, q.rows()));
        }
        attend(q, k, v, past, cache, attended);
    }

    /// One token of each of several sequences, each behind what its own cache holds.
    private void attend(Tensor q, Tensor k, Tensor v, KvCache[] caches, Tensor attended, Workspace workspace) {
        if (spec.positions() instanceof Positions.Rotary rotary) {
            rotate(q, k, workspace.angles(rotary, workspace.ends(caches, 0), caches.length));
        }
        for (int i = 0; i < caches.length; i++) {
            int end = i + 1;
            Tensor value = v.slice(i, end);
            attend(q.slice(i, end), k.slice(i, end), value, caches[i].length(), caches[i], attended.slice(i, end));
        }
    }

    private void rotate(Tensor q, Tensor k, Tensor angles) {
        backend.rotate(q, angles);
        backend.rotate(k, angles);
    }

    private void attend(Tensor q, Tensor k, Tensor v, int past, KvCache cache, Tensor attended) {
        if (cache != null) {
            cache.put(index, past, k, v);
            backend.attention(spec.attention().shape(), q, cache.keys(index), cache.values(index), past, attended);
        } else {
            backend.attention(spec.attention().shape(), q, k, v, past, attended);
        }
    }

    /// The number of this block, from 0.
    public int index() {
        return index;
    }

    /// The linear layers that this family has, in the order of the enum.
    public List<Projection> projections() {
        return List.copyOf(layers.keySet());
    }

    /// The weight of one linear layer as it is applied now.
    public Linear linear(Projection projection) {
        return layer(projection).linear;
    }

    /// The checkpoint's own name of a linear layer's weight.
    public String weightName(Projection projection) {
        return layer(projection).weightName;
    }

    /// Puts `replacement` in the place of a linear layer's weight and closes the old one; the block owns the new one.
    /// The two must not be the same.
    ///
    /// @throws IllegalArgumentException if its shape differs
    public void swap(Projection projection, Linear replacement) {
        Layer old = layer(projection);
        if (replacement.rows() != old.linear.rows() || replacement.columns() != old.linear.columns()) {
            throw new IllegalArgumentException("%s is [%d, %d], its replacement [%d, %d]"
                    .formatted(
                            old.weightName,
                            old.linear.rows(),
                            old.linear.columns(),
                            replacement.rows(),
                            replacement.columns()));
        }
        layers.put(projection, new Layer(old.weightName, replacement, old.bias));
        old.linear.close();
    }

    /// The layers, for the model that adds up and closes them.
    Map<Projection, Layer> layers() {
        return Collections.unmodifiableMap(layers);
    }

    private Layer layer(Projection projection) {
        Layer layer = layers.get(projection);
        if (layer == null) {
            throw new IllegalArgumentException("a block of " + spec.family() + " has no projection " + projection);
        }
        return layer;
    }

    private Tensor norm(NormWeights weights, Tensor x, Tensor y) {
        backend.norm(spec.norms().norm(), x, weights.weight, weights.bias, y);
        return y;
    }

    private Tensor apply(Projection projection, Tensor x, Tensor y, ActivationTap tap) {
        see(projection, x, tap);
        Layer layer = layers.get(projection);
        backend.linear(layer.linear, layer.bias, x, y);
        return y;
    }

    private Tensor add(LinearGroup group, Projection projection, Tensor y) {
        Layer layer = layers.get(projection);
        return group.add(layer.linear, layer.bias, y);
    }

    /// Applies layers that read the same, `projection` among them.
    private void apply(LinearGroup group, Projection projection, Tensor x, ActivationTap tap) {
        see(projection, x, tap);
        backend.linear(group, x);
    }

    private static void see(Projection projection, Tensor x, ActivationTap tap) {
        if (tap != null) {
            tap.see(projection.site(), x);
        }
    }
}
