/* Eight floats at a time, whatever the processor, and how weights of each kind become them.
 *
 * Every kernel here keeps one promise: a result depends on its own row only, never on how many rows
 * came with it. So each sum is one chain of fused multiply-adds in an order that the shape of the
 * weights alone decides, and rows are put together in tiles only side by side.
 */
#ifndef CORDEE_VECTORS_H
#define CORDEE_VECTORS_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __AVX2__
#include <immintrin.h>
#endif

#define LANES 8
#define INLINE static inline __attribute__((always_inline))

/* Room for what a thread works on, kept for its next call: pages given back come as fresh ones, and cost. */
struct room {
    void *data;
    int64_t bytes;
};

static inline void *room_of(struct room *kept, int64_t bytes)
{
    if (kept->bytes < bytes) {
        free(kept->data);
        kept->bytes = (bytes + 63) / 64 * 64;
        kept->data = aligned_alloc(64, (size_t)kept->bytes);
    }
    return kept->data;
}

typedef float v8 __attribute__((vector_size(32)));
typedef float v4 __attribute__((vector_size(16)));
typedef int32_t s32x4 __attribute__((vector_size(16)));
typedef int32_t i8x32 __attribute__((vector_size(32)));
typedef uint32_t u8x32 __attribute__((vector_size(32)));
typedef uint16_t u8x16 __attribute__((vector_size(16)));
typedef int16_t s16x8 __attribute__((vector_size(16)));
typedef int8_t s8x8 __attribute__((vector_size(8)));

INLINE v8 load(const float *from)
{
    v8 value;
    memcpy(&value, from, sizeof value);
    return value;
}

/* A value that is used several times is to be loaded once: GCC would rather read it each time. */
#ifdef __AVX__
#define IN_REGISTER(value) __asm__("" : "+x"(value))
#else
#define IN_REGISTER(value) (void)0
#endif

INLINE void store(float *to, v8 value)
{
    memcpy(to, &value, sizeof value);
}

INLINE v8 splat(float x)
{
    return (v8){x, x, x, x, x, x, x, x};
}

/* bfloat16 is the upper half of a float. */
INLINE v8 load_bfloat16(const uint16_t *from)
{
#ifdef __AVX2__ /* GCC 12 makes four instructions of the conversion below, where one does it */
    return (v8)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)from)), 16);
#else
    u8x16 half;
    memcpy(&half, from, sizeof half);
    u8x32 whole = __builtin_convertvector(half, u8x32) << 16;
    return (v8)whole;
#endif
}

INLINE v8 load_int8(const int8_t *from)
{
#ifdef __AVX2__ /* GCC 12 would convert one by one */
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)from)));
#else
    s8x8 bytes;
    memcpy(&bytes, from, sizeof bytes);
    return __builtin_convertvector(bytes, v8);
#endif
}

/* a b + c, rounded once. The compiler is told (-ffp-contract=off) never to choose between this and two
 * roundings itself: it would choose differently in tiles of different sizes. */
INLINE v8 fused(v8 a, v8 b, v8 c)
{
#ifdef __FMA__
    return _mm256_fmadd_ps(a, b, c);
#else
    v8 y;
    for (int lane = 0; lane < LANES; lane++)
        y[lane] = __builtin_fmaf(a[lane], b[lane], c[lane]);
    return y;
#endif
}

/* As many floats as a register of the processor holds: those of WIDE times eight lanes. */
#ifdef __AVX512DQ__
#define WIDE 2
typedef float wide __attribute__((vector_size(64)));
#define IN_WIDE_REGISTER(value) __asm__("" : "+v"(value))
#else
#define WIDE 1
typedef v8 wide;
#define IN_WIDE_REGISTER(value) IN_REGISTER(value)
#endif
#define WIDE_LANES (WIDE * LANES)

INLINE wide load_wide(const float *from)
{
    wide value;
    memcpy(&value, from, sizeof value);
    return value;
}

INLINE void store_wide(float *to, wide value)
{
    memcpy(to, &value, sizeof value);
}

INLINE wide splat_wide(float x)
{
    return x - (wide){0};
}

INLINE wide fused_wide(wide a, wide b, wide c)
{
#ifdef __AVX512DQ__
    return _mm512_fmadd_ps(a, b, c);
#else
    return fused(a, b, c);
#endif
}

/* Always (0+4 + 2+6) + (1+5 + 3+7). */
INLINE float sum(v8 x)
{
    v4 low, high;
    memcpy(&low, &x, sizeof low);
    memcpy(&high, (const char *)&x + sizeof low, sizeof high);
    v4 four = low + high;
    v4 two = four + __builtin_shuffle(four, (s32x4){2, 3, 0, 1});
    return two[0] + two[1];
}

INLINE v8 larger(v8 a, v8 b)
{
    i8x32 mask = a > b;
    return (v8)((mask & (i8x32)a) | (~mask & (i8x32)b));
}

INLINE v8 smaller(v8 a, v8 b)
{
    i8x32 mask = a < b;
    return (v8)((mask & (i8x32)a) | (~mask & (i8x32)b));
}

/* e^x to about one unit in the last place: 2^n times a polynomial on [-ln2/2, ln2/2]
 * (coefficients: Cephes, expf.c, S. Moshier). */
INLINE v8 exponential(v8 x)
{
    x = larger(smaller(x, splat(88.0f)), splat(-87.0f));
    v8 scaled = x * splat(1.44269504088896341f);
    v8 half = (v8)(((i8x32)scaled & INT32_MIN) | (i8x32)splat(0.5f));
    i8x32 n = __builtin_convertvector(scaled + half, i8x32);
    v8 whole = __builtin_convertvector(n, v8);
    v8 r = fused(whole, splat(-0.693359375f), x);
    r = fused(whole, splat(2.12194440e-4f), r);
    v8 p = splat(1.9875691500e-4f);
    p = fused(p, r, splat(1.3981999507e-3f));
    p = fused(p, r, splat(8.3334519073e-3f));
    p = fused(p, r, splat(4.1665795894e-2f));
    p = fused(p, r, splat(1.6666665459e-1f));
    p = fused(p, r, splat(5.0000001201e-1f));
    v8 y = fused(p, r * r, r) + splat(1.0f);
    return (v8)((i8x32)y + (n << 23));
}

#endif
