/* The few calls of cuBLAS, cuBLASLt, cuSPARSE, cuSPARSELt, cuSOLVER and NVRTC that Espalier makes, as their manuals define
 * them, on the memory of the runtime without a device: column-major where they are, in float64 inside. Wrong sizes, dead
 * handles and ranges outside an allocation are breaches, as in cudart.c. What is computed waits in a stream that is recorded.
 */
#include "cudart.c"
#include <math.h>

#define COMPUTE_32F 68
#define COMPUTE_64F 70
enum { F32 = 0, F64 = 1, BF16 = 14 };
enum { PLAIN = 0, TRANSPOSED = 1 };
enum { COLUMNS_FIRST = 1, ROWS_FIRST = 2 };
enum { LOWER = 0, UPPER = 1 };
enum { NOT_INITIALIZED = 1, INVALID = 7, NOT_SUPPORTED = 15 };

static size_t width(int type) { return type == F64 ? 8 : type == F32 ? 4 : 2; }

static double get(const void *p, int type, long i) {
    if (type == F64) return ((const double *)p)[i];
    if (type == F32) return ((const float *)p)[i];
    uint32_t bits = (uint32_t)((const uint16_t *)p)[i] << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static void put(void *p, int type, long i, double value) {
    if (type == F64) ((double *)p)[i] = value;
    else if (type == F32) ((float *)p)[i] = (float)value;
    else {
        float single = (float)value;
        uint32_t bits;
        memcpy(&bits, &single, 4);
        ((uint16_t *)p)[i] = (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
    }
}

static double scalar(const void *p, int doubles) { return doubles ? *(const double *)p : *(const float *)p; }

/* A matrix as one of these libraries is told of it. */
typedef struct { void *start; long rows, columns, stride; int type, order, op; } matrix;

static long at(const matrix *m, long row, long column) {
    return m->order == ROWS_FIRST ? row * m->stride + column : column * m->stride + row;
}
static double element(const matrix *m, long row, long column) {
    return m->op == PLAIN ? get(m->start, m->type, at(m, row, column)) : get(m->start, m->type, at(m, column, row));
}
static long rows(const matrix *m) { return m->op == PLAIN ? m->rows : m->columns; }
static long columns(const matrix *m) { return m->op == PLAIN ? m->columns : m->rows; }
static int sound(const matrix *m) {
    long length = m->order == ROWS_FIRST ? m->columns : m->rows, lines = m->order == ROWS_FIRST ? m->rows : m->columns;
    return (m->type == F32 || m->type == F64 || m->type == BF16) && length > 0 && lines > 0 && m->stride >= length
            && inside(m->start, ((lines - 1) * m->stride + length) * width(m->type));
}

/* What a product is of; each library has its own way to A's elements. */
typedef struct {
    double alpha, beta;
    matrix a, b, c;
    const int *starts, *indices; /* CSR's */
    const char *pairs; /* cuSPARSELt's values, then their places */
} multiplication;

static void store(const multiplication *p, long i, long j, double sum) {
    double old = p->beta == 0 ? 0 : p->beta * get(p->c.start, p->c.type, at(&p->c, i, j));
    put(p->c.start, p->c.type, at(&p->c, i, j), p->alpha * sum + old);
}

/* C = alpha op(A) op(B) + beta C */
static void multiply(const void *arguments) {
    const multiplication *p = arguments;
    for (long i = 0; i < p->c.rows; i++)
        for (long j = 0; j < p->c.columns; j++) {
            double sum = 0;
            for (long k = 0; k < columns(&p->a); k++) sum += element(&p->a, i, k) * element(&p->b, k, j);
            store(p, i, j, sum);
        }
}
static int fits(const multiplication *p) {
    return sound(&p->a) && sound(&p->b) && sound(&p->c) && columns(&p->a) == rows(&p->b) && rows(&p->a) == p->c.rows
            && columns(&p->b) == p->c.columns;
}

static int submit_call(void *stream, void (*call)(const void *), const void *arguments, size_t size) {
    work w = {.call = call};
    memcpy(w.values, arguments, size);
    return submit(stream, &w);
}
#define SUBMIT(stream, call, arguments)                                                          \
    do {                                                                                          \
        _Static_assert(sizeof(arguments) <= MAX_ARGS * sizeof(uint64_t), "too many arguments");   \
        submit_call(stream, call, &(arguments), sizeof(arguments));                               \
    } while (0)

/* A stream for calls that wait for their result, which cannot be recorded. */
static object *idle_stream(void *stream) {
    object *s = find(stream, STREAM);
    return s && !s->capturing ? s : NULL;
}

static int version(int part, int *value, int major, int minor, int patch) {
    *value = part == 0 ? major : part == 1 ? minor : patch;
    return 0;
}

static int new_handle(void **handle) {
    if (device_count < 1 || driver_version < 13000) return NOT_INITIALIZED; /* the slot stays as it is */
    LOCKED(*handle = make(HANDLE);)
}
static int end(void *handle, enum kind kind) { LOCKED(status = destroy(handle, kind) ? INVALID : 0;) }

static const char *blas_name(int status) {
    switch (status) {
        case 0: return "CUBLAS_STATUS_SUCCESS";
        case NOT_INITIALIZED: return "CUBLAS_STATUS_NOT_INITIALIZED";
        case INVALID: return "CUBLAS_STATUS_INVALID_VALUE";
        case NOT_SUPPORTED: return "CUBLAS_STATUS_NOT_SUPPORTED";
        default: return "CUBLAS_STATUS_UNKNOWN";
    }
}

/* ---- cuBLAS ---- */

API int cublasGetProperty(int part, int *value) { return version(part, value, 13, 0, 0); }
API const char *cublasGetStatusName(int status) { return blas_name(status); }
API int cublasCreate_v2(void **handle) { return new_handle(handle); }
API int cublasDestroy_v2(void *handle) { return end(handle, HANDLE); }
API int cublasSetStream_v2(void *handle, void *stream) {
    LOCKED(
        object *h = find(handle, HANDLE);
        REQUIRE(h && find(stream, STREAM), INVALID)
        h->at[0] = stream;
        h->at[1] = NULL; /* the workspace is the library's own again */
    )
}
API int cublasSetWorkspace_v2(void *handle, void *workspace, size_t size) {
    LOCKED(
        object *h = find(handle, HANDLE);
        REQUIRE(h && inside(workspace, size), INVALID)
        h->at[1] = workspace;
    )
}
API int cublasGemmEx(void *handle, int ta, int tb, int m, int n, int k, const void *alpha, void *a, int a_type, int lda, void *b,
        int b_type, int ldb, const void *beta, void *c, int c_type, int ldc, int compute, int algorithm) {
    (void)algorithm;
    LOCKED(
        object *h = find(handle, HANDLE);
        int doubles = compute == COMPUTE_64F;
        multiplication p = {scalar(alpha, doubles), scalar(beta, doubles),
                {a, ta ? k : m, ta ? m : k, lda, a_type, COLUMNS_FIRST, ta},
                {b, tb ? n : k, tb ? k : n, ldb, b_type, COLUMNS_FIRST, tb},
                {c, m, n, ldc, c_type, COLUMNS_FIRST, PLAIN}};
        REQUIRE(h && h->at[0] && h->at[1], INVALID)
        REQUIRE(a_type == b_type && doubles == (a_type == F64) && (doubles || compute == COMPUTE_32F), INVALID)
        REQUIRE(fits(&p), INVALID)
        SUBMIT(h->at[0], multiply, p);
    )
}
/* C's triangle of alpha op(A) op(A)' + beta C; with B as the transpose of op(A), so that sizes are checked as for a product. */
static void triangle_upper(const void *arguments) {
    const multiplication *p = arguments;
    for (long i = 0; i < p->c.rows; i++)
        for (long j = 0; j < p->c.columns; j++) {
            double sum = 0;
            for (long k = 0; k < columns(&p->a); k++) sum += element(&p->a, i, k) * element(&p->b, k, j);
            if (i <= j) store(p, i, j, sum);
        }
}
static int syrk(void *handle, int uplo, int trans, int n, int k, double alpha, void *a, int lda, double beta, void *c, int ldc, int type) {
    LOCKED(
        object *h = find(handle, HANDLE);
        matrix A = {a, trans ? k : n, trans ? n : k, lda, type, COLUMNS_FIRST, trans};
        multiplication p = {alpha, beta, A, A, {c, n, n, ldc, type, COLUMNS_FIRST, PLAIN}};
        p.b.op = !trans;
        REQUIRE(h && h->at[0] && uplo == UPPER && fits(&p), INVALID)
        SUBMIT(h->at[0], triangle_upper, p);
    )
}
API int cublasSsyrk_v2(void *h, int u, int t, int n, int k, const float *alpha, void *a, int lda, const float *beta, void *c, int ldc) {
    return syrk(h, u, t, n, k, *alpha, a, lda, *beta, c, ldc, F32);
}
API int cublasDsyrk_v2(void *h, int u, int t, int n, int k, const double *alpha, void *a, int lda, const double *beta, void *c, int ldc) {
    return syrk(h, u, t, n, k, *alpha, a, lda, *beta, c, ldc, F64);
}

/* ---- cuBLASLt ---- */

API int cublasLtGetProperty(int part, int *value) { return version(part, value, 13, 0, 0); }
API const char *cublasLtGetStatusName(int status) { return blas_name(status); }
API int cublasLtCreate(void **handle) { return new_handle(handle); }
API int cublasLtDestroy(void *handle) { return end(handle, HANDLE); }
API int cublasLtMatmulDescCreate(void **descriptor, int compute, int scale) {
    LOCKED(
        REQUIRE(compute == COMPUTE_32F && scale == F32, INVALID)
        *descriptor = make(DESCRIPTOR);
    )
}
API int cublasLtMatmulDescDestroy(void *descriptor) { return end(descriptor, DESCRIPTOR); }
API int cublasLtMatmulDescSetAttribute(void *descriptor, int attribute, const void *value, size_t size) {
    LOCKED(
        object *d = find(descriptor, DESCRIPTOR);
        REQUIRE(d && (attribute == 3 || attribute == 4) && size == 4, INVALID)
        d->n[attribute - 3] = *(const int *)value;
    )
}
API int cublasLtMatrixLayoutCreate(void **descriptor, int type, uint64_t rows, uint64_t columns, int64_t stride) {
    LOCKED(
        object *d = make(DESCRIPTOR);
        d->n[0] = type;
        d->n[1] = rows;
        d->n[2] = columns;
        d->n[3] = stride;
        *descriptor = d;
    )
}
API int cublasLtMatrixLayoutDestroy(void *descriptor) { return end(descriptor, DESCRIPTOR); }
API int cublasLtMatmulPreferenceCreate(void **descriptor) { LOCKED(*descriptor = make(DESCRIPTOR);) }
API int cublasLtMatmulPreferenceDestroy(void *descriptor) { return end(descriptor, DESCRIPTOR); }
API int cublasLtMatmulPreferenceSetAttribute(void *descriptor, int attribute, const void *value, size_t size) {
    LOCKED(
        object *d = find(descriptor, DESCRIPTOR);
        REQUIRE(d && attribute == 1 && size == 8, INVALID)
        d->n[0] = *(const int64_t *)value;
    )
}

typedef struct { uint64_t data[8]; } algorithm;
typedef struct { algorithm algorithm; size_t workspace; int state; float waves; int reserved[4]; } heuristic;
static const uint64_t offered = 0xA190;

/* Offers the odd ones of what was asked for; the second is one that would not do. */
API int cublasLtMatmulAlgoGetHeuristic(void *handle, void *product, void *a, void *b, void *c, void *d, void *preference, int asked,
        heuristic *results, int *found) {
    LOCKED(
        REQUIRE(find(handle, HANDLE) && find(product, DESCRIPTOR) && find(preference, DESCRIPTOR), INVALID)
        REQUIRE(find(a, DESCRIPTOR) && find(b, DESCRIPTOR) && find(c, DESCRIPTOR) && find(d, DESCRIPTOR), INVALID)
        object *weights = a;
        *found = weights->n[1] == 13 ? 0 : asked < 3 ? asked : 3; /* 13 inputs: for the test of "none" */
        for (int i = 0; i < *found; i++) {
            memset(&results[i], 0, sizeof results[i]);
            results[i].algorithm.data[0] = offered + i;
            results[i].state = i == 1 ? NOT_SUPPORTED : 0;
        }
    )
}
API int cublasLtMatmul(void *handle, void *product, const float *alpha, void *a, void *a_layout, void *b, void *b_layout,
        const float *beta, void *c, void *c_layout, void *d, void *d_layout, const algorithm *algo, void *workspace, size_t size,
        void *stream) {
    LOCKED(
        object *p = find(product, DESCRIPTOR);
        object *la = find(a_layout, DESCRIPTOR);
        object *lb = find(b_layout, DESCRIPTOR);
        object *ld = find(d_layout, DESCRIPTOR);
        REQUIRE(find(handle, HANDLE) && p && la && lb && ld && find(stream, STREAM), INVALID)
        REQUIRE(c == d && c_layout == d_layout && inside(workspace, size), INVALID)
        REQUIRE(algo->data[0] == offered || algo->data[0] == offered + 2, INVALID)
        REQUIRE((uintptr_t)a % 256 == 0 && (uintptr_t)b % 256 == 0 && (uintptr_t)d % 256 == 0, INVALID)
        multiplication all = {*alpha, *beta, {a, la->n[1], la->n[2], la->n[3], la->n[0], COLUMNS_FIRST, p->n[0]},
                {b, lb->n[1], lb->n[2], lb->n[3], lb->n[0], COLUMNS_FIRST, p->n[1]},
                {d, ld->n[1], ld->n[2], ld->n[3], ld->n[0], COLUMNS_FIRST, PLAIN}};
        REQUIRE(fits(&all), INVALID)
        SUBMIT(stream, multiply, all);
    )
}

/* ---- cuSPARSE ---- */

API int cusparseGetProperty(int part, int *value) { return version(part, value, 12, 6, 3); }
API const char *cusparseGetErrorName(int status) {
    return status == 0 ? "CUSPARSE_STATUS_SUCCESS" : status == 1 ? "CUSPARSE_STATUS_NOT_INITIALIZED" : "CUSPARSE_STATUS_INVALID_VALUE";
}
API int cusparseCreate(void **handle) { return new_handle(handle); }
API int cusparseDestroy(void *handle) { return end(handle, HANDLE); }
API int cusparseSetStream(void *handle, void *stream) {
    LOCKED(
        object *h = find(handle, HANDLE);
        REQUIRE(h && find(stream, STREAM), INVALID)
        h->at[0] = stream;
    )
}
API int cusparseCreateCsr(void **descriptor, int64_t rows, int64_t columns, int64_t non_zeros, void *starts, void *indices, void *values,
        int starts_type, int indices_type, int base, int type) {
    LOCKED(
        REQUIRE(starts_type == 2 && indices_type == 2 && base == 0, INVALID)
        REQUIRE(inside(starts, (rows + 1) * 4) && inside(indices, non_zeros * 4) && inside(values, non_zeros * width(type)), INVALID)
        object *d = make(DESCRIPTOR);
        d->n[0] = rows;
        d->n[1] = columns;
        d->n[2] = non_zeros;
        d->n[3] = type;
        d->at[0] = starts;
        d->at[1] = indices;
        d->at[2] = values;
        *descriptor = d;
    )
}
API int cusparseDestroySpMat(void *descriptor) { return end(descriptor, DESCRIPTOR); }
API int cusparseCreateDnMat(void **descriptor, int64_t rows, int64_t columns, int64_t stride, void *values, int type, int order) {
    LOCKED(
        REQUIRE(values, INVALID)
        object *d = make(DESCRIPTOR);
        d->n[0] = rows;
        d->n[1] = columns;
        d->n[2] = stride;
        d->n[3] = type;
        d->n[4] = order;
        d->at[0] = values;
        *descriptor = d;
    )
}
API int cusparseCreateDnVec(void **descriptor, int64_t size, void *values, int type) {
    return cusparseCreateDnMat(descriptor, size, 1, size, values, type, COLUMNS_FIRST);
}
API int cusparseDestroyDnMat(void *descriptor) { return end(descriptor, DESCRIPTOR); }
API int cusparseDestroyDnVec(void *descriptor) { return end(descriptor, DESCRIPTOR); }
API int cusparseDnMatSetValues(void *descriptor, void *values) {
    LOCKED(
        object *d = find(descriptor, DESCRIPTOR);
        REQUIRE(d, INVALID)
        d->at[0] = values;
    )
}
API int cusparseDnVecSetValues(void *descriptor, void *values) { return cusparseDnMatSetValues(descriptor, values); }

static matrix dense(object *d) { return (matrix){d->at[0], d->n[0], d->n[1], d->n[2], d->n[3], d->n[4], PLAIN}; }

static void multiply_csr(const void *arguments) {
    const multiplication *p = arguments;
    for (long i = 0; i < p->c.rows; i++)
        for (long j = 0; j < p->c.columns; j++) {
            double sum = 0;
            for (int k = p->starts[i]; k < p->starts[i + 1]; k++)
                sum += get(p->a.start, p->a.type, k) * element(&p->b, p->indices[k], j);
            store(p, i, j, sum);
        }
}
static int csr_product(void *handle, void *a, void *b, void *c, const float *alpha, const float *beta, int compute, void *buffer, int run) {
    LOCKED(
        object *h = find(handle, HANDLE);
        object *da = find(a, DESCRIPTOR);
        object *db = find(b, DESCRIPTOR);
        object *dc = find(c, DESCRIPTOR);
        REQUIRE(h && h->at[0] && da && db && dc && compute == F32 && inside(buffer, 100), INVALID)
        multiplication p = {*alpha, *beta, {da->at[2], da->n[0], da->n[1], da->n[1], da->n[3], ROWS_FIRST, PLAIN}, dense(db), dense(dc),
                da->at[0], da->at[1]};
        REQUIRE(sound(&p.b) && sound(&p.c), INVALID)
        REQUIRE(p.a.columns == p.b.rows && p.a.rows == p.c.rows && p.b.columns == p.c.columns, INVALID)
        if (!run) {
            db->n[5] = dc->n[5] = 1; /* prepared */
            break;
        }
        REQUIRE(db->n[5] && dc->n[5], INVALID)
        SUBMIT(h->at[0], multiply_csr, p);
    )
}
static int buffer_size(void *handle, void *a, void *b, void *c, size_t *size) {
    LOCKED(
        REQUIRE(find(handle, HANDLE) && find(a, DESCRIPTOR) && find(b, DESCRIPTOR) && find(c, DESCRIPTOR), INVALID)
        *size = 100;
    )
}
API int cusparseSpMV_bufferSize(void *h, int op, const float *alpha, void *a, void *x, const float *beta, void *y, int type, int alg, size_t *size) {
    (void)op; (void)alpha; (void)beta; (void)type; (void)alg;
    return buffer_size(h, a, x, y, size);
}
API int cusparseSpMM_bufferSize(void *h, int op, int op2, const float *alpha, void *a, void *x, const float *beta, void *y, int type, int alg, size_t *size) {
    (void)op; (void)op2; (void)alpha; (void)beta; (void)type; (void)alg;
    return buffer_size(h, a, x, y, size);
}
API int cusparseSpMV_preprocess(void *h, int op, const float *alpha, void *a, void *x, const float *beta, void *y, int type, int alg, void *buffer) {
    (void)op; (void)alg;
    return csr_product(h, a, x, y, alpha, beta, type, buffer, 0);
}
API int cusparseSpMV(void *h, int op, const float *alpha, void *a, void *x, const float *beta, void *y, int type, int alg, void *buffer) {
    (void)op; (void)alg;
    return csr_product(h, a, x, y, alpha, beta, type, buffer, 1);
}
API int cusparseSpMM_preprocess(void *h, int op, int op2, const float *alpha, void *a, void *x, const float *beta, void *y, int type, int alg, void *buffer) {
    (void)op; (void)op2; (void)alg;
    return csr_product(h, a, x, y, alpha, beta, type, buffer, 0);
}
API int cusparseSpMM(void *h, int op, int op2, const float *alpha, void *a, void *x, const float *beta, void *y, int type, int alg, void *buffer) {
    (void)op; (void)op2; (void)alg;
    return csr_product(h, a, x, y, alpha, beta, type, buffer, 1);
}

/* ---- cuSPARSELt: the structs are the caller's, aligned to 16 ---- */

typedef struct { uint64_t magic; int64_t rows, columns, stride; int type, order, sparse; } lt_matrix;
typedef struct { uint64_t magic; lt_matrix a, b, c, d; int op_a, op_b; } lt_product;
typedef struct { uint64_t magic; lt_product product; } lt_plan;
enum { LT_HANDLE = 0x17A, LT_MATRIX, LT_PRODUCT, LT_SELECTION, LT_PLAN };

/* A struct of the caller's that was set up and not ended. */
static int is(const void *p, uint64_t magic) { return p && (uintptr_t)p % 16 == 0 && *(const uint64_t *)p == magic; }
static int set_up(void *p, uint64_t magic, enum kind kind) {
    if ((uintptr_t)p % 16) return breach(3);
    *(uint64_t *)p = magic;
    live[kind]++;
    made[kind]++;
    return 0;
}
static int tear_down(const void *p, uint64_t magic, enum kind kind) {
    LOCKED(
        REQUIRE(is(p, magic), 3)
        *(uint64_t *)p = 0;
        live[kind]--;
    )
}

static int lt_patch = 1;
API void fake_cusparselt(int patch) { lt_patch = patch; }
API int cusparseLtGetProperty(int part, int *value) { return version(part, value, 0, 8, lt_patch); }
API const char *cusparseLtGetErrorName(int status) { return cusparseGetErrorName(status); }
API int cusparseLtInit(void *handle) {
    if (device_count < 1 || driver_version < 13000) return NOT_INITIALIZED;
    LOCKED(status = set_up(handle, LT_HANDLE, HANDLE);)
}
API int cusparseLtDestroy(const void *handle) { return tear_down(handle, LT_HANDLE, HANDLE); }
static int lt_describe(const void *handle, lt_matrix *m, int64_t rows, int64_t columns, int64_t stride, unsigned alignment, int type, int order, int sparse) {
    LOCKED(
        REQUIRE(is(handle, LT_HANDLE) && type == BF16 && alignment == 16, 3)
        REQUIRE(rows % 8 == 0 && columns % 8 == 0 && stride % 8 == 0 && (!sparse || (rows % 16 == 0 && columns % 16 == 0)), 3)
        status = set_up(m, LT_MATRIX, DESCRIPTOR);
        m->rows = rows;
        m->columns = columns;
        m->stride = stride;
        m->type = type;
        m->order = order;
        m->sparse = sparse;
    )
}
API int cusparseLtDenseDescriptorInit(const void *h, void *m, int64_t r, int64_t c, int64_t ld, unsigned a, int type, int order) {
    return lt_describe(h, m, r, c, ld, a, type, order, 0);
}
API int cusparseLtStructuredDescriptorInit(const void *h, void *m, int64_t r, int64_t c, int64_t ld, unsigned a, int type, int order, int s) {
    if (s != 0) return breach(3); /* 50 % */
    return lt_describe(h, m, r, c, ld, a, type, order, 1);
}
API int cusparseLtMatDescriptorDestroy(const void *m) { return tear_down(m, LT_MATRIX, DESCRIPTOR); }
API int cusparseLtMatmulDescriptorInit(const void *h, lt_product *p, int op_a, int op_b, const lt_matrix *a, const lt_matrix *b,
        const lt_matrix *c, const lt_matrix *d, int compute) {
    LOCKED(
        REQUIRE(is(h, LT_HANDLE) && is(a, LT_MATRIX) && is(b, LT_MATRIX) && is(c, LT_MATRIX) && is(d, LT_MATRIX), 3)
        REQUIRE((uintptr_t)p % 16 == 0 && a->sparse && !b->sparse && !d->sparse && compute == 2, 3)
        *p = (lt_product){LT_PRODUCT, *a, *b, *c, *d, op_a, op_b}; /* has no end of its own */
    )
}
API int cusparseLtMatmulAlgSelectionInit(const void *h, void *selection, const void *p, int algorithm) {
    LOCKED(
        REQUIRE(is(h, LT_HANDLE) && is(p, LT_PRODUCT) && algorithm == 0, 3)
        status = set_up(selection, LT_SELECTION, DESCRIPTOR);
    )
}
API int cusparseLtMatmulAlgSelectionDestroy(const void *selection) { return tear_down(selection, LT_SELECTION, DESCRIPTOR); }
API int cusparseLtMatmulPlanInit(const void *h, lt_plan *plan, const lt_product *p, const void *selection) {
    LOCKED(
        REQUIRE(is(h, LT_HANDLE) && is(p, LT_PRODUCT) && is(selection, LT_SELECTION), 3)
        status = set_up(plan, LT_PLAN, DESCRIPTOR);
        plan->product = *p;
    )
}
API int cusparseLtMatmulPlanDestroy(const void *plan) { return tear_down(plan, LT_PLAN, DESCRIPTOR); }
API int cusparseLtMatmulGetWorkspace(const void *h, const void *plan, size_t *size) {
    LOCKED(
        REQUIRE(is(h, LT_HANDLE) && is(plan, LT_PLAN), 3)
        *size = 64;
    )
}

static size_t lt_values(long rows, long columns, int type) { return rows * columns / 2 * width(type); }

API int cusparseLtSpMMAPruneCheck(const void *h, const lt_product *p, const void *weights, int *invalid, void *stream) {
    LOCKED(
        REQUIRE(is(h, LT_HANDLE) && is(p, LT_PRODUCT) && idle_stream(stream) && inside(invalid, 4), 3)
        matrix A = {(void *)weights, p->a.rows, p->a.columns, p->a.stride, p->a.type, p->a.order, p->op_a};
        REQUIRE(sound(&A), 3)
        // As 0.8.0 does it on an H100: what is right is not written down.
        for (long i = 0; i < A.rows; i++)
            for (long j = 0; j < A.columns; j += 4) {
                int n = 0;
                for (int q = 0; q < 4; q++) n += element(&A, i, j + q) != 0;
                if (n > 2) *invalid = 1;
            }
    )
}
API int cusparseLtSpMMACompressedSize(const void *h, const lt_plan *plan, size_t *size, size_t *buffer) {
    LOCKED(
        REQUIRE(is(h, LT_HANDLE) && is(plan, LT_PLAN), 3)
        const lt_matrix *a = &plan->product.a;
        *size = lt_values(a->rows, a->columns, a->type) + a->rows * a->columns / 4;
        *buffer = 32;
    )
}
API int cusparseLtSpMMACompress(const void *h, const lt_plan *plan, const void *weights, char *compressed, void *buffer, void *stream) {
    LOCKED(
        REQUIRE(is(h, LT_HANDLE) && is(plan, LT_PLAN) && idle_stream(stream) && inside(buffer, 32), 3)
        const lt_product *p = &plan->product;
        matrix A = {(void *)weights, p->a.rows, p->a.columns, p->a.stride, p->a.type, p->a.order, p->op_a};
        size_t values = lt_values(p->a.rows, p->a.columns, p->a.type);
        REQUIRE(sound(&A) && inside(compressed, values + A.rows * A.columns / 4), 3)
        long to = 0;
        for (long i = 0; i < A.rows; i++)
            for (long j = 0; j < A.columns; j += 4) {
                int n = 0, index[2] = {0, 0};
                for (int q = 0; q < 4; q++)
                    if (element(&A, i, j + q) != 0 && n < 2) index[n++] = q;
                for (int q = 0; q < 2; q++) put(compressed, A.type, 2 * to + q, q < n ? element(&A, i, j + index[q]) : 0);
                compressed[values + to++] = (char)(index[0] | index[1] << 2);
            }
    )
}
static void multiply_pairs(const void *arguments) {
    const multiplication *p = arguments;
    long inputs = p->a.columns;
    const char *places = p->pairs + lt_values(p->a.rows, inputs, p->a.type);
    for (long i = 0; i < p->c.rows; i++)
        for (long j = 0; j < p->c.columns; j++) {
            double sum = 0;
            for (long k = 0; k < inputs; k += 4) {
                long group = (i * inputs + k) / 4;
                sum += get(p->pairs, p->a.type, 2 * group) * element(&p->b, k + (places[group] & 3), j);
                sum += get(p->pairs, p->a.type, 2 * group + 1) * element(&p->b, k + (places[group] >> 2 & 3), j);
            }
            store(p, i, j, sum);
        }
}
API int cusparseLtMatmul(const void *h, const lt_plan *plan, const float *alpha, const char *a, void *b, const float *beta, void *c,
        void *d, void *workspace, void **streams, int count) {
    LOCKED(
        REQUIRE(is(h, LT_HANDLE) && is(plan, LT_PLAN) && count == 1 && find(streams[0], STREAM) && inside(workspace, 64), 3)
        const lt_product *lt = &plan->product;
        size_t values = lt_values(lt->a.rows, lt->a.columns, lt->a.type);
        REQUIRE(c == d && inside(a, values + lt->a.rows * lt->a.columns / 4), 3)
        multiplication p = {*alpha, *beta, {NULL, lt->a.rows, lt->a.columns, lt->a.stride, lt->a.type, lt->a.order, PLAIN},
                {b, lt->b.rows, lt->b.columns, lt->b.stride, lt->b.type, lt->b.order, lt->op_b},
                {d, lt->d.rows, lt->d.columns, lt->d.stride, lt->d.type, lt->d.order, PLAIN}, NULL, NULL, a};
        REQUIRE(sound(&p.b) && sound(&p.c) && rows(&p.b) == p.a.columns, 3)
        REQUIRE(p.c.rows == p.a.rows && p.c.columns == columns(&p.b), 3)
        SUBMIT(streams[0], multiply_pairs, p);
    )
}
API int cusparseLtMatmulSearch(const void *h, lt_plan *plan, const float *alpha, const char *a, void *b, const float *beta, void *c,
        void *d, void *workspace, void **streams, int count) {
    if (!idle_stream(streams[0])) return breach(3);
    return cusparseLtMatmul(h, plan, alpha, a, b, beta, c, d, workspace, streams, count);
}

/* ---- cuSOLVER ---- */

API int cusolverGetProperty(int part, int *value) { return version(part, value, 12, 0, 4); }
API int cusolverDnCreate(void **handle) { return new_handle(handle); }
API int cusolverDnDestroy(void *handle) { return end(handle, HANDLE); }
API int cusolverDnCreateParams(void **params) { LOCKED(*params = make(DESCRIPTOR);) }
API int cusolverDnDestroyParams(void *params) { return end(params, DESCRIPTOR); }
API int cusolverDnSetStream(void *handle, void *stream) { return cusparseSetStream(handle, stream) ? 3 : 0; }

/* The triangle that is said to be there; element (i, j) of the symmetric matrix or, with i >= j, of its factor L. */
static long triangle(const matrix *m, int uplo, long i, long j) { return uplo == UPPER ? at(m, j, i) : at(m, i, j); }

API int cusolverDnXpotrf_bufferSize(void *handle, void *params, int uplo, int64_t n, int type, const void *a, int64_t lda, int compute,
        size_t *device, size_t *host) {
    (void)uplo; (void)a; (void)lda;
    LOCKED(
        REQUIRE(find(handle, HANDLE) && find(params, DESCRIPTOR) && n > 0 && type == compute, 3)
        *device = 64;
        *host = 16;
    )
}
typedef struct { matrix a; int uplo; int *info; } symmetric;
static double entry(const symmetric *s, long i, long j) { return get(s->a.start, s->a.type, triangle(&s->a, s->uplo, i, j)); }
static void set_entry(const symmetric *s, long i, long j, double value) {
    put(s->a.start, s->a.type, triangle(&s->a, s->uplo, i, j), value);
}
static object *solver_stream(void *handle) {
    object *h = find(handle, HANDLE);
    return h ? idle_stream(h->at[0]) : NULL;
}

static void potrf(const void *arguments) {
    const symmetric *s = arguments;
    *s->info = 0;
    for (long j = 0; j < s->a.rows; j++)
        for (long i = j; i < s->a.rows; i++) {
            double sum = entry(s, i, j);
            for (long k = 0; k < j; k++) sum -= entry(s, i, k) * entry(s, j, k);
            if (i == j && sum <= 0) {
                *s->info = (int)j + 1;
                return;
            }
            set_entry(s, i, j, i == j ? sqrt(sum) : sum / entry(s, j, j));
        }
}
API int cusolverDnXpotrf(void *handle, void *params, int uplo, int64_t n, int type, void *a, int64_t lda, int compute, void *device,
        size_t device_size, void *host, size_t host_size, int *info) {
    (void)compute;
    LOCKED(
        symmetric s = {{a, n, n, lda, type, COLUMNS_FIRST, PLAIN}, uplo, info};
        object *stream = solver_stream(handle);
        REQUIRE(stream && find(params, DESCRIPTOR) && sound(&s.a) && inside(device, device_size) && inside(info, 4), 3)
        REQUIRE(device_size == 64 && host_size == 16, 3)
        memset(host, 0, host_size);
        SUBMIT(stream, potrf, s);
    )
}
static int potri_size(void *handle, int *size) { LOCKED(REQUIRE(find(handle, HANDLE), 3) *size = 24;) }
API int cusolverDnSpotri_bufferSize(void *h, int uplo, int n, void *a, int lda, int *size) {
    (void)uplo; (void)n; (void)a; (void)lda;
    return potri_size(h, size);
}
API int cusolverDnDpotri_bufferSize(void *h, int uplo, int n, void *a, int lda, int *size) {
    (void)uplo; (void)n; (void)a; (void)lda;
    return potri_size(h, size);
}
/* The inverse's column j solves L Lᵀ x = e_j. */
static void potri(const void *arguments) {
    const symmetric *s = arguments;
    long n = s->a.rows;
    *s->info = 0;
    double *inverse = malloc(sizeof(double) * n * n);
    for (long j = 0; j < n; j++) {
        double *x = inverse + j * n;
        for (long i = 0; i < n; i++) {
            double sum = i == j;
            for (long k = 0; k < i; k++) sum -= entry(s, i, k) * x[k];
            x[i] = sum / entry(s, i, i);
        }
        for (long i = n - 1; i >= 0; i--) {
            for (long k = i + 1; k < n; k++) x[i] -= entry(s, k, i) * x[k];
            x[i] /= entry(s, i, i);
        }
    }
    for (long j = 0; j < n; j++)
        for (long i = j; i < n; i++) set_entry(s, i, j, inverse[j * n + i]);
    free(inverse);
}
static int invert(void *handle, int uplo, int n, void *a, int lda, void *work, int size, int *info, int type) {
    LOCKED(
        symmetric s = {{a, n, n, lda, type, COLUMNS_FIRST, PLAIN}, uplo, info};
        object *stream = solver_stream(handle);
        REQUIRE(stream && sound(&s.a) && size == 24 && inside(work, size * width(type)) && inside(info, 4), 3)
        SUBMIT(stream, potri, s);
    )
}
API int cusolverDnSpotri(void *h, int uplo, int n, void *a, int lda, void *work, int size, int *info) {
    return invert(h, uplo, n, a, lda, work, size, info, F32);
}
API int cusolverDnDpotri(void *h, int uplo, int n, void *a, int lda, void *work, int size, int *info) {
    return invert(h, uplo, n, a, lda, work, size, info, F64);
}

/* ---- NVRTC: an image is what a cubin begins with, and the source ---- */

enum { NVRTC_INVALID_INPUT = 3, NVRTC_INVALID_PROGRAM = 4, NVRTC_INVALID_OPTION = 5 };
static const int architectures[] = {75, 80, 90, 100};
static const int architecture_count = sizeof architectures / sizeof architectures[0];
static const char elf[64] = "\177ELF";
typedef struct { size_t size; char *image; } program;

API int nvrtcVersion(int *major, int *minor) { *major = 13; *minor = 0; return 0; }
API const char *nvrtcGetErrorString(int status) {
    return status == NVRTC_INVALID_OPTION ? "NVRTC_ERROR_INVALID_OPTION" : status ? "NVRTC_ERROR_INVALID_INPUT" : "NVRTC_SUCCESS";
}
API int nvrtcGetNumSupportedArchs(int *count) { *count = architecture_count; return 0; }
API int nvrtcGetSupportedArchs(int *numbers) { memcpy(numbers, architectures, sizeof architectures); return 0; }
API int nvrtcCreateProgram(program **made, const char *source, const char *name, int headers, void *h, void *n) {
    (void)h; (void)n;
    if (!source || !name || headers) return NVRTC_INVALID_INPUT;
    program *p = malloc(sizeof *p);
    p->size = sizeof elf + strlen(source);
    p->image = malloc(p->size);
    memcpy(p->image, elf, sizeof elf);
    memcpy(p->image + sizeof elf, source, p->size - sizeof elf);
    *made = p;
    return 0;
}
API int nvrtcDestroyProgram(program **p) {
    free((*p)->image);
    free(*p);
    *p = NULL;
    return 0;
}
API int nvrtcCompileProgram(program *p, int count, const char *const *options) {
    if (!p) return NVRTC_INVALID_PROGRAM;
    for (int i = 0; i < count; i++)
        if (!strncmp(options[i], "--gpu-architecture=sm_", 22))
            for (int j = 0; j < architecture_count; j++)
                if (atoi(options[i] + 22) == architectures[j]) return 0;
    return NVRTC_INVALID_OPTION;
}
API int nvrtcGetProgramLogSize(program *p, size_t *size) { (void)p; *size = 1; return 0; }
API int nvrtcGetProgramLog(program *p, char *log) { (void)p; *log = 0; return 0; }
API int nvrtcGetCUBINSize(program *p, size_t *size) { *size = p->size; return 0; }
API int nvrtcGetCUBIN(program *p, char *cubin) { memcpy(cubin, p->image, p->size); return 0; }
