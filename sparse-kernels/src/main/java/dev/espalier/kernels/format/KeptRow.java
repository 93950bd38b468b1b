package dev.espalier.kernels.format;

import dev.espalier.kernels.simd.Raw;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/// The kept weights of one row of a dense matrix, in order of columns: what packing reads.
///
/// Which weights are kept cannot be predicted, so every one is written down and only the count depends on it.
final class KeptRow {
    private final Tensor dense;
    private final int[] columns;
    private final int[] bits;
    private int count;
    private int end;

    KeptRow(Tensor dense) {
        this.dense = dense;
        this.columns = new int[dense.columns() + 1];
        this.bits = new int[dense.columns() + 1];
        empty();
    }

    /// Takes up row `row`; returns how many weights it keeps.
    int read(int row) {
        return read(row, 0, dense.columns());
    }

    /// The same of columns `first` to `last`; columns are counted from `first` on.
    int read(int row, int first, int last) {
        MemorySegment memory = dense.segment();
        long from = (long) row * dense.columns() + first;
        end = last - first;
        switch (dense.dtype().bytes()) {
            case 4 -> readInts(memory, from * 4);
            case 2 -> readShorts(memory, from * 2);
            default -> readBytes(memory, from);
        }
        columns[count] = end;
        bits[count] = 0;
        return count;
    }

    /// As a row without weights.
    void empty() {
        count = 0;
        columns[0] = Integer.MAX_VALUE;
        bits[0] = 0;
    }

    int count() {
        return count;
    }

    /// The column of kept weight `i`; past the last that was read if `i` is [#count].
    int column(int i) {
        return columns[i];
    }

    /// The bits of kept weight `i`, as [Weights#bits] has them; 0 if `i` is [#count].
    int bits(int i) {
        return bits[i];
    }

    private void readInts(MemorySegment memory, long from) {
        int n = 0;
        for (int c = 0; c < end; c++) {
            int value = memory.get(Raw.INT, from + 4L * c);
            columns[n] = c;
            bits[n] = value;
            n += (value & 0x7fffffff) != 0 ? 1 : 0;
        }
        count = n;
    }

    private void readShorts(MemorySegment memory, long from) {
        int n = 0;
        for (int c = 0; c < end; c++) {
            int value = memory.get(Raw.SHORT, from + 2L * c) & 0xffff;
            columns[n] = c;
            bits[n] = value;
            n += (value & 0x7fff) != 0 ? 1 : 0;
        }
        count = n;
    }

    private void readBytes(MemorySegment memory, long from) {
        int n = 0;
        for (int c = 0; c < end; c++) {
            int value = memory.get(ValueLayout.JAVA_BYTE, from + c);
            columns[n] = c;
            bits[n] = value;
            n += value != 0 ? 1 : 0;
        }
        count = n;
    }
}
