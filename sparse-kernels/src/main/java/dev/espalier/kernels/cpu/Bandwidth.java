package dev.espalier.kernels.cpu;

import dev.espalier.kernels.simd.Raw;
import dev.espalier.kernels.simd.Workers;
import dev.espalier.natives.os.Memory;
import java.lang.foreign.Arena;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.LongUnaryOperator;

/// How fast this machine reads memory that lies in no cache: the ceiling of decode speed, since every token reads all
/// weights.
public final class Bandwidth implements AutoCloseable {
    /// More than the caches of most machines hold, and than what several threads share.
    private static final long BYTES = 1L << 28;

    /// What a thread reads before it comes for more.
    private static final int CHUNK = 1 << 18;

    private static final int LINE = 64;
    private static final int PAGE = 4096;
    private static final int PASSES = 5;

    /// How long passes over little memory are repeated.
    private static final long NANOS = 20_000_000;

    private final Arena arena = Arena.ofShared();
    private final long address;
    private final int chunks;
    private final LongAdder sink = new LongAdder();

    /// Memory on huge pages, written once so that it is really there.
    public Bandwidth() {
        this(BYTES);
    }

    private Bandwidth(long bytes) {
        long room = Math.min(bytes, Memory.available().orElse(Long.MAX_VALUE) / 4);
        chunks = Math.toIntExact(Math.max(1, Math.min(BYTES, room) / CHUNK));
        address = Memory.allocate((long) chunks * CHUNK, arena).fill((byte) 1).address();
    }

    /// Reads the memory twice with all threads of `workers`: as one stream a thread, then as four, which is the faster way on
    /// some machines. GB/s of the faster one, decimal.
    public double measure(Workers workers) {
        return Math.max(measure(workers, Bandwidth::stream), measure(workers, Bandwidth::streams));
    }

    private double measure(Workers workers, LongUnaryOperator read) {
        long start = System.nanoTime();
        workers.shared(chunks, 1, (from, to, thread) -> {
            long sum = 0;
            for (int chunk = from; chunk < to; chunk++) {
                sum += read.applyAsLong(address + (long) chunk * CHUNK);
            }
            sink.add(sum);
        });
        return (double) chunks * CHUNK / (System.nanoTime() - start);
    }

    /// The fastest of some passes with all threads of `workers`; GB/s, decimal.
    public static double read(Workers workers) {
        return read(workers, BYTES);
    }

    /// The same where only `bytes` bytes are read, again and again: faster than memory if they fit a cache. One stream a
    /// thread alone, as kernels read: for predicting them, where [#measure] is for the ceiling above them.
    public static double read(Workers workers, long bytes) {
        try (Bandwidth bandwidth = new Bandwidth(bytes)) {
            double best = 0;
            long start = System.nanoTime();
            for (int pass = 0; pass < PASSES || System.nanoTime() - start < NANOS; pass++) {
                best = Math.max(best, bandwidth.measure(workers, Bandwidth::stream));
            }
            return best;
        }
    }

    /// The fastest of some passes with `threads` threads; GB/s, decimal.
    public static double read(int threads) {
        try (Workers workers = new Workers(threads)) {
            return read(workers);
        }
    }

    /// The fastest of some passes with one thread; GB/s, decimal.
    public static double readOneThread() {
        return read(1);
    }

    /// Every eighth word is enough: memory comes in lines of 64 bytes. Four sums, so that no load waits for an addition. At
    /// each page of 4 KiB the next is begun, as kernels do it: the processor's own prefetching stops at the end of each.
    private static long stream(long chunk) {
        long a = 0;
        long b = 0;
        long c = 0;
        long d = 0;
        long ahead = 0;
        long last = chunk + CHUNK - Long.BYTES;
        for (long page = chunk; page != chunk + CHUNK; page += PAGE) {
            ahead += Raw.ALL.get(Raw.LONG, Math.min(page + PAGE, last));
            for (long p = page; p != page + PAGE; p += 4 * LINE) {
                a += Raw.ALL.get(Raw.LONG, p);
                b += Raw.ALL.get(Raw.LONG, p + LINE);
                c += Raw.ALL.get(Raw.LONG, p + 2 * LINE);
                d += Raw.ALL.get(Raw.LONG, p + 3 * LINE);
            }
        }
        return a + b + c + d + ahead;
    }

    /// The same as four streams, a quarter of the chunk apart.
    private static long streams(long chunk) {
        long a = 0;
        long b = 0;
        long c = 0;
        long d = 0;
        for (long p = chunk; p != chunk + CHUNK / 4; p += LINE) {
            a += Raw.ALL.get(Raw.LONG, p);
            b += Raw.ALL.get(Raw.LONG, p + CHUNK / 4);
            c += Raw.ALL.get(Raw.LONG, p + CHUNK / 2);
            d += Raw.ALL.get(Raw.LONG, p + CHUNK / 4 * 3);
        }
        return a + b + c + d;
    }

    @Override
    public void close() {
        arena.close();
    }
}
