/* Weights of a linear layer, and what every way of multiplying with them shares. */
#ifndef CORDEE_WEIGHTS_H
#define CORDEE_WEIGHTS_H

#include "vectors.h"

enum kind { FLOAT32, BFLOAT16, INT8 };

struct weights {
    const void *data;    /* [outputs, inputs], int8 in tiles */
    const float *scales; /* [outputs], int8 only */
    const float *bias;   /* [outputs] or NULL */
    int64_t outputs, inputs;
    int32_t kind;
    int32_t tiles; /* whether the matrix unit is to be used */
};

/* Several layers of one kind with the same inputs, whose outputs lie side by side. */
struct linear {
    const struct weights *weights;
    int64_t count;
    const float *x; /* [rows, x_stride] */
    int64_t x_stride, rows;
    float *y; /* [rows, y_stride] */
    int64_t y_stride;
    int32_t add; /* to what y holds */
    void *scratch; /* 8 (rows + 16) (inputs + 64) bytes: activations in the form that a way needs */
};

/* A part of the outputs of one layer. */
struct part {
    const struct weights *w;
    int64_t first, last, place; /* place: where the layer's outputs begin in a row of y */
};

/* How many there are of `size` outputs. */
INLINE int64_t parts_of(const struct linear *l, int64_t size)
{
    int64_t parts = 0;
    for (int64_t i = 0; i < l->count; i++)
        parts += (l->weights[i].outputs + size - 1) / size;
    return parts;
}

INLINE struct part part_of(const struct linear *l, int64_t number, int64_t size)
{
    const struct weights *w = l->weights;
    int64_t place = 0;
    for (int64_t here; number >= (here = (w->outputs + size - 1) / size); w++) {
        number -= here;
        place += w->outputs;
    }
    int64_t last = (number + 1) * size;
    return (struct part){w, number * size, last < w->outputs ? last : w->outputs, place};
}

INLINE v8 weights_at(const void *data, int64_t index, int kind)
{
    return kind == FLOAT32 ? load((const float *)data + index)
                           : load_bfloat16((const uint16_t *)data + index);
}

INLINE int64_t rounded_up(int64_t count, int64_t to)
{
    return (count + to - 1) / to * to;
}

/* Weights in int8 lie in tiles of 16 outputs and 64 inputs, one after another along the inputs, in the order in which
 * they are read, so that the processor fetches them ahead. What is beyond the last output or input is zero. */
#define INTEGER_OUTPUTS 16
#define INTEGER_INPUTS 64
#define INTEGER_TILE (INTEGER_OUTPUTS * INTEGER_INPUTS)

INLINE int64_t integer_place(int64_t inputs, int64_t output, int64_t input)
{
    int64_t tiles = rounded_up(inputs, INTEGER_INPUTS) / INTEGER_INPUTS;
    return (output / INTEGER_OUTPUTS * tiles + input / INTEGER_INPUTS) * INTEGER_TILE +
           output % INTEGER_OUTPUTS * INTEGER_INPUTS + input % INTEGER_INPUTS;
}

INLINE const int8_t *integers_at(const struct weights *w, int64_t output, int64_t input)
{
    return (const int8_t *)w->data + integer_place(w->inputs, output, input);
}

INLINE char *aligned(const void *address)
{
    return (char *)(((uintptr_t)address + 63) & ~(uintptr_t)63);
}

/* Run by all threads of a team. */
void vector_linear(const struct linear *l);
void integer_linear(const struct linear *l);
void tile_linear(const struct linear *l);

/* Activations in 16 bits, [rows, inputs rounded up to 64], and the scale of each row. */
struct whole {
    int16_t *numbers;
    float *scales;
    int64_t stride;
};
struct whole whole_numbers(const struct linear *l);

#endif
