// Element by element: activations, the gate of a gated MLP (SwiGLU with SILU), addition, soft cap. n elements of float32.
// f: 0 RELU, 1 SILU, 2 GELU by the error function, 3 GELU by the hyperbolic tangent; the order of Backend.Activation.

__device__ __forceinline__ float activation(int f, float x) {
    if (f == 0) {
        return fmaxf(x, 0.0f);
    }
    if (f == 1) {
        return x / (1.0f + expf(-x));
    }
    if (f == 2) {
        // erfc keeps the digits of the left tail, where 1 + erf would lose them.
        return 0.5f * x * erfcf(-0.70710678f * x);
    }
    // (1 + tanh(u)) / 2 = 1 / (1 + exp(-2u))
    float u = 0.79788456f * (x + 0.044715f * x * x * x);
    return x / (1.0f + expf(-2.0f * u));
}

KERNEL(256, 1, activate)
(float* x, u64 n, int f) {
    for (u64 i = (u64) blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64) gridDim.x * blockDim.x) {
        x[i] = activation(f, x[i]);
    }
}

// gate = f(gate) * up
KERNEL(256, 1, gate)
(float* gate, const float* up, u64 n, int f) {
    for (u64 i = (u64) blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64) gridDim.x * blockDim.x) {
        gate[i] = activation(f, gate[i]) * up[i];
    }
}

// y += x
KERNEL(256, 1, add)
(const float* x, float* y, u64 n) {
    for (u64 i = (u64) blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64) gridDim.x * blockDim.x) {
        y[i] += x[i];
    }
}

// x = cap * tanh(x / cap)
KERNEL(256, 1, softcap)
(float* x, u64 n, float cap) {
    for (u64 i = (u64) blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64) gridDim.x * blockDim.x) {
        x[i] = cap * tanhf(x[i] / cap);
    }
}
