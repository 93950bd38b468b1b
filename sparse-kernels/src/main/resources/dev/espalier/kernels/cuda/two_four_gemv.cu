// y = W x + bias for a W [rows, columns] that keeps at most 2 of each 4 consecutive columns: 2:4 at decode speed.
//
// A chunk is 16 columns = 4 groups = 8 values = 16 bytes; chunks = ceil(columns / 16), B = ceil(chunks / 64) blocks a row:
//
//   values  16-bit floats [rows][chunks][4][2]   group g of a chunk: its two kept values, lower column first
//   places  u32 [rows][B][32]                    word l: low half for chunk l of the block, high half for chunk 32 + l
//                                                half: bits 4g, 4g+1 = place (0-3) of group g's first value,
//                                                      bits 4g+2, 4g+3 = of its second
//   a group that keeps fewer has zeros at places of its own that it does not keep; past `columns` values are zero
//
//   1.125 bytes a weight
//
// Lane l of a warp takes chunks l and 32 + l of a block. x lies in shared memory so that whatever the places are, lane l
// finds x of group g in bank (l + 8 g) % 32: column 512 t + 16 l + 4 g + p at 512 t + 32 (4 g + p) + (l + 8 g) % 32;
// staging it, a thread moves a group of four, and eight chunks of four groups fill all banks once.
// One block an SM; a warp owns consecutive rows, and reads two blocks of 1024 columns ahead of the two that it adds up.
// Shared memory: 2048 ceil(columns / 512) bytes. blockIdx.y is the token.

enum { PLACES_BLOCK = 64 };

struct Batch {
    uint4 values[4];
    u32 places[2];
};

template <bool HALF>
__device__ __forceinline__ float dot_group(u32 values, u32 places, const float* xs, float sum) {
    sum = fmaf(low_float<HALF>(values), xs[WARP * (places & 3)], sum);
    return fmaf(high_float<HALF>(values), xs[WARP * (places >> 2 & 3)], sum);
}

template <bool HALF>
__device__ __forceinline__ float dot_places(uint4 values, u32 places, const float* xs, int lane, float sum) {
    sum = dot_group<HALF>(values.x, places, xs + lane, sum);
    sum = dot_group<HALF>(values.y, places >> 4, xs + 4 * WARP + (lane + 8) % WARP, sum);
    sum = dot_group<HALF>(values.z, places >> 8, xs + 8 * WARP + (lane + 16) % WARP, sum);
    return dot_group<HALF>(values.w, places >> 12, xs + 12 * WARP + (lane + 24) % WARP, sum);
}

template <bool HALF>
__device__ __forceinline__ void two_four_gemv(
        const uint4* values, const u32* places, const float* x, const float* bias, float* y, int rows, int columns) {
    DYNAMIC_SHARED(shared);
    let_next_begin();
    float* xs = (float*) shared;
    int lane = threadIdx.x % WARP;
    int warp = threadIdx.x / WARP;
    int chunks = (columns + 15) / 16;
    int blocks = (chunks + PLACES_BLOCK - 1) / PLACES_BLOCK;

    u64 warps = (u64) gridDim.x * (blockDim.x / WARP);
    u64 place = (u64) warp * gridDim.x + blockIdx.x;
    int row = (int) (place * rows / warps);
    int end = (int) ((place + 1) * rows / warps);

    int ahead_row = row;
    int ahead = 0;
    auto load = [&](Batch& batch) {
        if (ahead_row < end) {
            const uint4* from = values + (u64) ahead_row * chunks;
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int chunk = PLACES_BLOCK * ahead + WARP * i + lane;
                if (chunk < chunks) {
                    batch.values[i] = load_once(from + chunk);
                }
            }
#pragma unroll
            for (int i = 0; i < 2; i++) {
                if (ahead + i < blocks) {
                    batch.places[i] = load_once(places + ((u64) ahead_row * blocks + ahead + i) * WARP + lane);
                }
            }
            ahead += 2;
            if (ahead >= blocks) {
                ahead = 0;
                ahead_row++;
            }
        }
    };
    auto stage = [&]() {
        x += (u64) blockIdx.y * columns;
        int groups = (columns + 511) / 512 * 128;
        for (int i = threadIdx.x; i < groups; i += blockDim.x) {
            int g = i % 4;
            float* to = xs + i / 128 * 512 + 4 * WARP * g + (i / 4 + 8 * g) % WARP;
#pragma unroll
            for (int p = 0; p < 4; p++) {
                int column = 4 * i + p;
                if (column < columns) {
                    copy_async<4>(to + WARP * p, x + column);
                } else {
                    to[WARP * p] = 0.0f;
                }
            }
        }
        copy_commit();
    };
    // What no other kernel writes may be asked for before the last one has ended. Without that x comes first: it is nearer,
    // and the block waits for it.
    Batch batch;
    if (EARLY) {
        load(batch);
        wait_for_last();
    }
    stage();
    if (!EARLY) {
        load(batch);
    }
    copy_wait<0>();
    __syncthreads();

    y += (u64) blockIdx.y * rows;
    float sum0 = 0.0f;
    float sum1 = 0.0f;
    int block = 0;
    while (row < end) {
        Batch now = batch;
        load(batch);
        const float* own = xs + 1024 * block;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            if (PLACES_BLOCK * block + WARP * i + lane < chunks) {
                u32 of = now.places[i / 2] >> (i % 2 * 16);
                float& sum = i % 2 == 0 ? sum0 : sum1;
                sum = dot_places<HALF>(now.values[i], of, own + 512 * i, lane, sum);
            }
        }
        block += 2;
        if (block >= blocks) {
            float sum = warp_sum(sum0 + sum1);
            if (lane == 0) {
                y[row] = bias ? sum + bias[row] : sum;
            }
            block = 0;
            row++;
            sum0 = 0.0f;
            sum1 = 0.0f;
        }
    }
}

KERNEL(1024, 1, two_four_gemv_bf16)
(const uint4* values, const u32* places, const float* x, const float* bias, float* y, int rows, int columns) {
    two_four_gemv<false>(values, places, x, bias, y, rows, columns);
}

KERNEL(1024, 1, two_four_gemv_f16)
(const uint4* values, const u32* places, const float* x, const float* bias, float* y, int rows, int columns) {
    two_four_gemv<true>(values, places, x, bias, y, rows, columns);
}
