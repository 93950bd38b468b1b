// Root mean square and layer normalization of each row of x [tokens, columns]; one block a row. y may be x.
// `weight` and `bias` [columns] may be null; `offset` is added to every weight.

__device__ __forceinline__ float block_sum(float value, float* partial) {
    int lane = threadIdx.x % WARP;
    int warps = blockDim.x / WARP;
    value = warp_sum(value);
    __syncthreads(); // the sum before this one has been read
    if (lane == 0) {
        partial[threadIdx.x / WARP] = value;
    }
    __syncthreads();
    return warp_sum(lane < warps ? partial[lane] : 0.0f);
}

KERNEL(1024, 1, rms_norm)
(const float* x, const float* weight, const float* bias, float* y, int columns, float epsilon, float offset) {
    __shared__ float partial[WARP];
    const float* from = x + (u64) blockIdx.x * columns;
    float* to = y + (u64) blockIdx.x * columns;
    float squares = 0.0f;
    for (int i = threadIdx.x; i < columns; i += blockDim.x) {
        squares = fmaf(from[i], from[i], squares);
    }
    float scale = 1.0f / sqrtf(block_sum(squares, partial) / columns + epsilon);
    for (int i = threadIdx.x; i < columns; i += blockDim.x) {
        float value = from[i] * scale;
        value = weight ? value * (weight[i] + offset) : value;
        to[i] = bias ? value + bias[i] : value;
    }
}

KERNEL(1024, 1, layer_norm)
(const float* x, const float* weight, const float* bias, float* y, int columns, float epsilon, float offset) {
    __shared__ float partial[WARP];
    const float* from = x + (u64) blockIdx.x * columns;
    float* to = y + (u64) blockIdx.x * columns;
    float sum = 0.0f;
    for (int i = threadIdx.x; i < columns; i += blockDim.x) {
        sum += from[i];
    }
    float mean = block_sum(sum, partial) / columns;
    float squares = 0.0f;
    for (int i = threadIdx.x; i < columns; i += blockDim.x) {
        float away = from[i] - mean;
        squares = fmaf(away, away, squares);
    }
    float scale = 1.0f / sqrtf(block_sum(squares, partial) / columns + epsilon);
    for (int i = threadIdx.x; i < columns; i += blockDim.x) {
        float value = (from[i] - mean) * scale;
        value = weight ? value * (weight[i] + offset) : value;
        to[i] = bias ? value + bias[i] : value;
    }
}
