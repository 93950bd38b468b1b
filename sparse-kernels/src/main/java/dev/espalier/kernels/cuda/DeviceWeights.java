package dev.espalier.kernels.cuda;

import dev.espalier.natives.cuda.DeviceMemory;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;

/// A weight matrix `[out, in]` of 16-bit floats in a device's memory, in one of the layouts that the GEMV kernels read.
public sealed interface DeviceWeights extends AutoCloseable {
    /// BF16 or F16.
    DType dtype();

    /// Output features.
    int rows();

    /// Input features.
    int columns();

    /// Bytes that one GEMV reads of it.
    long bytes();

    @Override
    void close();

    /// All weights, row by row; rows start at multiples of 16 bytes. The layout is drawn in `dense_gemv.cu`.
    ///
    /// @param stride elements from one row to the next, a multiple of 8
    record Dense(DType dtype, int rows, int columns, int stride, DeviceMemory values) implements DeviceWeights {
        /// Uploads `dense`, BF16 or F16; rows are padded with zeros where they must be.
        public static Dense upload(Tensor dense, String what) {
            Layouts.requireHalf(dense);
            int stride = Layouts.roundUp(dense.columns(), 8);
            try (Arena arena = Arena.ofConfined()) {
                MemorySegment rows = dense.segment();
                if (stride != dense.columns() || !rows.isNative()) {
                    rows = arena.allocate((long) dense.rows() * stride * 2, 64);
                    for (int row = 0; row < dense.rows(); row++) {
                        MemorySegment.copy(
                                dense.segment(),
                                (long) row * dense.columns() * 2,
                                rows,
                                (long) row * stride * 2,
                                dense.columns() * 2L);
                    }
                }
                return new Dense(dense.dtype(), dense.rows(), dense.columns(), stride, DeviceMemory.copyOf(rows, what));
            }
        }

        @Override
        public long bytes() {
            return values.bytes();
        }

        @Override
        public void close() {
            values.close();
        }
    }

    /// The kept weights, and for each of them how many columns were left out before it. The layout is drawn in `delta_gemv.cu`.
    record Delta(DType dtype, int rows, int columns, DeviceMemory starts, DeviceMemory values, DeviceMemory deltas)
            implements DeviceWeights {
        /// Packs `dense`, BF16 or F16, and uploads it.
        public static Delta upload(Tensor dense, String what) {
            try (Arena arena = Arena.ofShared()) {
                DeltaLayout packed = DeltaLayout.pack(dense, arena);
                List<DeviceMemory> memory =
                        DeviceMemory.copiesOf(what, packed.starts(), packed.values(), packed.deltas());
                return new Delta(
                        dense.dtype(), dense.rows(), dense.columns(), memory.get(0), memory.get(1), memory.get(2));
            }
        }

        @Override
        public long bytes() {
            return starts.bytes() + values.bytes() + deltas.bytes();
        }

        @Override
        public void close() {
            starts.close();
            values.close();
            deltas.close();
        }
    }

    /// Two of each four columns. The layout is drawn in `two_four_gemv.cu`.
    record TwoFour(DType dtype, int rows, int columns, DeviceMemory values, DeviceMemory places)
            implements DeviceWeights {
        /// Packs `dense`, BF16 or F16, and uploads it.
        ///
        /// @throws IllegalArgumentException if some four columns keep more than two
        public static TwoFour upload(Tensor dense, String what) {
            try (Arena arena = Arena.ofShared()) {
                TwoFourLayout packed = TwoFourLayout.pack(dense, arena);
                List<DeviceMemory> memory = DeviceMemory.copiesOf(what, packed.values(), packed.places());
                return new TwoFour(dense.dtype(), dense.rows(), dense.columns(), memory.get(0), memory.get(1));
            }
        }

        @Override
        public long bytes() {
            return values.bytes() + places.bytes();
        }

        @Override
        public void close() {
            values.close();
            places.close();
        }
    }
}
