// Runs a kernel file as C++ on the host, so that the very source that the device runs is tested without one.
//
// Every thread of a block is a fiber; blocks run one after the other. A fiber runs until it has to wait for others: at
// __syncthreads, and at the shuffles and __syncwarp of its warp. A warp runs as far as it can before the next one does, and
// every other launch runs warps and lanes in the reverse order, so that a missing barrier is seen; a shuffle is a barrier here
// too, which a device does not promise. Asynchronous copies are really late: a copy is made when its thread waits for it, so
// that a missing wait is seen. Wrong use (a collective that not all lanes reach, a block larger than the kernel was made for,
// a write behind the shared memory) ends the launch, which then fails with a message. One launch at a time: the fake runtime
// sees to it.

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <utility>
#include <vector>

#define ON_HOST
#define __device__
#define __forceinline__ inline
#define __shared__ static
#define KERNEL(threads, blocks, name)                                                                                  \
    enum { name##_threads = threads };                                                                                 \
    static void name##_kernel
#define DYNAMIC_SHARED(name) unsigned char* name = host::shared_memory

struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct Index {
    unsigned x, y, z;
};
static Index threadIdx, blockIdx, blockDim, gridDim;

namespace host {
enum { MAX_THREADS = 1024, STACK = 64 * 1024, SHARED = 228 * 1024, FENCE = 4096, LANES = 32 };
static const unsigned char CANARY = 0xa7;

struct Copy {
    void* to;
    const void* from;
    size_t bytes;
};

struct Thread {
    void* stack;
    bool done;
    std::vector<std::vector<Copy>> groups;
    std::vector<Copy> open;
};

struct Warp {
    unsigned value[2][LANES];
    int kind[LANES];
    unsigned arrived, alive, generation;
};

static Thread threads[MAX_THREADS];
static Warp warps[MAX_THREADS / LANES];
static void* scheduler;
static unsigned current, alive, at_barrier, barrier_generation;
static unsigned long progress;
static unsigned launches;
static const char* kernel_name;
static unsigned shared_bytes;
static unsigned char* shared_memory = (unsigned char*) aligned_alloc(128, SHARED + FENCE);
static void (*body)(void* context);
static void* body_context;
static bool in_fiber, failed;
inline void (*tell)(const char* what); // one for all files of the library

// Leaves this stack for another, as a call that returns when something comes back to it. x86-64 only, like the bindings.
extern "C" void espalier_switch(void** from, void* to);
asm(R"(
.text
espalier_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");

static __attribute__((noinline)) void wait_for_others() {
    espalier_switch(&threads[current].stack, scheduler);
}

// Ends the launch: a thread never comes back from here, the scheduler does.
static void fail(const char* what) {
    char text[200];
    snprintf(text, sizeof text, "%s, block (%u, %u, %u), thread %u: %s", kernel_name, blockIdx.x, blockIdx.y, blockIdx.z,
            current, what);
    if (!tell) {
        fprintf(stderr, "%s\n", text);
        abort();
    }
    tell(text);
    failed = true;
    while (in_fiber) {
        wait_for_others();
    }
}

// All lanes of a warp meet; what each brought can be read until the meeting after the next.
static unsigned* meet(int kind, unsigned value) {
    Warp& warp = warps[current / LANES];
    unsigned lane = current % LANES;
    unsigned generation = warp.generation;
    unsigned* slots = warp.value[generation % 2];
    slots[lane] = value;
    warp.kind[lane] = kind;
    if (warp.alive != LANES) {
        fail("a collective of the warp after some of its lanes have ended");
    }
    if (++warp.arrived == warp.alive) {
        for (int i = 0; i < LANES; i++) {
            if (warp.kind[i] != kind) {
                fail("the lanes of a warp meet at different collectives");
            }
        }
        warp.arrived = 0;
        warp.generation++;
        progress++;
    } else {
        while (warp.generation == generation) {
            wait_for_others();
        }
    }
    return slots;
}

static void finish(Thread& thread, size_t pending) {
    while (thread.groups.size() > pending) {
        for (const Copy& copy : thread.groups.front()) {
            memcpy(copy.to, copy.from, copy.bytes);
        }
        thread.groups.erase(thread.groups.begin());
    }
}

static void fiber() {
    body(body_context);
    Thread& thread = threads[current];
    if (!thread.groups.empty() && !thread.groups.back().empty()) {
        fail("it ends while a copy is under way");
    }
    thread.done = true;
    alive--;
    progress++;
    warps[current / LANES].alive--;
    if (alive > 0 && at_barrier == alive) {
        at_barrier = 0;
        barrier_generation++;
    }
    for (;;) {
        wait_for_others();
    }
}

// Until it ends, or waits for other warps.
static void run_warp(unsigned warp, bool reverse) {
    unsigned long before;
    do {
        before = progress;
        for (unsigned i = 0; i < LANES && !failed; i++) {
            unsigned next = warp * LANES + (reverse ? LANES - 1 - i : i);
            if (!threads[next].done) {
                current = next;
                threadIdx = {next % blockDim.x, next / blockDim.x % blockDim.y, next / (blockDim.x * blockDim.y)};
                in_fiber = true;
                espalier_switch(&scheduler, threads[next].stack);
                in_fiber = false;
            }
        }
    } while (progress != before && !failed);
}

static void run_block(unsigned count, bool reverse) {
    static char* stacks = (char*) mmap(nullptr, (size_t) MAX_THREADS * STACK, PROT_READ | PROT_WRITE,
            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stacks == (char*) MAP_FAILED) {
        return fail("no memory for the stacks");
    }
    memset(shared_memory, 0xff, shared_bytes); // NaN
    memset(shared_memory + shared_bytes, CANARY, FENCE);
    memset(warps, 0, sizeof warps);
    alive = count;
    at_barrier = 0;
    for (unsigned i = 0; i < count; i++) {
        Thread& thread = threads[i];
        // As if fiber had been called from nowhere: six registers, where to go, and no way back.
        void** top = (void**) (stacks + (size_t) (i + 1) * STACK);
        top[-1] = nullptr;
        top[-2] = (void*) fiber;
        thread.stack = top - 8;
        thread.done = false;
        thread.groups.clear();
        thread.open.clear();
        warps[i / LANES].alive++;
    }
    unsigned count_of_warps = count / LANES;
    while (alive > 0) {
        unsigned long before = progress;
        for (unsigned i = 0; i < count_of_warps && !failed; i++) {
            run_warp(reverse ? count_of_warps - 1 - i : i, reverse);
        }
        if (!failed && progress == before) {
            fail("all threads wait for each other");
        }
        if (failed) {
            return;
        }
    }
    for (unsigned i = shared_bytes; i < shared_bytes + FENCE; i++) {
        if (shared_memory[i] != CANARY) {
            return fail("a write behind the dynamic shared memory");
        }
    }
}

template <class... A, size_t... I>
static void call(void (*kernel)(A...), const void* const* arguments, std::index_sequence<I...>) {
    kernel(*(const A*) arguments[I]...);
}

template <class... A>
struct Call {
    void (*kernel)(A...);
    const void* const* arguments;
    static void run(void* context) {
        Call* self = (Call*) context;
        call(self->kernel, self->arguments, std::index_sequence_for<A...>());
    }
};

template <class... A>
static void launch(const char* name, unsigned limit, void (*kernel)(A...), const void* const* arguments, Index grid,
        Index block, size_t shared) {
    Call<A...> call = {kernel, arguments};
    body = Call<A...>::run;
    body_context = &call;
    kernel_name = name;
    gridDim = grid;
    blockDim = block;
    failed = false;
    unsigned count = block.x * block.y * block.z;
    if (count == 0 || count > limit || count % LANES != 0) {
        return fail("a block of this size was not foreseen");
    }
    if (shared > SHARED) {
        return fail("more shared memory than a multiprocessor has");
    }
    shared_bytes = (unsigned) shared;
    bool reverse = launches++ % 2 == 1;
    for (unsigned z = 0; z < grid.z; z++) {
        for (unsigned y = 0; y < grid.y; y++) {
            for (unsigned x = 0; x < grid.x; x++) {
                blockIdx = {x, y, z};
                run_block(count, reverse);
                if (failed) {
                    return;
                }
            }
        }
    }
}
} // namespace host

extern "C" __attribute__((used)) inline void on_failure(void (*tell)(const char*)) {
    host::tell = tell;
}

#define TWIN(name)                                                                                                     \
    extern "C" void name(const void* const* arguments, unsigned grid_x, unsigned grid_y, unsigned grid_z,              \
            unsigned block_x, unsigned block_y, unsigned block_z, size_t shared) {                                     \
        host::launch(#name, name##_threads, name##_kernel, arguments, {grid_x, grid_y, grid_z},                        \
                {block_x, block_y, block_z}, shared);                                                                  \
    }

static void __syncthreads() {
    using namespace host;
    unsigned generation = barrier_generation;
    if (++at_barrier == alive) {
        at_barrier = 0;
        barrier_generation++;
        progress++;
    } else {
        while (barrier_generation == generation) {
            wait_for_others();
        }
    }
}

enum { EARLY = 1 };

static inline void let_next_begin() {}

static inline void wait_for_last() {}

static inline void __syncwarp() {
    host::meet(1, 0);
}

template <class T>
static T __shfl_sync(unsigned mask, T value, unsigned lane) {
    static_assert(sizeof(T) == 4, "shuffles move 4 bytes");
    if (mask != 0xffffffffu) {
        host::fail("a shuffle of some lanes only");
    }
    unsigned bits;
    memcpy(&bits, &value, 4);
    unsigned* slots = host::meet(2, bits);
    memcpy(&value, &slots[lane % host::LANES], 4);
    return value;
}

template <class T>
static T __shfl_xor_sync(unsigned mask, T value, int distance) {
    return __shfl_sync(mask, value, (host::current % host::LANES) ^ distance);
}

template <class T>
static T __shfl_up_sync(unsigned mask, T value, int distance) {
    int lane = host::current % host::LANES;
    return __shfl_sync(mask, value, lane >= distance ? lane - distance : lane);
}

static inline int __popc(unsigned bits) {
    return __builtin_popcount(bits);
}

static inline int __clz(unsigned bits) {
    return bits ? __builtin_clz(bits) : 32;
}

static inline float __uint_as_float(unsigned bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static inline float half_to_float(unsigned short bits) {
    unsigned sign = (bits & 0x8000u) << 16;
    unsigned rest = bits & 0x7fffu;
    float value = rest >= 0x7c00u ? __uint_as_float(0x7f800000u | rest << 13)
                                  : __uint_as_float(rest << 13) * 0x1p112f;
    unsigned result;
    memcpy(&result, &value, 4);
    return __uint_as_float(sign | result);
}

template <int I>
static inline unsigned byte_of(unsigned word) {
    return word >> (8 * I) & 0xff;
}

typedef const float* SharedFloats;

static inline SharedFloats shared_floats(const float* shared) {
    return shared;
}

static inline SharedFloats behind(SharedFloats floats, unsigned count) {
    return floats + count;
}

template <int PLUS>
static inline float at(SharedFloats floats, unsigned index) {
    return floats[PLUS + index];
}

template <class A, class B>
static inline std::common_type_t<A, B> min(A a, B b) {
    return b < a ? b : a;
}

template <class A, class B>
static inline std::common_type_t<A, B> max(A a, B b) {
    return a < b ? b : a;
}

static inline void sincospif(float x, float* sine, float* cosine) {
    *sine = (float) sin(M_PI * x);
    *cosine = (float) cos(M_PI * x);
}

template <class T>
static inline T load_once(const T* at) {
    if ((uintptr_t) at % sizeof(T) != 0) {
        host::fail("a load that is not aligned");
    }
    return *at;
}

template <int BYTES>
static inline void copy_async(void* to, const void* from) {
    if ((uintptr_t) to % BYTES != 0 || (uintptr_t) from % BYTES != 0) {
        host::fail("a copy that is not aligned");
    }
    host::threads[host::current].open.push_back({to, from, BYTES});
}

static inline void copy_commit() {
    host::Thread& thread = host::threads[host::current];
    thread.groups.push_back(thread.open);
    thread.open.clear();
}

template <int PENDING>
static void copy_wait() {
    host::finish(host::threads[host::current], PENDING);
}
