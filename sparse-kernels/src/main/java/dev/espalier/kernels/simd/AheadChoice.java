package dev.espalier.kernels.simd;

import java.util.SplittableRandom;

/// Finds out while products of one kernel run whether [Ahead] pays: what it brings depends on the processor, on what else
/// shares its cores, and, in a virtual machine, on the minute.
///
/// Both ways are timed, by bytes a nanosecond, over about the last 256 products of each. The slower one is still taken for one
/// product in 32, drawn at random so that it is not always the same layer's. What is computed is the same either way.
public final class AheadChoice {
    /// Products of fewer bytes tell of other things.
    static final long LEAST_BYTES = 1 << 20;

    private static final int MEMORY = 256;
    private static final int TRIALS = 32;

    private final SplittableRandom random = new SplittableRandom(1);
    private final double[] bytes = new double[2];
    private final double[] nanos = new double[2];
    private int seen;
    private boolean on = true;

    /// Of the product that runs.
    private boolean way;

    private long size;
    private long start;

    /// Nothing is known yet: the two ways take turns.
    public AheadChoice() {}

    /// Before a product that reads `bytes` bytes of weights: chooses the way.
    public void begin(long bytes) {
        size = bytes;
        way = on;
        if (size >= LEAST_BYTES) {
            way = seen < MEMORY ? (seen & 1) == 0 : on ^ random.nextInt(TRIALS) == 0;
            seen = Math.min(MEMORY, seen + 1);
        }
        Ahead.pages(way);
        start = System.nanoTime();
    }

    /// After the product.
    public void end() {
        if (size >= LEAST_BYTES) {
            took(way, size, System.nanoTime() - start);
        }
    }

    /// Whether loads from the pages to come are the faster way, as far as is known.
    boolean on() {
        return on;
    }

    void took(boolean ahead, long read, long time) {
        int i = ahead ? 1 : 0;
        double kept = 1 - 1.0 / MEMORY;
        bytes[i] = bytes[i] * kept + read;
        nanos[i] = nanos[i] * kept + time;
        // bytes[1] / nanos[1] >= bytes[0] / nanos[0], also while one of them is not known.
        on = bytes[1] * nanos[0] >= bytes[0] * nanos[1];
    }
}
