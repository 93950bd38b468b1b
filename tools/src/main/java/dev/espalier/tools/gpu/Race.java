package dev.espalier.tools.gpu;

import dev.espalier.natives.cuda.CudaGraph;
import java.util.ArrayList;
import java.util.List;
import java.util.function.IntConsumer;

/// Ways to compute the same thing, measured in turns: what changes the clock's rate changes it for all of them.
final class Race implements AutoCloseable {
    /// Enough that none of a GPU's caches holds what a turn reads.
    static final long WORKING_SET = 256L << 20;

    private static final int ROUNDS = 9;

    private final GpuRig rig;
    private final List<Runner> runners = new ArrayList<>();

    private record Runner(int launches, CudaGraph graph, double[] seconds) {}

    Race(GpuRig rig) {
        this.rig = rig;
    }

    /// Enters a runner: `work(i)` launches it on the i-th of its copies.
    ///
    /// @param launches how many of them a turn has
    /// @return its number
    int enter(int launches, IntConsumer work) {
        work.accept(0); // Loads what is loaded at first use, which a recording must not.
        rig.stream.synchronize();
        runners.add(new Runner(launches, rig.repeated(launches, work), new double[ROUNDS]));
        return runners.size() - 1;
    }

    /// Copies that a matrix of `bytes` needs so that it comes from memory.
    static int copies(long bytes) {
        return Math.clamp(Math.ceilDiv(WORKING_SET, Math.max(bytes, 1)), 1, 64);
    }

    void run() {
        for (int round = -1; round < ROUNDS; round++) {
            for (Runner runner : runners) {
                double seconds = rig.seconds(() -> runner.graph.launch(rig.stream)) / runner.launches;
                if (round >= 0) {
                    runner.seconds[round] = seconds;
                }
            }
        }
    }

    /// The median of a launch's seconds.
    double seconds(int runner) {
        return GpuRig.median(runners.get(runner).seconds);
    }

    /// How many times faster `runner` is than `other`: the median of the rounds' ratios.
    double ratio(int runner, int other) {
        double[] ratios = new double[ROUNDS];
        for (int i = 0; i < ROUNDS; i++) {
            ratios[i] = runners.get(other).seconds[i] / runners.get(runner).seconds[i];
        }
        return GpuRig.median(ratios);
    }

    @Override
    public void close() {
        runners.forEach(runner -> runner.graph.close());
    }
}
