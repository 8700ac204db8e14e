/* Settings that programs make and read back: system options, timeouts, core limits.
 *
 * They are kept per device or per stream as documented. Only timeouts have an effect here, that of
 * operators where a chip hangs: every emulated operator is deterministic, and runs for as long as it
 * needs.
 *
 * Follows: CANN "Runtime API", chapters System Configuration and Resource Limits.
 */
#include <pthread.h>
#include <string.h>

#include "device.h"
#include "stream.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int64_t options[3]; /* by aclSysParamOpt; what aclrtSetSysParamOpt set for the process */
static uint64_t wait_timeout_s, execute_timeout_us; /* 0: none set */
static uint32_t cube_limit[MACHINE_CHIPS], vector_limit[MACHINE_CHIPS]; /* 0: none set */
static __thread stream *stream_in_use;

static aclError check_option(const char *function, aclSysParamOpt option)
{
    if ((int)option < ACL_OPT_DETERMINISTIC || option > ACL_OPT_STRONG_CONSISTENCY)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "%s: option %d", function, (int)option);
    return ACL_SUCCESS;
}

aclError aclrtSetSysParamOpt(aclSysParamOpt option, int64_t value)
{
    aclError code = check_option("aclrtSetSysParamOpt", option);

    if (code != ACL_SUCCESS)
        return code;
    pthread_mutex_lock(&lock);
    options[option] = value;
    pthread_mutex_unlock(&lock);
    return ACL_SUCCESS;
}

aclError aclrtGetSysParamOpt(aclSysParamOpt option, int64_t *value)
{
    aclError code = check_option("aclrtGetSysParamOpt", option);

    code = chip_need(code, "aclrtGetSysParamOpt", value);
    if (code != ACL_SUCCESS)
        return code;
    pthread_mutex_lock(&lock);
    *value = options[option];
    pthread_mutex_unlock(&lock);
    return ACL_SUCCESS;
}

aclError aclrtCtxSetSysParamOpt(aclSysParamOpt option, int64_t value)
{
    context *c;
    aclError code = check_option("aclrtCtxSetSysParamOpt", option);

    if (code == ACL_SUCCESS)
        code = context_need("aclrtCtxSetSysParamOpt", &c);
    if (code != ACL_SUCCESS)
        return code;
    c->options[option] = value;
    c->options_set[option] = true;
    return ACL_SUCCESS;
}

aclError aclrtCtxGetSysParamOpt(aclSysParamOpt option, int64_t *value)
{
    context *c;
    aclError code = check_option("aclrtCtxGetSysParamOpt", option);

    if (code == ACL_SUCCESS)
        code = context_need("aclrtCtxGetSysParamOpt", &c);
    code = chip_need(code, "aclrtCtxGetSysParamOpt", value);
    if (code != ACL_SUCCESS)
        return code;
    if (!c->options_set[option])
        return aclrtGetSysParamOpt(option, value);
    *value = c->options[option];
    return ACL_SUCCESS;
}

aclError aclrtSetOpWaitTimeout(uint32_t timeout_s)
{
    pthread_mutex_lock(&lock);
    wait_timeout_s = timeout_s;
    pthread_mutex_unlock(&lock);
    return ACL_SUCCESS;
}

int32_t settings_wait_timeout_ms(void)
{
    uint64_t ms;

    pthread_mutex_lock(&lock);
    ms = wait_timeout_s * 1000u;
    pthread_mutex_unlock(&lock);
    return ms == 0 || ms > INT32_MAX ? -1 : (int32_t)ms;
}

uint64_t settings_execute_timeout_us(void)
{
    uint64_t us;

    pthread_mutex_lock(&lock);
    us = execute_timeout_us;
    pthread_mutex_unlock(&lock);
    return us ? us : machine_operator_timeout_us();
}

/* 0 asks for the longest there is. */
aclError aclrtSetOpExecuteTimeOutV2(uint64_t timeout_us, uint64_t *actual_us)
{
    uint64_t most_us = machine_operator_timeout_us();
    uint64_t us = timeout_us == 0 || timeout_us > most_us ? most_us : timeout_us;

    pthread_mutex_lock(&lock);
    execute_timeout_us = us;
    pthread_mutex_unlock(&lock);
    if (actual_us)
        *actual_us = us;
    return ACL_SUCCESS;
}

aclError aclrtSetOpExecuteTimeOut(uint32_t timeout_s)
{
    return aclrtSetOpExecuteTimeOutV2((uint64_t)timeout_s * 1000000u, NULL);
}

aclError aclrtSetOpExecuteTimeOutWithMs(uint32_t timeout_ms)
{
    return aclrtSetOpExecuteTimeOutV2((uint64_t)timeout_ms * 1000u, NULL);
}

aclError aclrtGetOpExecuteTimeout(uint32_t *const timeout_ms)
{
    if (!timeout_ms)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtGetOpExecuteTimeout: NULL");
    *timeout_ms = (uint32_t)(settings_execute_timeout_us() / 1000u);
    return ACL_SUCCESS;
}

static uint32_t cores_of(int chip, aclrtDevResLimitType type)
{
    const machine_chip *c = &machine_of_process()->chips[chip];

    return type == ACL_RT_DEV_RES_CUBE_CORE ? c->cube_cores : c->vector_cores;
}

static aclError check_limit(const char *function, int chip, aclrtDevResLimitType type,
                            uint32_t value)
{
    if (type != ACL_RT_DEV_RES_CUBE_CORE && type != ACL_RT_DEV_RES_VECTOR_CORE)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "%s: type %d", function, (int)type);
    if (value == 0 || value > cores_of(chip, type))
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "%s: %u cores, the chip has %u", function,
                         value, cores_of(chip, type));
    return ACL_SUCCESS;
}

static uint32_t *limit_of(int chip, aclrtDevResLimitType type)
{
    return type == ACL_RT_DEV_RES_CUBE_CORE ? &cube_limit[chip] : &vector_limit[chip];
}

aclError aclrtSetDeviceResLimit(int32_t device, aclrtDevResLimitType type, uint32_t value)
{
    int chip;
    aclError code = device_need("aclrtSetDeviceResLimit", device, &chip);

    if (code == ACL_SUCCESS)
        code = check_limit("aclrtSetDeviceResLimit", chip, type, value);
    if (code == ACL_SUCCESS)
        *limit_of(chip, type) = value;
    return code;
}

aclError aclrtGetDeviceResLimit(int32_t device, aclrtDevResLimitType type, uint32_t *value)
{
    int chip;
    aclError code = device_need("aclrtGetDeviceResLimit", device, &chip);

    if (code == ACL_SUCCESS)
        code = check_limit("aclrtGetDeviceResLimit", chip, type, 1);
    code = chip_need(code, "aclrtGetDeviceResLimit", value);
    if (code != ACL_SUCCESS)
        return code;
    *value = *limit_of(chip, type) ? *limit_of(chip, type) : cores_of(chip, type);
    return ACL_SUCCESS;
}

aclError aclrtResetDeviceResLimit(int32_t device)
{
    int chip;
    aclError code = device_need("aclrtResetDeviceResLimit", device, &chip);

    if (code == ACL_SUCCESS)
        cube_limit[chip] = vector_limit[chip] = 0;
    return code;
}

aclError aclrtSetStreamResLimit(aclrtStream handle, aclrtDevResLimitType type, uint32_t value)
{
    aclError code = ACL_SUCCESS;
    stream *s = stream_of(handle, "aclrtSetStreamResLimit", &code);

    if (s)
        code = check_limit("aclrtSetStreamResLimit", s->chip, type, value);
    if (code == ACL_SUCCESS)
        *(type == ACL_RT_DEV_RES_CUBE_CORE ? &s->cube_limit : &s->vector_limit) = value;
    return code;
}

static aclError limit_on(stream *s, int chip, aclrtDevResLimitType type, uint32_t *value)
{
    aclError code = check_limit("aclrtGetStreamResLimit", chip, type, 1);
    uint32_t own = !s ? 0 : type == ACL_RT_DEV_RES_CUBE_CORE ? s->cube_limit : s->vector_limit;

    code = chip_need(code, "aclrtGetStreamResLimit", value);
    if (code != ACL_SUCCESS)
        return code;
    if (!own)
        own = *limit_of(chip, type) ? *limit_of(chip, type) : cores_of(chip, type);
    *value = own;
    return ACL_SUCCESS;
}

aclError aclrtGetStreamResLimit(aclrtStream handle, aclrtDevResLimitType type, uint32_t *value)
{
    aclError code = ACL_SUCCESS;
    stream *s = stream_of(handle, "aclrtGetStreamResLimit", &code);

    return s ? limit_on(s, s->chip, type, value) : code;
}

aclError aclrtResetStreamResLimit(aclrtStream handle)
{
    aclError code = ACL_SUCCESS;
    stream *s = stream_of(handle, "aclrtResetStreamResLimit", &code);

    if (s)
        s->cube_limit = s->vector_limit = 0;
    return code;
}

aclError aclrtUseStreamResInCurrentThread(aclrtStream handle)
{
    aclError code = ACL_SUCCESS;
    stream *s = stream_of(handle, "aclrtUseStreamResInCurrentThread", &code);

    if (s)
        stream_in_use = s;
    return code;
}

aclError aclrtUnuseStreamResInCurrentThread(aclrtStream handle)
{
    aclError code = ACL_SUCCESS;

    if (stream_of(handle, "aclrtUnuseStreamResInCurrentThread", &code))
        stream_in_use = NULL;
    return code;
}

aclError aclrtGetResInCurrentThread(aclrtDevResLimitType type, uint32_t *value)
{
    context *c;
    aclError code = context_need("aclrtGetResInCurrentThread", &c);

    return code == ACL_SUCCESS ? limit_on(stream_in_use, c->chip, type, value) : code;
}
