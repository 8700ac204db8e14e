/* The operator PadV3: a tensor with a border around it, all of one value.
 *
 * The adapter asks for it by name to round up what it hands to a collective.
 *
 * Follows: CANN "Operator list", PadV3(x, paddings, constant_values) -> y.
 */
#include <string.h>

#include "named_operator.h"

typedef struct pad {
    const char *from;
    char *to;
    const char *value; /* in device memory */
    size_t width, from_bytes, to_bytes;
    int dims;
    int64_t from_shape[NAMED_DIMS], to_shape[NAMED_DIMS], before[NAMED_DIMS];
} pad;

/* Copy the rows of dimension `dim` and below; `from` and `to` are where its first element lies. */
static void copy_rows(const pad *p, int dim, const char *from, char *to)
{
    size_t from_step = p->width, to_step = p->width;

    if (dim == p->dims - 1) {
        memcpy(to + (size_t)p->before[dim] * p->width, from, (size_t)p->from_shape[dim] * p->width);
        return;
    }
    for (int below = dim + 1; below < p->dims; below++) {
        from_step *= (size_t)p->from_shape[below];
        to_step *= (size_t)p->to_shape[below];
    }
    for (int64_t i = 0; i < p->from_shape[dim]; i++)
        copy_rows(p, dim + 1, from + (size_t)i * from_step,
                  to + (size_t)(i + p->before[dim]) * to_step);
}

static aclError perform(void *argument, aclError before)
{
    const pad *p = argument;
    bool covered;

    if (before != ACL_SUCCESS)
        return before;
    address_hold();
    covered = address_covers(p->from, p->from_bytes) && address_covers(p->to, p->to_bytes) &&
              address_covers(p->value, p->width);
    if (covered) {
        char *to = space_shadow((uintptr_t)p->to);
        for (size_t at = 0; at < p->to_bytes; at += p->width)
            memcpy(to + at, space_shadow((uintptr_t)p->value), p->width);
        copy_rows(p, 0, space_shadow((uintptr_t)p->from), to);
    }
    address_let_go();
    return covered ? ACL_SUCCESS
                   : chip_fail(ACL_ERROR_RT_SYS_DMA, "the operator PadV3 met freed device memory");
}

static aclError refuse(const char *what)
{
    return chip_fail(ACL_ERROR_RT_FEATURE_NOT_SUPPORT, "the operator PadV3 is not emulated %s",
                     what);
}

/* Number `index` of a list of int32 or int64 in host memory. */
static int64_t number(const aclTensorDesc *desc, const void *list, int index)
{
    if (aclGetTensorDescType(desc) == ACL_INT64)
        return ((const int64_t *)list)[index];
    return ((const int32_t *)list)[index];
}

/* Read the shapes; false: they do not fit the paddings. */
static bool read_shapes(const named_call *call, pad *p)
{
    const aclTensorDesc *from = call->input_descs[0], *to = call->output_descs[0];
    const void *paddings = aclGetDataBufferAddr(call->input_data[1]);
    size_t from_count = 1, to_count = 1;

    for (int dim = 0; dim < p->dims; dim++) {
        int64_t after = number(call->input_descs[1], paddings, 2 * dim + 1);
        p->before[dim] = number(call->input_descs[1], paddings, 2 * dim);
        aclGetTensorDescDimV2(from, (size_t)dim, &p->from_shape[dim]);
        aclGetTensorDescDimV2(to, (size_t)dim, &p->to_shape[dim]);
        if (p->before[dim] < 0 || after < 0 ||
            p->from_shape[dim] + p->before[dim] + after != p->to_shape[dim])
            return false;
        from_count *= (size_t)p->from_shape[dim];
        to_count *= (size_t)p->to_shape[dim];
    }
    p->from_bytes = from_count * p->width;
    p->to_bytes = to_count * p->width;
    return p->from_bytes <= aclGetDataBufferSizeV2(call->input_data[0]) &&
           p->to_bytes <= aclGetDataBufferSizeV2(call->output_data[0]);
}

aclError named_operator_pad(const named_call *call, stream *s)
{
    const char *mode = named_operator_text(call->attributes, "mode");
    aclDataType type;
    pad p = {0};

    if (call->inputs != 3 || call->outputs != 1)
        return chip_fail(ACL_ERROR_INVALID_PARAM, "the operator PadV3 has 3 inputs and 1 output");
    type = aclGetTensorDescType(call->input_descs[0]);
    p.dims = (int)aclGetTensorDescNumDims(call->input_descs[0]);
    p.width = aclDataTypeSize(type);
    if (!mode || strcmp(mode, "constant") != 0 ||
        !named_operator_flag(call->attributes, "paddings_contiguous", true))
        return refuse("but with a border of one value");
    if (p.width == 0 || type != aclGetTensorDescType(call->output_descs[0]) ||
        type != aclGetTensorDescType(call->input_descs[2]))
        return refuse("for tensors of different types");
    if (p.dims < 1 || p.dims > NAMED_DIMS ||
        p.dims != (int)aclGetTensorDescNumDims(call->output_descs[0]) ||
        space_holds(aclGetDataBufferAddr(call->input_data[1])) || !read_shapes(call, &p))
        return refuse("for these shapes and paddings");
    p.from = aclGetDataBufferAddr(call->input_data[0]);
    p.value = aclGetDataBufferAddr(call->input_data[2]);
    p.to = aclGetDataBufferAddr(call->output_data[0]);
    return p.to_bytes == 0 ? ACL_SUCCESS : stream_run(s, perform, &p, sizeof p);
}
