package dev.espalier.kernels.format;

import java.util.SplittableRandom;

/// Finds out, while a thread's products run, whether loads from the pages to come pay ([Ahead]): what they bring depends on
/// the processor, on whether another thread shares its core, and, in a virtual machine, on the minute.
///
/// Both ways are timed, by bytes a nanosecond, over about the last 256 products of each. The slower one is still taken for one
/// product in 32, drawn at random so that it is not always the same layer's. What is computed is the same either way.
final class AheadChoice {
    /// Products of fewer bytes tell of other things.
    static final long LEAST_BYTES = 1 << 18;

    /// A product that takes longer for a byte did not wait for memory: it was interpreted, or its thread had to stand back.
    private static final long MOST_NANOS_PER_BYTE = 1;

    private static final int MEMORY = 256;
    private static final int TRIALS = 32;
    private final SplittableRandom random = new SplittableRandom(1);
    private final double[] bytes = new double[2];
    private final double[] nanos = new double[2];
    private int seen;
    private boolean on;

    /// Of the product that runs.
    private boolean way;

    private long size;
    private long start;

    /// Nothing is known yet: the two ways take turns, and products too small to tell do not load ahead, which cost the sparse
    /// formats of SmolLM2-135M up to 9 % of their tokens a second.
    AheadChoice() {}

    /// What each thread knows of the kernels of one format.
    static ThreadLocal<AheadChoice> perThread() {
        return ThreadLocal.withInitial(AheadChoice::new);
    }

    /// Before a product that reads `bytes` bytes of weights: whether it shall load from the pages to come.
    boolean begin(long bytes) {
        size = bytes;
        way = on;
        if (size >= LEAST_BYTES) {
            way = seen < MEMORY ? (seen & 1) == 0 : on ^ random.nextInt(TRIALS) == 0;
            seen = Math.min(MEMORY, seen + 1);
            start = System.nanoTime();
        }
        return way;
    }

    /// After the product.
    void end() {
        if (size >= LEAST_BYTES) {
            took(way, size, System.nanoTime() - start);
        }
    }

    /// Whether loads from the pages to come are the faster way, as far as is known.
    boolean on() {
        return on;
    }

    void took(boolean ahead, long read, long time) {
        if (time > MOST_NANOS_PER_BYTE * read) {
            return;
        }
        int i = ahead ? 1 : 0;
        double kept = 1 - 1.0 / MEMORY;
        bytes[i] = bytes[i] * kept + read;
        nanos[i] = nanos[i] * kept + time;
        // bytes[1] / nanos[1] >= bytes[0] / nanos[0], also while one of them is not known.
        on = bytes[1] * nanos[0] >= bytes[0] * nanos[1];
    }
}
