package dev.espalier.kernels.cuda;

import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.stream.IntStream;

/// A matrix packed as `two_four_gemv.cu` draws it: two values of each four columns, and where they stand.
///
/// @param values 16-bit floats `[rows][chunks][4][2]`, a chunk being 16 columns
/// @param places u32 `[rows][blocks][32]`, a block being 64 chunks: low half for chunk l, high half for chunk 32 + l
record TwoFourLayout(MemorySegment values, MemorySegment places) {
    private static final int CHUNK = 16;
    private static final int BLOCK = 64;

    /// Packs `dense`, BF16 or F16, into new memory of `arena`, which is shared.
    ///
    /// @throws IllegalArgumentException if some four columns keep more than two
    static TwoFourLayout pack(Tensor dense, Arena arena) {
        Layouts.requireHalf(dense);
        int chunks = Math.ceilDiv(dense.columns(), CHUNK);
        int blocks = Math.ceilDiv(chunks, BLOCK);
        MemorySegment values = arena.allocate(Math.max(16L * dense.rows() * chunks, 16), 64);
        MemorySegment places = arena.allocate(Math.max(128L * dense.rows() * blocks, 16), 64);
        IntStream.range(0, dense.rows()).parallel().forEach(row -> {
            short[] bits = Layouts.bits(dense, row);
            for (int group = 0; group < chunks * 4; group++) {
                int chunk = group / 4;
                int found = places(bits, row, group);
                long at = 16L * ((long) row * chunks + chunk) + 4L * (group % 4);
                for (int i = 0; i < 2; i++) {
                    int column = 4 * group + (found >> (2 * i) & 3);
                    values.set(Layouts.SHORT, at + 2L * i, column < bits.length ? bits[column] : 0);
                }
                int half = chunk % BLOCK / 32;
                long word = 4 * (((long) row * blocks + chunk / BLOCK) * 32 + chunk % 32);
                int shift = 16 * half + 4 * (group % 4);
                places.set(Layouts.INT, word, places.get(Layouts.INT, word) | found << shift);
            }
        });
        return new TwoFourLayout(values, places);
    }

    /// The places of a group's two values, lower first, two bits each.
    private static int places(short[] bits, int row, int group) {
        int kept = 0;
        for (int p = 0; p < 4; p++) {
            int column = 4 * group + p;
            if (column < bits.length && Layouts.kept(bits[column])) {
                kept |= 1 << p;
            }
        }
        if (Integer.bitCount(kept) > 2) {
            throw new IllegalArgumentException("row %d keeps %d of columns %d to %d"
                    .formatted(row, Integer.bitCount(kept), 4 * group, 4 * group + 3));
        }
        for (int p = 0; Integer.bitCount(kept) < 2; p++) {
            kept |= 1 << p;
        }
        int first = Integer.numberOfTrailingZeros(kept);
        int second = 31 - Integer.numberOfLeadingZeros(kept);
        return first | second << 2;
    }
}
