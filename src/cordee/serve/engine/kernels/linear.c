/* y = x W^T: rows of activations in float32 times weights in float32 or bfloat16.
 *
 * W is stored as in the checkpoint, [outputs, inputs], so that it can be used from the file's own
 * pages. One output is eight partial sums over the inputs, each in order, added in a fixed order at
 * the end: the same bits for one row and for a thousand.
 */
#include "weights.h"

#define FEW_ROWS 3 /* up to so many rows use weights as they come */
#define PART 48    /* outputs that one thread takes at a time: a multiple of 3 and 8 */

#ifdef __AVX512DQ__
#define TILE_ROWS 6
#define TILE_WIDES 4
#else
#define TILE_ROWS 4
#define TILE_WIDES 3
#endif
#define BLOCK_ROWS 48 /* rows whose activations stay in the second-level cache */
#define TILE_OUTPUTS (WIDE * TILE_WIDES)

/* Eight floats, for each output in the register. */
INLINE wide load_each(const float *from)
{
#ifdef __AVX512DQ__
    return _mm512_broadcast_f32x8(_mm256_loadu_ps(from));
#else
    return load(from);
#endif
}

INLINE void write_out(const struct linear *l, struct part p, int64_t r, int64_t output, float value)
{
    float *to = l->y + r * l->y_stride + p.place + output;
    if (p.w->bias)
        value += p.w->bias[output];
    *to = l->add ? *to + value : value;
}

/* Few rows: weights are the cost, and each is converted where it is used. All counts but `inputs` are
 * known when this is compiled. The weights that follow are asked for meanwhile. */
INLINE void few(int rows, int outputs, int kind, const struct linear *l, struct part p)
{
    int64_t inputs = p.w->inputs, size = kind == FLOAT32 ? 4 : 2;
    const char *data = (const char *)p.w->data + p.first * inputs * size;
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
            a[r] = load(l->x + r * l->x_stride + k);
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
            write_out(l, p, r, p.first + o, sum(acc[r][o]));
}

#define FEW(ROWS, OUTPUTS, KIND)                                                                   \
    for (; p.first + OUTPUTS <= p.last; p.first += OUTPUTS)                                        \
    few(ROWS, OUTPUTS, KIND, l, p)

#define FEW_OF_KIND(KIND)                                                                          \
    if (l->rows == 1) {                                                                            \
        FEW(1, 8, KIND);                                                                           \
        FEW(1, 1, KIND);                                                                           \
    } else if (l->rows == 2) {                                                                     \
        FEW(2, 4, KIND);                                                                           \
        FEW(2, 1, KIND);                                                                           \
    } else {                                                                                       \
        FEW(3, 4, KIND);                                                                           \
        FEW(3, 1, KIND);                                                                           \
    }

static void few_rows(const struct linear *l, struct part p)
{
    if (p.w->kind == FLOAT32) {
        FEW_OF_KIND(FLOAT32)
    } else {
        FEW_OF_KIND(BFLOAT16)
    }
}

/* Many rows: activations are packed once, [tiles, inputs / 8, rows of the tile, 8], and weights as they
 * are reached, [inputs / 8, outputs, 8], so that a tile reads two streams and nothing else. */
static void pack_rows(const struct linear *l, int64_t first, int64_t rows, float *packed)
{
    int64_t inputs = l->weights->inputs;
    for (int64_t k = 0; k < inputs; k += LANES)
        for (int64_t r = 0; r < rows; r++)
            store(packed + first * inputs + k * rows + r * LANES,
                  load(l->x + (first + r) * l->x_stride + k));
}

INLINE void pack_of_kind(int outputs, int kind, struct part p, float *packed)
{
    int64_t inputs = p.w->inputs, size = kind == FLOAT32 ? 4 : 2;
    const char *data = (const char *)p.w->data + p.first * inputs * size;
    const char *ahead = data + outputs * inputs * size;
    for (int64_t k = 0; k < inputs; k += LANES) {
        for (int64_t line = 0; line < outputs * LANES * size; line += 64)
            __builtin_prefetch(ahead + k * outputs * size + line);
        for (int o = 0; o < outputs; o++)
            store(packed + (k * outputs + o * LANES), weights_at(data, o * inputs + k, kind));
    }
}

INLINE void pack_weights(int outputs, struct part p, float *packed)
{
    if (p.w->kind == FLOAT32)
        pack_of_kind(outputs, FLOAT32, p, packed);
    else
        pack_of_kind(outputs, BFLOAT16, p, packed);
}

INLINE void tile(int rows, int wides, const struct linear *l, struct part p, int64_t row, const float *x,
                 const float *packed)
{
    wide acc[TILE_ROWS][TILE_WIDES];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int o = 0; o < wides; o++)
            acc[r][o] = (wide){0};
    for (int64_t k = 0; k < p.w->inputs; k += LANES) {
        wide b[TILE_WIDES];
#pragma GCC unroll 8
        for (int o = 0; o < wides; o++)
            b[o] = load_wide(packed + (k * wides + o * LANES) * WIDE);
#pragma GCC unroll 8
        for (int o = 0; o < wides; o++)
            IN_WIDE_REGISTER(b[o]);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            wide a = load_each(x + k * rows + r * LANES);
            IN_WIDE_REGISTER(a);
#pragma GCC unroll 8
            for (int o = 0; o < wides; o++)
                acc[r][o] = fused_wide(a, b[o], acc[r][o]);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int o = 0; o < wides; o++) {
            v8 each[WIDE];
            memcpy(each, &acc[r][o], sizeof each);
            for (int i = 0; i < WIDE; i++)
                write_out(l, p, row + r, p.first + o * WIDE + i, sum(each[i]));
        }
}

/* One output where no register is to have two. */
static void single(const struct linear *l, struct part p, int64_t row, int64_t rows, const float *x,
                   const float *packed)
{
    for (int64_t r = 0; r < rows; r++) {
        v8 acc = splat(0);
        for (int64_t k = 0; k < p.w->inputs; k += LANES)
            acc = fused(load(x + k * rows + r * LANES), load(packed + k), acc);
        write_out(l, p, row + r, p.first, sum(acc));
    }
}

#define TILE(ROWS)                                                                                 \
    case ROWS:                                                                                     \
        tile(ROWS, TILE_WIDES, l, p, r, x + r * p.w->inputs, packed);                              \
        break;

static void tiles(int outputs, const struct linear *l, struct part p, int64_t r, int64_t until,
                  const float *x, const float *packed)
{
    for (int64_t rows; r < until; r += rows) {
        rows = until - r < TILE_ROWS ? until - r : TILE_ROWS;
        if (outputs == 1)
            single(l, p, r, rows, x + r * p.w->inputs, packed);
        else
            switch (rows) {
                TILE(1)
                TILE(2)
                TILE(3)
                TILE(4)
#if TILE_ROWS > 4
                TILE(5)
                TILE(6)
#endif
            }
    }
}

static void many_rows(const struct linear *l, struct part p, const float *x, float *packed)
{
    int64_t first = p.first;
    for (int64_t r = 0; r < l->rows; r += BLOCK_ROWS) {
        int64_t until = r + BLOCK_ROWS < l->rows ? r + BLOCK_ROWS : l->rows;
        for (p.first = first; p.first + TILE_OUTPUTS <= p.last; p.first += TILE_OUTPUTS) {
            pack_weights(TILE_OUTPUTS, p, packed);
            tiles(TILE_OUTPUTS, l, p, r, until, x, packed);
        }
        for (; p.first < p.last; p.first++) {
            pack_weights(1, p, packed);
            tiles(1, l, p, r, until, x, packed);
        }
    }
}

void vector_linear(const struct linear *l)
{
    int64_t parts = parts_of(l, PART), inputs = l->weights->inputs;
    int many = l->rows > FEW_ROWS;
    float *activations = (float *)aligned(l->scratch);
    static _Thread_local struct room kept;
    float *packed = many ? room_of(&kept, inputs * TILE_OUTPUTS * 4) : NULL;
    if (many) {
#pragma omp for schedule(static)
        for (int64_t r = 0; r < l->rows; r += TILE_ROWS)
            pack_rows(l, r, l->rows - r < TILE_ROWS ? l->rows - r : TILE_ROWS, activations);
    }
#pragma omp for schedule(dynamic, 1)
    for (int64_t number = 0; number < parts; number++) {
        struct part p = part_of(l, number, PART);
        if (many)
            many_rows(l, p, activations, packed);
        else
            few_rows(l, p);
    }
}
