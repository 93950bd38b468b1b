package dev.espalier.tools.serve;

import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicInteger;

/// How many requests are generated at once, how many may wait for that, and what has been done so far.
final class Slots {
    private static final int WAITING_PER_SLOT = 16;

    private final int size;
    private final Semaphore free;
    private final AtomicInteger waiting = new AtomicInteger();

    Slots(int size) {
        this.size = size;
        this.free = new Semaphore(size, true);
    }

    /// Waits for a slot, first come first served; close the result to give it back.
    ///
    /// @throws ApiException 429 when too many wait already
    Slot take() throws InterruptedException {
        if (waiting.incrementAndGet() > size * WAITING_PER_SLOT) {
            waiting.decrementAndGet();
            throw ApiException.busy("%d requests wait already; try again later.".formatted(size * WAITING_PER_SLOT));
        }
        try {
            free.acquire();
        } finally {
            waiting.decrementAndGet();
        }
        return free::release;
    }

    int running() {
        return size - free.availablePermits();
    }

    int waiting() {
        return waiting.get();
    }

    /// A place among the running requests.
    interface Slot extends AutoCloseable {
        @Override
        void close();
    }
}
