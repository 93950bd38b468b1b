package dev.espalier.kernels.cuda;

import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.stream.IntStream;

/// A matrix packed as `bitmask_gemv.cu` draws it: masks of 1024 columns, where their values start, the kept values.
///
/// @param masks u32 `[rows][segments][32]`; word l of a segment, bit b: column 1024 s + 32 b + l is kept
/// @param offsets u32 `[rows * segments + 1]`, in units of 16 bytes
/// @param values 16-bit floats: lane after lane, highest column first, each lane padded to an even number
/// @param slot bytes that the largest segment takes in shared memory, its masks included
record BitmaskLayout(MemorySegment masks, MemorySegment offsets, MemorySegment values, int slot) {
    static final int SEGMENT = 1024;
    static final int LANES = 32;
    private static final int MASK_BYTES = LANES * 4;

    /// Packs `dense`, BF16 or F16, into new memory of `arena`, which is shared.
    static BitmaskLayout pack(Tensor dense, Arena arena) {
        Layouts.requireHalf(dense);
        int rows = dense.rows();
        int segments = Math.ceilDiv(dense.columns(), SEGMENT);
        long total = (long) rows * segments;
        if (total >= Integer.MAX_VALUE) {
            throw new IllegalArgumentException(dense + " is too large for one matrix");
        }
        MemorySegment masks = arena.allocate(Math.max(total * MASK_BYTES, 16), 64);
        MemorySegment offsets = arena.allocate((total + 1) * 4, 64);
        IntStream.range(0, rows).parallel().forEach(row -> {
            short[] bits = Layouts.bits(dense, row);
            for (int s = 0; s < segments; s++) {
                long item = (long) row * segments + s;
                int[] words = words(bits, s);
                MemorySegment.copy(words, 0, masks, Layouts.INT, item * MASK_BYTES, LANES);
                offsets.set(Layouts.INT, (item + 1) * 4, units(words));
            }
        });
        int largest = 0;
        long sum = 0;
        for (long item = 1; item <= total; item++) {
            int units = offsets.get(Layouts.INT, item * 4);
            largest = Math.max(largest, units);
            sum += units;
            offsets.set(Layouts.INT, item * 4, (int) sum);
        }
        if (sum > 0xffff_ffffL) {
            throw new IllegalArgumentException(dense + " is too large for one matrix");
        }
        MemorySegment values = arena.allocate(Math.max(sum * 16, 16), 64);
        IntStream.range(0, rows).parallel().forEach(row -> {
            short[] bits = Layouts.bits(dense, row);
            for (int s = 0; s < segments; s++) {
                long item = (long) row * segments + s;
                long at = Integer.toUnsignedLong(offsets.get(Layouts.INT, item * 4)) * 16;
                for (int lane = 0; lane < LANES; lane++) {
                    int word = masks.get(Layouts.INT, item * MASK_BYTES + lane * 4L);
                    long end = at + pairs(word) * 4L;
                    for (int rest = word; rest != 0; rest ^= Integer.highestOneBit(rest)) {
                        int bit = 31 - Integer.numberOfLeadingZeros(rest);
                        values.set(Layouts.SHORT, at, bits[SEGMENT * s + LANES * bit + lane]);
                        at += 2;
                    }
                    at = end;
                }
            }
        });
        return new BitmaskLayout(masks, offsets, values, MASK_BYTES + 16 * largest);
    }

    private static int[] words(short[] bits, int segment) {
        int[] words = new int[LANES];
        int end = Math.min(bits.length, SEGMENT * (segment + 1));
        for (int column = SEGMENT * segment; column < end; column++) {
            if (Layouts.kept(bits[column])) {
                words[column % LANES] |= 1 << (column % SEGMENT / LANES);
            }
        }
        return words;
    }

    private static int pairs(int word) {
        return (Integer.bitCount(word) + 1) / 2;
    }

    private static int units(int[] words) {
        int pairs = 0;
        for (int word : words) {
            pairs += pairs(word);
        }
        return Math.ceilDiv(pairs, 4);
    }
}
