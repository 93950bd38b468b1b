// y = W x + bias for a dense W [rows, columns] of 16-bit floats and few tokens: what one decoded token reads is W, once.
//
//   row r of W:  [ chunk 0 | chunk 1 | ... ]   chunk = 8 columns = 16 bytes; rows `stride` columns apart, a multiple of 8,
//                                              zeros between `columns` and `stride`
//
// A warp owns two rows and reads 4 chunks of each at a time, 128 bytes a lane, so that 16 warps keep 64 KB of an SM's
// reads under way. Each chunk of x (float32, from L1) serves both rows. blockIdx.y is the token.

enum { DENSE_UNROLL = 4 };

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

template <bool HALF>
__device__ __forceinline__ void dense_gemv(
        const u16* w, const float* x, const float* bias, float* y, int rows, int columns, int stride) {
    int lane = threadIdx.x % WARP;
    int row = 2 * (blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP);
    if (row >= rows) {
        return;
    }
    int second = min(row + 1, rows - 1);
    const uint4* w0 = (const uint4*) (w + (u64) row * stride);
    const uint4* w1 = (const uint4*) (w + (u64) second * stride);
    x += (u64) blockIdx.y * columns;
    // A token's x starts at 16 bytes where `columns` is a multiple of 4; else every chunk counts as ragged.
    int whole = columns % 4 == 0 ? columns / 8 : 0;
    const float4* x4 = (const float4*) x;
    float sum0 = 0.0f;
    float sum1 = 0.0f;
    for (int from = lane; from < whole; from += DENSE_UNROLL * WARP) {
        uint4 a[DENSE_UNROLL];
        uint4 b[DENSE_UNROLL];
#pragma unroll
        for (int i = 0; i < DENSE_UNROLL; i++) {
            int chunk = from + i * WARP;
            if (chunk < whole) {
                a[i] = load_once(w0 + chunk);
                b[i] = load_once(w1 + chunk);
            }
        }
#pragma unroll
        for (int i = 0; i < DENSE_UNROLL; i++) {
            int chunk = from + i * WARP;
            if (chunk < whole) {
                float4 left = x4[2 * chunk];
                float4 right = x4[2 * chunk + 1];
                sum0 = dot_chunk<HALF>(a[i], left, right, sum0);
                sum1 = dot_chunk<HALF>(b[i], left, right, sum1);
            }
        }
    }
    for (int column = 8 * whole + lane; column < columns; column += WARP) {
        u32 a = w[(u64) row * stride + column];
        u32 b = w[(u64) second * stride + column];
        sum0 = fmaf(low_float<HALF>(a), x[column], sum0);
        sum1 = fmaf(low_float<HALF>(b), x[column], sum1);
    }
    sum0 = warp_sum(sum0);
    sum1 = warp_sum(sum1);
    if (lane == 0) {
        y += (u64) blockIdx.y * rows;
        y[row] = bias ? sum0 + bias[row] : sum0;
        if (row + 1 < rows) {
            y[row + 1] = bias ? sum1 + bias[row + 1] : sum1;
        }
    }
}

KERNEL(128, 6, dense_gemv_bf16)
(const u16* w, const float* x, const float* bias, float* y, int rows, int columns, int stride) {
    dense_gemv<false>(w, x, bias, y, rows, columns, stride);
}

KERNEL(128, 6, dense_gemv_f16)
(const u16* w, const float* x, const float* bias, float* y, int rows, int columns, int stride) {
    dense_gemv<true>(w, x, bias, y, rows, columns, stride);
}
