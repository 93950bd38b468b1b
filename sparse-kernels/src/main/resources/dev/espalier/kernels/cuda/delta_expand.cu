// Rows of a matrix in deltas (layout: delta_gemv.cu) as a dense tile: prefill multiplies the tile by cuBLAS.
//
//   out  16-bit floats [rows][stride]   rows from `first` on; columns to `columns`; `stride` a multiple of 8;
//                                       what lies between `columns` and `stride` is left as it is
//
// A block makes a row: each thread takes a unit, sums over the block say where it stands, its values are scattered into a row
// of zeros in shared memory, and that goes out by 16-byte writes. The bits are moved, not converted: BF16 and F16 alike.
// Shared memory: 32 bytes of spans, then 2 columns + 16 bytes rounded up to 16.

enum { EXPAND_THREADS = 256, EXPAND_UNIT = 8 };

KERNEL(256, 4, delta_expand)
(const u32* starts, const uint4* values, const u32* deltas, u16* out, int first, int columns, int stride) {
    DYNAMIC_SHARED(shared);
    u32* spans = (u32*) shared;
    u16* dense = (u16*) (spans + EXPAND_THREADS / WARP);
    int lane = threadIdx.x % WARP;
    int warp = threadIdx.x / WARP;
    u32 from = starts[first + blockIdx.x];
    u32 to = starts[first + blockIdx.x + 1];
    uint4 zero = {0, 0, 0, 0};
    for (int i = threadIdx.x; i <= (columns + 7) / 8; i += EXPAND_THREADS) {
        ((uint4*) dense)[i] = zero;
    }
    u32 column = 0;
    for (; from < to; from += EXPAND_THREADS) {
        bool has = from + threadIdx.x < to;
        uint4 unit = zero;
        u32 rest = 0;
        u32 span = 0;
        if (has) {
            unit = load_once(values + from + threadIdx.x);
            rest = load_once(deltas + from + threadIdx.x);
            u32 pairs = (rest & 0x0f0f0f0fu) + (rest >> 4 & 0x0f0f0f0fu);
            span = (pairs * 0x01010101u >> 24) + EXPAND_UNIT;
        }
        u32 before = warp_prefix_sum(span, lane);
        if (lane == WARP - 1) {
            spans[warp] = before;
        }
        __syncthreads(); // spans are there, and the row is all zeros
        before += column - span;
        for (int i = 0; i < EXPAND_THREADS / WARP; i++) {
            before += i < warp ? spans[i] : 0;
            column += spans[i];
        }
        if (has) {
            u32 words[4] = {unit.x, unit.y, unit.z, unit.w};
#pragma unroll
            for (int i = 0; i < EXPAND_UNIT; i++) {
                before += rest & 15;
                dense[before++] = (u16) (words[i / 2] >> (i % 2 * 16));
                rest >>= 4;
            }
        }
        __syncthreads(); // spans were read, and the row is written
    }
    u16* row = out + (u64) blockIdx.x * stride;
    for (int i = threadIdx.x; i < columns / 8; i += EXPAND_THREADS) {
        ((uint4*) row)[i] = ((uint4*) dense)[i];
    }
    int ragged = columns / 8 * 8 + threadIdx.x;
    if (ragged < columns) {
        row[ragged] = dense[ragged];
    }
}
