package dev.espalier.kernels.format;

import java.lang.foreign.Arena;

/// Blocks of one size, each cut in two: heads lie in one area, tails in another, so that a thread that takes blocks in order
/// reads two streams at once.
///
/// ```
///   heads | head of block 0 | head of block 1 | ...
///   tails | tail of block 0 | tail of block 1 | ...
/// ```
///
/// The processor recognizes a stream by the instruction that loads and brings its next lines, so many for each stream. A kernel that takes
/// 15 to 30 instructions for a line has few of its own loads under way, and two streams bring it more
/// (docs/design/formats.md, "Two streams").
///
/// @param heads address of the first head
/// @param tails address of the first tail
/// @param headBytes bytes of a head
/// @param tailBytes bytes of a tail; 0 if blocks are whole
record Halved(long heads, long tails, long headBytes, long tailBytes) {
    private static final int LINE = 64;

    /// Zeroed memory for `count` blocks; what a kernel may read behind an area ([Ahead]) follows each.
    static Halved allocate(long count, long headBytes, long tailBytes, Arena arena) {
        long apart = Math.ceilDiv(Math.max(1, count * headBytes), LINE) * LINE + Ahead.SLACK;
        long heads = Ahead.allocate(apart + count * tailBytes, arena).address();
        return new Halved(heads, heads + apart, headBytes, tailBytes);
    }

    long head(long block) {
        return heads + block * headBytes;
    }

    long tail(long block) {
        return tails + block * tailBytes;
    }

    /// Where what lies `offset` bytes behind the start of a block as a whole is.
    long address(long block, long offset) {
        return offset < headBytes ? head(block) + offset : tail(block) + offset - headBytes;
    }
}
