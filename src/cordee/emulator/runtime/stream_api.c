/* Calls on streams.
 *
 * Follows: CANN "Runtime API", chapter Stream Management.
 */
#include <stdlib.h>
#include <string.h>

#include "stream.h"

static aclError create(const char *function, aclrtStream *made, uint32_t priority, uint32_t flags)
{
    context *c;
    aclError code = context_need(function, &c);

    if (code != ACL_SUCCESS)
        return code;
    if (!made)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "%s: stream is NULL", function);
    *made = stream_open(c, priority, flags);
    return *made ? ACL_SUCCESS
                 : chip_fail(ACL_ERROR_RT_NO_STREAM_RESOURCE, "%s: no host memory", function);
}

aclError aclrtCreateStream(aclrtStream *made)
{
    return create("aclrtCreateStream", made, 0, 0);
}

aclError aclrtCreateStreamWithConfig(aclrtStream *made, uint32_t priority, uint32_t flags)
{
    if (priority > 7)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID,
                         "aclrtCreateStreamWithConfig: priority %u is not 0 to 7", priority);
    return create("aclrtCreateStreamWithConfig", made, priority, flags);
}

aclrtStreamConfigHandle *aclrtCreateStreamConfigHandle(void)
{
    return calloc(1, sizeof(aclrtStreamConfigHandle));
}

aclError aclrtDestroyStreamConfigHandle(aclrtStreamConfigHandle *handle)
{
    free(handle);
    return ACL_SUCCESS;
}

aclError aclrtCreateStreamV2(aclrtStream *made, const aclrtStreamConfigHandle *handle)
{
    if (!handle)
        return create("aclrtCreateStreamV2", made, 0, 0);
    return create("aclrtCreateStreamV2", made, handle->priority, (uint32_t)handle->flag);
}

static aclError destroy(const char *function, aclrtStream handle, bool drop)
{
    aclError code = ACL_SUCCESS;
    stream *s;

    if (!handle)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "%s: the default stream stays", function);
    s = stream_of(handle, function, &code);
    return s ? stream_close(s, drop) : code;
}

aclError aclrtDestroyStream(aclrtStream handle)
{
    return destroy("aclrtDestroyStream", handle, false);
}

aclError aclrtDestroyStreamForce(aclrtStream handle)
{
    return destroy("aclrtDestroyStreamForce", handle, true);
}

aclError aclrtSynchronizeStreamWithTimeout(aclrtStream handle, int32_t timeout_ms)
{
    aclError code = ACL_SUCCESS;
    stream *s;

    if (timeout_ms < -1)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "a timeout of %d ms", timeout_ms);
    s = stream_of(handle, "aclrtSynchronizeStream", &code);
    return s ? stream_wait(s, timeout_ms) : code;
}

aclError aclrtSynchronizeStream(aclrtStream handle)
{
    return aclrtSynchronizeStreamWithTimeout(handle, -1);
}

aclError aclrtSynchronizeDeviceWithTimeout(int32_t timeout_ms)
{
    context *c;
    aclError code = context_need("aclrtSynchronizeDevice", &c);

    return code == ACL_SUCCESS ? streams_wait(c->chip, timeout_ms) : code;
}

aclError aclrtSynchronizeDevice(void)
{
    return aclrtSynchronizeDeviceWithTimeout(-1);
}

aclError aclrtStreamQuery(aclrtStream handle, aclrtStreamStatus *status)
{
    aclError code = ACL_SUCCESS;
    stream *s = stream_of(handle, "aclrtStreamQuery", &code);

    if (!s)
        return code;
    if (!status)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtStreamQuery: status is NULL");
    stream_nudge(s);
    *status = stream_idle(s) ? ACL_STREAM_STATUS_COMPLETE : ACL_STREAM_STATUS_NOT_READY;
    return ACL_SUCCESS;
}

aclError aclrtStreamGetId(aclrtStream handle, int32_t *id)
{
    aclError code = ACL_SUCCESS;
    stream *s = stream_of(handle, "aclrtStreamGetId", &code);

    if (s && !id)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtStreamGetId: id is NULL");
    if (s)
        *id = s->id;
    return code;
}

aclError aclrtStreamGetPriority(aclrtStream handle, uint32_t *priority)
{
    aclError code = ACL_SUCCESS;
    stream *s = stream_of(handle, "aclrtStreamGetPriority", &code);

    if (s && priority)
        *priority = s->priority;
    return code;
}

aclError aclrtStreamGetFlags(aclrtStream handle, uint32_t *flags)
{
    aclError code = ACL_SUCCESS;
    stream *s = stream_of(handle, "aclrtStreamGetFlags", &code);

    if (s && flags)
        *flags = s->flags;
    return code;
}

aclError aclrtStreamAbort(aclrtStream handle)
{
    aclError code = ACL_SUCCESS;
    stream *s = stream_of(handle, "aclrtStreamAbort", &code);

    if (s)
        stream_abort(s, ACL_ERROR_RT_STREAM_ABORT);
    return code;
}

aclError aclrtDeviceGetStreamPriorityRange(int32_t *least, int32_t *greatest)
{
    if (least)
        *least = 7;
    if (greatest)
        *greatest = 0;
    return ACL_SUCCESS;
}

aclError aclrtCtxGetCurrentDefaultStream(aclrtStream *handle)
{
    aclError code = ACL_SUCCESS;
    stream *s = stream_of(NULL, "aclrtCtxGetCurrentDefaultStream", &code);

    if (s && handle)
        *handle = s;
    return code;
}

aclError aclrtSetStreamAttribute(aclrtStream handle, aclrtStreamAttr kind,
                                 aclrtStreamAttrValue *value)
{
    aclError code = ACL_SUCCESS;
    stream *s = stream_of(handle, "aclrtSetStreamAttribute", &code);

    if (!s)
        return code;
    if (!value)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtSetStreamAttribute: value is NULL");
    switch (kind) {
    case ACL_STREAM_ATTR_FAILURE_MODE:
        s->failure_mode = value->failureMode;
        return ACL_SUCCESS;
    case ACL_STREAM_ATTR_FLOAT_OVERFLOW_CHECK:
        return aclrtSetStreamOverflowSwitch(handle, value->overflowSwitch);
    case ACL_STREAM_ATTR_USER_CUSTOM_TAG:
        s->custom_tag = value->userCustomTag;
        return ACL_SUCCESS;
    case ACL_STREAM_ATTR_CACHE_OP_INFO:
        s->cache_op_info = value->cacheOpInfoSwitch;
        return ACL_SUCCESS;
    case ACL_STREAM_ATTR_PRIORITY:
        s->priority = value->streamPriority;
        return ACL_SUCCESS;
    }
    return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtSetStreamAttribute: kind %d", (int)kind);
}

aclError aclrtGetStreamAttribute(aclrtStream handle, aclrtStreamAttr kind,
                                 aclrtStreamAttrValue *value)
{
    aclError code = ACL_SUCCESS;
    stream *s = stream_of(handle, "aclrtGetStreamAttribute", &code);

    if (!s)
        return code;
    if (!value)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtGetStreamAttribute: value is NULL");
    memset(value, 0, sizeof *value);
    switch (kind) {
    case ACL_STREAM_ATTR_FAILURE_MODE:
        value->failureMode = s->failure_mode;
        return ACL_SUCCESS;
    case ACL_STREAM_ATTR_FLOAT_OVERFLOW_CHECK:
        value->overflowSwitch = s->overflow_switch;
        return ACL_SUCCESS;
    case ACL_STREAM_ATTR_USER_CUSTOM_TAG:
        value->userCustomTag = s->custom_tag;
        return ACL_SUCCESS;
    case ACL_STREAM_ATTR_CACHE_OP_INFO:
        value->cacheOpInfoSwitch = s->cache_op_info;
        return ACL_SUCCESS;
    case ACL_STREAM_ATTR_PRIORITY:
        value->streamPriority = s->priority;
        return ACL_SUCCESS;
    }
    return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtGetStreamAttribute: kind %d", (int)kind);
}

aclError aclrtSetStreamFailureMode(aclrtStream handle, uint64_t mode)
{
    aclrtStreamAttrValue value = {.failureMode = mode};

    if (mode > ACL_STOP_ON_FAILURE)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtSetStreamFailureMode: mode %lu",
                         (unsigned long)mode);
    return aclrtSetStreamAttribute(handle, ACL_STREAM_ATTR_FAILURE_MODE, &value);
}

/* Overflow is kept track of nowhere, so switching the check on must not look as if it were. */
aclError aclrtSetStreamOverflowSwitch(aclrtStream handle, uint32_t flag)
{
    aclError code = ACL_SUCCESS;
    stream *s = stream_of(handle, "aclrtSetStreamOverflowSwitch", &code);

    if (s)
        s->overflow_switch = flag;
    return code;
}

aclError aclrtGetStreamOverflowSwitch(aclrtStream handle, uint32_t *flag)
{
    aclError code = ACL_SUCCESS;
    stream *s = stream_of(handle, "aclrtGetStreamOverflowSwitch", &code);

    if (s && flag)
        *flag = s->overflow_switch;
    return code;
}
