package dev.espalier.kernels.simd;

import dev.espalier.natives.os.Memory;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/// How kernels see to it that weights are on their way before they are read.
///
/// The processor recognizes a stream of lines and brings the next ones by itself, but only up to the end of a page of
/// 4 KiB, whatever the system's pages are: at the start of each page it has to recognize the stream anew, and meanwhile
/// most of the memory's bandwidth may lie idle. So a kernel loads one word of a page to come at each of its steps: the load
/// is the first of that page's stream. Where two threads share a core such loads hold it up more than they help, so they can
/// be switched off, and [AheadChoice] finds out (docs/design/formats.md, "Reading ahead").
public final class Ahead {
    private static final int PAGE = 4096;
    private static final int LINE = 64;
    /// What may be read behind the last weight.
    private static final int SLACK = 3 * PAGE;

    /// Where [#keep] leaves what nobody reads.
    static long kept;

    private static long distance = 2 * PAGE;
    private static long mask = -PAGE;

    private Ahead() {}

    /// Memory for `bytes` bytes of weights, zeros, and what a kernel may read behind them: not to have to ask where they end makes
    /// SWELL a fifth faster in the cache.
    public static MemorySegment allocate(long bytes, Arena arena) {
        return Memory.allocate(bytes + SLACK, arena).asSlice(0, bytes);
    }

    /// From the next product on: whether kernels load from the pages to come. Not in the middle of one.
    static void pages(boolean on) {
        distance = on ? 2 * PAGE : 0;
        mask = on ? -PAGE : -LINE;
    }

    /// What a kernel at `address` loads: where the page after the next begins, or, switched off, the line that it is about to
    /// read anyway. With the next page bitmask and 2:4 were slower than without; with one load a page dense was.
    public static long pageAhead(long address) {
        return address + distance & mask;
    }

    /// Takes what was loaded only to have it brought: what nobody uses the compiler leaves out.
    public static void keep(long loaded) {
        kept = loaded;
    }
}
