package dev.espalier.tools.gpu;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.espalier.natives.cuda.CudaException;
import dev.espalier.natives.cuda.CudaGraph;
import dev.espalier.natives.cuda.CudaLibrary;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.function.IntConsumer;
import java.util.function.Supplier;

/// Ways to compute the same thing, measured in turns: what changes the clock's rate changes it for all of them.
///
/// A turn is a graph of some launches, since the host's own time for a launch is longer than a kernel's. However slow the ways
/// are, a race ends within a minute: its first turns say how many there can be.
final class Race implements AutoCloseable {
    private static final int ROUNDS = 9;

    /// What the turns after the first ones may take together, at most one turn, and at most one launch.
    private static final double RACE_SECONDS = 20;

    private static final double TURN_SECONDS = 0.5;
    private static final double LAUNCH_SECONDS = 0.5;

    private final GpuRig rig;
    private final Deadline deadline;
    private final List<Way> ways = new ArrayList<>();
    private final List<AutoCloseable> owned = new ArrayList<>();

    /// What a way launches in one turn.
    ///
    /// @param count at most so many
    /// @param bytes of weights that one of them reads
    /// @param work puts the i-th into the stream
    record Launches(int count, long bytes, IntConsumer work) {}

    /// One way, and what came of it.
    static final class Way {
        private final String format;
        private final double sparsity;
        private final List<Double> seconds = new ArrayList<>();
        private int launches;
        private long bytes;
        private CudaGraph turn;
        private String skipped;
        private String failed;

        private Way(String format, double sparsity) {
            this.format = format;
            this.sparsity = sparsity;
        }

        boolean measured() {
            return !seconds.isEmpty() && failed == null;
        }

        /// Bytes of weights that one launch reads.
        long bytes() {
            return bytes;
        }

        /// The median of a launch's seconds.
        double seconds() {
            return GpuRig.median(seconds.stream().mapToDouble(s -> s).toArray());
        }

        /// How many times faster this is than `other`: the median of the rounds' ratios.
        double ratioTo(Way other) {
            int rounds = Math.min(seconds.size(), other.seconds.size());
            double[] ratios = new double[rounds];
            for (int i = 0; i < rounds; i++) {
                ratios[i] = other.seconds.get(i) / seconds.get(i);
            }
            return GpuRig.median(ratios);
        }

        /// Puts what the way is, and why it was not measured if it was not, behind what `row` has.
        ObjectNode describe(ObjectNode row) {
            row.put("format", format).put("sparsity", sparsity);
            if (failed != null) {
                row.put(GpuPart.FAILED, failed);
            } else if (skipped != null) {
                row.put(GpuPart.SKIPPED, skipped);
            } else if (seconds.size() < ROUNDS) {
                row.put("rounds", seconds.size());
            }
            return row;
        }
    }

    Race(GpuRig rig, Deadline deadline) {
        this.rig = rig;
        this.deadline = deadline;
    }

    /// Closes `object` when the race is closed, after what came to it later.
    <T extends AutoCloseable> T own(T object) {
        owned.add(object);
        return object;
    }

    /// Enters a way that needs a library; where it is absent, the way says so.
    Way enter(CudaLibrary library, String format, double sparsity, Supplier<Launches> setUp) {
        Optional<String> absent = rig.absent(library);
        return absent.isEmpty() ? enter(format, sparsity, setUp) : skip(format, sparsity, absent.get());
    }

    /// Notes a way that cannot be gone.
    Way skip(String format, double sparsity, String why) {
        Way way = new Way(format, sparsity);
        way.skipped = why;
        ways.add(way);
        return way;
    }

    /// Enters a way. If it fails, it says so, and the others go on.
    Way enter(String format, double sparsity, Supplier<Launches> setUp) {
        if (deadline.passed()) {
            return skip(format, sparsity, Deadline.NO_TIME);
        }
        Way way = new Way(format, sparsity);
        ways.add(way);
        guarded(way, () -> {
            Launches launches = setUp.get();
            launches.work.accept(0); // Loads what is loaded at first use, which a recording must not.
            rig.stream.synchronize();
            double once = rig.seconds(() -> launches.work.accept(0));
            if (once > LAUNCH_SECONDS) {
                way.skipped = String.format(Locale.ROOT, "one launch takes %.1f s, too long to be measured", once);
                return;
            }
            way.launches = Math.clamp((long) (TURN_SECONDS / once), 1, launches.count);
            way.bytes = launches.bytes;
            way.turn = own(CudaGraph.capture(rig.stream, () -> {
                for (int i = 0; i < way.launches; i++) {
                    launches.work.accept(i);
                }
            }));
        });
        return way;
    }

    private static void guarded(Way way, Runnable work) {
        try {
            work.run();
        } catch (CudaException | IllegalArgumentException | IllegalStateException e) {
            way.failed = e.getMessage();
        }
    }

    /// Measures all that entered.
    void run() {
        double round = 0;
        for (Way way : ways) {
            round += turn(way); // The first one is not counted.
            way.seconds.clear();
        }
        int rounds = Math.clamp((long) (RACE_SECONDS / (2 * round)), 1, ROUNDS);
        for (int i = 0; i < rounds && (i == 0 || !deadline.passed()); i++) {
            ways.forEach(this::turn);
        }
    }

    /// Seconds that one turn takes; 0 if the way has none. One more goes before it: while the device is busy with that, the host
    /// puts the next into the stream, so that its own time for it is not measured.
    private double turn(Way way) {
        double[] seconds = {0};
        if (way.turn != null && way.failed == null) {
            guarded(way, () -> {
                way.turn.launch(rig.stream);
                seconds[0] = rig.seconds(() -> way.turn.launch(rig.stream));
                way.seconds.add(seconds[0] / way.launches);
            });
        }
        return seconds[0];
    }

    /// All that entered, in this order.
    List<Way> ways() {
        return List.copyOf(ways);
    }

    @Override
    public void close() {
        RuntimeException first = null;
        for (AutoCloseable object : owned.reversed()) {
            try {
                object.close();
            } catch (RuntimeException e) {
                first = first == null ? e : first;
            } catch (Exception e) {
                throw new AssertionError(e); // None of ours throws a checked one.
            }
        }
        if (first != null) {
            throw first;
        }
    }
}
