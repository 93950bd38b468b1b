// Rows of a bitmask matrix (layout: bitmask_gemv.cu) as a dense tile: prefill multiplies the tile by cuBLAS.
//
//   out  16-bit floats [count][stride]   rows first to first + count; columns to `columns`; `stride` a multiple of 8;
//                                        what lies between `columns` and `stride` is left as it is
//
// A warp makes one segment of one row: values come in by 16-byte reads, each lane scatters its own into a row of zeros in
// shared memory, and the row goes out by 16-byte writes. The bits are moved, not converted: BF16 and F16 alike.

enum { EXPAND_SEGMENT = 1024, EXPAND_WARPS = 8 };

KERNEL(256, 4, bitmask_expand)
(const u32* masks, const u32* offsets, const uint4* values, u16* out, int first, int count, int columns, int stride) {
    // Values (a whole segment at most, each lane's number padded to even) and the row that is made of them.
    __shared__ uint4 packed[EXPAND_WARPS][EXPAND_SEGMENT / 8];
    __shared__ uint4 dense[EXPAND_WARPS][EXPAND_SEGMENT / 8];
    int lane = threadIdx.x % WARP;
    int warp = threadIdx.x / WARP;
    int segments = (columns + EXPAND_SEGMENT - 1) / EXPAND_SEGMENT;
    u32 item = blockIdx.x * EXPAND_WARPS + warp;
    if (item >= (u32) count * segments) {
        return;
    }
    int row = item / segments;
    int segment = item % segments;
    u64 source = (u64) first * segments + item;
    u32 from = offsets[source];
    u32 to = offsets[source + 1];
    u32 mask = masks[source * WARP + lane];
    for (u32 i = from + lane; i < to; i += WARP) {
        packed[warp][i - from] = load_once(values + i);
    }
    uint4 zero = {0, 0, 0, 0};
    for (int i = lane; i < EXPAND_SEGMENT / 8; i += WARP) {
        dense[warp][i] = zero;
    }
    u32 pairs = (__popc(mask) + 1) / 2;
    u32 before = pairs;
    for (int distance = 1; distance < WARP; distance *= 2) {
        u32 other = __shfl_up_sync(ALL_LANES, before, distance);
        before += lane >= distance ? other : 0;
    }
    __syncwarp();
    const u16* value = (const u16*) packed[warp] + 2 * (before - pairs);
    u16* target = (u16*) dense[warp];
    while (mask) {
        int bit = 31 - __clz(mask);
        mask ^= 1u << bit;
        target[WARP * bit + lane] = *value++;
    }
    __syncwarp();
    int left = min(columns - segment * EXPAND_SEGMENT, (int) EXPAND_SEGMENT);
    u16* to_row = out + (u64) row * stride + segment * EXPAND_SEGMENT;
    for (int i = lane; i < left / 8; i += WARP) {
        ((uint4*) to_row)[i] = dense[warp][i];
    }
    for (int i = left / 8 * 8 + lane; i < left; i += WARP) {
        to_row[i] = target[i];
    }
}
