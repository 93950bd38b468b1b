package dev.espalier.natives.cuda;

import static dev.espalier.natives.cuda.generated.cudart.CudaRt.*;

/// The element types that matrices on the device have here.
public enum CudaType {
    F32(CUDA_R_32F(), 4),
    F64(CUDA_R_64F(), 8),
    F16(CUDA_R_16F(), 2),
    BF16(CUDA_R_16BF(), 2);

    private final int code;
    private final int bytes;

    CudaType(int code, int bytes) {
        this.code = code;
        this.bytes = bytes;
    }

    /// `cudaDataType_t` of library_types.h.
    int code() {
        return code;
    }

    /// Bytes of one element.
    public int bytes() {
        return bytes;
    }

    /// Throws if a range has no room for so many elements, and gives its address otherwise.
    java.lang.foreign.MemorySegment address(DeviceMemory memory, long rows, long columns) {
        long need = Math.multiplyExact(Math.multiplyExact(rows, columns), bytes);
        if (rows < 1 || columns < 1 || memory.bytes() < need) {
            throw new IllegalArgumentException(
                    memory + ": too small for " + rows + " x " + columns + " elements of " + this);
        }
        return memory.address();
    }
}
