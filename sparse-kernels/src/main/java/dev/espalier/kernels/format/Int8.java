package dev.espalier.kernels.format;

import dev.espalier.kernels.simd.Raw;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/// A matrix rounded to 8 bits: symmetric, to nearest, ties to even, with a scale for each group of columns of a row.
///
/// A weight w becomes q = round(w / s), -127 to 127, and stands for q · s. The scale s is the group's largest magnitude
/// over 127, cut to 16 significant bits so that every q · s is a float32 exactly: products, panels and unpacked matrices
/// hold the same weights. No weight moves by more than s / 2. Zeros stay zeros; a small weight may become one.
///
/// @param values `[out, in]`, I8
/// @param scales row by row, one a group
/// @param group columns that share a scale, from column 0 on
record Int8(Tensor values, float[] scales, int group) {
    private static final int LARGEST = 127;
    private static final int KEPT_BITS = 0xffffff00;

    /// `dense` in 8 bits; the values live in `arena`.
    ///
    /// @param group columns that share a scale
    /// @throws IllegalArgumentException if [#refuses] gives a reason
    static Int8 of(Tensor dense, int group, Arena arena) {
        int rows = dense.rows();
        int columns = dense.columns();
        int groups = Math.ceilDiv(columns, group);
        Tensor values = Tensor.of(DType.I8, rows, columns, arena.allocate(Math.max(1, (long) rows * columns), 64));
        float[] scales = new float[rows * groups];
        float[] row = new float[columns];
        byte[] rounded = new byte[columns];
        for (int r = 0; r < rows; r++) {
            read(dense, r, row);
            for (int g = 0; g < groups; g++) {
                int from = g * group;
                int to = Math.min(columns, from + group);
                float scale = scale(row, from, to);
                scales[r * groups + g] = scale;
                double inverse = scale == 0 ? 0 : 1.0 / scale;
                for (int c = from; c < to; c++) {
                    rounded[c] = (byte) Math.rint(row[c] * inverse);
                }
            }
            MemorySegment.copy(rounded, 0, values.segment(), ValueLayout.JAVA_BYTE, (long) r * columns, columns);
        }
        return new Int8(values, scales, group);
    }

    /// Why `dense` cannot be rounded, as a clause, or null: it holds bytes already, or a number that is none.
    static String refuses(Tensor dense) {
        String reason = Weights.refuses(dense);
        if (reason != null) {
            return reason;
        }
        float[] row = new float[dense.columns()];
        for (int r = 0; r < dense.rows(); r++) {
            read(dense, r, row);
            // An infinity or a NaN times zero is a NaN, everything else zero.
            float probe = 0;
            for (float weight : row) {
                probe += weight * 0f;
            }
            if (probe != 0) {
                return "row %d holds a weight that is not finite, which no scale fits".formatted(r);
            }
        }
        return null;
    }

    private static float scale(float[] row, int from, int to) {
        float largest = 0;
        for (int c = from; c < to; c++) {
            largest = Math.max(largest, Math.abs(row[c]));
        }
        if (largest == 0) {
            return 0;
        }
        // Below the smallest normal number there are no 16 bits to keep.
        float scale = Math.max(Float.MIN_NORMAL, largest / LARGEST);
        return Float.intBitsToFloat(Float.floatToRawIntBits(scale) & KEPT_BITS);
    }

    private static void read(Tensor dense, int row, float[] to) {
        MemorySegment from = dense.segment();
        long first = (long) row * to.length;
        switch (dense.dtype()) {
            case F32 -> {
                for (int c = 0; c < to.length; c++) {
                    to[c] = from.get(Raw.FLOAT, 4 * (first + c));
                }
            }
            case BF16 -> {
                for (int c = 0; c < to.length; c++) {
                    to[c] = DType.bf16ToFloat(from.get(Raw.SHORT, 2 * (first + c)));
                }
            }
            default -> {
                for (int c = 0; c < to.length; c++) {
                    to[c] = dense.dtype().get(from, first + c);
                }
            }
        }
    }
}
