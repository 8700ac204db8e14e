/* Operators that a program may ask for by name. */
#ifndef CORDEE_NAMED_OPERATOR_H
#define CORDEE_NAMED_OPERATOR_H

#include "chip.h"

typedef struct named_call {
    const char *name;
    int inputs, outputs;
    const aclTensorDesc *const *input_descs, *const *output_descs;
    const aclDataBuffer *const *input_data, *const *output_data;
    const aclopAttr *attributes;
    aclrtStream stream;
} named_call;

enum { NAMED_DIMS = 8 };

/* Attributes of a call: NULL or `otherwise` where it has none of that name. */
const char *named_operator_text(const aclopAttr *attributes, const char *name);
bool named_operator_flag(const aclopAttr *attributes, const char *name, bool otherwise);

aclError named_operator_pad(const named_call *call, stream *s); /* PadV3 */

/* Carry the call out on its stream, or refuse it by name. */
CORDEE_API aclError named_operator_run(const named_call *call);

#endif
