/* y = x W^T with weights in int8: activations become whole numbers of 16 bits, by the largest of their row.
 *
 * Sums of whole numbers have no order, so every processor gives the same bits, with vectors or with tiles.
 */
#include "weights.h"

#define LARGEST 32639     /* 127 * 256 + 127: both halves of a number fit into eight bits */
#define EXACT_INPUTS 4096 /* a lane adds up at most 256 pairs, each at most 2 * 32639 * 127: that fits into 32 bits */
#define MOST_ROWS 4
#define PART 64 /* outputs that one thread takes at a time */

/* Numbers that are multiplied at once, two for each sum, and sums of rows and outputs that are kept in registers. */
#ifdef __AVX512VNNI__
#define NUMBERS 32
#define SUMS 16
#else
#define NUMBERS 16
#define SUMS 8
#endif
typedef int16_t wide16 __attribute__((vector_size(2 * NUMBERS)));
typedef int32_t wide32 __attribute__((vector_size(2 * NUMBERS)));
typedef int8_t wide8 __attribute__((vector_size(NUMBERS)));

/* Products of pairs, added up, to c. */
INLINE wide32 pairs(wide16 a, wide16 b, wide32 c)
{
#if defined(__AVX512VNNI__)
    return (wide32)_mm512_dpwssd_epi32((__m512i)c, (__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
    return c + (wide32)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#else
    for (int lane = 0; lane < NUMBERS / 2; lane++)
        c[lane] += a[2 * lane] * b[2 * lane] + a[2 * lane + 1] * b[2 * lane + 1];
    return c;
#endif
}

INLINE wide16 sixteen_bits(const int8_t *from)
{
#if defined(__AVX512VNNI__)
    return (wide16)_mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)from));
#elif defined(__AVX2__)
    return (wide16)_mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)from));
#else
    wide8 bytes;
    memcpy(&bytes, from, sizeof bytes);
    return __builtin_convertvector(bytes, wide16);
#endif
}

INLINE int64_t total_of(wide32 lanes)
{
#ifdef __AVX512VNNI__
    __m512i low = _mm512_cvtepi32_epi64(_mm512_castsi512_si256((__m512i)lanes));
    __m512i high = _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64((__m512i)lanes, 1));
    return _mm512_reduce_add_epi64(_mm512_add_epi64(low, high));
#else
    int64_t total = 0;
    for (int lane = 0; lane < NUMBERS / 2; lane++)
        total += lanes[lane];
    return total;
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
    int64_t inputs = l->weights->inputs, stride = rounded_up(inputs, INTEGER_INPUTS);
    struct whole made = {(int16_t *)aligned(l->scratch), 0, stride};
    made.scales = (float *)(made.numbers + l->rows * stride);
#pragma omp for schedule(static)
    for (int64_t r = 0; r < l->rows; r++)
        whole_row(l->x + r * l->x_stride, inputs, stride, made.numbers + r * stride, made.scales + r);
    return made;
}

/* Sums over a part of the inputs. `weights` are those of the first output, all of one tile. */
INLINE void add_products(int rows, int outputs, const int8_t *weights, const int16_t *x, int64_t stride,
                         int64_t inputs, int64_t totals[MOST_ROWS][SUMS])
{
    wide32 acc[MOST_ROWS][SUMS];
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 16
        for (int o = 0; o < outputs; o++)
            acc[i][o] = (wide32){0};
    for (int64_t block = 0; block < inputs; block += INTEGER_INPUTS, weights += INTEGER_TILE)
        for (int64_t k = 0; k < INTEGER_INPUTS; k += NUMBERS) {
            wide16 a[MOST_ROWS];
            memcpy(&a[0], x + block + k, sizeof a[0]);
#pragma GCC unroll 4
            for (int i = 1; i < rows; i++)
                memcpy(&a[i], x + i * stride + block + k, sizeof a[i]);
#pragma GCC unroll 16
            for (int o = 0; o < outputs; o++) {
                wide16 b = sixteen_bits(weights + o * INTEGER_INPUTS + k);
#pragma GCC unroll 4
                for (int i = 0; i < rows; i++)
                    acc[i][o] = pairs(a[i], b, acc[i][o]);
            }
        }
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 16
        for (int o = 0; o < outputs; o++)
            totals[i][o] += total_of(acc[i][o]);
}

/* All outputs of a part for a few rows. Those beyond the last are zeros and are not written. */
INLINE void outputs_of_rows(int rows, const struct linear *l, struct part p, struct whole x, int64_t r)
{
    int outputs = SUMS / rows;
    for (int64_t first = p.first; first < p.last; first += outputs) {
        int64_t totals[MOST_ROWS][SUMS] = {{0}};
        for (int64_t from = 0; from < x.stride; from += EXACT_INPUTS) {
            int64_t inputs = x.stride - from < EXACT_INPUTS ? x.stride - from : EXACT_INPUTS;
            add_products(rows, outputs, integers_at(p.w, first, from), x.numbers + r * x.stride + from,
                         x.stride, inputs, totals);
        }
        for (int i = 0; i < rows; i++)
            for (int o = 0; o < outputs && first + o < p.last; o++) {
                float value = (float)totals[i][o] * p.w->scales[first + o] * x.scales[r + i];
                float *to = l->y + (r + i) * l->y_stride + p.place + first + o;
                if (p.w->bias)
                    value += p.w->bias[first + o];
                *to = l->add ? *to + value : value;
            }
    }
}

void integer_linear(const struct linear *l)
{
    struct whole x = whole_numbers(l);
    int64_t parts = parts_of(l, PART);
#pragma omp for schedule(dynamic, 1)
    for (int64_t number = 0; number < parts; number++) {
        struct part p = part_of(l, number, PART);
        int64_t r = 0;
        for (; r + 4 <= l->rows; r += 4)
            outputs_of_rows(4, l, p, x, r);
        for (; r + 2 <= l->rows; r += 2)
            outputs_of_rows(2, l, p, x, r);
        if (r < l->rows)
            outputs_of_rows(1, l, p, x, r);
    }
}

/* Rows of weights to int8, in tiles: each row by its largest magnitude. `out` holds zeros. */
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
            memcpy(q->out + integer_place(inputs, o, k), &bytes, sizeof bytes);
        }
    }
}
