package dev.espalier.kernels.format;

import dev.espalier.natives.os.Prefetch;

/// How streams of weights are cut into chunks, so that while a kernel computes with one the next is on its way.
///
/// A chunk is a few kilobytes: enough for the memory's latency, little beside the first-level cache, and worth the call of
/// the kernel, which keeps its accumulators in memory between two chunks.
final class Ahead {
    private static final int CHUNK_BYTES = 4096;

    /// A smaller matrix is most likely in the cache, where asking only costs time.
    private static final long SMALL = 256 << 10;

    private Ahead() {}

    /// Whether chunks of a matrix of `bytes` bytes are asked for.
    static boolean of(long bytes) {
        return bytes >= SMALL && Prefetch.available();
    }

    /// How many of `units` a chunk has, if they are `bytes` bytes together and equally large; all of them where nothing is
    /// asked for.
    static int chunk(boolean asked, long units, long bytes) {
        long whole = Math.max(1, units);
        return (int) Math.min(asked ? Math.max(1, whole * CHUNK_BYTES / Math.max(1, bytes)) : whole, Integer.MAX_VALUE);
    }

    /// Asks for a chunk of two streams: the values that begin at `starts[entry]`, at most `chunk` entries of that table, and
    /// `maskBytes` bytes of masks from `masks` on. Nothing if there is no such entry.
    ///
    /// @param end where the last entry's values end
    static void ask(long[] starts, int entry, int chunk, long end, long masks, long maskBytes) {
        if (entry < starts.length) {
            Prefetch.ask(
                    starts[entry],
                    entry + chunk < starts.length ? starts[entry + chunk] : end,
                    masks,
                    masks + maskBytes);
        }
    }
}
