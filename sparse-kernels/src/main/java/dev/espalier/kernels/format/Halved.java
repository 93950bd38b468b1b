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

    /// Zeroed memory for `count` blocks of vectors of `vectorBytes` bytes; the greater half of a block's vectors is its head.
    static Halved allocate(long count, long blockBytes, long vectorBytes, Arena arena) {
        long tailBytes = blockBytes / vectorBytes / 2 * vectorBytes;
        return areas(count, blockBytes - tailBytes, tailBytes, arena);
    }

    /// Zeroed memory for `count` blocks without tails, for kernels that read a block's vectors with one instruction: a second stream
    /// of the same instruction would not be recognized.
    static Halved whole(long count, long blockBytes, Arena arena) {
        return areas(count, blockBytes, 0, arena);
    }

    /// What a kernel may read behind an area ([Ahead]) follows each.
    private static Halved areas(long count, long headBytes, long tailBytes, Arena arena) {
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
