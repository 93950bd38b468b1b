package dev.espalier.model;

/// The linear layers of a block: what a pruner prunes.
///
/// OPT's `fc1` and `fc2` are UP and DOWN; a family without a gated MLP has no GATE.
public enum Projection {
    /// Queries, `[heads * headDim, hidden]`.
    Q(Site.ATTENTION_INPUT),
    /// Keys, `[kvHeads * headDim, hidden]`.
    K(Site.ATTENTION_INPUT),
    /// Values, `[kvHeads * headDim, hidden]`.
    V(Site.ATTENTION_INPUT),
    /// The attention's output, `[hidden, heads * headDim]`.
    O(Site.ATTENTION_OUTPUT),
    /// The branch of a gated MLP that goes through the activation, `[width, hidden]`.
    GATE(Site.MLP_INPUT),
    /// Into the MLP, `[width, hidden]`.
    UP(Site.MLP_INPUT),
    /// Out of the MLP, `[hidden, width]`.
    DOWN(Site.MLP_OUTPUT);

    private final Site site;

    Projection(Site site) {
        this.site = site;
    }

    /// Where this layer reads its input.
    public Site site() {
        return site;
    }
}
