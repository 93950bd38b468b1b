// y = W x + bias for an unstructured sparse W [rows, columns]: one bit a weight, and the kept 16-bit floats.
//
// A row is cut into segments of 1024 columns, S = ceil(columns / 1024); lane l of a warp owns the columns 32 b + l:
//
//   masks    u32 [rows][S][32]   word l of a segment, bit b = column 1024 s + 32 b + l is kept
//   offsets  u32 [rows * S + 1]  where a segment's values start, in units of 16 bytes
//   values   16-bit floats       segment: | lane 0: highest column first ... (0) | lane 1 ... | ... | lane 31 | pad to 16 bytes
//                                a lane's values are padded by one zero to an even number, so that a lane reads pairs
//
//   2 density + 0.125 bytes a weight, and about 0.03 for the padding
//
// Why so: lane l finds x of its columns in bank l of shared memory whatever the bits are, so no two lanes ever wait for
// each other there; a lane walks over its set bits only (one find-leading-one each), so that time falls with the density;
// and the offset of a segment does not hang on the masks before it, so that copies run ahead.
//
// One block an SM holds x in shared memory. A warp owns consecutive rows; its segments run through a ring of STAGES
// buffers of `slot` bytes (128 of masks, then the values), filled by asynchronous 16-byte copies. Sums of a row are
// made by one warp in a fixed order. Shared memory: 4096 S + warps * STAGES * slot bytes. blockIdx.y is the token.

enum { BITMASK_SEGMENT = 1024, BITMASK_STAGES = 4 };

template <bool HALF>
__device__ __forceinline__ void bitmask_gemv(
        const u32* masks, const u32* offsets, const uint4* values, const float* x, const float* bias, float* y,
        int rows, int columns, int slot) {
    DYNAMIC_SHARED(shared);
    int lane = threadIdx.x % WARP;
    int warp = threadIdx.x / WARP;
    int segments = (columns + BITMASK_SEGMENT - 1) / BITMASK_SEGMENT;
    float* xs = (float*) shared;
    unsigned char* ring = shared + (u64) segments * BITMASK_SEGMENT * sizeof(float) + (u64) warp * BITMASK_STAGES * slot;

    // Neighbouring rows on different SMs: a matrix of few rows still uses all of them.
    u64 warps = (u64) gridDim.x * (blockDim.x / WARP);
    u64 place = (u64) warp * gridDim.x + blockIdx.x;
    int row = (int) (place * rows / warps);
    u32 item = (u32) row * segments;
    u32 end = (u32) ((place + 1) * rows / warps) * segments;

    // Lane i holds the start of segment `known + i`; a segment's end is the next one's start.
    u32 known = item;
    u32 start = offsets[min(known + lane, end)];
    u32 next = item;
    int fill = 0;
    auto copy_next = [&]() {
        if (next < end) {
            if (next - known >= WARP - 1) {
                known = next;
                start = offsets[min(known + lane, end)];
            }
            u32 from = __shfl_sync(ALL_LANES, start, next - known);
            u32 to = __shfl_sync(ALL_LANES, start, next - known + 1);
            unsigned char* stage = ring + fill * slot;
            if (lane < 8) {
                copy_async(stage + 16 * lane, (const uint4*) masks + (u64) next * 8 + lane);
            }
            for (u32 i = from + lane; i < to; i += WARP) {
                copy_async(stage + 128 + 16 * (i - from), values + i);
            }
            next++;
            fill = (fill + 1) % BITMASK_STAGES;
        }
        copy_commit();
    };
    for (int i = 0; i < BITMASK_STAGES - 1; i++) {
        copy_next();
    }

    x += (u64) blockIdx.y * columns;
    for (int i = threadIdx.x; i < segments * BITMASK_SEGMENT; i += blockDim.x) {
        xs[i] = i < columns ? x[i] : 0.0f;
    }
    __syncthreads();

    y += (u64) blockIdx.y * rows;
    float sum0 = 0.0f;
    float sum1 = 0.0f;
    int segment = 0;
    int drain = 0;
    for (; item < end; item++) {
        copy_wait<BITMASK_STAGES - 2>();
        __syncwarp();
        copy_next(); // into the buffer that every lane has left
        const unsigned char* stage = ring + drain * slot;
        drain = (drain + 1) % BITMASK_STAGES;

        u32 mask = ((const u32*) stage)[lane];
        u32 pairs = (__popc(mask) + 1) / 2;
        u32 before = pairs;
        for (int distance = 1; distance < WARP; distance *= 2) {
            u32 other = __shfl_up_sync(ALL_LANES, before, distance);
            before += lane >= distance ? other : 0;
        }
        const u32* pair = (const u32*) (stage + 128) + (before - pairs);
        const float* own = xs + segment * BITMASK_SEGMENT + lane;
        while (mask) {
            u32 word = *pair++;
            int first = 31 - __clz(mask);
            mask ^= 1u << first;
            // Without a second bit this is column 0 of the lane and the padding, a zero.
            int second = 31 - __clz(mask | 1u);
            mask &= ~(1u << second);
            sum0 = fmaf(low_float<HALF>(word), own[WARP * first], sum0);
            sum1 = fmaf(high_float<HALF>(word), own[WARP * second], sum1);
        }
        if (++segment == segments) {
            float sum = warp_sum(sum0 + sum1);
            if (lane == 0) {
                y[row] = bias ? sum + bias[row] : sum;
            }
            segment = 0;
            row++;
            sum0 = 0.0f;
            sum1 = 0.0f;
        }
    }
    copy_wait<0>();
}

KERNEL(1024, 1, bitmask_gemv_bf16)
(const u32* masks, const u32* offsets, const uint4* values, const float* x, const float* bias, float* y, int rows,
        int columns, int slot) {
    bitmask_gemv<false>(masks, offsets, values, x, bias, y, rows, columns, slot);
}

KERNEL(1024, 1, bitmask_gemv_f16)
(const u32* masks, const u32* offsets, const uint4* values, const float* x, const float* bias, float* y, int rows,
        int columns, int slot) {
    bitmask_gemv<true>(masks, offsets, values, x, bias, y, rows, columns, slot);
}
