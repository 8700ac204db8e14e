/* What happens to each row by itself: embedding, norms, rotary positions, activations. */
#include <math.h>

#include "vectors.h"

enum kind { FLOAT32, BFLOAT16, INT8 };

void cordee_embed(const void *table, int32_t kind, const float *scales, const int32_t *ids,
                  int64_t rows, int64_t width, float *y)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < width; k += LANES) {
            int64_t at = ids[r] * width + k;
            v8 value = kind == FLOAT32    ? load((const float *)table + at)
                       : kind == BFLOAT16 ? load_bfloat16((const uint16_t *)table + at)
                                          : load_int8((const int8_t *)table + at) * splat(scales[ids[r]]);
            store(y + r * width + k, value);
        }
}

INLINE void rms_norm_row(const float *x, const float *weight, float eps, int64_t width, float *y)
{
    v8 squares = splat(0);
    for (int64_t k = 0; k < width; k += LANES) {
        v8 value = load(x + k);
        squares = fused(value, value, squares);
    }
    v8 scale = splat(1.0f / sqrtf(sum(squares) / (float)width + eps));
    for (int64_t k = 0; k < width; k += LANES)
        store(y + k, load(x + k) * scale * load(weight + k));
}

void cordee_rms_norm(const float *x, const float *weight, float eps, int64_t rows, int64_t width,
                     float *y)
{
    for (int64_t r = 0; r < rows; r++)
        rms_norm_row(x + r * width, weight, eps, width, y + r * width);
}

void cordee_layer_norm(const float *x, const float *weight, const float *bias, float eps,
                       int64_t rows, int64_t width, float *y)
{
    for (int64_t r = 0; r < rows; r++) {
        const float *from = x + r * width;
        v8 total = splat(0), squares = splat(0);
        for (int64_t k = 0; k < width; k += LANES)
            total += load(from + k);
        v8 mean = splat(sum(total) / (float)width);
        for (int64_t k = 0; k < width; k += LANES) {
            v8 away = load(from + k) - mean;
            squares = fused(away, away, squares);
        }
        v8 scale = splat(1.0f / sqrtf(sum(squares) / (float)width + eps));
        for (int64_t k = 0; k < width; k += LANES)
            store(y + r * width + k,
                  (load(from + k) - mean) * scale * load(weight + k) + load(bias + k));
    }
}

/* Heads of each row turned by their position; `norm` (or NULL) normalises each head before.
 * x[rows, stride], heads of `width`; cosines and sines [positions, width / 2]. */
void cordee_rotary(float *x, int64_t stride, int64_t rows, int64_t heads, int64_t width,
                   const float *norm, float eps, const int32_t *positions, const float *cosines,
                   const float *sines)
{
    int64_t half = width / 2;
    for (int64_t r = 0; r < rows; r++) {
        const float *cosine = cosines ? cosines + positions[r] * half : 0;
        const float *sine = sines ? sines + positions[r] * half : 0;
        for (int64_t h = 0; h < heads; h++) {
            float *head = x + r * stride + h * width;
            if (norm)
                rms_norm_row(head, norm, eps, width, head);
            for (int64_t k = 0; cosine && k < half; k += LANES) {
                v8 low = load(head + k), high = load(head + half + k);
                v8 c = load(cosine + k), s = load(sine + k);
                store(head + k, low * c - high * s);
                store(head + half + k, high * c + low * s);
            }
        }
    }
}

/* y = silu(gate) * up, from x[rows, 2 * width] = gate | up. */
void cordee_swiglu(const float *x, int64_t rows, int64_t width, float *y)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < width; k += LANES) {
            v8 gate = load(x + r * 2 * width + k), up = load(x + r * 2 * width + width + k);
            store(y + r * width + k, gate / (splat(1) + exponential(-gate)) * up);
        }
}

/* GELU by its tanh approximation (Hendrycks and Gimpel 2016, section 2), in place. */
void cordee_gelu(float *x, int64_t count)
{
    for (int64_t k = 0; k < count; k += LANES) {
        v8 value = load(x + k);
        v8 inner = splat(0.7978845608028654f) * (value + splat(0.044715f) * value * value * value);
        /* tanh(u) = 1 - 2 / (e^2u + 1) */
        v8 tanh = splat(1) - splat(2) / (exponential(inner + inner) + splat(1));
        store(x + k, splat(0.5f) * value * (splat(1) + tanh));
    }
}
