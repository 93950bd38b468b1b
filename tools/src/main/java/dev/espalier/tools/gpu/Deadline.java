package dev.espalier.tools.gpu;

import java.util.function.LongSupplier;

/// The end of some time.
final class Deadline {
    /// What a row says that was left out.
    static final String NO_TIME = "no time left";

    private final LongSupplier clock;
    private final long end;

    private Deadline(LongSupplier clock, long end) {
        this.clock = clock;
        this.end = end;
    }

    /// @param clock nanoseconds since some moment
    static Deadline in(LongSupplier clock, double seconds) {
        return new Deadline(clock, clock.getAsLong() + (long) (seconds * 1e9));
    }

    /// This one, or an earlier one in so many seconds.
    Deadline within(double seconds) {
        return new Deadline(clock, Math.min(end, clock.getAsLong() + (long) (seconds * 1e9)));
    }

    boolean passed() {
        return clock.getAsLong() >= end;
    }

    /// 0 once it has passed.
    double secondsLeft() {
        return Math.max(0, end - clock.getAsLong()) / 1e9;
    }
}
