package dev.espalier.kernels.cuda;

import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.stream.IntStream;

/// A matrix packed as `delta_gemv.cu` draws it: the kept values in order, and how many columns are left out before each.
///
/// @param starts u32 `[rows + 1]`: the unit of 8 entries at which a row begins
/// @param values 16-bit floats `[units][8]`
/// @param deltas u32 `[units]`, 4 bits an entry
record DeltaLayout(MemorySegment starts, MemorySegment values, MemorySegment deltas) {
    /// Entries of a unit.
    static final int UNIT = 8;

    /// Columns that an entry can leave out.
    private static final int LONGEST = 15;

    /// Packs `dense`, BF16 or F16, into new memory of `arena`, which is shared.
    static DeltaLayout pack(Tensor dense, Arena arena) {
        Layouts.requireHalf(dense);
        int rows = dense.rows();
        MemorySegment starts = arena.allocate((rows + 1L) * 4, 64);
        IntStream.range(0, rows).parallel().forEach(row -> starts.set(Layouts.INT, (row + 1L) * 4, units(dense, row)));
        long total = 0;
        for (int row = 1; row <= rows; row++) {
            total += starts.get(Layouts.INT, row * 4L);
            if (total > Integer.MAX_VALUE) {
                throw new IllegalArgumentException(dense + " is too large for one matrix");
            }
            starts.set(Layouts.INT, row * 4L, (int) total);
        }
        MemorySegment values = arena.allocate(Math.max(total * UNIT * 2, 16), 64);
        MemorySegment deltas = arena.allocate(Math.max(total * 4, 16), 64);
        IntStream.range(0, rows).parallel().forEach(row -> {
            long at = (long) UNIT * starts.get(Layouts.INT, row * 4L);
            short[] bits = Layouts.bits(dense, row);
            int next = 0;
            for (int column = 0; column < bits.length; column++) {
                if (Layouts.kept(bits[column])) {
                    for (; column - next > LONGEST; next += LONGEST + 1) {
                        leaveOut(deltas, at++, LONGEST); // its value is a zero
                    }
                    leaveOut(deltas, at, column - next);
                    values.set(Layouts.SHORT, 2 * at++, bits[column]);
                    next = column + 1;
                }
            }
        });
        return new DeltaLayout(starts, values, deltas);
    }

    /// Says how many columns are left out before an entry.
    private static void leaveOut(MemorySegment deltas, long entry, int columns) {
        long word = entry / UNIT * 4;
        int shift = (int) (entry % UNIT) * 4;
        deltas.set(Layouts.INT, word, deltas.get(Layouts.INT, word) | columns << shift);
    }

    /// Units that a row takes, one at least.
    private static int units(Tensor dense, int row) {
        short[] bits = Layouts.bits(dense, row);
        int entries = 0;
        int next = 0;
        for (int column = 0; column < bits.length; column++) {
            if (Layouts.kept(bits[column])) {
                entries += 1 + (column - next) / (LONGEST + 1);
                next = column + 1;
            }
        }
        return Math.max(1, Math.ceilDiv(entries, UNIT));
    }
}
