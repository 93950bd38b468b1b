package dev.espalier.kernels.format;

import dev.espalier.kernels.Linear;
import dev.espalier.kernels.WeightFormat;
import dev.espalier.kernels.cpu.CpuLinear;
import dev.espalier.kernels.simd.Raw;
import dev.espalier.natives.os.Memory;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/// Compressed sparse rows, the baseline that everyone knows.
///
/// ```
///   values    | kept of row 0 | kept of row 1 | ...     b bytes each (2 for BF16 and F16, 4 for F32)
///   columns   | u32 each, ascending in a row, in the same order
///   starts    | i64 a row, and one past the last: index of the row's first value
/// ```
///
/// `d · (b + 4)` bytes a weight, where d is the fraction kept: 3 for BF16 at 50 %, more than dense. Every weight fetches its
/// own element of x, which no vector unit does fast, so the kernel is scalar. Here to be compared with; it beats dense from
/// about 95 % on.
public final class Csr implements WeightFormat {
    /// See [CpuLinear#fewTokens].
    private static final int FEW_TOKENS = 4;

    private static final Csr INSTANCE = new Csr();

    private Csr() {}

    public static Csr of() {
        return INSTANCE;
    }

    @Override
    public String name() {
        return "csr";
    }

    @Override
    public String refuses(Tensor dense) {
        return Weights.refuses(dense);
    }

    @Override
    public Linear pack(Tensor dense) {
        String reason = refuses(dense);
        if (reason != null) {
            throw new IllegalArgumentException("csr: " + reason);
        }
        return new Packed(dense);
    }

    /// The packed matrix.
    private static final class Packed implements CpuLinear {
        private final Arena arena = Arena.ofShared();
        private final DType dtype;
        private final int rows;
        private final int columns;
        private final long[] starts;
        private final long values;
        private final long indices;

        Packed(Tensor dense) {
            dtype = dense.dtype();
            rows = dense.rows();
            columns = dense.columns();
            starts = new long[rows + 1];
            for (int row = 0; row < rows; row++) {
                long count = 0;
                for (int column = 0; column < columns; column++) {
                    count += bits(dense, row, column) == 0 ? 0 : 1;
                }
                starts[row + 1] = starts[row] + count;
            }
            values = Memory.allocate(Math.max(1, nonZeros() * dtype.bytes()), arena)
                    .address();
            indices = Memory.allocate(Math.max(1, nonZeros() * 4), arena).address();
            long at = 0;
            for (int row = 0; row < rows; row++) {
                for (int column = 0; column < columns; column++) {
                    int bits = bits(dense, row, column);
                    if (bits != 0) {
                        Weights.store(dtype, values + at * dtype.bytes(), bits);
                        Raw.ALL.set(Raw.INT, indices + at * 4, column);
                        at++;
                    }
                }
            }
        }

        private static int bits(Tensor dense, int row, int column) {
            return Weights.bits(dense.dtype(), dense.segment(), (long) row * dense.columns() + column);
        }

        @Override
        public int rows() {
            return rows;
        }

        @Override
        public int columns() {
            return columns;
        }

        @Override
        public DType dtype() {
            return dtype;
        }

        @Override
        public WeightFormat format() {
            return INSTANCE;
        }

        @Override
        public long bytes() {
            return nonZeros() * (dtype.bytes() + 4) + 8L * starts.length;
        }

        @Override
        public long nonZeros() {
            return starts[rows];
        }

        @Override
        public void unpack(Tensor target) {
            Weights.unpack(this, target);
        }

        @Override
        public Input input() {
            return Input.PLAIN;
        }

        @Override
        public int grain() {
            return 1;
        }

        @Override
        public int fewTokens() {
            return FEW_TOKENS;
        }

        @Override
        public void multiply(MemorySegment x, MemorySegment y, int from, int to) {
            long xs = Raw.address(x, 4L * columns);
            long ys = Raw.address(y, 4L * to);
            for (int row = from; row < to; row++) {
                float sum = switch (dtype) {
                    case F32 -> row32(starts[row], starts[row + 1], xs);
                    case BF16 -> rowBf16(starts[row], starts[row + 1], xs);
                    default -> rowF16(starts[row], starts[row + 1], xs);
                };
                Raw.ALL.set(Raw.FLOAT, ys + 4L * row, sum);
            }
        }

        private float x(long xs, long at) {
            return Raw.ALL.get(Raw.FLOAT, xs + 4L * Raw.ALL.get(Raw.INT, indices + 4 * at));
        }

        private float row32(long from, long to, long xs) {
            float even = 0;
            float odd = 0;
            long i = from;
            for (; i + 1 < to; i += 2) {
                even += Raw.ALL.get(Raw.FLOAT, values + 4 * i) * x(xs, i);
                odd += Raw.ALL.get(Raw.FLOAT, values + 4 * i + 4) * x(xs, i + 1);
            }
            return i < to ? even + odd + Raw.ALL.get(Raw.FLOAT, values + 4 * i) * x(xs, i) : even + odd;
        }

        private float rowBf16(long from, long to, long xs) {
            float even = 0;
            float odd = 0;
            long i = from;
            for (; i + 1 < to; i += 2) {
                int pair = Raw.ALL.get(Raw.INT, values + 2 * i);
                even += Float.intBitsToFloat(pair << 16) * x(xs, i);
                odd += Float.intBitsToFloat(pair & 0xffff0000) * x(xs, i + 1);
            }
            return i < to ? even + odd + Weights.value(DType.BF16, values + 2 * i) * x(xs, i) : even + odd;
        }

        private float rowF16(long from, long to, long xs) {
            float even = 0;
            float odd = 0;
            long i = from;
            for (; i + 1 < to; i += 2) {
                even += Weights.value(DType.F16, values + 2 * i) * x(xs, i);
                odd += Weights.value(DType.F16, values + 2 * i + 2) * x(xs, i + 1);
            }
            return i < to ? even + odd + Weights.value(DType.F16, values + 2 * i) * x(xs, i) : even + odd;
        }

        @Override
        public void expand(int rowFrom, int rowTo, int colFrom, int colTo, MemorySegment panel, int stride) {
            long target = Raw.address(panel, 0);
            for (int row = rowFrom; row < rowTo; row++) {
                long to = target + 4L * (row - rowFrom) * stride;
                Raw.ALL.asSlice(to, 4L * (colTo - colFrom)).fill((byte) 0);
                for (long i = first(row, colFrom); i < starts[row + 1]; i++) {
                    int column = Raw.ALL.get(Raw.INT, indices + 4 * i);
                    if (column >= colTo) {
                        break;
                    }
                    Raw.ALL.set(
                            Raw.FLOAT, to + 4L * (column - colFrom), Weights.value(dtype, values + i * dtype.bytes()));
                }
            }
        }

        /// The index of the row's first weight at `column` or after it.
        private long first(int row, int column) {
            long low = starts[row];
            long high = starts[row + 1];
            while (low < high) {
                long middle = (low + high) >>> 1;
                if (Raw.ALL.get(Raw.INT, indices + 4 * middle) < column) {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            return low;
        }

        @Override
        public void close() {
            if (arena.scope().isAlive()) {
                arena.close();
            }
        }
    }
}
