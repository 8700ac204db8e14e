/* Capture of a stream's work into a graph: not emulated, and nothing is ever being captured.
 *
 * Follows: CANN "Runtime API", chapter Model Running Instance.
 */
#include <stdio.h>

#include "chip.h"

static __thread aclmdlRICaptureMode mode = ACL_MODEL_RI_CAPTURE_MODE_GLOBAL;

/* Asked before most allocations; the answer is true. */
aclError aclmdlRICaptureGetInfo(aclrtStream handle, aclmdlRICaptureStatus *status, aclmdlRI *model)
{
    aclError code = ACL_SUCCESS;

    if (!stream_of(handle, "aclmdlRICaptureGetInfo", &code))
        return code;
    if (!status)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclmdlRICaptureGetInfo: NULL");
    *status = ACL_MODEL_RI_CAPTURE_STATUS_NONE;
    if (model)
        *model = NULL;
    return ACL_SUCCESS;
}

/* Says what a capture would tolerate; without captures it is only remembered. */
aclError aclmdlRICaptureThreadExchangeMode(aclmdlRICaptureMode *exchanged)
{
    aclmdlRICaptureMode before = mode;

    if (!exchanged || (int)*exchanged < ACL_MODEL_RI_CAPTURE_MODE_GLOBAL ||
        *exchanged > ACL_MODEL_RI_CAPTURE_MODE_RELAXED)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclmdlRICaptureThreadExchangeMode");
    mode = *exchanged;
    *exchanged = before;
    return ACL_SUCCESS;
}

/* Explained on stderr too: the adapter ignores the code, and fails later for want of a capture. */
static aclError refuse(const char *function)
{
    fprintf(stderr, "cordee: %s: capturing a graph (torch.npu.NPUGraph) is not emulated\n", function);
    return chip_fail(ACL_ERROR_RT_FEATURE_NOT_SUPPORT,
                     "%s: capturing a graph (torch.npu.NPUGraph) is not emulated; run the program "
                     "without graphs, e.g. enforce_eager", function);
}

aclError aclmdlRICaptureBegin(aclrtStream handle, aclmdlRICaptureMode wanted)
{
    (void)handle, (void)wanted;
    return refuse("aclmdlRICaptureBegin");
}

aclError aclmdlRICaptureEnd(aclrtStream handle, aclmdlRI *model)
{
    (void)handle, (void)model;
    return refuse("aclmdlRICaptureEnd");
}

aclError aclmdlRICaptureToModelRIBegin(aclrtStream handle, aclmdlRI model,
                                       aclmdlRICaptureMode wanted)
{
    (void)handle, (void)model, (void)wanted;
    return refuse("aclmdlRICaptureToModelRIBegin");
}

aclError aclmdlRIExecuteAsync(aclmdlRI model, aclrtStream handle)
{
    (void)model, (void)handle;
    return refuse("aclmdlRIExecuteAsync");
}

aclError aclmdlRIDestroy(aclmdlRI model)
{
    (void)model;
    return refuse("aclmdlRIDestroy");
}

aclError aclmdlRIGetId(aclmdlRI model, uint32_t *id)
{
    (void)model, (void)id;
    return refuse("aclmdlRIGetId");
}

aclError aclmdlRIDebugPrint(aclmdlRI model)
{
    (void)model;
    return refuse("aclmdlRIDebugPrint");
}

aclError aclmdlRIDebugJsonPrint(aclmdlRI model, const char *path, uint32_t flags)
{
    (void)model, (void)path, (void)flags;
    return refuse("aclmdlRIDebugJsonPrint");
}

aclError aclmdlRICaptureTaskGrpBegin(aclrtStream handle)
{
    (void)handle;
    return refuse("aclmdlRICaptureTaskGrpBegin");
}

aclError aclmdlRICaptureTaskGrpEnd(aclrtStream handle, aclrtTaskGrp *group)
{
    (void)handle, (void)group;
    return refuse("aclmdlRICaptureTaskGrpEnd");
}

aclError aclmdlRICaptureTaskUpdateBegin(aclrtStream handle, aclrtTaskGrp group)
{
    (void)handle, (void)group;
    return refuse("aclmdlRICaptureTaskUpdateBegin");
}

aclError aclmdlRICaptureTaskUpdateEnd(aclrtStream handle)
{
    (void)handle;
    return refuse("aclmdlRICaptureTaskUpdateEnd");
}

aclError aclmdlRICondHandleCreate(aclmdlRI model, uint32_t value, aclmdlRICondHandleFlag flag,
                                  aclmdlRICondHandle *handle)
{
    (void)model, (void)value, (void)flag, (void)handle;
    return refuse("aclmdlRICondHandleCreate");
}

aclError aclmdlRICondHandleGetCondPtr(aclmdlRICondHandle handle, uint64_t **p)
{
    (void)handle, (void)p;
    return refuse("aclmdlRICondHandleGetCondPtr");
}

aclError aclmdlRIAddCondTask(aclmdlRICondTaskParams parameters, aclrtStream handle, uint32_t flags)
{
    (void)parameters, (void)handle, (void)flags;
    return refuse("aclmdlRIAddCondTask");
}
