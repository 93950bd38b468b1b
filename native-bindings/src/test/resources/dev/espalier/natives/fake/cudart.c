/* A CUDA runtime without a device: memory from malloc, kernels as C functions of the same name ("host twins"), all work done
 * at once. It holds its caller to the rules that a real one only sometimes notices: every pointer must be live, every copy
 * within its allocation, every handle live and of its kind, every object destroyed once. Breaches are counted and refused.
 *
 * A twin of `extern "C" __global__ void NAME(...)` is
 *
 *     void NAME(const void *const *args, unsigned grid_x, unsigned grid_y, unsigned grid_z,
 *               unsigned block_x, unsigned block_y, unsigned block_z, size_t shared);
 *
 * in the same shared library, or in one named to fake_twins: args[i] points to argument i, in a slot of 8 bytes; the pointer
 * after the last is null. One that does not care for its dynamic shared memory may leave out the last parameter.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define API __attribute__((visibility("default")))

enum {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    INVALID_DEVICE = 101,
    INVALID_IMAGE = 200,
    INVALID_HANDLE = 400,
    SYMBOL_NOT_FOUND = 500,
    ILLEGAL_ADDRESS = 700,
    LAUNCH_FAILURE = 719,
    CAPTURE_UNSUPPORTED = 900
};

enum kind { DEVICE, PINNED, STREAM, EVENT, GRAPH, EXEC, LIBRARY, HANDLE, DESCRIPTOR, KINDS };

typedef struct { unsigned x, y, z; } dim3;
typedef void twin(const void *const *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, size_t);

#define MAX_ARGS 64
typedef struct work {
    struct work *next;
    twin *kernel; /* or a library's call, or a copy, or a fill */
    void (*call)(const void *arguments);
    dim3 grid, block;
    size_t shared;
    uint64_t values[MAX_ARGS]; /* arguments of the kernel or of the call */
    int n;
    void *to;
    const void *from;
    int value;
    size_t size;
} work;

typedef struct object {
    struct object *next;
    enum kind kind;
    char *start; /* memory only */
    size_t size;
    int capturing; /* streams only */
    work *first, *last;
    int64_t time; /* events only, nanoseconds */
    int recorded;
    long n[8]; /* descriptors of the other libraries only: sizes and pointers */
    void *at[3];
} object;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static object *objects;
static long live[KINDS], made[KINDS], breaches, launches, early_launches, graph_launches;
static void *twins; /* a library that kernels are looked for in before this one */
static char kernel_problem[256];
static long budget = -1;
static int last_error, driver_version = 13000, device_count = 1, architecture = 90;
static struct { int64_t now, kernel, call, kibibyte; } device_clock; /* nanoseconds; of no use while kernel is 0 */
static const size_t guard = 256;
static const unsigned char pattern = 0xA5;

/* ---- for the tests ---- */

API long fake_live(int kind) { return live[kind]; }
API long fake_made(int kind) { return made[kind]; }
API long fake_breaches(void) { return breaches; }
API void fake_forgive(void) { breaches = 0; }
API long fake_launches(void) { return launches; }
API long fake_early_launches(void) { return early_launches; }
API long fake_graph_launches(void) { return graph_launches; }
/* How many bytes of device memory there are; -1: as many as malloc gives. */
API void fake_budget(long bytes) { budget = bytes; }
API void fake_driver(int version, int devices) { driver_version = version; device_count = devices; }
/* The compute capability, as in 90. */
API void fake_architecture(int number) { architecture = number; }
/* Makes time a matter of what is done: so many nanoseconds for a kernel, a library's call, 1024 bytes copied or filled. */
API void fake_clock(long kernel, long call, long kibibyte) {
    device_clock.kernel = kernel;
    device_clock.call = call;
    device_clock.kibibyte = kibibyte;
}
API long fake_now(void) { return device_clock.now; }
/* What was wrong with the last kernel that failed; empty if none did since this was asked. */
API const char *fake_kernel_problem(void) {
    static char told[sizeof kernel_problem];
    strcpy(told, kernel_problem);
    kernel_problem[0] = 0;
    return told;
}
static void kernel_failed(const char *what) { snprintf(kernel_problem, sizeof kernel_problem, "%s", what); }
/* From now on kernels are looked for in this library first. Its on_failure, if it has one, is given a function to be called by a
 * kernel that finds something wrong with itself. */
API long fake_twins(const char *path) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) return 0;
    twins = library;
    void (*on_failure)(void (*)(const char *)) = (void (*)(void (*)(const char *)))dlsym(library, "on_failure");
    if (on_failure) on_failure(kernel_failed);
    return 1;
}

static int fail(int status) { return last_error = status; }
static int breach(int status) {
    breaches++;
    return fail(status);
}

static object *find(const void *handle, enum kind kind) {
    for (object *o = objects; o; o = o->next)
        if (kind <= PINNED ? o->kind == kind && o->start == handle : o->kind == kind && o == handle) return o;
    return NULL;
}

static object *make(enum kind kind) {
    object *o = calloc(1, sizeof *o);
    o->kind = kind;
    o->next = objects;
    objects = o;
    live[kind]++;
    made[kind]++;
    return o;
}

/* Fills memory that holds nothing of use, so that who reads it sees it; of large ranges, which are workspaces, both ends. */
static void mark(char *start, size_t size, int value) {
    size_t end = 1 << 19;
    if (size <= 2 * end) memset(start, value, size);
    else {
        memset(start, value, end);
        memset(start + size - end, value, end);
    }
}

static int destroy(const void *handle, enum kind kind) {
    for (object **p = &objects; *p; p = &(*p)->next) {
        object *o = *p;
        if (o->kind == kind && (kind <= PINNED ? (void *)o->start : (void *)o) == handle) {
            *p = o->next;
            live[kind]--;
            for (work *w = o->first; w;) {
                work *next = w->next;
                free(w);
                w = next;
            }
            if (o->start) {
                for (size_t i = 0; i < guard; i++)
                    if ((unsigned char)o->start[o->size + i] != pattern || (unsigned char)o->start[-1 - (long)i] != pattern) {
                        breaches++; /* somebody wrote beyond its end */
                        break;
                    }
                mark(o->start - guard, o->size + 2 * guard, 0xDD);
                free(o->start - guard);
            }
            free(o);
            return SUCCESS;
        }
    }
    return breach(kind <= PINNED ? INVALID_VALUE : INVALID_HANDLE);
}

static int allocate(void **slot, size_t size, enum kind kind) {
    pthread_mutex_lock(&mutex);
    size_t used = 0;
    for (object *o = objects; o; o = o->next)
        if (o->kind == DEVICE) used += o->size;
    int status = SUCCESS;
    char *start = NULL;
    if (device_count < 1 || driver_version < 13000) status = fail(35);
    else if (kind == DEVICE && budget >= 0 && used + size > (size_t)budget) status = fail(OUT_OF_MEMORY);
    else if (posix_memalign((void **)&start, 256, size + 2 * guard)) status = fail(OUT_OF_MEMORY);
    if (status == SUCCESS) {
        mark(start, size + 2 * guard, pattern);
        object *o = make(kind);
        o->start = start + guard;
        o->size = size;
        *slot = o->start;
    }
    pthread_mutex_unlock(&mutex);
    return status;
}

static int inside(const void *p, size_t size) {
    for (object *o = objects; o; o = o->next)
        if (o->kind == DEVICE && (char *)p >= o->start && (char *)p + size <= o->start + o->size) return 1;
    return 0;
}

static int copy_fits(const void *to, const void *from, size_t size, int kind) {
    return !((kind == 1 || kind == 3) && !inside(to, size)) && !((kind == 2 || kind == 3) && !inside(from, size)) && kind >= 1
            && kind <= 3;
}

/* Copies from pageable memory that cudaMemcpy has begun: it may return before the device has them, and streams that do not wait
 * for the default one, which ours are, may see what was there before. */
static work *begun;

static void finish_copies(void) {
    while (begun) {
        work *w = begun;
        begun = w->next;
        memcpy(w->to, w->from, w->size);
        free((void *)w->from);
        free(w);
    }
}

static void begin_copy(void *to, const void *from, size_t size) {
    finish_copies();
    work *w = begun = calloc(1, sizeof *w);
    void *staged = malloc(size + 1);
    memcpy(staged, from, size);
    w->to = to;
    w->from = staged;
    w->size = size;
}

static int run(const work *w) {
    if (w->kernel) {
        const void *args[MAX_ARGS + 1];
        for (int i = 0; i < w->n; i++) args[i] = &w->values[i];
        args[w->n] = NULL;
        w->kernel(args, w->grid.x, w->grid.y, w->grid.z, w->block.x, w->block.y, w->block.z, w->shared);
        launches++;
        device_clock.now += device_clock.kernel;
        if (kernel_problem[0]) return fail(LAUNCH_FAILURE);
    } else if (w->call) {
        w->call(w->values);
        device_clock.now += device_clock.call;
    } else {
        if (w->from) memcpy(w->to, w->from, w->size);
        else memset(w->to, w->value, w->size);
        device_clock.now += w->size / 1024 * device_clock.kibibyte;
    }
    return SUCCESS;
}

/* Now, or, while the stream is recorded, later. */
static int submit(object *stream, const work *w) {
    if (!stream->capturing) return run(w);
    work *copy = malloc(sizeof *copy);
    *copy = *w;
    copy->next = NULL;
    if (stream->last) stream->last->next = copy;
    else stream->first = copy;
    stream->last = copy;
    return SUCCESS;
}

#define LOCKED(...)                   \
    pthread_mutex_lock(&mutex);       \
    int status = SUCCESS;             \
    do { __VA_ARGS__ } while (0);     \
    pthread_mutex_unlock(&mutex);     \
    return status;
#define REQUIRE(condition, code)      \
    if (!(condition)) {               \
        status = breach(code);        \
        break;                        \
    }

/* ---- the runtime's own functions ---- */

API int cudaRuntimeGetVersion(int *v) { *v = 13000; return SUCCESS; }
API int cudaDriverGetVersion(int *v) { *v = driver_version; return SUCCESS; }
API int cudaGetLastError(void) { int e = last_error; last_error = SUCCESS; return e; }
API int cudaPeekAtLastError(void) { return last_error; }

API const char *cudaGetErrorName(int e) {
    switch (e) {
        case SUCCESS: return "cudaSuccess";
        case INVALID_VALUE: return "cudaErrorInvalidValue";
        case OUT_OF_MEMORY: return "cudaErrorMemoryAllocation";
        case 35: return "cudaErrorInsufficientDriver";
        case 100: return "cudaErrorNoDevice";
        case INVALID_DEVICE: return "cudaErrorInvalidDevice";
        case INVALID_IMAGE: return "cudaErrorInvalidKernelImage";
        case INVALID_HANDLE: return "cudaErrorInvalidResourceHandle";
        case SYMBOL_NOT_FOUND: return "cudaErrorSymbolNotFound";
        case ILLEGAL_ADDRESS: return "cudaErrorIllegalAddress";
        case LAUNCH_FAILURE: return "cudaErrorLaunchFailure";
        case CAPTURE_UNSUPPORTED: return "cudaErrorStreamCaptureUnsupported";
        default: return "unrecognized error code";
    }
}
API const char *cudaGetErrorString(int e) {
    switch (e) {
        case OUT_OF_MEMORY: return "out of memory";
        case SYMBOL_NOT_FOUND: return "named symbol not found";
        case LAUNCH_FAILURE: return kernel_problem[0] ? fake_kernel_problem() : "unspecified launch failure";
        default: return "an error of the fake runtime";
    }
}

API int cudaGetDeviceCount(int *n) {
    if (driver_version < 13000) return fail(35);
    if (device_count == 0) return fail(100);
    *n = device_count;
    return SUCCESS;
}
API int cudaGetDevice(int *d) { *d = 0; return SUCCESS; }
API int cudaSetDevice(int d) { return d >= 0 && d < device_count ? SUCCESS : fail(INVALID_DEVICE); }
API int cudaDeviceSynchronize(void) { LOCKED(finish_copies();) }
API int cudaDeviceGetAttribute(int *value, int attribute, int device) {
    if (device < 0 || device >= device_count) return fail(INVALID_DEVICE);
    switch (attribute) {
        case 16: *value = 4; break; /* multiprocessors */
        case 75: *value = architecture / 10; break;
        case 76: *value = architecture % 10; break;
        case 97: *value = 232448; break; /* shared memory of a block */
        default: *value = 1;
    }
    return SUCCESS;
}
API int cudaGetDeviceProperties(void *properties, int device) {
    if (device < 0 || device >= device_count) return fail(INVALID_DEVICE);
    strcpy(properties, "Fake GPU");
    *(size_t *)((char *)properties + 288) = (size_t)4 << 30;
    return SUCCESS;
}
API int cudaMemGetInfo(size_t *available, size_t *total) {
    LOCKED(
        size_t used = 0;
        for (object *o = objects; o; o = o->next)
            if (o->kind == DEVICE) used += o->size;
        *total = budget < 0 ? (size_t)4 << 30 : (size_t)budget;
        *available = *total - used;
    )
}

API int cudaMalloc(void **p, size_t size) { return allocate(p, size, DEVICE); }
API int cudaMallocHost(void **p, size_t size) { return allocate(p, size, PINNED); }
API int cudaHostAlloc(void **p, size_t size, unsigned flags) { (void)flags; return allocate(p, size, PINNED); }
API int cudaFree(void *p) {
    if (!p) return SUCCESS;
    LOCKED(
        finish_copies();
        status = destroy(p, DEVICE);
    )
}
API int cudaFreeHost(void *p) {
    if (!p) return SUCCESS;
    LOCKED(status = destroy(p, PINNED);)
}

API int cudaMemcpy(void *to, const void *from, size_t size, int kind) {
    LOCKED(
        REQUIRE(copy_fits(to, from, size, kind), INVALID_VALUE)
        if (kind == 1) {
            begin_copy(to, from, size);
            break;
        }
        finish_copies();
        memcpy(to, from, size);
    )
}
API int cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, void *stream) {
    LOCKED(
        object *s = find(stream, STREAM);
        REQUIRE(s, INVALID_HANDLE)
        REQUIRE(copy_fits(to, from, size, kind), INVALID_VALUE)
        work w = {.to = to, .from = from, .size = size};
        status = submit(s, &w);
    )
}
API int cudaMemset(void *p, int value, size_t size) {
    LOCKED(
        REQUIRE(inside(p, size), INVALID_VALUE)
        finish_copies();
        memset(p, value, size);
    )
}
API int cudaMemsetAsync(void *p, int value, size_t size, void *stream) {
    LOCKED(
        object *s = find(stream, STREAM);
        REQUIRE(s, INVALID_HANDLE)
        REQUIRE(inside(p, size), INVALID_VALUE)
        work w = {.to = p, .value = value, .size = size};
        status = submit(s, &w);
    )
}

API int cudaStreamCreateWithFlags(void **stream, unsigned flags) {
    if (device_count < 1 || driver_version < 13000) return fail(35);
    LOCKED(
        REQUIRE(flags <= 1, INVALID_VALUE)
        *stream = make(STREAM);
    )
}
API int cudaStreamDestroy(void *stream) { LOCKED(status = destroy(stream, STREAM);) }
API int cudaStreamSynchronize(void *stream) {
    LOCKED(
        if (!stream) { /* the default one */
            finish_copies();
            break;
        }
        object *s = find(stream, STREAM);
        REQUIRE(s, INVALID_HANDLE)
        REQUIRE(!s->capturing, CAPTURE_UNSUPPORTED)
    )
}
API int cudaStreamQuery(void *stream) { return cudaStreamSynchronize(stream); }
API int cudaStreamWaitEvent(void *stream, void *event, unsigned flags) {
    (void)flags;
    LOCKED(REQUIRE(find(stream, STREAM) && find(event, EVENT), INVALID_HANDLE))
}
API int cudaStreamBeginCapture(void *stream, int mode) {
    (void)mode;
    LOCKED(
        object *s = find(stream, STREAM);
        REQUIRE(s && !s->capturing, INVALID_HANDLE)
        s->capturing = 1;
    )
}
API int cudaStreamIsCapturing(void *stream, int *capturing) {
    LOCKED(
        object *s = find(stream, STREAM);
        REQUIRE(s, INVALID_HANDLE)
        *capturing = s->capturing;
    )
}
API int cudaStreamEndCapture(void *stream, void **graph) {
    LOCKED(
        object *s = find(stream, STREAM);
        REQUIRE(s && s->capturing, INVALID_HANDLE)
        object *g = make(GRAPH);
        g->first = s->first;
        s->capturing = 0;
        s->first = s->last = NULL;
        *graph = g;
    )
}

API int cudaGraphInstantiate(void **exec, void *graph, unsigned long long flags) {
    (void)flags;
    LOCKED(
        object *g = find(graph, GRAPH);
        REQUIRE(g, INVALID_HANDLE)
        object *e = make(EXEC);
        work **end = &e->first;
        for (work *w = g->first; w; w = w->next) {
            *end = malloc(sizeof **end);
            **end = *w;
            (*end)->next = NULL;
            end = &(*end)->next;
        }
        *exec = e;
    )
}
API int cudaGraphUpload(void *exec, void *stream) {
    LOCKED(REQUIRE(find(exec, EXEC) && find(stream, STREAM), INVALID_HANDLE))
}
API int cudaGraphLaunch(void *exec, void *stream) {
    LOCKED(
        object *e = find(exec, EXEC);
        REQUIRE(e && find(stream, STREAM), INVALID_HANDLE)
        graph_launches++;
        for (work *w = e->first; w && status == SUCCESS; w = w->next) status = run(w);
    )
}
API int cudaGraphExecDestroy(void *exec) { LOCKED(status = destroy(exec, EXEC);) }
API int cudaGraphDestroy(void *graph) { LOCKED(status = destroy(graph, GRAPH);) }

API int cudaEventCreateWithFlags(void **event, unsigned flags) {
    (void)flags;
    LOCKED(*event = make(EVENT);)
}
API int cudaEventDestroy(void *event) { LOCKED(status = destroy(event, EVENT);) }
API int cudaEventRecord(void *event, void *stream) {
    LOCKED(
        object *e = find(event, EVENT);
        REQUIRE(e && find(stream, STREAM), INVALID_HANDLE)
        struct timespec real;
        clock_gettime(CLOCK_MONOTONIC, &real);
        e->time = device_clock.kernel ? device_clock.now : real.tv_sec * 1000000000L + real.tv_nsec;
        e->recorded = 1;
    )
}
API int cudaEventSynchronize(void *event) { LOCKED(REQUIRE(find(event, EVENT), INVALID_HANDLE)) }
API int cudaEventQuery(void *event) { return cudaEventSynchronize(event); }
API int cudaEventElapsedTime(float *ms, void *start, void *end) {
    LOCKED(
        object *a = find(start, EVENT);
        object *b = find(end, EVENT);
        REQUIRE(a && b && a->recorded && b->recorded, INVALID_HANDLE)
        *ms = (float)((b->time - a->time) * 1e-6);
    )
}

/* An image is what a compiler made (ELF or PTX); its kernels are this library's own functions. */
API int cudaLibraryLoadData(void **library, const void *code, void *o1, void *v1, unsigned n1, void *o2, void *v2, unsigned n2) {
    (void)o1; (void)v1; (void)n1; (void)o2; (void)v2; (void)n2;
    LOCKED(
        REQUIRE(code && *(const char *)code, INVALID_IMAGE)
        *library = make(LIBRARY);
    )
}
API int cudaLibraryUnload(void *library) { LOCKED(status = destroy(library, LIBRARY);) }
API int cudaLibraryGetKernel(void **kernel, void *library, const char *name) {
    LOCKED(
        REQUIRE(find(library, LIBRARY), INVALID_HANDLE)
        Dl_info here;
        void *self = dladdr(&objects, &here) ? dlopen(here.dli_fname, RTLD_NOW | RTLD_NOLOAD) : NULL;
        void *found = twins ? dlsym(twins, name) : NULL;
        if (!found && self) found = dlsym(self, name);
        if (self) dlclose(self);
        /* No breach: to ask for a kernel that is not there is allowed. */
        if (!found) {
            status = fail(SYMBOL_NOT_FOUND);
            break;
        }
        *kernel = found;
    )
}
API int cudaLaunchKernel(const void *kernel, dim3 grid, dim3 block, void **args, size_t shared, void *stream) {
    LOCKED(
        object *s = find(stream, STREAM);
        REQUIRE(s, INVALID_HANDLE)
        REQUIRE(kernel && grid.x && grid.y && grid.z && grid.y <= 65535 && grid.z <= 65535, INVALID_VALUE)
        REQUIRE(block.x && block.y && block.z <= 64, INVALID_VALUE)
        REQUIRE((uint64_t)block.x * block.y * block.z <= 1024 && shared <= 232448, INVALID_VALUE)
        work w = {.kernel = (twin *)kernel, .grid = grid, .block = block, .shared = shared};
        while (args && args[w.n] && w.n < MAX_ARGS) {
            memcpy(&w.values[w.n], args[w.n], sizeof w.values[0]);
            w.n++;
        }
        status = submit(s, &w);
    )
}
typedef struct { int id, pad, value[16]; } launch_attribute;
typedef struct { dim3 grid, block; size_t shared; void *stream; const launch_attribute *attributes; unsigned n; } launch_config;
_Static_assert(sizeof(launch_attribute) == 72 && sizeof(launch_config) == 56, "as in driver_types.h");
// Knows one attribute, the early start, and starts nothing early: work runs in the stream's order.
API int cudaLaunchKernelExC(const launch_config *c, const void *kernel, void **args) {
    if (!c || c->n != 1 || !c->attributes || c->attributes[0].id != 6 || c->attributes[0].value[0] != 1) return fail(INVALID_VALUE);
    early_launches++;
    return cudaLaunchKernel(kernel, c->grid, c->block, args, c->shared, c->stream);
}
API int cudaFuncSetAttribute(const void *f, int attribute, int value) {
    LOCKED(REQUIRE(f && attribute == 8 && value <= 232448, INVALID_VALUE))
}
API int cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, const void *f, int threads, size_t shared) {
    LOCKED(
        REQUIRE(f && threads > 0 && threads <= 1024, INVALID_VALUE)
        *blocks = shared > 116224 ? 1 : 2048 / threads;
    )
}
