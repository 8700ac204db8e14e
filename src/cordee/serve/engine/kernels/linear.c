/* y = x W^T: rows of activations in float32 times weights in float32, bfloat16 or int8.
 *
 * W is stored as in the checkpoint, [outputs, inputs], so that it can be used from the file's own
 * pages. One output is eight partial sums over the inputs, each in order, added in a fixed order at
 * the end: the same bits for one row and for a thousand.
 */
#include <stdlib.h>

#include "vectors.h"

enum kind { FLOAT32, BFLOAT16, INT8 };

struct weights {
    const void *data;     /* [outputs, inputs] */
    const float *scales;  /* [outputs], int8 only */
    const float *bias;    /* [outputs] or NULL */
    int64_t outputs, inputs;
    int32_t kind;
};

#define ROWS_AT_ONCE 3 /* tile of 3 rows x 4 outputs: twelve sums, in registers */
#define OUTPUTS_AT_ONCE 4
#define BLOCK_ROWS 48 /* rows whose activations stay in the second-level cache */

INLINE v8 weights_at(const void *data, int64_t index, int kind)
{
    if (kind == FLOAT32)
        return load((const float *)data + index);
    if (kind == BFLOAT16)
        return load_bfloat16((const uint16_t *)data + index);
    return load_int8((const int8_t *)data + index);
}

/* Sums of `rows` x `outputs` products; all counts but `inputs` are known when this is compiled. */
INLINE void tile(int rows, int outputs, int kind, const float *x, int64_t x_stride, const void *w,
                 int64_t inputs, float sums[ROWS_AT_ONCE][8])
{
    v8 acc[ROWS_AT_ONCE][8];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int o = 0; o < outputs; o++)
            acc[r][o] = splat(0);
    for (int64_t k = 0; k < inputs; k += LANES) {
        v8 a[ROWS_AT_ONCE];
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++)
            a[r] = load(x + r * x_stride + k);
#pragma GCC unroll 8
        for (int o = 0; o < outputs; o++) {
            v8 b = weights_at(w, o * inputs + k, kind);
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++)
                acc[r][o] += a[r] * b;
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int o = 0; o < outputs; o++)
            sums[r][o] = sum(acc[r][o]);
}

INLINE void write_out(const struct weights *w, int rows, int outputs, int64_t first,
                      float sums[ROWS_AT_ONCE][8], float *y, int64_t y_stride, int add)
{
    for (int r = 0; r < rows; r++)
        for (int o = 0; o < outputs; o++) {
            float value = sums[r][o];
            if (w->kind == INT8)
                value *= w->scales[first + o];
            if (w->bias)
                value += w->bias[first + o];
            float *to = y + r * y_stride + first + o;
            *to = add ? *to + value : value;
        }
}

/* A tile whose numbers of rows and outputs the compiler is to know. */
#define TILE(ROWS, OUTPUTS, KIND, DATA)                                                            \
    do {                                                                                           \
        float sums[ROWS_AT_ONCE][8];                                                               \
        tile(ROWS, OUTPUTS, KIND, x, x_stride, DATA, w->inputs, sums);                             \
        write_out(w, ROWS, OUTPUTS, first, sums, y, y_stride, add);                                \
    } while (0)

#define ROW_TILES(OUTPUTS, KIND, DATA)                                                             \
    do {                                                                                           \
        for (; rows >= 3; rows -= 3, x += 3 * x_stride, y += 3 * y_stride)                         \
            TILE(3, OUTPUTS, KIND, DATA);                                                          \
        if (rows == 2)                                                                             \
            TILE(2, OUTPUTS, KIND, DATA);                                                          \
        else if (rows == 1)                                                                        \
            TILE(1, OUTPUTS, KIND, DATA);                                                          \
    } while (0)

INLINE const void *outputs_from(const struct weights *w, int64_t first)
{
    int64_t size = w->kind == FLOAT32 ? 4 : w->kind == BFLOAT16 ? 2 : 1;
    return (const char *)w->data + first * w->inputs * size;
}

/* Few rows: weights are the cost, and each is converted where it is used. */
static void few_rows(const struct weights *w, int64_t first, int64_t last, const float *x,
                     int64_t x_stride, int rows, float *y, int64_t y_stride, int add)
{
    while (first < last) {
        const void *data = outputs_from(w, first);
        int64_t left = last - first;
        if (rows == 1 && left >= 8) {
            switch (w->kind) {
            case FLOAT32: TILE(1, 8, FLOAT32, data); break;
            case BFLOAT16: TILE(1, 8, BFLOAT16, data); break;
            default: TILE(1, 8, INT8, data);
            }
            first += 8;
            continue;
        }
        int one = left < OUTPUTS_AT_ONCE;
#define FEW(ROWS, KIND)                                                                            \
    if (one)                                                                                       \
        TILE(ROWS, 1, KIND, data);                                                                 \
    else                                                                                           \
        TILE(ROWS, 4, KIND, data)
#define FEW_OF(ROWS)                                                                               \
    switch (w->kind) {                                                                             \
    case FLOAT32: FEW(ROWS, FLOAT32); break;                                                       \
    case BFLOAT16: FEW(ROWS, BFLOAT16); break;                                                     \
    default: FEW(ROWS, INT8);                                                                      \
    }
        if (rows == 1) {
            FEW_OF(1)
        } else if (rows == 2) {
            FEW_OF(2)
        } else {
            FEW_OF(3)
        }
        first += one ? 1 : OUTPUTS_AT_ONCE;
    }
}

/* Many rows: four outputs' weights become floats once, and are used for all of them. */
static void many_rows(const struct weights *w, int64_t first, int64_t last, const float *x_first,
                      int64_t x_stride, int all_rows, float *y_first, int64_t y_stride, int add,
                      float *wide)
{
    while (first < last) {
        int outputs = last - first >= OUTPUTS_AT_ONCE ? OUTPUTS_AT_ONCE : 1;
        const void *data = outputs_from(w, first);
        const float *x = x_first;
        float *y = y_first;
        int rows = all_rows;
        const float *narrow = data;
        if (w->kind != FLOAT32) {
            for (int64_t i = 0; i < outputs * w->inputs; i += LANES)
                store(wide + i, weights_at(data, i, w->kind == BFLOAT16 ? BFLOAT16 : INT8));
            narrow = wide;
        }
        if (outputs == OUTPUTS_AT_ONCE)
            ROW_TILES(4, FLOAT32, narrow);
        else
            ROW_TILES(1, FLOAT32, narrow);
        first += outputs;
    }
}

#define PART 32 /* outputs that one thread takes at a time */

/* y[rows, outputs] = x[rows, inputs] W^T + bias, or added to what y holds. inputs: multiple of 8. */
void cordee_linear(const struct weights *w, const float *x, int64_t x_stride, int64_t rows, float *y,
                   int64_t y_stride, int32_t add, int32_t threads)
{
    int64_t parts = (w->outputs + PART - 1) / PART;
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        float *wide = NULL;
        if (rows > ROWS_AT_ONCE && w->kind != FLOAT32)
            wide = aligned_alloc(64, (size_t)(w->inputs * OUTPUTS_AT_ONCE * 4 + 63) / 64 * 64);
#pragma omp for schedule(dynamic, 2)
        for (int64_t part = 0; part < parts; part++) {
            int64_t first = part * PART;
            int64_t last = first + PART < w->outputs ? first + PART : w->outputs;
            for (int64_t r = 0; r < rows; r += BLOCK_ROWS) {
                int count = rows - r < BLOCK_ROWS ? (int)(rows - r) : BLOCK_ROWS;
                const float *from = x + r * x_stride;
                float *to = y + r * y_stride;
                if (count <= ROWS_AT_ONCE && rows <= ROWS_AT_ONCE)
                    few_rows(w, first, last, from, x_stride, count, to, y_stride, add);
                else if (wide || w->kind == FLOAT32)
                    many_rows(w, first, last, from, x_stride, count, to, y_stride, add, wide);
            }
        }
        free(wide);
    }
}

/* Rows of weights to int8: each row by its largest magnitude. */
void cordee_quantize(const void *data, int32_t kind, int64_t outputs, int64_t inputs, int8_t *out,
                     float *scales, int32_t threads)
{
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (int64_t o = 0; o < outputs; o++) {
        v8 most = splat(0);
        for (int64_t k = 0; k < inputs; k += LANES) {
            v8 value = weights_at(data, o * inputs + k, kind == BFLOAT16 ? BFLOAT16 : FLOAT32);
            most = larger(most, larger(value, -value));
        }
        float largest = 0;
        for (int lane = 0; lane < LANES; lane++)
            largest = most[lane] > largest ? most[lane] : largest;
        float scale = largest > 0 ? largest / 127.0f : 1.0f;
        scales[o] = scale;
        v8 inverse = splat(1.0f / scale);
        for (int64_t k = 0; k < inputs; k += LANES) {
            v8 value = weights_at(data, o * inputs + k, kind == BFLOAT16 ? BFLOAT16 : FLOAT32);
            v8 scaled = value * inverse;
            v8 half = (v8)(((i8x32)scaled & INT32_MIN) | (i8x32)splat(0.5f));
            i8x32 whole = __builtin_convertvector(scaled + half, i8x32);
            s8x8 bytes = __builtin_convertvector(whole, s8x8);
            memcpy(out + o * inputs + k, &bytes, sizeof bytes);
        }
    }
}
