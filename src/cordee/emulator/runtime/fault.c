/* What a program can ask and do when a chip is out of order.
 *
 * The machine's state says which code a chip answers with and which bytes of its memory are bad.
 *
 * Follows: CANN "Runtime API", chapter Exception Handling and Recovery.
 */
#include <string.h>

#include "chip.h"
#include "device.h"

static machine_chip *state_of(int chip)
{
    return &machine_of_process()->chips[chip];
}

/* The bad bytes as an address of this process; bad bytes it does not hold do not concern it. */
static size_t bad_memory(int chip, aclrtMemUceInfo *info)
{
    uint64_t bytes = atomic_load(&state_of(chip)->fault_bytes);
    uintptr_t address = space_start() + atomic_load(&state_of(chip)->fault_address);

    if (bytes == 0 || address_chip((void *)address) != chip)
        return 0;
    memset(info, 0, sizeof *info);
    info->addr = (void *)address;
    info->len = bytes;
    return 1;
}

aclError aclrtGetMemUceInfo(int32_t device, aclrtMemUceInfo *list, size_t room, size_t *count)
{
    int chip;
    aclError code = device_need("aclrtGetMemUceInfo", device, &chip);

    if (code != ACL_SUCCESS || !list || !count || room == 0)
        return code ? code : chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtGetMemUceInfo: NULL");
    *count = bad_memory(chip, list);
    return ACL_SUCCESS;
}

/* Stop everything queued on the device, so that a program can go on from a checkpoint. */
aclError aclrtDeviceTaskAbort(int32_t device, uint32_t timeout_ms)
{
    int chip;
    aclError code = device_need("aclrtDeviceTaskAbort", device, &chip);

    (void)timeout_ms; /* dropping a queue takes no time */
    if (code == ACL_SUCCESS)
        streams_abort(chip);
    return code;
}

aclError aclrtMemUceRepair(int32_t device, aclrtMemUceInfo *list, size_t count)
{
    int chip;
    aclError code = device_need("aclrtMemUceRepair", device, &chip);

    if (code != ACL_SUCCESS || !list || count == 0)
        return code ? code : chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtMemUceRepair: NULL");
    atomic_store(&state_of(chip)->fault_bytes, 0);
    atomic_store(&state_of(chip)->health, 0);
    return ACL_SUCCESS;
}

aclError aclrtGetErrorVerbose(int32_t device, aclrtErrorInfo *info)
{
    int chip;
    aclError code = device_need("aclrtGetErrorVerbose", device, &chip);
    aclrtMemUceInfoArray *bad;

    if (code != ACL_SUCCESS || !info)
        return code ? code : chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtGetErrorVerbose: NULL");
    memset(info, 0, sizeof *info);
    bad = &info->detail.uceInfo;
    bad->arraySize = bad_memory(chip, bad->memUceInfoArray);
    if (bad->arraySize > 0) {
        info->errorType = ACL_RT_ERROR_MEMORY;
        info->tryRepair = info->hasDetail = 1;
    } else if (atomic_load(&state_of(chip)->health) != 0) {
        info->errorType = ACL_RT_ERROR_OTHERS;
    }
    return ACL_SUCCESS;
}

aclError aclrtRepairError(int32_t device, const aclrtErrorInfo *info)
{
    if (!info || info->errorType != ACL_RT_ERROR_MEMORY)
        return chip_fail(ACL_ERROR_RT_FEATURE_NOT_SUPPORT,
                         "aclrtRepairError: only memory errors can be repaired");
    return aclrtMemUceRepair(device, (aclrtMemUceInfo *)info->detail.uceInfo.memUceInfoArray,
                             info->detail.uceInfo.arraySize);
}
