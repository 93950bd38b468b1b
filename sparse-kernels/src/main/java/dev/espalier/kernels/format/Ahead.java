package dev.espalier.kernels.format;

import dev.espalier.natives.os.Memory;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/// How kernels see to it that weights are on their way before they are read.
///
/// The processor recognizes a stream of lines and brings the next ones by itself, but only up to the end of a page of
/// 4 KiB, whatever the system's pages are: at the start of each page it has to recognize the stream anew, and meanwhile
/// most of the memory's bandwidth may lie idle. So a kernel loads one word of a page to come at each of its steps: the load
/// is the first of that page's stream (docs/design/formats.md, "Reading ahead"). What was loaded it stores in the end where nobody
/// reads it ([Sums#SPARE]), or the compiler would leave it out.
final class Ahead {
    private static final int PAGE = 4096;
    private static final int LINE = 64;
    /// What may be read behind the last weight.
    static final int SLACK = 3 * PAGE;

    private Ahead() {}

    /// Memory for `bytes` bytes of weights, zeros, and what a kernel may read behind them: not to have to ask where they end makes
    /// SWELL a fifth faster in the cache.
    static MemorySegment allocate(long bytes, Arena arena) {
        return Memory.allocate(bytes + SLACK, arena).asSlice(0, bytes);
    }

    /// For kernels that load ahead or not, as [AheadChoice] says: what they load at `address` is at `address + distance &
    /// alignment`, at the start of the page after the next or in the line that they are about to read anyway. With the next page
    /// bitmask and 2:4 were slower than without; with one load a page dense was.
    static long distance(boolean pages) {
        return pages ? 2 * PAGE : 0;
    }

    /// See [#distance].
    static long alignment(boolean pages) {
        return pages ? -PAGE : -LINE;
    }
}
