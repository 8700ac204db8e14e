/* What happens to each row by itself: embedding, norms, rotary positions, activations. */
#include <math.h>

#include "weights.h"

struct embed {
    const struct weights *table;
    const int32_t *ids;
    int64_t rows;
    float *y;
};

void cordee_embed(const void *arguments)
{
    const struct embed *e = arguments;
    const struct weights *table = e->table;
    int64_t width = table->inputs;
#pragma omp for schedule(static)
    for (int64_t r = 0; r < e->rows; r++)
        for (int64_t k = 0; k < width; k += LANES)
            store(e->y + r * width + k,
                  table->kind == INT8
                      ? load_int8(integers_at(table, e->ids[r], k)) * splat(table->scales[e->ids[r]])
                      : weights_at(table->data, e->ids[r] * width + k, table->kind));
}

/* The rows of x that are asked for. */
struct take {
    const float *x;
    const int32_t *rows;
    int64_t count, width;
    float *y;
};

void cordee_take(const void *arguments)
{
    const struct take *t = arguments;
#pragma omp for schedule(static)
    for (int64_t r = 0; r < t->count; r++)
        memcpy(t->y + r * t->width, t->x + t->rows[r] * t->width, (size_t)t->width * sizeof(float));
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

struct norm {
    const float *x, *weight, *bias; /* bias: layer norm only */
    float eps;
    int64_t rows, width;
    float *y;
};

void cordee_rms_norm(const void *arguments)
{
    const struct norm *n = arguments;
#pragma omp for schedule(static)
    for (int64_t r = 0; r < n->rows; r++)
        rms_norm_row(n->x + r * n->width, n->weight, n->eps, n->width, n->y + r * n->width);
}

void cordee_layer_norm(const void *arguments)
{
    const struct norm *n = arguments;
    int64_t width = n->width;
#pragma omp for schedule(static)
    for (int64_t r = 0; r < n->rows; r++) {
        const float *from = n->x + r * width;
        v8 total = splat(0), squares = splat(0);
        for (int64_t k = 0; k < width; k += LANES)
            total += load(from + k);
        v8 mean = splat(sum(total) / (float)width);
        for (int64_t k = 0; k < width; k += LANES) {
            v8 away = load(from + k) - mean;
            squares = fused(away, away, squares);
        }
        v8 scale = splat(1.0f / sqrtf(sum(squares) / (float)width + n->eps));
        for (int64_t k = 0; k < width; k += LANES)
            store(n->y + r * width + k,
                  (load(from + k) - mean) * scale * load(n->weight + k) + load(n->bias + k));
    }
}

/* Heads of each row turned by their position; `norm` (or NULL) normalises each head before. */
struct rotary {
    float *x; /* [rows, stride], heads of `width` */
    int64_t stride, rows, heads, width;
    const float *norm;
    float eps;
    const int32_t *positions;
    const float *cosines, *sines; /* [positions, width / 2] */
};

void cordee_rotary(const void *arguments)
{
    const struct rotary *t = arguments;
    int64_t half = t->width / 2;
#pragma omp for schedule(static)
    for (int64_t r = 0; r < t->rows; r++) {
        const float *cosine = t->cosines ? t->cosines + t->positions[r] * half : 0;
        const float *sine = t->sines ? t->sines + t->positions[r] * half : 0;
        for (int64_t h = 0; h < t->heads; h++) {
            float *head = t->x + r * t->stride + h * t->width;
            if (t->norm)
                rms_norm_row(head, t->norm, t->eps, t->width, head);
            for (int64_t k = 0; cosine && k < half; k += LANES) {
                v8 low = load(head + k), high = load(head + half + k);
                v8 c = load(cosine + k), s = load(sine + k);
                store(head + k, low * c - high * s);
                store(head + half + k, high * c + low * s);
            }
        }
    }
}

struct activation {
    float *x;
    int64_t rows, width;
    float *y;
};

/* y = silu(gate) * up, from x[rows, 2 * width] = gate | up. */
void cordee_swiglu(const void *arguments)
{
    const struct activation *a = arguments;
    int64_t width = a->width;
#pragma omp for schedule(static) collapse(2)
    for (int64_t r = 0; r < a->rows; r++)
        for (int64_t k = 0; k < width; k += LANES) {
            const float *from = a->x + r * 2 * width + k;
            v8 gate = load(from), up = load(from + width);
            store(a->y + r * width + k, gate / (splat(1) + exponential(-gate)) * up);
        }
}

/* GELU by its tanh approximation (Hendrycks and Gimpel 2016, section 2), in place. */
void cordee_gelu(const void *arguments)
{
    const struct activation *a = arguments;
#pragma omp for schedule(static)
    for (int64_t k = 0; k < a->rows * a->width; k += LANES) {
        v8 value = load(a->x + k);
        v8 inner = splat(0.7978845608028654f) * (value + splat(0.044715f) * value * value * value);
        /* tanh(u) = 1 - 2 / (e^2u + 1) */
        v8 tanh = splat(1) - splat(2) / (exponential(inner + inner) + splat(1));
        store(a->x + k, splat(0.5f) * value * (splat(1) + tanh));
    }
}
