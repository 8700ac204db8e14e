/* Kernels one after another, by one team of threads: each is called by all threads, which share its work. */
#include "weights.h"

#define FEW_INTEGER_ROWS 2 /* so few leave most columns of a tile empty; sums of whole numbers are the same either way */

struct call {
    void (*kernel)(const void *arguments);
    const void *arguments;
};

void cordee_run(const struct call *calls, int64_t count, int32_t threads)
{
#pragma omp parallel num_threads(threads) if (threads > 1)
    for (int64_t i = 0; i < count; i++)
        calls[i].kernel(calls[i].arguments);
}

void cordee_linear(const void *arguments)
{
    const struct linear *l = arguments;
    int few = l->weights->kind == INT8 && l->rows <= FEW_INTEGER_ROWS;
    if (l->weights->tiles && !few)
        tile_linear(l);
    else if (l->weights->kind == INT8)
        integer_linear(l);
    else
        vector_linear(l);
}
