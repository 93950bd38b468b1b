package dev.espalier.kernels.format;

import dev.espalier.natives.os.Prefetch;

/// How kernels see to it that weights are on their way before they are read.
///
/// Kernels that do much with every byte are given their streams in chunks, so that while they compute with one the next
/// is asked for. A chunk is a few kilobytes: enough for the memory's latency, little beside the first-level cache, and
/// worth the call of the kernel, which keeps its accumulators in memory between two chunks.
///
/// Kernels that do little with every byte leave asking to the processor, which stops at the end of each page of 4 KiB;
/// they load a word of a page to come ([#pageAhead]).
final class Ahead {
    private static final int CHUNK_BYTES = 4096;

    /// A smaller matrix is most likely in the cache, where asking only costs time.
    private static final long SMALL = 256 << 10;

    /// Where [#keep] leaves what nobody reads.
    static long kept;

    private Ahead() {}

    /// Where the page after the next begins, seen from `address`, or `last`, if that comes first. A kernel loads from there at
    /// each of its steps, though once a page should do: with one load a page it was slower than without any.
    static long pageAhead(long address, long last) {
        return Math.min(address + 2 * Prefetch.PAGE & -Prefetch.PAGE, last);
    }

    /// Takes what was loaded only to have it brought: what nobody uses the compiler leaves out.
    static void keep(long loaded) {
        kept = loaded;
    }

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
