package dev.espalier.tools.gpu;

import dev.espalier.natives.cuda.CuSparse;
import dev.espalier.natives.cuda.CudaType;
import dev.espalier.natives.cuda.DeviceMemory;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;

/// A BF16 matrix in compressed rows on the device, as cuSPARSE takes it: 32-bit starts and columns.
record CsrWeights(CuSparse.Csr matrix, DeviceMemory starts, DeviceMemory columns, DeviceMemory values)
        implements AutoCloseable {
    static CsrWeights upload(Tensor dense) {
        if (dense.dtype() != DType.BF16) {
            throw new IllegalArgumentException("BF16 is needed, not " + dense);
        }
        int width = dense.columns();
        try (Arena arena = Arena.ofShared()) {
            int[] starts = new int[dense.rows() + 1];
            short[] row = new short[width];
            for (int r = 0; r < dense.rows(); r++) {
                read(dense, r, row);
                int kept = 0;
                for (short bits : row) {
                    kept += (bits & 0x7fff) != 0 ? 1 : 0;
                }
                starts[r + 1] = starts[r] + kept;
            }
            int nonZeros = starts[dense.rows()];
            MemorySegment columns = arena.allocate(4L * nonZeros, 64);
            MemorySegment values = arena.allocate(2L * nonZeros, 64);
            long at = 0;
            for (int r = 0; r < dense.rows(); r++) {
                read(dense, r, row);
                for (int c = 0; c < width; c++) {
                    if ((row[c] & 0x7fff) != 0) {
                        columns.setAtIndex(ValueLayout.JAVA_INT, at, c);
                        values.setAtIndex(ValueLayout.JAVA_SHORT, at, row[c]);
                        at++;
                    }
                }
            }
            List<DeviceMemory> memory = DeviceMemory.copiesOf(
                    "a matrix in CSR", arena.allocateFrom(ValueLayout.JAVA_INT, starts), columns, values);
            try {
                CuSparse.Csr matrix = new CuSparse.Csr(
                        dense.rows(), width, nonZeros, memory.get(0), memory.get(1), memory.get(2), CudaType.BF16);
                return new CsrWeights(matrix, memory.get(0), memory.get(1), memory.get(2));
            } catch (RuntimeException e) {
                memory.forEach(DeviceMemory::close);
                throw e;
            }
        }
    }

    private static void read(Tensor dense, int row, short[] to) {
        MemorySegment.copy(dense.segment(), ValueLayout.JAVA_SHORT_UNALIGNED, 2L * row * to.length, to, 0, to.length);
    }

    /// Bytes that one product reads of it.
    long bytes() {
        return starts.bytes() + columns.bytes() + values.bytes();
    }

    @Override
    public void close() {
        matrix.close();
        starts.close();
        columns.close();
        values.close();
    }
}
