package dev.espalier.kernels.simd;

import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;

/// A fixed team of threads for row-parallel loops; the caller is one of them.
///
/// A loop is cut into `threads` contiguous ranges, one a thread, so what a thread computes does not depend on timing; or
/// into more, which threads come for ([#shared]).
/// Reductions across ranges are the caller's and must have a fixed order of their own. Workers spin briefly between
/// loops and then park. One loop runs at a time.
public final class Workers implements AutoCloseable {
    /// The body of a loop: rows `from` (inclusive) to `to` (exclusive), run by thread `thread`.
    @FunctionalInterface
    public interface Range {
        void run(int from, int to, int thread);
    }

    private static final int SPINS = 2_000;

    /// More are fairer, fewer leave a thread a longer stream to read.
    private static final int SHARES = 8;

    private final int threads;
    private final Thread[] team;
    private final int[] from;
    private final int[] to;
    private final AtomicInteger pending = new AtomicInteger();
    private final AtomicInteger round = new AtomicInteger();
    private final AtomicReference<Throwable> failure = new AtomicReference<>();
    private final Shares shares = new Shares();
    private volatile Range body;
    private volatile Thread caller;
    private volatile boolean closed;

    /// A team of `threads` threads, the caller's included.
    public Workers(int threads) {
        if (threads < 1) {
            throw new IllegalArgumentException("threads must be at least 1, not " + threads);
        }
        this.threads = threads;
        this.from = new int[threads];
        this.to = new int[threads];
        this.team = new Thread[threads - 1];
        for (int i = 0; i < team.length; i++) {
            int thread = i + 1;
            team[i] = Thread.ofPlatform()
                    .daemon()
                    .name("espalier-worker-" + thread)
                    .unstarted(() -> serve(thread));
            team[i].start();
        }
    }

    public int threads() {
        return threads;
    }

    /// Runs `body` over rows 0 to `rows`, in ranges whose borders are multiples of `grain`.
    public synchronized void rows(int rows, int grain, Range body) {
        int units = (rows + grain - 1) / grain;
        if (units <= 1 || threads == 1) {
            if (rows > 0) {
                body.run(0, rows, 0);
            }
            return;
        }
        for (int i = 0; i < threads; i++) {
            from[i] = Math.min(rows, (int) ((long) units * i / threads) * grain);
            to[i] = Math.min(rows, (int) ((long) units * (i + 1) / threads) * grain);
        }
        caller = Thread.currentThread();
        this.body = body;
        pending.set(team.length);
        round.incrementAndGet();
        for (Thread thread : team) {
            LockSupport.unpark(thread);
        }
        try {
            if (to[0] > from[0]) {
                body.run(from[0], to[0], 0);
            }
        } catch (Throwable t) {
            failure.compareAndSet(null, t);
        }
        for (int spins = 0; pending.get() != 0; spins++) {
            if (spins < SPINS) {
                Thread.onSpinWait();
            } else {
                LockSupport.park(this);
            }
        }
        Throwable thrown = failure.getAndSet(null);
        if (thrown instanceof Error error) {
            throw error;
        }
        if (thrown != null) {
            throw (RuntimeException) thrown;
        }
    }

    /// The same, but a thread that is done takes the next of [#SHARES] times as many ranges as there are threads: no thread waits
    /// long for one that the system held up. For loops in which a row's result does not depend on its range, and that need
    /// no thread's number.
    public synchronized void shared(int rows, int grain, Range body) {
        int units = (rows + grain - 1) / grain;
        shares.body = body;
        shares.rows = rows;
        shares.step = Math.max(1, units / (threads * SHARES)) * grain;
        shares.next.set(0);
        rows(Math.min(threads, units), 1, shares);
        shares.body = null;
    }

    /// What [#shared] hands out; one object for all loops.
    private static final class Shares implements Range {
        private final AtomicInteger next = new AtomicInteger();
        private Range body;
        private int rows;
        private int step;

        @Override
        public void run(int first, int last, int thread) {
            for (int from = next.getAndAdd(step); from < rows; from = next.getAndAdd(step)) {
                body.run(from, Math.min(rows, from + step), thread);
            }
        }
    }

    private void serve(int thread) {
        int seen = 0;
        while (true) {
            for (int spins = 0; round.get() == seen && !closed; spins++) {
                if (spins < SPINS) {
                    Thread.onSpinWait();
                } else {
                    LockSupport.park(this);
                }
            }
            if (closed) {
                return;
            }
            seen = round.get();
            try {
                if (to[thread] > from[thread]) {
                    body.run(from[thread], to[thread], thread);
                }
            } catch (Throwable t) {
                failure.compareAndSet(null, t);
            }
            if (pending.decrementAndGet() == 0) {
                LockSupport.unpark(caller);
            }
        }
    }

    /// Ends the threads.
    @Override
    public void close() {
        closed = true;
        for (Thread thread : team) {
            LockSupport.unpark(thread);
        }
    }
}
