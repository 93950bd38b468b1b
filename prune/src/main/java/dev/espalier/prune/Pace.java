package dev.espalier.prune;

import dev.espalier.kernels.Linear;
import dev.espalier.model.Block;
import dev.espalier.model.Model;
import dev.espalier.model.Projection;
import dev.espalier.prune.calibrate.BlockWalk;
import java.util.concurrent.CancellationException;

/// Tells a listener how far the pruner is and how long it will take, from how long windows and layers took so far.
final class Pace {
    private final PruneListener listener;
    private final int blocks;
    private final int windows;
    private final double weights;
    private int block;
    private int passes;
    private double weightsDone;
    private int passesTimed;
    private double weightsTimed;
    private double passSeconds;
    private double layerSeconds;
    private long last = System.nanoTime();

    /// @param walk null if there is none
    Pace(Model model, BlockWalk walk, PruneListener listener) {
        this.listener = listener;
        this.blocks = model.spec().blocks();
        this.windows = walk == null ? 0 : walk.windows();
        double sum = 0;
        for (Block b : model.blocks()) {
            for (Projection projection : b.projections()) {
                Linear linear = b.linear(projection);
                sum += (double) linear.rows() * linear.columns();
            }
        }
        this.weights = sum;
    }

    void block(int index) {
        block = index;
        passes = index * 2 * windows;
        weightsDone = weights * index / blocks;
        lap();
        tell("starting");
    }

    void windowDone(String doing) {
        passes++;
        passesTimed++;
        passSeconds += lap();
        tell(doing);
    }

    void layerDone(Projection projection, LayerReport report) {
        weightsDone += (double) report.rows() * report.cols();
        weightsTimed += (double) report.rows() * report.cols();
        layerSeconds += lap();
        tell("pruned " + projection);
    }

    private double lap() {
        long now = System.nanoTime();
        double seconds = (now - last) / 1e9;
        last = now;
        return seconds;
    }

    private void tell(String doing) {
        if (listener.cancelled()) {
            throw new CancellationException("pruning was stopped in block " + block);
        }
        int allPasses = Math.max(0, 2 * blocks - 1) * windows;
        double passesLeft = (double) (allPasses - passes) / Math.max(1, passesTimed) * passSeconds;
        double layersLeft = (weights - weightsDone) / Math.max(1, weightsTimed) * layerSeconds;
        double left = weightsTimed > 0 ? Math.max(0, passesLeft) + layersLeft : Double.NaN;
        double fraction = allPasses == 0 ? weightsDone / weights : (double) passes / allPasses;
        listener.progress(new PruneListener.Progress(block, blocks, doing, Math.clamp(fraction, 0, 1), left));
    }
}
