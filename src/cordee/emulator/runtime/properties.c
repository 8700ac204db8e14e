/* What the chips are: names, sizes, capabilities. Figures come from the catalogue only.
 *
 * Follows: CANN "Runtime API", chapters Device Management and System Configuration.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "chip.h"
#include "device.h"

const char *aclrtGetSocName(void)
{
    machine *m = machine_of_process();

    return m ? m->soc_name : NULL;
}

static aclError give(const char *what, uint64_t figure, int64_t *value)
{
    if (figure == 0)
        return chip_fail(ACL_ERROR_RT_FEATURE_NOT_SUPPORT,
                         "%s: the catalogue of chips has no sourced figure", what);
    *value = (int64_t)figure;
    return ACL_SUCCESS;
}

aclError aclGetDeviceCapability(uint32_t device, aclDeviceInfo info, int64_t *value)
{
    int chip;
    aclError code = device_need("aclGetDeviceCapability", (int32_t)device, &chip);
    const machine_chip *c;

    code = chip_need(code, "aclGetDeviceCapability", value);
    if (code != ACL_SUCCESS)
        return code;
    c = &machine_of_process()->chips[chip];
    switch (info) {
    case ACL_DEVICE_INFO_AI_CORE_NUM:
        return give("number of AI cores", c->cube_cores, value);
    case ACL_DEVICE_INFO_VECTOR_CORE_NUM:
        return give("number of vector cores", c->vector_cores, value);
    case ACL_DEVICE_INFO_L2_SIZE:
        return give("size of the L2 cache", c->l2_bytes, value);
    default:
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclGetDeviceCapability: info %d", (int)info);
    }
}

aclError aclrtGetDeviceInfo(uint32_t device, aclrtDevAttr attribute, int64_t *value)
{
    int chip;
    aclError code = device_need("aclrtGetDeviceInfo", (int32_t)device, &chip);
    const machine_chip *c;

    code = chip_need(code, "aclrtGetDeviceInfo", value);
    if (code != ACL_SUCCESS)
        return code;
    c = &machine_of_process()->chips[chip];
    switch (attribute) {
    case ACL_DEV_ATTR_AICORE_CORE_NUM:
    case ACL_DEV_ATTR_CUBE_CORE_NUM:
        return give("number of cube cores", c->cube_cores, value);
    case ACL_DEV_ATTR_VECTOR_CORE_NUM:
        return give("number of vector cores", c->vector_cores, value);
    case ACL_DEV_ATTR_TOTAL_GLOBAL_MEM_SIZE:
        return give("size of the memory", c->memory_bytes, value);
    case ACL_DEV_ATTR_L2_CACHE_SIZE:
        return give("size of the L2 cache", c->l2_bytes, value);
    case ACL_DEV_ATTR_PHY_CHIP_ID:
        *value = chip;
        return ACL_SUCCESS;
    case ACL_DEV_ATTR_IS_VIRTUAL: /* "virtual" here means a share of a real chip */
        *value = 0;
        return ACL_SUCCESS;
    default:
        return chip_fail(ACL_ERROR_RT_FEATURE_NOT_SUPPORT,
                         "aclrtGetDeviceInfo: attribute %d is not emulated", (int)attribute);
    }
}

aclError aclGetCannAttributeList(const aclCannAttr **list, size_t *count)
{
    static const aclCannAttr all[] = {ACL_CANN_ATTR_INF_NAN, ACL_CANN_ATTR_BF16,
                                      ACL_CANN_ATTR_JIT_COMPILE};

    if (!list || !count)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclGetCannAttributeList: NULL");
    *list = all;
    *count = sizeof all / sizeof *all;
    return ACL_SUCCESS;
}

/* The 310P and the first 910 saturate on overflow and have no bfloat16. */
static bool has_inf_and_bf16(void)
{
    const char *name = aclrtGetSocName();

    return name && (strncmp(name, "Ascend910B", 10) == 0 || strncmp(name, "Ascend910_", 10) == 0 ||
                    strncmp(name, "Ascend950", 9) == 0);
}

aclError aclGetCannAttribute(aclCannAttr attribute, int32_t *value)
{
    if (!value)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclGetCannAttribute: NULL");
    switch (attribute) {
    case ACL_CANN_ATTR_INF_NAN:
    case ACL_CANN_ATTR_BF16:
        *value = has_inf_and_bf16();
        return ACL_SUCCESS;
    case ACL_CANN_ATTR_JIT_COMPILE:
        *value = !has_inf_and_bf16();
        return ACL_SUCCESS;
    default:
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclGetCannAttribute: %d", (int)attribute);
    }
}

aclError aclrtDeviceGetBareTgid(int32_t *pid)
{
    if (!pid)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtDeviceGetBareTgid: NULL");
    *pid = getpid();
    return ACL_SUCCESS;
}

/* Stable for a machine and chip, and never that of a real one: "cordee" and the chip's number. */
aclError aclrtDeviceGetUuid(int32_t device, aclrtUuid *uuid)
{
    int chip;
    aclError code = device_need("aclrtDeviceGetUuid", device, &chip);

    code = chip_need(code, "aclrtDeviceGetUuid", uuid);
    if (code != ACL_SUCCESS)
        return code;
    memset(uuid->bytes, 0, sizeof uuid->bytes);
    memcpy(uuid->bytes, "cordee", 6);
    uuid->bytes[15] = (char)chip;
    return ACL_SUCCESS;
}

/* Memory is counted; how busy the cores are is not known, and -1 says so in the vendor's API. */
aclError aclrtGetDeviceUtilizationRate(int32_t device, aclrtUtilizationInfo *info)
{
    int chip;
    aclError code = device_need("aclrtGetDeviceUtilizationRate", device, &chip);
    const machine_chip *c;

    code = chip_need(code, "aclrtGetDeviceUtilizationRate", info);
    if (code != ACL_SUCCESS)
        return code;
    c = &machine_of_process()->chips[chip];
    info->cubeUtilization = info->vectorUtilization = info->aicpuUtilization = -1;
    info->memoryUtilization = (int32_t)(machine_used(chip, false) * 100 / c->memory_bytes);
    info->utilizationExtend = NULL;
    return ACL_SUCCESS;
}

aclError aclrtGetMemUsageInfo(int32_t device, aclrtMemUsageInfo *info, size_t room, size_t *count)
{
    int chip;
    aclError code = device_need("aclrtGetMemUsageInfo", device, &chip);

    if (code != ACL_SUCCESS || !info || !count || room == 0)
        return code ? code : chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtGetMemUsageInfo: NULL");
    memset(info, 0, sizeof *info);
    snprintf(info->name, sizeof info->name, "APP");
    info->curMemSize = machine_used(chip, true);
    info->memPeakSize = machine_peak(chip);
    *count = 1;
    return ACL_SUCCESS;
}

aclError aclrtQueryDeviceStatus(int32_t device, aclrtDeviceStatus *status)
{
    int chip;
    aclError code = device_need("aclrtQueryDeviceStatus", device, &chip);

    code = chip_need(code, "aclrtQueryDeviceStatus", status);
    if (code != ACL_SUCCESS)
        return code;
    *status = machine_health(chip) == ACL_SUCCESS ? ACL_RT_DEVICE_STATUS_NORMAL
                                                  : ACL_RT_DEVICE_STATUS_ABNORMAL;
    return ACL_SUCCESS;
}
