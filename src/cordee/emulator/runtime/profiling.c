/* Profiling: what libraries report is dropped, and starting a profile says that none is made.
 *
 * Reporting (Msprof*) is called all the time and cannot fail. A program that starts a profile is
 * told once, on stderr, that no device data will be in it; failing would end programs that only
 * bracket a few steps with torch_npu.profiler, which still records what runs on the host.
 *
 * Follows: CANN "Profiling API".
 */
#include <acl/acl_prof.h>
#include <profiling/aprof_pub.h>
#include <stdio.h>
#include <stdlib.h>

#include "chip.h"

struct aclprofConfig {
    uint64_t what;
};

struct aclprofStepInfo {
    uint64_t start_ns, end_ns;
};

static _Atomic int told;

int32_t MsprofRegisterCallback(uint32_t module, ProfCommandHandle handle)
{
    (void)module, (void)handle; /* called when a profile starts, and none ever does */
    return MSPROF_ERROR_NONE;
}

int32_t MsprofReportApi(uint32_t ageing, const struct MsprofApi *api)
{
    (void)ageing, (void)api;
    return MSPROF_ERROR_NONE;
}

int32_t MsprofReportCompactInfo(uint32_t ageing, const VOID_PTR data, uint32_t length)
{
    (void)ageing, (void)data, (void)length;
    return MSPROF_ERROR_NONE;
}

int32_t MsprofReportAdditionalInfo(uint32_t ageing, const VOID_PTR data, uint32_t length)
{
    (void)ageing, (void)data, (void)length;
    return MSPROF_ERROR_NONE;
}

/* FNV-1a: only equality of names matters to those who ask. */
uint64_t MsprofGetHashId(const char *text, size_t length)
{
    uint64_t hash = 14695981039346656037u;

    for (size_t i = 0; text && i < length; i++)
        hash = (hash ^ (unsigned char)text[i]) * 1099511628211u;
    return hash;
}

uint64_t MsprofSysCycleTime(void)
{
    return clock_ns();
}

aclError aclprofInit(const char *path, size_t length)
{
    return path && length ? ACL_SUCCESS
                          : chip_fail(ACL_ERROR_INVALID_PARAM, "aclprofInit: no path");
}

aclError aclprofFinalize(void)
{
    return ACL_SUCCESS;
}

static aclError tell(void)
{
    if (atomic_fetch_add(&told, 1) == 0)
        fprintf(stderr, "cordee: profiling an emulated chip records nothing of the device\n");
    return ACL_SUCCESS;
}

aclError aclprofStart(const aclprofConfig *configuration)
{
    return configuration ? tell() : chip_fail(ACL_ERROR_INVALID_PARAM, "aclprofStart: NULL");
}

aclError aclprofWarmup(const aclprofConfig *configuration);

/* Declared by no header of the wheel; the adapter looks it up in libmsprofiler.so. */
CORDEE_API aclError aclprofWarmup(const aclprofConfig *configuration)
{
    return aclprofStart(configuration);
}

aclError aclprofStop(const aclprofConfig *configuration)
{
    return configuration ? ACL_SUCCESS : chip_fail(ACL_ERROR_INVALID_PARAM, "aclprofStop: NULL");
}

aclprofConfig *aclprofCreateConfig(uint32_t *devices, uint32_t count, aclprofAicoreMetrics metrics,
                                   const aclprofAicoreEvents *events, uint64_t what)
{
    aclprofConfig *made = calloc(1, sizeof *made);

    (void)devices, (void)count, (void)metrics, (void)events;
    if (made)
        made->what = what;
    return made;
}

aclError aclprofDestroyConfig(const aclprofConfig *configuration)
{
    free((void *)(uintptr_t)configuration);
    return ACL_SUCCESS;
}

aclError aclprofSetConfig(aclprofConfigType type, const char *value, size_t length)
{
    (void)type; /* how much to record, and where */
    return value && length ? ACL_SUCCESS
                           : chip_fail(ACL_ERROR_INVALID_PARAM, "aclprofSetConfig: no value");
}

aclError aclprofMarkEx(const char *text, size_t length, aclrtStream stream)
{
    (void)text, (void)length, (void)stream;
    return chip_fail(ACL_ERROR_PROF_MODULES_UNSUPPORTED, "marks in a profile are not emulated");
}

aclprofStepInfo *aclprofCreateStepInfo(void)
{
    return calloc(1, sizeof(aclprofStepInfo));
}

void aclprofDestroyStepInfo(aclprofStepInfo *info)
{
    free(info);
}

aclError aclprofGetStepTimestamp(aclprofStepInfo *info, aclprofStepTag tag, aclrtStream stream)
{
    (void)stream;
    if (!info)
        return chip_fail(ACL_ERROR_INVALID_PARAM, "aclprofGetStepTimestamp: NULL");
    *(tag == ACL_STEP_START ? &info->start_ns : &info->end_ns) = clock_ns();
    return ACL_SUCCESS;
}
