/* Attention of each row over the keys and values of its sequence, which lie in blocks of a pool.
 *
 * A block holds 16 tokens of one layer. Keys lie [kv_heads, width, 16], so that 16 scores are made
 * side by side; values lie [kv_heads, 16, width]. Each row and head is worked on by itself and in
 * the order of positions: its result does not depend on other rows.
 */
#include <math.h>

#include "vectors.h"

#define BLOCK 16
#define GROUP_MOST 4 /* query heads that share one pass over the keys */
#define VALUE_WIDES 4 /* registers of values of each head that are added up at a time */

/* What all layers of a step share. */
struct step {
    const int32_t *tables;               /* [sequences, table_width]: the blocks of each sequence */
    const int32_t *sequence, *positions; /* of each row */
    int64_t table_width;
};

/* q, k and v of each row lie side by side in qkv. */
struct attention {
    const struct step *step;
    float *keys, *values; /* this layer's, [blocks, kv_heads, ...] */
    int64_t kv_heads, width;
    const float *qkv;
    int64_t stride, rows, heads;
    float scale;
    int64_t window; /* how many positions back a row sees; 0: all */
    float *out;     /* [rows, heads * width] */
};

/* Keys and values of new rows go to their places. */
static void keep(const struct attention *a)
{
    int64_t block_floats = a->kv_heads * a->width * BLOCK;
#pragma omp for schedule(static) collapse(2)
    for (int64_t r = 0; r < a->rows; r++)
        for (int64_t h = 0; h < a->kv_heads; h++) {
            const struct step *step = a->step;
            int64_t position = step->positions[r], at = position % BLOCK;
            int64_t block = step->tables[step->sequence[r] * step->table_width + position / BLOCK];
            float *keys = a->keys + block * block_floats, *values = a->values + block * block_floats;
            const float *k = a->qkv + r * a->stride + (a->heads + h) * a->width;
            const float *v = k + a->kv_heads * a->width;
            for (int64_t d = 0; d < a->width; d++) {
                keys[(h * a->width + d) * BLOCK + at] = k[d];
                values[(h * BLOCK + at) * a->width + d] = v[d];
            }
        }
}

/* Scores of `heads` query heads with 16 keys. */
INLINE void block_scores(int heads, const float *q, int64_t width, const float *keys, float scale,
                         float *scores, int64_t scores_stride)
{
    enum { WIDES = BLOCK / WIDE_LANES };
    wide acc[GROUP_MOST][WIDES];
#pragma GCC unroll 4
    for (int h = 0; h < heads; h++)
#pragma GCC unroll 2
        for (int i = 0; i < WIDES; i++)
            acc[h][i] = (wide){0};
    for (int64_t d = 0; d < width; d++) {
        wide key[WIDES];
#pragma GCC unroll 2
        for (int i = 0; i < WIDES; i++)
            key[i] = load_wide(keys + d * BLOCK + i * WIDE_LANES);
#pragma GCC unroll 4
        for (int h = 0; h < heads; h++)
#pragma GCC unroll 2
            for (int i = 0; i < WIDES; i++)
                acc[h][i] = fused_wide(splat_wide(q[h * width + d]), key[i], acc[h][i]);
    }
#pragma GCC unroll 4
    for (int h = 0; h < heads; h++)
#pragma GCC unroll 2
        for (int i = 0; i < WIDES; i++)
            store_wide(scores + h * scores_stride + i * WIDE_LANES, acc[h][i] * splat_wide(scale));
}

/* Scores to weights, in place; gives their sum. Places outside [first, count) get the weight 0. */
static float softmax(float *scores, int64_t first, int64_t count, int64_t padded)
{
    for (int64_t t = count; t < padded; t++)
        scores[t] = -INFINITY;
    int64_t from = first / BLOCK * BLOCK;
    for (int64_t t = from; t < first; t++)
        scores[t] = -INFINITY;
    v8 most = splat(-INFINITY);
    for (int64_t t = from; t < padded; t += LANES)
        most = larger(most, load(scores + t));
    float largest = most[0];
    for (int lane = 1; lane < LANES; lane++)
        largest = most[lane] > largest ? most[lane] : largest;
    v8 total = splat(0), shift = splat(largest);
    for (int64_t t = from; t < padded; t += LANES) {
        v8 score = load(scores + t);
        v8 weight = exponential(score - shift);
        i8x32 real = score > splat(-INFINITY);
        weight = (v8)((i8x32)weight & real);
        store(scores + t, weight);
        total += weight;
    }
    return sum(total);
}

/* Values of one block times their weights. */
INLINE void block_values(int heads, int wides, const float *weights, int64_t weights_stride,
                         const float *values, int64_t width, int64_t tokens,
                         wide acc[GROUP_MOST][VALUE_WIDES])
{
    for (int64_t t = 0; t < tokens; t++) {
        wide value[VALUE_WIDES];
#pragma GCC unroll 4
        for (int i = 0; i < wides; i++)
            value[i] = load_wide(values + t * width + i * WIDE_LANES);
#pragma GCC unroll 4
        for (int h = 0; h < heads; h++) {
            wide weight = splat_wide(weights[h * weights_stride + t]);
#pragma GCC unroll 4
            for (int i = 0; i < wides; i++)
                acc[h][i] = fused_wide(weight, value[i], acc[h][i]);
        }
    }
}

struct span {
    int64_t first, count, first_block, blocks, stride; /* positions seen by a row */
};

/* What several heads of a row see of the values, `wides` registers of each from float `d` on. */
INLINE void values_of_row(int heads, int wides, const struct attention *p, const int32_t *table, int64_t kv_head,
                          struct span span, const float *scores, const float *totals, int64_t d, float *out)
{
    wide acc[GROUP_MOST][VALUE_WIDES];
#pragma GCC unroll 4
    for (int h = 0; h < heads; h++)
#pragma GCC unroll 4
        for (int i = 0; i < wides; i++)
            acc[h][i] = (wide){0};
    for (int64_t b = span.first_block; b < span.blocks; b++) {
        const float *values = p->values + (table[b] * p->kv_heads + kv_head) * p->width * BLOCK + d;
        int64_t tokens = span.count - b * BLOCK < BLOCK ? span.count - b * BLOCK : BLOCK;
        block_values(heads, wides, scores + b * BLOCK, span.stride, values, p->width, tokens, acc);
    }
#pragma GCC unroll 4
    for (int h = 0; h < heads; h++)
#pragma GCC unroll 4
        for (int i = 0; i < wides; i++)
            store_wide(out + h * p->width + d + i * WIDE_LANES, acc[h][i] / splat_wide(totals[h]));
}

/* The last eight floats of a head, where a register has room for more. */
static void last_values(const struct attention *p, const int32_t *table, int64_t kv_head, struct span span,
                        const float *scores, float total, float *out)
{
    int64_t d = p->width - LANES;
    v8 acc = splat(0);
    for (int64_t t = span.first_block * BLOCK; t < span.count; t++)
        acc = fused(splat(scores[t]),
                    load(p->values + ((table[t / BLOCK] * p->kv_heads + kv_head) * BLOCK + t % BLOCK) * p->width + d),
                    acc);
    store(out + d, acc / splat(total));
}

INLINE void heads_of_row(int heads, const struct attention *p, const int32_t *table, int64_t kv_head,
                         const float *q, struct span span, float *scores, float *out)
{
    int64_t head_floats = p->width * BLOCK;
    for (int64_t b = span.first_block; b < span.blocks; b++)
        block_scores(heads, q, p->width, p->keys + (table[b] * p->kv_heads + kv_head) * head_floats,
                     p->scale, scores + b * BLOCK, span.stride);
    float totals[GROUP_MOST];
    for (int h = 0; h < heads; h++)
        totals[h] = softmax(scores + h * span.stride, span.first, span.count, span.blocks * BLOCK);
    int64_t d = 0;
    for (; d + VALUE_WIDES * WIDE_LANES <= p->width; d += VALUE_WIDES * WIDE_LANES)
        values_of_row(heads, VALUE_WIDES, p, table, kv_head, span, scores, totals, d, out);
    for (; d + WIDE_LANES <= p->width; d += WIDE_LANES)
        values_of_row(heads, 1, p, table, kv_head, span, scores, totals, d, out);
    for (int h = 0; d < p->width && h < heads; h++)
        last_values(p, table, kv_head, span, scores + h * span.stride, totals[h], out + h * p->width);
}

#define HEADS(COUNT) heads_of_row(COUNT, a, table, kv, query, span, scores, to)

static void group_of_row(const struct attention *a, int64_t r, int64_t kv, int64_t stride, float *scores)
{
    const struct step *step = a->step;
    const int32_t *table = step->tables + step->sequence[r] * step->table_width;
    int64_t count = step->positions[r] + 1, group = a->heads / a->kv_heads;
    int64_t first = a->window > 0 && count > a->window ? count - a->window : 0;
    struct span span = {first, count, first / BLOCK, (count + BLOCK - 1) / BLOCK, stride};
    for (int64_t g = 0; g < group;) {
        int64_t head = kv * group + g, left = group - g;
        const float *query = a->qkv + r * a->stride + head * a->width;
        float *to = a->out + (r * a->heads + head) * a->width;
        if (left >= 4) {
            HEADS(4);
            g += 4;
        } else if (left == 3) {
            HEADS(3);
            g += 3;
        } else if (left == 2) {
            HEADS(2);
            g += 2;
        } else {
            HEADS(1);
            g += 1;
        }
    }
}

void cordee_attention(const void *arguments)
{
    const struct attention *a = arguments;
    int64_t longest = 0;
    for (int64_t r = 0; r < a->rows; r++)
        longest = a->step->positions[r] + 1 > longest ? a->step->positions[r] + 1 : longest;
    int64_t stride = (longest + BLOCK - 1) / BLOCK * BLOCK;
    static _Thread_local struct room kept;
    float *scores = room_of(&kept, stride * GROUP_MOST * 4);
    keep(a);
#pragma omp for collapse(2) schedule(dynamic, 4)
    for (int64_t r = 0; r < a->rows; r++)
        for (int64_t kv = 0; kv < a->kv_heads; kv++)
            group_of_row(a, r, kv, stride, scores);
}
