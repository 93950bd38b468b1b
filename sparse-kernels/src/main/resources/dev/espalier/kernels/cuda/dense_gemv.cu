// y = W x + bias for a dense W [rows, columns] of 16-bit floats and few tokens: what one decoded token reads is W, once.
//
//   row r of W:  [ chunk 0 | chunk 1 | ... ]   chunk = 8 columns = 16 bytes; rows `stride` columns apart, a multiple of 8,
//                                              zeros between `columns` and `stride`
//
// A warp has 4 chunks a lane under way, 64 bytes, of one row or of two: 32 warps keep 64 KB of an SM's reads under way. Two rows
// share each chunk of x (float32, from L1); one row is faster unless its blocks leave most of a round empty, which the host
// decides. blockIdx.y is the token.

template <bool HALF>
__device__ __forceinline__ float dot_chunk(uint4 w, float4 a, float4 b, float sum) {
    sum = fmaf(low_float<HALF>(w.x), a.x, sum);
    sum = fmaf(high_float<HALF>(w.x), a.y, sum);
    sum = fmaf(low_float<HALF>(w.y), a.z, sum);
    sum = fmaf(high_float<HALF>(w.y), a.w, sum);
    sum = fmaf(low_float<HALF>(w.z), b.x, sum);
    sum = fmaf(high_float<HALF>(w.z), b.y, sum);
    sum = fmaf(low_float<HALF>(w.w), b.z, sum);
    return fmaf(high_float<HALF>(w.w), b.w, sum);
}

template <bool HALF, int ROWS>
__device__ __forceinline__ void dense_rows(
        const u16* w, const float* x, const float* bias, float* y, int rows, int columns, int stride) {
    const int CHUNKS = 4 / ROWS;
    let_next_begin();
    int lane = threadIdx.x % WARP;
    int row = ROWS * (blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP);
    if (row >= rows) {
        return;
    }
    const u16* own[ROWS];
    float sums[ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        own[r] = w + (u64) min(row + r, rows - 1) * stride;
        sums[r] = 0.0f;
    }
    x += (u64) blockIdx.y * columns;
    // A token's x starts at 16 bytes where `columns` is a multiple of 4; else every chunk counts as ragged.
    int whole = columns % 4 == 0 ? columns / 8 : 0;
    const float4* x4 = (const float4*) x;
    for (int from = lane; from < whole; from += CHUNKS * WARP) {
        uint4 chunks[ROWS][CHUNKS];
#pragma unroll
        for (int i = 0; i < CHUNKS; i++) {
            if (from + i * WARP < whole) {
#pragma unroll
                for (int r = 0; r < ROWS; r++) {
                    chunks[r][i] = load_once((const uint4*) own[r] + from + i * WARP);
                }
            }
        }
        if (from < WARP) {
            wait_for_last(); // once, with the first chunks on their way
        }
#pragma unroll
        for (int i = 0; i < CHUNKS; i++) {
            int chunk = from + i * WARP;
            if (chunk < whole) {
                float4 left = x4[2 * chunk];
                float4 right = x4[2 * chunk + 1];
#pragma unroll
                for (int r = 0; r < ROWS; r++) {
                    sums[r] = dot_chunk<HALF>(chunks[r][i], left, right, sums[r]);
                }
            }
        }
    }
    wait_for_last(); // lanes that had no chunk
    y += (u64) blockIdx.y * rows;
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        for (int column = 8 * whole + lane; column < columns; column += WARP) {
            sums[r] = fmaf(low_float<HALF>(own[r][column]), x[column], sums[r]);
        }
        float sum = warp_sum(sums[r]);
        if (lane == 0 && row + r < rows) {
            y[row + r] = bias ? sum + bias[row + r] : sum;
        }
    }
}

template <bool HALF>
__device__ __forceinline__ void dense_gemv(
        const u16* w, const float* x, const float* bias, float* y, int rows, int columns, int stride, int rows_a_warp) {
    if (rows_a_warp == 1) {
        dense_rows<HALF, 1>(w, x, bias, y, rows, columns, stride);
    } else {
        dense_rows<HALF, 2>(w, x, bias, y, rows, columns, stride);
    }
}

KERNEL(128, 8, dense_gemv_bf16)
(const u16* w, const float* x, const float* bias, float* y, int rows, int columns, int stride, int rows_a_warp) {
    dense_gemv<false>(w, x, bias, y, rows, columns, stride, rows_a_warp);
}

KERNEL(128, 8, dense_gemv_f16)
(const u16* w, const float* x, const float* bias, float* y, int rows, int columns, int stride, int rows_a_warp) {
    dense_gemv<true>(w, x, bias, y, rows, columns, stride, rows_a_warp);
}
