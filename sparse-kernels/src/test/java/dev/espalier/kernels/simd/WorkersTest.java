package dev.espalier.kernels.simd;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicIntegerArray;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class WorkersTest {
    private static final long MOST_NANOS = 20_000_000_000L;

    @ParameterizedTest
    @CsvSource({"1, 0, 1", "1, 7, 2", "2, 1, 16", "2, 33, 16", "2, 4096, 16", "3, 1000, 7", "3, 5, 128", "4, 1, 1"})
    void everyRowIsRunOnceInRangesThatBeginAndEndAtTheGrain(int threads, int rows, int grain) {
        try (Workers workers = new Workers(threads)) {
            for (int round = 0; round < 50; round++) {
                for (boolean shared : new boolean[] {false, true}) {
                    AtomicIntegerArray runs = new AtomicIntegerArray(rows);
                    Workers.Range range = (from, to, thread) -> {
                        assertTrue(from % grain == 0 && (to % grain == 0 || to == rows), from + " to " + to);
                        assertTrue(thread >= 0 && thread < threads);
                        for (int row = from; row < to; row++) {
                            runs.incrementAndGet(row);
                        }
                    };
                    if (shared) {
                        workers.shared(rows, grain, range);
                    } else {
                        workers.rows(rows, grain, range);
                    }
                    for (int row = 0; row < rows; row++) {
                        assertEquals(1, runs.get(row));
                    }
                }
            }
        }
    }

    /// Where one thread is held up the other goes on.
    @ParameterizedTest
    @ValueSource(ints = {2, 3})
    void aHeldUpThreadIsNotWaitedForByMoreThanOneRange(int threads) {
        try (Workers workers = new Workers(threads)) {
            int rows = 1600;
            AtomicIntegerArray ranges = new AtomicIntegerArray(threads);
            AtomicInteger done = new AtomicInteger();
            AtomicInteger held = new AtomicInteger(-1);
            workers.shared(rows, 1, (from, to, thread) -> {
                ranges.incrementAndGet(thread);
                boolean holds = held.compareAndSet(-1, thread);
                long begin = System.nanoTime();
                while (holds && done.get() < rows - (to - from) && System.nanoTime() - begin < MOST_NANOS) {
                    Thread.onSpinWait();
                }
                done.addAndGet(to - from);
            });
            assertEquals(1, ranges.get(held.get()));
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2})
    void whatARangeThrowsReachesTheCallerAndTheTeamGoesOn(int threads) {
        try (Workers workers = new Workers(threads)) {
            assertThrows(
                    IllegalStateException.class,
                    () -> workers.shared(100, 1, (from, to, thread) -> {
                        throw new IllegalStateException("no");
                    }));
            AtomicIntegerArray runs = new AtomicIntegerArray(1);
            workers.shared(100, 1, (from, to, thread) -> runs.addAndGet(0, to - from));
            assertEquals(100, runs.get(0));
        }
    }
}
