/* Operators that a program may ask for by name.
 *
 * Almost all operators reach the emulator through PyTorch's dispatcher, above this interface. Here
 * are the few that the adapter's own C++ asks for past the dispatcher; every other is refused.
 *
 * Follows: CANN "Operator list", page of each operator.
 */
#include "named_operator.h"

#include <string.h>

enum { VALUE = 16 }; /* bytes of the widest number */

typedef struct fill {
    char *to;
    size_t bytes, width;
    const void *device_value; /* or NULL, with the value here: */
    char value[VALUE];
} fill;

static aclError perform_fill(void *argument, aclError before)
{
    fill *f = argument;
    char *to = space_shadow((uintptr_t)f->to);
    bool covered;

    if (before != ACL_SUCCESS)
        return before;
    address_hold();
    covered = address_covers(f->to, f->bytes) &&
              (!f->device_value || address_covers(f->device_value, f->width));
    if (covered && f->device_value)
        memcpy(f->value, space_shadow((uintptr_t)f->device_value), f->width);
    for (size_t at = 0; covered && at + f->width <= f->bytes; at += f->width)
        memcpy(to + at, f->value, f->width);
    address_let_go();
    return covered ? ACL_SUCCESS
                   : chip_fail(ACL_ERROR_RT_SYS_DMA, "the operator Fill met freed device memory");
}

/* Fill(dims, value) -> y: every element of y becomes value, which is of the type of y. */
static aclError run_fill(const named_call *call, stream *s)
{
    fill f = {0};
    const void *value;

    if (call->inputs != 2 || call->outputs != 1)
        return chip_fail(ACL_ERROR_INVALID_PARAM, "the operator Fill has 2 inputs and 1 output");
    value = aclGetDataBufferAddr(call->input_data[1]);
    f.to = aclGetDataBufferAddr(call->output_data[0]);
    f.bytes = aclGetDataBufferSizeV2(call->output_data[0]);
    f.width = aclDataTypeSize(aclGetTensorDescType(call->output_descs[0]));
    if (f.bytes == 0)
        return ACL_SUCCESS;
    if (f.width == 0 || f.width > VALUE || !value ||
        aclGetTensorDescType(call->input_descs[1]) != aclGetTensorDescType(call->output_descs[0]))
        return chip_fail(ACL_ERROR_RT_FEATURE_NOT_SUPPORT,
                         "the operator Fill is not emulated for a value of another type");
    if (space_holds(value))
        f.device_value = value;
    else
        memcpy(f.value, value, f.width);
    return stream_run(s, perform_fill, &f, sizeof f);
}

static const struct {
    const char *name;
    aclError (*run)(const named_call *call, stream *s);
} known[] = {
    {"Fill", run_fill},
    {"PadV3", named_operator_pad},
};

aclError named_operator_run(const named_call *call)
{
    aclError code = ACL_SUCCESS;

    for (size_t i = 0; call->name && i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].name, call->name) == 0) {
            stream *s = stream_of(call->stream, call->name, &code);
            return s ? known[i].run(call, s) : code;
        }
    return chip_fail(ACL_ERROR_RT_FEATURE_NOT_SUPPORT,
                     "the operator %s was asked for by name (aclopCompileAndExecute), which is not "
                     "emulated", call->name ? call->name : "(NULL)");
}
