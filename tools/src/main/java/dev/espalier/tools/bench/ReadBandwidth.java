package dev.espalier.tools.bench;

import dev.espalier.kernels.simd.Workers;
import dev.espalier.natives.os.Memory;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/// How fast this machine reads memory that is in no cache: the ceiling of decode speed, for every token reads all weights.
public final class ReadBandwidth implements AutoCloseable {
    /// Far more than any cache holds.
    private static final long BYTES = 1L << 29;

    private static final int CHUNK = 1 << 16;
    private final Arena arena = Arena.ofShared();
    private final MemorySegment memory;
    private final int chunks;
    private long sink;

    public ReadBandwidth() {
        this(BYTES);
    }

    /// @param bytes the size of the memory that is read
    ReadBandwidth(long bytes) {
        memory = Memory.allocate(bytes, arena);
        chunks = Math.toIntExact(bytes / CHUNK);
        // Pages that were never written are all the same page of zeros, and that is in the cache.
        memory.fill((byte) 1);
    }

    /// Reads the memory once with the threads of `workers`; GB/s, decimal.
    public double measure(Workers workers) {
        long[] sums = new long[workers.threads() * 8];
        long start = System.nanoTime();
        workers.rows(chunks, 1, (from, to, thread) -> {
            long sum = 0;
            for (int chunk = from; chunk < to; chunk++) {
                sum += read(memory.asSlice((long) chunk * CHUNK, CHUNK));
            }
            sums[thread * 8] = sum;
        });
        double seconds = (System.nanoTime() - start) / 1e9;
        for (long sum : sums) {
            sink += sum;
        }
        return (double) chunks * CHUNK / seconds / 1e9;
    }

    /// Eight sums at once, so that no load waits for an addition.
    private static long read(MemorySegment chunk) {
        long a = 0;
        long b = 0;
        long c = 0;
        long d = 0;
        long e = 0;
        long f = 0;
        long g = 0;
        long h = 0;
        for (int i = 0; i < CHUNK; i += 64) {
            a += chunk.get(ValueLayout.JAVA_LONG, i);
            b += chunk.get(ValueLayout.JAVA_LONG, i + 8);
            c += chunk.get(ValueLayout.JAVA_LONG, i + 16);
            d += chunk.get(ValueLayout.JAVA_LONG, i + 24);
            e += chunk.get(ValueLayout.JAVA_LONG, i + 32);
            f += chunk.get(ValueLayout.JAVA_LONG, i + 40);
            g += chunk.get(ValueLayout.JAVA_LONG, i + 48);
            h += chunk.get(ValueLayout.JAVA_LONG, i + 56);
        }
        return a + b + c + d + e + f + g + h;
    }

    /// The sum of everything read, so that no compiler leaves the reading out.
    public long sink() {
        return sink;
    }

    @Override
    public void close() {
        arena.close();
    }
}
