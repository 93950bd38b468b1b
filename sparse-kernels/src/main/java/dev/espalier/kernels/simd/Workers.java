package dev.espalier.kernels.simd;

import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;

/// A fixed team of threads for row-parallel loops; the caller is one of them.
///
/// A loop is cut into `threads` contiguous ranges, one a thread, so what a thread computes does not depend on timing; or
/// into more, which threads take from each other ([#shared]).
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
    private final Shares shares;
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
        this.shares = new Shares(threads);
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

    /// The same, but each thread takes its range in [#SHARES] pieces, and one that is done takes pieces of the others': no
    /// thread waits long for one that the system held up, and each reads one stream for as long as it can. For loops in
    /// which a row's result does not depend on its range, and that need no thread's number.
    public synchronized void shared(int rows, int grain, Range body) {
        int units = (rows + grain - 1) / grain;
        shares.deal(rows, units, grain, body);
        rows(Math.min(threads, units), 1, shares);
        shares.body = null;
    }

    /// What [#shared] hands out; one object for all loops.
    private static final class Shares implements Range {
        /// Counters of two threads lie in different cache lines.
        private static final int APART = 32;

        private final AtomicIntegerArray next;
        private final int[] end;
        private Range body;
        private int step;

        Shares(int threads) {
            next = new AtomicIntegerArray(threads * APART);
            end = new int[threads];
        }

        private void deal(int rows, int units, int grain, Range body) {
            this.body = body;
            int threads = end.length;
            step = Math.max(1, units / (threads * SHARES)) * grain;
            for (int i = 0; i < threads; i++) {
                next.set(i * APART, (int) ((long) units * i / threads) * grain);
                end[i] = Math.min(rows, (int) ((long) units * (i + 1) / threads) * grain);
            }
        }

        @Override
        public void run(int first, int last, int thread) {
            for (int i = 0; i < end.length; i++) {
                int owner = (thread + i) % end.length;
                int stop = end[owner];
                for (int from = next.getAndAdd(owner * APART, step);
                        from < stop;
                        from = next.getAndAdd(owner * APART, step)) {
                    body.run(from, Math.min(stop, from + step), thread);
                }
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
