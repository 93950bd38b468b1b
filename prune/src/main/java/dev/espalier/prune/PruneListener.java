package dev.espalier.prune;

/// Hears how far a pruner is.
public interface PruneListener {
    /// Hears nothing.
    PruneListener NONE = new PruneListener() {};

    /// How far it is.
    ///
    /// @param block the block at work, from 0
    /// @param blocks how many there are
    /// @param doing what is done there: `capturing`, `pruning Q`, `advancing`
    /// @param fraction of all the work that is done, 0 to 1, as far as can be told
    /// @param secondsLeft estimated from the speed so far; NaN while nothing can be said
    record Progress(int block, int blocks, String doing, double fraction, double secondsLeft) {}

    /// Called often: after every window and every layer.
    default void progress(Progress progress) {}

    /// A layer is done.
    default void layer(LayerReport layer) {}

    /// Whether to stop; asked as often as [#progress] is called.
    default boolean cancelled() {
        return false;
    }
}
