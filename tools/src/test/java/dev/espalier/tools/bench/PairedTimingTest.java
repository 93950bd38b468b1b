package dev.espalier.tools.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Test;

class PairedTimingTest {
    /// Where the bandwidth doubles from turn to turn, each turn is compared with what was read around it.
    @Test
    void readableBytesAreThoseOfTheReadingsJustBeforeAndAfter() {
        List<Double> read = new ArrayList<>();
        List<PairedTiming> timings = PairedTiming.of(
                List.of(() -> LockSupport.parkNanos(20_000_000), () -> LockSupport.parkNanos(20_000_000)),
                2,
                1,
                0.02,
                round -> {},
                () -> {
                    read.add(read.isEmpty() ? 10.0 : 2 * read.getLast());
                    return read.getLast();
                });
        assertEquals(List.of(10.0, 20.0, 40.0), read);
        assertEquals(15e9, timings.get(0).readable() / timings.get(0).seconds(), 1e3);
        assertEquals(30e9, timings.get(1).readable() / timings.get(1).seconds(), 1e3);
        assertEquals(
                7.5e9, timings.get(1).divided(4, 2).readable() / timings.get(1).seconds(), 1e3);
    }

    @Test
    void withoutAMeasuredBandwidthNothingIsReadable() {
        List<PairedTiming> timings = PairedTiming.of(List.of(() -> {}), 3, 0, round -> {});
        assertTrue(Double.isNaN(timings.getFirst().readable()));
    }
}
