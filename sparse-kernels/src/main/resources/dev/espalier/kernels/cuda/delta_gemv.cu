// y = W x + bias for an unstructured sparse W [rows, columns]: 4 bits say how far each kept 16-bit float is from the last one.
//
// The kept weights of a row, in order, are entries; 8 entries are a unit:
//
//   starts  u32 [rows + 1]        the unit at which a row begins; a row has one at least
//   values  16-bit floats [8] a unit
//   deltas  u32 a unit            bits 4 i to 4 i + 3: columns left out between entry i and the one before it (or the row's start)
//
//   where more than 15 columns are left out, the 16th is an entry, a zero; a row's last unit is filled up with zeros and deltas of 0
//
//   20 bits an entry: 1.25 bytes a weight at 50 % zeros, 0.31 at 90 %
//
// A warp takes 64 units at a time, two a lane, by whole lines and without any bit of a mask: all lanes have equally many
// entries, whatever the row keeps. A unit's columns are sums of its deltas: within a unit by one multiplication, whose bytes
// are prefix sums, between units by a prefix sum over the warp, two units in one word.
//
// x lies in shared memory, where lanes meet at random (a bank serves three or four of them one after the other, rarely more).
// A warp owns consecutive rows, and has the next 64 units under way while it adds up 64. Sums of a row are made in a fixed order.
// Shared memory: 4 columns + 32 bytes. blockIdx.y is the token.

enum { UNIT = 8, UNITS = 2 };

struct Units {
    uint4 values[UNITS];
    u32 deltas[UNITS];
    u32 left; // units of the row from here on
};

// Prefix sums of a unit's deltas: byte i of `even` is the sum to entry 2 i, of `odd` to entry 2 i + 1; none exceeds 120.
struct Sums {
    u32 even, odd;

    __device__ __forceinline__ Sums(u32 deltas) {
        u32 high = deltas >> 4 & 0x0f0f0f0fu;
        odd = ((deltas & 0x0f0f0f0fu) + high) * 0x01010101u;
        even = odd - high;
    }

    // Columns that the unit spans.
    __device__ __forceinline__ u32 span() const {
        return (odd >> 24) + UNIT;
    }
};

template <bool HALF>
__device__ __forceinline__ void dot_unit(uint4 values, Sums columns, SharedFloats from, float& sum0, float& sum1) {
    sum0 = fmaf(low_float<HALF>(values.x), at<0>(from, byte_of<0>(columns.even)), sum0);
    sum1 = fmaf(high_float<HALF>(values.x), at<1>(from, byte_of<0>(columns.odd)), sum1);
    sum0 = fmaf(low_float<HALF>(values.y), at<2>(from, byte_of<1>(columns.even)), sum0);
    sum1 = fmaf(high_float<HALF>(values.y), at<3>(from, byte_of<1>(columns.odd)), sum1);
    sum0 = fmaf(low_float<HALF>(values.z), at<4>(from, byte_of<2>(columns.even)), sum0);
    sum1 = fmaf(high_float<HALF>(values.z), at<5>(from, byte_of<2>(columns.odd)), sum1);
    sum0 = fmaf(low_float<HALF>(values.w), at<6>(from, byte_of<3>(columns.even)), sum0);
    sum1 = fmaf(high_float<HALF>(values.w), at<7>(from, byte_of<3>(columns.odd)), sum1);
}

template <bool HALF>
__device__ __forceinline__ void delta_gemv(
        const u32* starts, const uint4* values, const u32* deltas, const float* x, const float* bias, float* y, int rows,
        int columns) {
    DYNAMIC_SHARED(shared);
    let_next_begin();
    float* xs = (float*) shared;
    int lane = threadIdx.x % WARP;
    int warp = threadIdx.x / WARP;

    // Neighbouring rows on different SMs: a matrix of few rows still uses all of them.
    u32 warps = gridDim.x * (blockDim.x / WARP);
    u32 place = warp * gridDim.x + blockIdx.x;
    int row = (int) ((u64) place * rows / warps);
    int end = (int) ((u64) (place + 1) * rows / warps);

    // Lane i holds the start of row `known + i`; a row's end is the next one's start.
    int known = row;
    u32 start = starts[min(known + lane, end)];

    int ahead_row = row;
    u32 ahead = 0;
    u32 left = 0;
    auto load = [&](Units& units) {
        if (left == 0 && ahead_row < end) {
            if (ahead_row - known >= WARP - 1) {
                known = ahead_row;
                start = starts[min(known + lane, end)];
            }
            ahead = __shfl_sync(ALL_LANES, start, ahead_row - known);
            left = __shfl_sync(ALL_LANES, start, ahead_row - known + 1) - ahead;
            ahead_row++;
        }
        units.left = left;
#pragma unroll
        for (int i = 0; i < UNITS; i++) {
            if (lane + WARP * i < left) {
                units.values[i] = load_once(values + ahead + lane + WARP * i);
                units.deltas[i] = load_once(deltas + ahead + lane + WARP * i);
            }
        }
        ahead += UNITS * WARP;
        left = left > UNITS * WARP ? left - UNITS * WARP : 0;
    };
    auto stage = [&]() {
        x += (u64) blockIdx.y * columns;
        if (columns % 4 == 0) {
            for (int i = threadIdx.x; i < columns / 4; i += blockDim.x) {
                copy_async<16>(xs + 4 * i, x + 4 * i);
            }
        } else {
            for (int i = threadIdx.x; i < columns; i += blockDim.x) {
                copy_async<4>(xs + i, x + i);
            }
        }
        copy_commit();
        if (threadIdx.x < UNIT) {
            xs[columns + threadIdx.x] = 0.0f; // where a row's last unit is filled up
        }
    };
    // What no other kernel writes may be asked for before the last one has ended. Without that x comes first: it is nearer,
    // and the block waits for it.
    Units next;
    if (EARLY) {
        load(next);
        wait_for_last();
    }
    stage();
    if (!EARLY) {
        load(next);
    }
    copy_wait<0>();
    __syncthreads();
    SharedFloats all = shared_floats(xs);

    y += (u64) blockIdx.y * rows;
    float sum0 = 0.0f;
    float sum1 = 0.0f;
    u32 column = 0;
    while (next.left > 0) {
        Units now = next;
        load(next);
        bool first = lane < now.left;
        bool second = lane + WARP < now.left;
        Sums columns0(now.deltas[0]);
        Sums columns1(now.deltas[1]);
        // 32 units span 4096 columns at most: two sums in a word.
        u32 own = (first ? columns0.span() : 0) | (second ? columns1.span() << 16 : 0);
        u32 before = warp_prefix_sum(own, lane);
        u32 total = __shfl_sync(ALL_LANES, before, WARP - 1);
        before -= own;
        if (first) {
            dot_unit<HALF>(now.values[0], columns0, behind(all, column + (before & 0xffff)), sum0, sum1);
        }
        column += total & 0xffff;
        if (second) {
            dot_unit<HALF>(now.values[1], columns1, behind(all, column + (before >> 16)), sum0, sum1);
        }
        column += total >> 16;
        if (now.left <= UNITS * WARP) {
            float sum = warp_sum(sum0 + sum1);
            if (lane == 0) {
                y[row] = bias ? sum + bias[row] : sum;
            }
            row++;
            column = 0;
            sum0 = 0.0f;
            sum1 = 0.0f;
        }
    }
}

KERNEL(640, 2, delta_gemv_bf16)
(const u32* starts, const uint4* values, const u32* deltas, const float* x, const float* bias, float* y, int rows, int columns) {
    delta_gemv<false>(starts, values, deltas, x, bias, y, rows, columns);
}

KERNEL(640, 2, delta_gemv_f16)
(const u32* starts, const uint4* values, const u32* deltas, const float* x, const float* bias, float* y, int rows, int columns) {
    delta_gemv<true>(starts, values, deltas, x, bias, y, rows, columns);
}
