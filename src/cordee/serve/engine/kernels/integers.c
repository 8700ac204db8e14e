/* y = x W^T with weights in int8: activations become whole numbers of 16 bits, by the largest of their row.
 *
 * Sums of whole numbers have no order, so every processor gives the same bits, with vectors or with tiles.
 */
#include "weights.h"

#define LARGEST 32639     /* 127 * 256 + 127: both halves of a number fit into eight bits */
#define EXACT_INPUTS 4096 /* 16 a step, each pair at most 2 * 32639 * 127: so many fit into 32 bits */
#define TILE_ROWS 4
#define TILE_OUTPUTS 4
#define PART 64 /* outputs that one thread takes at a time */

typedef int16_t i16x16 __attribute__((vector_size(32)));
typedef int8_t s8x16 __attribute__((vector_size(16)));

/* Products of pairs, added up, to c. */
INLINE i8x32 pairs(i16x16 a, i16x16 b, i8x32 c)
{
#ifdef __AVX2__
    return c + (i8x32)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#else
    for (int lane = 0; lane < LANES; lane++)
        c[lane] += a[2 * lane] * b[2 * lane] + a[2 * lane + 1] * b[2 * lane + 1];
    return c;
#endif
}

INLINE i16x16 sixteen(const int8_t *from)
{
#ifdef __AVX2__
    return (i16x16)_mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)from));
#else
    s8x16 bytes;
    memcpy(&bytes, from, sizeof bytes);
    return __builtin_convertvector(bytes, i16x16);
#endif
}

INLINE void whole_row(const float *x, int64_t inputs, int64_t padded, int16_t *to, float *scale)
{
    v8 most = splat(0);
    for (int64_t k = 0; k < inputs; k += LANES) {
        v8 value = load(x + k);
        most = larger(most, larger(value, -value));
    }
    float largest = 0;
    for (int lane = 0; lane < LANES; lane++)
        largest = most[lane] > largest ? most[lane] : largest;
    v8 inverse = splat(largest > 1e-30f ? LARGEST / largest : 0);
    *scale = largest / LARGEST;
    for (int64_t k = 0; k < inputs; k += LANES) {
        v8 scaled = load(x + k) * inverse;
        v8 half = (v8)(((i8x32)scaled & INT32_MIN) | (i8x32)splat(0.5f));
        s16x8 numbers = __builtin_convertvector(__builtin_convertvector(scaled + half, i8x32), s16x8);
        memcpy(to + k, &numbers, sizeof numbers);
    }
    memset(to + inputs, 0, (size_t)(padded - inputs) * sizeof *to);
}

struct whole whole_numbers(const struct linear *l)
{
    int64_t inputs = l->weights->inputs, stride = rounded_up(inputs, 64);
    struct whole made = {(int16_t *)aligned(l->scratch), 0, stride};
    made.scales = (float *)(made.numbers + l->rows * stride);
#pragma omp for schedule(static)
    for (int64_t r = 0; r < l->rows; r++)
        whole_row(l->x + r * l->x_stride, inputs, stride, made.numbers + r * stride, made.scales + r);
    return made;
}

/* Numbers after the inputs are zeros, so it does not matter that weights of the next output are read there. */
INLINE void tile(int rows, int outputs, const struct linear *l, struct part p, struct whole x, int64_t r)
{
    int64_t inputs = p.w->inputs, total[TILE_ROWS][TILE_OUTPUTS] = {{0}};
    const int8_t *data = (const int8_t *)p.w->data + p.first * inputs;
    for (int64_t from = 0; from < inputs; from += EXACT_INPUTS) {
        int64_t until = from + EXACT_INPUTS < inputs ? from + EXACT_INPUTS : inputs;
        i8x32 acc[TILE_ROWS][TILE_OUTPUTS];
#pragma GCC unroll 4
        for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
            for (int o = 0; o < outputs; o++)
                acc[i][o] = (i8x32){0};
        for (int64_t k = from; k < until; k += 16) {
            i16x16 b[TILE_OUTPUTS];
#pragma GCC unroll 4
            for (int o = 0; o < outputs; o++)
                b[o] = sixteen(data + o * inputs + k);
#pragma GCC unroll 4
            for (int i = 0; i < rows; i++) {
                i16x16 a;
                memcpy(&a, x.numbers + (r + i) * x.stride + k, sizeof a);
#pragma GCC unroll 4
                for (int o = 0; o < outputs; o++)
                    acc[i][o] = pairs(a, b[o], acc[i][o]);
            }
        }
#pragma GCC unroll 4
        for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
            for (int o = 0; o < outputs; o++)
                for (int lane = 0; lane < LANES; lane++)
                    total[i][o] += acc[i][o][lane];
    }
    for (int i = 0; i < rows; i++)
        for (int o = 0; o < outputs; o++) {
            float value = (float)total[i][o] * p.w->scales[p.first + o] * x.scales[r + i];
            float *to = l->y + (r + i) * l->y_stride + p.place + p.first + o;
            if (p.w->bias)
                value += p.w->bias[p.first + o];
            *to = l->add ? *to + value : value;
        }
}

INLINE void outputs_of_part(int outputs, const struct linear *l, struct part p, struct whole x)
{
    int64_t r = 0;
    for (; r + 4 <= l->rows; r += 4)
        tile(4, outputs, l, p, x, r);
    for (; r < l->rows; r++)
        tile(1, outputs, l, p, x, r);
}

void integer_linear(const struct linear *l)
{
    struct whole x = whole_numbers(l);
    int64_t parts = parts_of(l, PART);
#pragma omp for schedule(dynamic, 1)
    for (int64_t number = 0; number < parts; number++) {
        struct part p = part_of(l, number, PART);
        for (; p.first + TILE_OUTPUTS <= p.last; p.first += TILE_OUTPUTS)
            outputs_of_part(TILE_OUTPUTS, l, p, x);
        for (; p.first < p.last; p.first++)
            outputs_of_part(1, l, p, x);
    }
}

/* Rows of weights to int8: each row by its largest magnitude. */
struct quantize {
    const void *data;
    int32_t kind;
    int64_t outputs, inputs;
    int8_t *out;
    float *scales;
};

void cordee_quantize(const void *arguments)
{
    const struct quantize *q = arguments;
    int64_t inputs = q->inputs;
#pragma omp for schedule(static)
    for (int64_t o = 0; o < q->outputs; o++) {
        v8 most = splat(0);
        for (int64_t k = 0; k < inputs; k += LANES) {
            v8 value = weights_at(q->data, o * inputs + k, q->kind);
            most = larger(most, larger(value, -value));
        }
        float largest = 0;
        for (int lane = 0; lane < LANES; lane++)
            largest = most[lane] > largest ? most[lane] : largest;
        float scale = largest > 0 ? largest / 127.0f : 1.0f;
        q->scales[o] = scale;
        v8 inverse = splat(1.0f / scale);
        for (int64_t k = 0; k < inputs; k += LANES) {
            v8 scaled = weights_at(q->data, o * inputs + k, q->kind) * inverse;
            v8 half = (v8)(((i8x32)scaled & INT32_MIN) | (i8x32)splat(0.5f));
            i8x32 whole = __builtin_convertvector(scaled + half, i8x32);
            s8x8 bytes = __builtin_convertvector(whole, s8x8);
            memcpy(q->out + o * inputs + k, &bytes, sizeof bytes);
        }
    }
}
