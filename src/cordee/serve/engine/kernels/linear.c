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

#define FEW_ROWS 3   /* up to so many rows use weights as they come */
#define TILE_ROWS 4  /* more: tiles of 4 rows x 3 outputs, twelve sums, in registers */
#define TILE_OUTPUTS 3
#define BLOCK_ROWS 48 /* rows whose activations stay in the second-level cache */
#define PART 48       /* outputs that one thread takes at a time: a multiple of 3 and 8 */

INLINE int64_t weight_bytes(int kind)
{
    return kind == FLOAT32 ? 4 : kind == BFLOAT16 ? 2 : 1;
}

INLINE v8 weights_at(const void *data, int64_t index, int kind)
{
    if (kind == FLOAT32)
        return load((const float *)data + index);
    if (kind == BFLOAT16)
        return load_bfloat16((const uint16_t *)data + index);
    return load_int8((const int8_t *)data + index);
}

INLINE void write_out(const struct weights *w, int64_t output, float value, float *to, int add)
{
    if (w->kind == INT8)
        value *= w->scales[output];
    if (w->bias)
        value += w->bias[output];
    *to = add ? *to + value : value;
}

/* Few rows: weights are the cost, and each is converted where it is used. All counts but `inputs` are
 * known when this is compiled. The weights that follow are asked for meanwhile. */
INLINE void few(int rows, int outputs, int kind, const struct weights *w, int64_t first,
                const float *x, int64_t x_stride, float *y, int64_t y_stride, int add)
{
    int64_t inputs = w->inputs, size = weight_bytes(kind);
    const char *data = (const char *)w->data + first * inputs * size;
    const char *ahead = data + outputs * inputs * size;
    v8 acc[FEW_ROWS][8];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int o = 0; o < outputs; o++)
            acc[r][o] = splat(0);
    for (int64_t k = 0; k < inputs; k += LANES) {
        v8 a[FEW_ROWS];
        for (int64_t line = 0; line < outputs * LANES * size; line += 64)
            __builtin_prefetch(ahead + k * outputs * size + line);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            a[r] = load(x + r * x_stride + k);
            IN_REGISTER(a[r]);
        }
#pragma GCC unroll 8
        for (int o = 0; o < outputs; o++) {
            v8 b = weights_at(data, o * inputs + k, kind);
            if (rows > 1)
                IN_REGISTER(b);
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++)
                acc[r][o] = fused(a[r], b, acc[r][o]);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int o = 0; o < outputs; o++)
            write_out(w, first + o, sum(acc[r][o]), y + r * y_stride + first + o, add);
}

#define FEW(ROWS, OUTPUTS, KIND)                                                                   \
    for (; first + OUTPUTS <= last; first += OUTPUTS)                                              \
    few(ROWS, OUTPUTS, KIND, w, first, x, x_stride, y, y_stride, add)

#define FEW_OF_KIND(KIND)                                                                          \
    if (rows == 1) {                                                                               \
        FEW(1, 8, KIND);                                                                           \
        FEW(1, 1, KIND);                                                                           \
    } else if (rows == 2) {                                                                        \
        FEW(2, 4, KIND);                                                                           \
        FEW(2, 1, KIND);                                                                           \
    } else {                                                                                       \
        FEW(3, 4, KIND);                                                                           \
        FEW(3, 1, KIND);                                                                           \
    }

static void few_rows(const struct weights *w, int64_t first, int64_t last, const float *x,
                     int64_t x_stride, int64_t rows, float *y, int64_t y_stride, int add)
{
    if (w->kind == FLOAT32) {
        FEW_OF_KIND(FLOAT32)
    } else if (w->kind == BFLOAT16) {
        FEW_OF_KIND(BFLOAT16)
    } else {
        FEW_OF_KIND(INT8)
    }
}

/* Many rows: activations are packed once, [tiles, inputs / 8, rows of the tile, 8], and weights as they
 * are reached, [inputs / 8, outputs, 8], so that a tile reads two streams and nothing else. */
static void pack_rows(const float *x, int64_t x_stride, int64_t rows, int64_t inputs, float *packed)
{
    for (int64_t k = 0; k < inputs; k += LANES)
        for (int64_t r = 0; r < rows; r++)
            store(packed + k * rows + r * LANES, load(x + r * x_stride + k));
}

INLINE void pack_of_kind(int outputs, int kind, const struct weights *w, int64_t first, float *packed)
{
    int64_t inputs = w->inputs, size = weight_bytes(kind);
    const char *data = (const char *)w->data + first * inputs * size;
    const char *ahead = data + outputs * inputs * size;
    for (int64_t k = 0; k < inputs; k += LANES) {
        __builtin_prefetch(ahead + k * outputs * size);
        for (int o = 0; o < outputs; o++)
            store(packed + (k * outputs + o * LANES), weights_at(data, o * inputs + k, kind));
    }
}

INLINE void pack_weights(int outputs, const struct weights *w, int64_t first, float *packed)
{
    if (w->kind == FLOAT32)
        pack_of_kind(outputs, FLOAT32, w, first, packed);
    else if (w->kind == BFLOAT16)
        pack_of_kind(outputs, BFLOAT16, w, first, packed);
    else
        pack_of_kind(outputs, INT8, w, first, packed);
}

INLINE void tile(int rows, int outputs, const struct weights *w, int64_t first, const float *x,
                 const float *packed, float *y, int64_t y_stride, int add)
{
    v8 acc[TILE_ROWS][TILE_OUTPUTS];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int o = 0; o < outputs; o++)
            acc[r][o] = splat(0);
    for (int64_t k = 0; k < w->inputs; k += LANES) {
        v8 b[TILE_OUTPUTS];
#pragma GCC unroll 8
        for (int o = 0; o < outputs; o++)
            b[o] = load(packed + k * outputs + o * LANES);
#pragma GCC unroll 8
        for (int o = 0; o < outputs; o++)
            IN_REGISTER(b[o]);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            v8 a = load(x + k * rows + r * LANES);
            IN_REGISTER(a);
#pragma GCC unroll 8
            for (int o = 0; o < outputs; o++)
                acc[r][o] = fused(a, b[o], acc[r][o]);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int o = 0; o < outputs; o++)
            write_out(w, first + o, sum(acc[r][o]), y + r * y_stride + first + o, add);
}

INLINE void tiles(int outputs, const struct weights *w, int64_t first, const float *x, int64_t rows,
                  const float *packed, float *y, int64_t y_stride, int add)
{
    for (; rows >= TILE_ROWS; rows -= TILE_ROWS) {
        tile(TILE_ROWS, outputs, w, first, x, packed, y, y_stride, add);
        x += TILE_ROWS * w->inputs;
        y += TILE_ROWS * y_stride;
    }
    if (rows == 3)
        tile(3, outputs, w, first, x, packed, y, y_stride, add);
    else if (rows == 2)
        tile(2, outputs, w, first, x, packed, y, y_stride, add);
    else if (rows == 1)
        tile(1, outputs, w, first, x, packed, y, y_stride, add);
}

static void many_rows(const struct weights *w, int64_t first, int64_t last, const float *x,
                      int64_t rows, float *y, int64_t y_stride, int add, float *packed)
{
    for (; first + TILE_OUTPUTS <= last; first += TILE_OUTPUTS) {
        pack_weights(TILE_OUTPUTS, w, first, packed);
        tiles(TILE_OUTPUTS, w, first, x, rows, packed, y, y_stride, add);
    }
    for (; first < last; first++) {
        pack_weights(1, w, first, packed);
        tiles(1, w, first, x, rows, packed, y, y_stride, add);
    }
}

static float *floats(int64_t count)
{
    return aligned_alloc(64, (size_t)(count * 4 + 63) / 64 * 64);
}

/* y[rows, outputs] = x[rows, inputs] W^T + bias, or added to what y holds. inputs: multiple of 8. */
void cordee_linear(const struct weights *w, const float *x, int64_t x_stride, int64_t rows, float *y,
                   int64_t y_stride, int32_t add, int32_t threads)
{
    int64_t parts = (w->outputs + PART - 1) / PART;
    int many = rows > FEW_ROWS;
    float *activations = many ? floats(rows * w->inputs) : NULL;
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        float *packed = many ? floats(w->inputs * TILE_OUTPUTS) : NULL;
        if (many) {
#pragma omp for schedule(static)
            for (int64_t r = 0; r < rows; r += TILE_ROWS)
                pack_rows(x + r * x_stride, x_stride, rows - r < TILE_ROWS ? rows - r : TILE_ROWS,
                          w->inputs, activations + r * w->inputs);
        }
#pragma omp for schedule(dynamic, 1)
        for (int64_t part = 0; part < parts; part++) {
            int64_t first = part * PART;
            int64_t last = first + PART < w->outputs ? first + PART : w->outputs;
            if (!many)
                few_rows(w, first, last, x, x_stride, rows, y, y_stride, add);
            for (int64_t r = 0; many && r < rows; r += BLOCK_ROWS)
                many_rows(w, first, last, activations + r * w->inputs,
                          rows - r < BLOCK_ROWS ? rows - r : BLOCK_ROWS, y + r * y_stride,
                          y_stride, add, packed);
        }
        free(packed);
    }
    free(activations);
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
