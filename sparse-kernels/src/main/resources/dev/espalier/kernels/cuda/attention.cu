// Causal attention with grouped queries over a key-value cache, float32.
//
//   q, out        [tokens, heads * dim]
//   keys, values  [rows, kv_heads * dim]; query head h reads kv head h / (heads / kv_heads)
//   positions     int [tokens]; token t sees cache rows 0 to positions[t], of these the last `window` if that is not 0
//   partial       float [tokens][heads][splits][2 + dim]: maximum, sum of exponentials, mixed values
//
// Rows are dealt to `splits` warps in tiles of 32, so that a long context of one token uses the whole device, and a
// captured step stays valid while the context grows: positions are read on the device. A lane scores one row of the tile;
// then the lanes share the dimensions and mix the rows. attention_merge joins the splits in their order.

enum { ATTENTION_WARPS = 4, ATTENTION_DIMS = 8 };

#define NONE (-3.0e38f)

KERNEL(128, 4, attention_split)
(const float* q, const float* keys, const float* values, const int* positions, float* partial, int heads, int kv_heads,
        int dim, int splits, float scale, float softcap, int window) {
    __shared__ float4 query4[WARP * ATTENTION_DIMS / 4];
    float* query = (float*) query4;
    int lane = threadIdx.x % WARP;
    int head = blockIdx.x;
    int split = blockIdx.y * ATTENTION_WARPS + threadIdx.x / WARP;
    int token = blockIdx.z;
    u64 at = (u64) token * heads + head;
    for (int i = threadIdx.x; i < dim; i += blockDim.x) {
        query[i] = q[at * dim + i] * scale;
    }
    __syncthreads();
    if (split >= splits) {
        return;
    }
    int seen = positions[token] + 1;
    int hidden = window > 0 ? max(0, seen - window) : 0;
    int width = kv_heads * dim;
    int kv = head / (heads / kv_heads) * dim;
    float best = NONE;
    float total = 0.0f;
    float mixed[ATTENTION_DIMS];
#pragma unroll
    for (int i = 0; i < ATTENTION_DIMS; i++) {
        mixed[i] = 0.0f;
    }
    for (int tile = hidden + split * WARP; tile < seen; tile += splits * WARP) {
        int row = tile + lane;
        float score = NONE;
        if (row < seen) {
            const float* key = keys + (u64) row * width + kv;
            float sum = 0.0f;
            if (dim % 4 == 0) {
                for (int i = 0; i < dim / 4; i++) {
                    float4 k = ((const float4*) key)[i];
                    float4 a = query4[i];
                    sum = fmaf(a.x, k.x, sum);
                    sum = fmaf(a.y, k.y, sum);
                    sum = fmaf(a.z, k.z, sum);
                    sum = fmaf(a.w, k.w, sum);
                }
            } else {
                for (int i = 0; i < dim; i++) {
                    sum = fmaf(query[i], key[i], sum);
                }
            }
            score = softcap > 0.0f ? softcap * tanhf(sum / softcap) : sum;
        }
        float higher = fmaxf(best, warp_max(score));
        float weight = row < seen ? expf(score - higher) : 0.0f;
        float shrink = expf(best - higher);
        best = higher;
        total = total * shrink + warp_sum(weight);
#pragma unroll
        for (int i = 0; i < ATTENTION_DIMS; i++) {
            mixed[i] *= shrink;
        }
        int count = min((int) WARP, seen - tile);
        for (int j = 0; j < count; j++) {
            float share = __shfl_sync(ALL_LANES, weight, j);
            const float* value = values + (u64) (tile + j) * width + kv;
#pragma unroll
            for (int i = 0; i < ATTENTION_DIMS; i++) {
                if (WARP * i + lane < dim) {
                    mixed[i] = fmaf(share, value[WARP * i + lane], mixed[i]);
                }
            }
        }
    }
    float* to = partial + (at * splits + split) * (2 + dim);
    if (lane == 0) {
        to[0] = best;
        to[1] = total;
    }
#pragma unroll
    for (int i = 0; i < ATTENTION_DIMS; i++) {
        if (WARP * i + lane < dim) {
            to[2 + WARP * i + lane] = mixed[i];
        }
    }
}

KERNEL(256, 1, attention_merge)
(const float* partial, float* out, int heads, int dim, int splits) {
    u64 at = (u64) blockIdx.z * heads + blockIdx.x;
    const float* from = partial + at * splits * (2 + dim);
    float best = NONE;
    for (int s = 0; s < splits; s++) {
        best = fmaxf(best, from[(u64) s * (2 + dim)]);
    }
    float total = 0.0f;
    for (int s = 0; s < splits; s++) {
        const float* split = from + (u64) s * (2 + dim);
        total += split[1] * expf(split[0] - best);
    }
    for (int i = threadIdx.x; i < dim; i += blockDim.x) {
        float sum = 0.0f;
        for (int s = 0; s < splits; s++) {
            const float* split = from + (u64) s * (2 + dim);
            sum = fmaf(split[2 + i], expf(split[0] - best), sum);
        }
        out[at * dim + i] = sum / total;
    }
}
