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

/* Who strikes a chip knows no addresses: the process whose memory it is settles which they are. */
static void choose(int chip)
{
    machine_chip *state = state_of(chip);
    uint64_t asked = atomic_load(&state->fault_address);
    uint64_t number = asked == MACHINE_LARGEST ? asked : asked & ~MACHINE_ANY;
    uintptr_t start;
    size_t bytes;

    if (!(asked & MACHINE_ANY) || !address_choose(chip, number, &start, &bytes))
        return;
    atomic_store(&state->fault_bytes, bytes);
    atomic_store(&state->fault_address, start - space_start());
}

/* The bad bytes as an address of this process; bad bytes it does not hold do not concern it. */
static size_t bad_memory(int chip, aclrtMemUceInfo *info)
{
    uint64_t offset;
    void *address;

    if (atomic_load(&state_of(chip)->fault_bytes) == 0)
        return 0;
    choose(chip);
    offset = atomic_load(&state_of(chip)->fault_address);
    address = (void *)(space_start() + offset);
    if (offset & MACHINE_ANY || address_chip(address) != chip)
        return 0;
    memset(info, 0, sizeof *info);
    info->addr = address;
    info->len = atomic_load(&state_of(chip)->fault_bytes);
    return 1;
}

static void mend(int chip)
{
    uint32_t code = atomic_load(&state_of(chip)->health);

    machine_calm(chip, false);
    atomic_store(&state_of(chip)->fault_bytes, 0);
    if (machine_memory_error((aclError)code))
        atomic_compare_exchange_strong(&state_of(chip)->health, &code, 0);
}

/* The driver puts bad pages that come back to it out of use: nobody meets them again. */
void fault_before_free(const void *p)
{
    int chip = address_chip(p);
    aclrtMemUceInfo bad;

    if (chip >= 0 && bad_memory(chip, &bad) && bad.addr == p)
        mend(chip);
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
    if (code != ACL_SUCCESS)
        return code;
    machine_calm(chip, true);
    code = machine_health(chip);
    if (code != ACL_SUCCESS)
        return code; /* nobody is there to stop anything */
    streams_abort(chip);
    return ACL_SUCCESS;
}

aclError aclrtMemUceRepair(int32_t device, aclrtMemUceInfo *list, size_t count)
{
    int chip;
    aclError code = device_need("aclrtMemUceRepair", device, &chip);

    if (code != ACL_SUCCESS || !list || count == 0)
        return code ? code : chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtMemUceRepair: NULL");
    mend(chip);
    return ACL_SUCCESS;
}

aclError aclrtGetErrorVerbose(int32_t device, aclrtErrorInfo *info)
{
    int chip;
    aclError code = device_need("aclrtGetErrorVerbose", device, &chip);
    aclrtMemUceInfoArray *bad;

    code = chip_need(code, "aclrtGetErrorVerbose", info);
    if (code != ACL_SUCCESS)
        return code;
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
