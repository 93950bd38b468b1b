// Whole rows by number: the embedding, and appending to a key-value cache. One block a token.

template <int TYPE>
__device__ __forceinline__ void gather(
        const void* table, const int* rows, float* y, int columns, float scale, int accumulate) {
    u64 from = (u64) rows[blockIdx.x] * columns;
    float* to = y + (u64) blockIdx.x * columns;
    for (int i = threadIdx.x; i < columns; i += blockDim.x) {
        float value;
        if (TYPE == 0) {
            value = ((const float*) table)[from + i];
        } else {
            value = low_float<TYPE == 2>(((const u16*) table)[from + i]);
        }
        value *= scale;
        to[i] = accumulate ? to[i] + value : value;
    }
}

// y[t] = scale * table[rows[t]], or added to y[t]; table [entries, columns].
KERNEL(1024, 1, gather_f32)
(const void* table, const int* rows, float* y, int columns, float scale, int accumulate) {
    gather<0>(table, rows, y, columns, scale, accumulate);
}

KERNEL(1024, 1, gather_bf16)
(const void* table, const int* rows, float* y, int columns, float scale, int accumulate) {
    gather<1>(table, rows, y, columns, scale, accumulate);
}

KERNEL(1024, 1, gather_f16)
(const void* table, const int* rows, float* y, int columns, float scale, int accumulate) {
    gather<2>(table, rows, y, columns, scale, accumulate);
}

// target[rows[t]] = source[t]; where each goes is read on the device, so that a captured step can append.
KERNEL(1024, 1, scatter_rows)
(const float* source, float* target, const int* rows, int columns) {
    const float* from = source + (u64) blockIdx.x * columns;
    float* to = target + (u64) rows[blockIdx.x] * columns;
    for (int i = threadIdx.x; i < columns; i += blockDim.x) {
        to[i] = from[i];
    }
}
