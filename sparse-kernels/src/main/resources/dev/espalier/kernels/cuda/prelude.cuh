// Stands in front of every kernel file: what the kernels share. Nothing is included, so that NVRTC needs no header.
// With ON_HOST the tests' emulation supplies the device's words (threadIdx, __shfl_sync, ...) and the same kernels run as C++.

typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#ifndef ON_HOST
#define KERNEL(threads, blocks, name) extern "C" __global__ void __launch_bounds__(threads, blocks) name
#define DYNAMIC_SHARED(name) extern __shared__ __align__(16) unsigned char name[]

// 16 bytes that are read once: they do not displace the activations in L1.
__device__ __forceinline__ uint4 load_once(const uint4* at) {
    uint4 v;
    asm("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0, %1, %2, %3}, [%4];"
        : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
        : "l"(at));
    return v;
}

__device__ __forceinline__ u32 load_once(const u32* at) {
    u32 v;
    asm("ld.global.nc.L1::no_allocate.u32 %0, [%1];" : "=r"(v) : "l"(at));
    return v;
}

// Starts a copy of 16 or 4 bytes into shared memory; both addresses are multiples of as many.
template <int BYTES>
__device__ __forceinline__ void copy_async(void* shared, const void* global) {
    u32 to = (u32) __cvta_generic_to_shared(shared);
    if (BYTES == 16) {
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(global) : "memory");
    } else {
        static_assert(BYTES == 16 || BYTES == 4, "lengths of a copy");
        asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(to), "l"(global) : "memory");
    }
}

// Ends a group of copies.
__device__ __forceinline__ void copy_commit() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits until at most PENDING of this thread's groups are under way.
template <int PENDING>
__device__ __forceinline__ void copy_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

// A kernel that is launched early (CudaKernel.launchEarly) may begin while the one before it in the stream still runs: until
// it has waited it reads only what no kernel writes, its weights, and writes nothing. Devices before 9.0 know no such start.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
enum { EARLY = 1 };

__device__ __forceinline__ void let_next_begin() {
    asm volatile("griddepcontrol.launch_dependents;");
}

__device__ __forceinline__ void wait_for_last() {
    asm volatile("griddepcontrol.wait;" ::: "memory");
}
#else
enum { EARLY = 0 };

__device__ __forceinline__ void let_next_begin() {}

__device__ __forceinline__ void wait_for_last() {}
#endif

__device__ __forceinline__ float half_to_float(u16 bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}

// Byte I of a word, in one instruction.
template <int I>
__device__ __forceinline__ u32 byte_of(u32 word) {
    return __byte_perm(word, 0, 0x4440 + I);
}

// Floats in shared memory by their 32-bit address: finding one by its index is a single instruction.
typedef u32 SharedFloats;

// To be called behind the barrier that makes the floats readable: reads of them do not move in front of this.
__device__ __forceinline__ SharedFloats shared_floats(const float* shared) {
    SharedFloats floats;
    asm volatile("mov.u32 %0, %1;" : "=r"(floats) : "r"((u32) __cvta_generic_to_shared(shared)) : "memory");
    return floats;
}

__device__ __forceinline__ SharedFloats behind(SharedFloats floats, u32 count) {
    return floats + 4 * count;
}

// The float PLUS + index of `floats`.
template <int PLUS>
__device__ __forceinline__ float at(SharedFloats floats, u32 index) {
    float value;
    asm("ld.shared.f32 %0, [%1 + %2];" : "=f"(value) : "r"(floats + 4 * index), "n"(4 * PLUS));
    return value;
}
#endif

enum { WARP = 32 };
#define ALL_LANES 0xffffffffu

// The two 16-bit floats of a word, widened: F16 if HALF, else BF16.
template <bool HALF>
__device__ __forceinline__ float low_float(u32 word) {
    return HALF ? half_to_float((u16) word) : __uint_as_float(word << 16);
}

template <bool HALF>
__device__ __forceinline__ float high_float(u32 word) {
    return HALF ? half_to_float((u16) (word >> 16)) : __uint_as_float(word & 0xffff0000u);
}

// The sum over a warp's lanes, in every lane, in an order that never changes.
__device__ __forceinline__ float warp_sum(float value) {
    for (int distance = WARP / 2; distance > 0; distance /= 2) {
        value += __shfl_xor_sync(ALL_LANES, value, distance);
    }
    return value;
}

// The sum over this lane and those before it.
__device__ __forceinline__ u32 warp_prefix_sum(u32 value, int lane) {
#pragma unroll
    for (int distance = 1; distance < WARP; distance *= 2) {
        u32 other = __shfl_up_sync(ALL_LANES, value, distance);
        value += lane >= distance ? other : 0;
    }
    return value;
}

__device__ __forceinline__ float warp_max(float value) {
    for (int distance = WARP / 2; distance > 0; distance /= 2) {
        value = fmaxf(value, __shfl_xor_sync(ALL_LANES, value, distance));
    }
    return value;
}
