/* Eight floats at a time, whatever the processor, and how weights of each kind become them.
 *
 * Every kernel here keeps one promise: a result depends on its own row only, never on how many rows
 * came with it. So each sum is one chain of fused multiply-adds in an order that the shape of the
 * weights alone decides, and rows are put together in tiles only side by side.
 */
#ifndef CORDEE_VECTORS_H
#define CORDEE_VECTORS_H

#include <stdint.h>
#include <string.h>

#define LANES 8
#define INLINE static inline __attribute__((always_inline))

typedef float v8 __attribute__((vector_size(32)));
typedef int32_t i8x32 __attribute__((vector_size(32)));
typedef uint32_t u8x32 __attribute__((vector_size(32)));
typedef uint16_t u8x16 __attribute__((vector_size(16)));
typedef int8_t s8x8 __attribute__((vector_size(8)));

INLINE v8 load(const float *from)
{
    v8 value;
    memcpy(&value, from, sizeof value);
    return value;
}

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
    u8x16 half;
    memcpy(&half, from, sizeof half);
    u8x32 whole = __builtin_convertvector(half, u8x32) << 16;
    return (v8)whole;
}

INLINE v8 load_int8(const int8_t *from)
{
    s8x8 bytes;
    memcpy(&bytes, from, sizeof bytes);
    return __builtin_convertvector(bytes, v8);
}

INLINE float sum(v8 x)
{
    return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
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
    v8 r = x - whole * splat(0.693359375f);
    r = r - whole * splat(-2.12194440e-4f);
    v8 p = splat(1.9875691500e-4f);
    p = p * r + splat(1.3981999507e-3f);
    p = p * r + splat(8.3334519073e-3f);
    p = p * r + splat(4.1665795894e-2f);
    p = p * r + splat(1.6666665459e-1f);
    p = p * r + splat(5.0000001201e-1f);
    v8 y = (p * (r * r) + r) + splat(1.0f);
    return (v8)((i8x32)y + (n << 23));
}

#endif
