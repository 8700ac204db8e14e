/* Attention of each row over the keys and values of its sequence, which lie in blocks of a pool.
 *
 * A block holds 16 tokens of one layer. Keys lie [kv_heads, width, 16], so that 16 scores are made
 * side by side; values lie [kv_heads, 16, width]. Each row and head is worked on by itself and in
 * the order of positions: its result does not depend on other rows.
 */
#include <math.h>
#include <stdlib.h>

#include "vectors.h"

#define BLOCK 16
#define GROUP_MOST 4 /* query heads that share one pass over the keys */

struct pages {
    float *keys, *values;   /* this layer's, [blocks, kv_heads, ...] */
    const int32_t *tables;  /* [sequences, table_width]: the blocks of each sequence */
    const int32_t *sequence, *positions; /* of each row */
    int64_t table_width, kv_heads, width;
};

/* Keys and values of new rows go to their places. */
void cordee_store(const struct pages *p, const float *k, int64_t k_stride, const float *v,
                  int64_t v_stride, int64_t rows)
{
    int64_t block_floats = p->kv_heads * p->width * BLOCK;
    for (int64_t r = 0; r < rows; r++) {
        int64_t position = p->positions[r], at = position % BLOCK;
        int64_t block = p->tables[p->sequence[r] * p->table_width + position / BLOCK];
        float *keys = p->keys + block * block_floats, *values = p->values + block * block_floats;
        for (int64_t h = 0; h < p->kv_heads; h++)
            for (int64_t d = 0; d < p->width; d++) {
                keys[(h * p->width + d) * BLOCK + at] = k[r * k_stride + h * p->width + d];
                values[(h * BLOCK + at) * p->width + d] = v[r * v_stride + h * p->width + d];
            }
    }
}

/* Scores of `heads` query heads with 16 keys. */
INLINE void block_scores(int heads, const float *q, int64_t width, const float *keys, float scale,
                         float *scores, int64_t scores_stride)
{
    v8 low[GROUP_MOST], high[GROUP_MOST];
#pragma GCC unroll 4
    for (int h = 0; h < heads; h++)
        low[h] = high[h] = splat(0);
    for (int64_t d = 0; d < width; d++) {
        v8 first = load(keys + d * BLOCK), second = load(keys + d * BLOCK + LANES);
#pragma GCC unroll 4
        for (int h = 0; h < heads; h++) {
            v8 query = splat(q[h * width + d]);
            low[h] = fused(query, first, low[h]);
            high[h] = fused(query, second, high[h]);
        }
    }
#pragma GCC unroll 4
    for (int h = 0; h < heads; h++) {
        store(scores + h * scores_stride, low[h] * splat(scale));
        store(scores + h * scores_stride + LANES, high[h] * splat(scale));
    }
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

/* Values of one block times their weights, 32 floats of each head at a time. */
INLINE void block_values(int heads, int vectors, const float *weights, int64_t weights_stride,
                         const float *values, int64_t width, int64_t tokens,
                         v8 acc[GROUP_MOST][4])
{
    for (int64_t t = 0; t < tokens; t++) {
        v8 value[4];
#pragma GCC unroll 4
        for (int i = 0; i < vectors; i++)
            value[i] = load(values + t * width + i * LANES);
#pragma GCC unroll 4
        for (int h = 0; h < heads; h++) {
            v8 weight = splat(weights[h * weights_stride + t]);
#pragma GCC unroll 4
            for (int i = 0; i < vectors; i++)
                acc[h][i] = fused(weight, value[i], acc[h][i]);
        }
    }
}

struct span {
    int64_t first, count, first_block, blocks, stride; /* positions seen by a row */
};

INLINE void heads_of_row(int heads, const struct pages *p, const int32_t *table, int64_t kv_head,
                         const float *q, float scale, struct span span, float *scores, float *out)
{
    int64_t block_floats = p->kv_heads * p->width * BLOCK, head_floats = p->width * BLOCK;
    for (int64_t b = span.first_block; b < span.blocks; b++)
        block_scores(heads, q, p->width, p->keys + table[b] * block_floats + kv_head * head_floats,
                     scale, scores + b * BLOCK, span.stride);
    float totals[GROUP_MOST];
    for (int h = 0; h < heads; h++)
        totals[h] = softmax(scores + h * span.stride, span.first, span.count, span.blocks * BLOCK);
    for (int64_t d = 0; d < p->width; d += 4 * LANES) {
        int vectors = p->width - d >= 4 * LANES ? 4 : (int)((p->width - d) / LANES);
        v8 acc[GROUP_MOST][4];
#pragma GCC unroll 4
        for (int h = 0; h < heads; h++)
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++)
                acc[h][i] = splat(0);
        for (int64_t b = span.first_block; b < span.blocks; b++) {
            const float *values =
                p->values + table[b] * block_floats + kv_head * head_floats + d;
            int64_t tokens = span.count - b * BLOCK < BLOCK ? span.count - b * BLOCK : BLOCK;
            if (vectors == 4)
                block_values(heads, 4, scores + b * BLOCK, span.stride, values, p->width, tokens, acc);
            else
                block_values(heads, vectors, scores + b * BLOCK, span.stride, values, p->width,
                             tokens, acc);
        }
        for (int h = 0; h < heads; h++)
            for (int i = 0; i < vectors; i++)
                store(out + h * p->width + d + i * LANES, acc[h][i] / splat(totals[h]));
    }
}

/* out[rows, heads * width] from q of the same shape. window: how many positions back a row sees. */
void cordee_attention(const struct pages *p, const float *q, int64_t q_stride, int64_t rows,
                      int64_t heads, float scale, int64_t window, float *out, int32_t threads)
{
    int64_t group = heads / p->kv_heads;
    int64_t longest = 0;
    for (int64_t r = 0; r < rows; r++)
        longest = p->positions[r] + 1 > longest ? p->positions[r] + 1 : longest;
    int64_t stride = (longest + BLOCK - 1) / BLOCK * BLOCK;
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        float *scores = aligned_alloc(64, (size_t)(stride * GROUP_MOST * 4));
#pragma omp for collapse(2) schedule(dynamic, 4)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t kv = 0; kv < p->kv_heads; kv++) {
                const int32_t *table = p->tables + p->sequence[r] * p->table_width;
                int64_t count = p->positions[r] + 1;
                int64_t first = window > 0 && count > window ? count - window : 0;
                struct span span = {first, count, first / BLOCK, (count + BLOCK - 1) / BLOCK, stride};
                for (int64_t g = 0; g < group;) {
                    int64_t head = kv * group + g, left = group - g;
                    const float *query = q + r * q_stride + head * p->width;
                    float *to = out + (r * heads + head) * p->width;
                    if (left >= 4) {
                        heads_of_row(4, p, table, kv, query, scale, span, scores, to);
                        g += 4;
                    } else if (left >= 2) {
                        heads_of_row(2, p, table, kv, query, scale, span, scores, to);
                        g += 2;
                    } else {
                        heads_of_row(1, p, table, kv, query, scale, span, scores, to);
                        g += 1;
                    }
                }
            }
        free(scores);
    }
}
