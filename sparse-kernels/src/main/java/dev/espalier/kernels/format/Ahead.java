package dev.espalier.kernels.format;

/// How kernels see to it that weights are on their way before they are read.
///
/// The processor recognizes a stream of lines and brings the next ones by itself, but only up to the end of a page of
/// 4 KiB, whatever the system's pages are: at the start of each page it has to recognize the stream anew, and meanwhile
/// most of the memory's bandwidth lies idle. So a kernel loads one word of a page to come at each of its steps: the load
/// is the first of that page's stream (docs/design/formats.md, "Reading ahead").
final class Ahead {
    private static final int PAGE = 4096;

    /// Where [#keep] leaves what nobody reads.
    static long kept;

    private Ahead() {}

    /// Where the page after the next begins, seen from `address`, or `last`, if that comes first. With the next page
    /// bitmask and 2:4 were slower than without; with one load a page dense was.
    ///
    /// @param last the last address at which a word can be loaded
    static long pageAhead(long address, long last) {
        return Math.min(address + 2 * PAGE & -PAGE, last);
    }

    /// Takes what was loaded only to have it brought: what nobody uses the compiler leaves out.
    static void keep(long loaded) {
        kept = loaded;
    }
}
