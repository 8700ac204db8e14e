/* Memory and addresses apart from each other: reserve addresses, make memory, join the two.
 *
 * PyTorch's expandable segments live on this: one large range of addresses that grows as memory is
 * mapped into it. Memory made here lies in the upper half of the chip's memfd.
 *
 * Follows: CANN "Runtime API", chapter Virtual Memory Management.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "board.h"
#include "device.h"
#include "physical.h"

enum { GRANULE = 2 << 20 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static ranges offsets[MACHINE_CHIPS]; /* taken parts of each memfd's upper half */
static physical *all;

static bool is_granular(size_t size)
{
    return size != 0 && size % GRANULE == 0;
}

aclError aclrtMemGetAllocationGranularity(aclrtPhysicalMemProp *properties,
                                          aclrtMemGranularityOptions option, size_t *granularity)
{
    (void)option; /* the smallest granule is the recommended one */
    if (!properties || !granularity)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtMemGetAllocationGranularity: NULL");
    *granularity = GRANULE;
    return ACL_SUCCESS;
}

aclError aclrtReserveMemAddress(void **address, size_t size, size_t alignment, void *expected,
                                uint64_t flags)
{
    context *c;
    aclError code = context_need("aclrtReserveMemAddress", &c);
    uintptr_t start;

    (void)flags; /* 1 asks for huge pages, which all of these are */
    if (code != ACL_SUCCESS)
        return code;
    if (!address || size == 0 || size > space_bytes() || alignment != 0)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtReserveMemAddress: size %zu, alignment "
                         "%zu, which must be 0, or no place for the result", size, alignment);
    size = (size + GRANULE - 1) / GRANULE * GRANULE;
    start = address_take(size, GRANULE, (uintptr_t)expected, c->chip);
    if (!start)
        return chip_fail(ACL_ERROR_RT_MEMORY_ALLOCATION,
                         "aclrtReserveMemAddress: no %zu bytes of addresses are left", size);
    *address = (void *)start;
    return ACL_SUCCESS;
}

aclError aclrtReleaseMemAddress(void *address)
{
    if (address_owner((uintptr_t)address) || !address_give_back((uintptr_t)address))
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtReleaseMemAddress: %p was not reserved, "
                         "or has memory mapped", address);
    return ACL_SUCCESS;
}

/* Find `bytes` of the memfd that nothing uses, and note them. Caller holds the lock. */
static uint64_t take_offset(int chip, size_t bytes)
{
    uint64_t from = space_bytes(), offset = ranges_gap(&offsets[chip], from, 2 * from, bytes, GRANULE);

    if (offset && !ranges_insert(&offsets[chip], (range){offset, bytes, chip, NULL}))
        offset = 0;
    return offset;
}

physical *physical_add(int chip, int file, uint64_t offset, size_t bytes, bool imported)
{
    physical *made = calloc(1, sizeof *made);

    if (!made)
        return NULL;
    *made = (physical){.chip = chip, .file = file, .offset = offset, .bytes = bytes,
                       .imported = imported, .users = 1};
    pthread_mutex_lock(&lock);
    made->next = all;
    all = made;
    pthread_mutex_unlock(&lock);
    return made;
}

physical *physical_of(aclrtDrvMemHandle handle)
{
    physical *found;

    pthread_mutex_lock(&lock);
    for (found = all; found && found != handle; found = found->next)
        ;
    pthread_mutex_unlock(&lock);
    return found;
}

static void give_memory_back(physical *p)
{
    if (p->imported) {
        close(p->file);
        return;
    }
    board_forget(p->file, p->offset, p->bytes);
    fallocate(p->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)p->offset,
              (off_t)p->bytes);
    ranges_remove(&offsets[p->chip], ranges_at(&offsets[p->chip], p->offset));
    machine_release(p->chip, p->bytes);
}

/* The memory goes when neither its handle nor a mapping needs it any more. */
void physical_let_go(physical *p)
{
    pthread_mutex_lock(&lock);
    if (--p->users == 0) {
        for (physical **link = &all; *link; link = &(*link)->next)
            if (*link == p) {
                *link = p->next;
                break;
            }
        give_memory_back(p);
        free(p);
    }
    pthread_mutex_unlock(&lock);
}

static aclError make(aclrtDrvMemHandle *handle, size_t size, int chip)
{
    int file = space_file(chip);
    aclError code = machine_claim(chip, size);
    uint64_t offset = 0;

    if (code != ACL_SUCCESS)
        return code;
    if (!memory_host_can("aclrtMallocPhysical", size, &code)) {
        machine_release(chip, size);
        return code;
    }
    pthread_mutex_lock(&lock);
    if (file >= 0)
        offset = take_offset(chip, size);
    pthread_mutex_unlock(&lock);
    *handle = offset ? physical_add(chip, file, offset, size, false) : NULL;
    if (*handle)
        return ACL_SUCCESS;
    machine_release(chip, size);
    return chip_fail(ACL_ERROR_RT_MEMORY_ALLOCATION, "aclrtMallocPhysical: the host refuses");
}

aclError aclrtMallocPhysical(aclrtDrvMemHandle *handle, size_t size,
                             const aclrtPhysicalMemProp *properties, uint64_t flags)
{
    int chip;
    aclError code;

    if (!handle || !properties || !is_granular(size) || flags != 0)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtMallocPhysical: %zu bytes are not a "
                         "multiple of 2 MiB, or an argument is NULL", size);
    if (properties->location.type != ACL_MEM_LOCATION_TYPE_DEVICE)
        return chip_not_emulated("aclrtMallocPhysical of host memory");
    code = device_need("aclrtMallocPhysical", (int32_t)properties->location.id, &chip);
    if (code == ACL_SUCCESS)
        code = machine_health(chip);
    return code == ACL_SUCCESS ? make(handle, size, chip) : code;
}

aclError aclrtFreePhysical(aclrtDrvMemHandle handle)
{
    physical *p = physical_of(handle);

    if (machine_forked() || !p || p->released)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtFreePhysical: not a live handle");
    p->released = true;
    physical_let_go(p);
    return ACL_SUCCESS;
}

aclError aclrtMapMem(void *address, size_t size, size_t offset, aclrtDrvMemHandle handle,
                     uint64_t flags)
{
    physical *p = physical_of(handle);

    (void)flags; /* reserved, 0 */
    if (!p || offset != 0 || size != p->bytes)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtMapMem: not a live handle of %zu bytes",
                         size);
    if (!address_taken((uintptr_t)address, size) || address_chip(address) >= 0)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtMapMem: %p is not reserved, or is "
                         "mapped already", address);
    pthread_mutex_lock(&lock);
    p->users++;
    pthread_mutex_unlock(&lock);
    if (!address_map((uintptr_t)address, size, p->chip, p->file, p->offset, p)) {
        physical_let_go(p);
        return chip_fail(ACL_ERROR_RT_MEMORY_ALLOCATION, "aclrtMapMem: the host refuses");
    }
    return ACL_SUCCESS;
}

aclError aclrtUnmapMem(void *address)
{
    size_t bytes;
    int chip;
    physical *p;

    if (machine_forked() || memory_is_plain(address))
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtUnmapMem: %p", address);
    fault_before_free(address);
    p = address_unmap((uintptr_t)address, &bytes, &chip);
    if (!p)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtUnmapMem: %p is not mapped", address);
    physical_let_go(p);
    return ACL_SUCCESS;
}
