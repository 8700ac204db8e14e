/* Pinned host memory: blocks the chip may copy from and to without the host's help.
 *
 * The emulator needs no pinning; it keeps count so that is_pinned and misuse are told right.
 *
 * Follows: CANN "Runtime API", chapter Memory Management.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "chip.h"
#include "device.h"
#include "memory.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static ranges allocated;  /* by aclrtMallocHost */
static ranges registered; /* the program's own memory */

static void before_fork(void)
{
    pthread_mutex_lock(&lock);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&lock);
}

__attribute__((constructor)) static void guard_forks(void)
{
    pthread_atfork(before_fork, after_fork, after_fork);
}

bool host_memory_is_pinned(const void *p)
{
    bool found;

    pthread_mutex_lock(&lock);
    found = ranges_find(&allocated, (uintptr_t)p) || ranges_find(&registered, (uintptr_t)p);
    pthread_mutex_unlock(&lock);
    return found;
}

static size_t whole_pages(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    return (size + page - 1) / page * page;
}

static aclError allocate(const char *function, void **p, size_t size)
{
    size_t bytes = whole_pages(size);
    void *block;
    bool kept;

    if (!p || size == 0 || bytes < size)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "%s: size is 0 or the pointer is NULL",
                         function);
    block = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED)
        return chip_fail(ACL_ERROR_RT_MEMORY_ALLOCATION, "%s: %zu bytes: %s", function, bytes,
                         strerror(errno));
    pthread_mutex_lock(&lock);
    kept = ranges_insert(&allocated, (range){(uintptr_t)block, bytes, -1, NULL});
    pthread_mutex_unlock(&lock);
    if (!kept) {
        munmap(block, bytes);
        return chip_fail(ACL_ERROR_RT_MEMORY_ALLOCATION, "%s: no host memory", function);
    }
    *p = block;
    return ACL_SUCCESS;
}

aclError aclrtMallocHost(void **p, size_t size)
{
    return allocate("aclrtMallocHost", p, size);
}

aclError aclrtMallocHostWithCfg(void **p, uint64_t size, aclrtMallocConfig *configuration)
{
    (void)configuration; /* module ids and address flags do not change what the memory is */
    return allocate("aclrtMallocHostWithCfg", p, size);
}

aclError aclrtFreeHost(void *p)
{
    range *found;
    size_t bytes = 0;

    pthread_mutex_lock(&lock);
    found = ranges_at(&allocated, (uintptr_t)p);
    if (found) {
        bytes = found->bytes;
        ranges_remove(&allocated, found);
    }
    pthread_mutex_unlock(&lock);
    if (!bytes)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID,
                         "aclrtFreeHost: %p is not what aclrtMallocHost gave", p);
    munmap(p, bytes);
    return ACL_SUCCESS;
}

aclError aclrtFreeHostWithDevSync(void *p)
{
    aclError code = aclrtSynchronizeDevice();

    return code == ACL_SUCCESS ? aclrtFreeHost(p) : code;
}

static aclError keep(const char *function, void *p, uint64_t size)
{
    bool overlaps, kept = false;

    if (!p || size == 0)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "%s: size is 0 or the pointer is NULL",
                         function);
    pthread_mutex_lock(&lock);
    overlaps = ranges_gap(&registered, (uintptr_t)p, UINTPTR_MAX, size, 1) != (uintptr_t)p;
    if (!overlaps)
        kept = ranges_insert(&registered, (range){(uintptr_t)p, size, -1, NULL});
    pthread_mutex_unlock(&lock);
    if (overlaps)
        return chip_fail(ACL_ERROR_HOST_MEMORY_ALREADY_REGISTERED, "%s: %p", function, p);
    return kept ? ACL_SUCCESS
                : chip_fail(ACL_ERROR_RT_MEMORY_ALLOCATION, "%s: no host memory", function);
}

/* A device address for host memory would need both windows to hold it; kernels here never do. */
aclError aclrtHostRegister(void *p, uint64_t size, aclrtHostRegisterType type, void **device)
{
    if (device && type == ACL_HOST_REGISTER_MAPPED)
        *device = p;
    return keep("aclrtHostRegister", p, size);
}

aclError aclrtHostRegisterV2(void *p, uint64_t size, uint32_t flag)
{
    (void)flag;
    return keep("aclrtHostRegisterV2", p, size);
}

aclError aclrtHostGetDevicePointer(void *host, void **device, uint32_t flag)
{
    if (!device || flag != 0 || !host_memory_is_pinned(host))
        return chip_fail(ACL_ERROR_HOST_MEMORY_NOT_REGISTERED, "aclrtHostGetDevicePointer: %p",
                         host);
    *device = host;
    return ACL_SUCCESS;
}

aclError aclrtHostUnregister(void *p)
{
    range *found;

    pthread_mutex_lock(&lock);
    found = ranges_at(&registered, (uintptr_t)p);
    if (found)
        ranges_remove(&registered, found);
    pthread_mutex_unlock(&lock);
    return found ? ACL_SUCCESS
                 : chip_fail(ACL_ERROR_HOST_MEMORY_NOT_REGISTERED, "aclrtHostUnregister: %p", p);
}

aclError aclrtPointerGetAttributes(const void *p, aclrtPtrAttributes *attributes)
{
    int chip = address_chip(p);

    if (!attributes)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtPointerGetAttributes: NULL");
    memset(attributes, 0, sizeof *attributes);
    attributes->pageSize = (uint32_t)sysconf(_SC_PAGESIZE);
    if (chip >= 0) {
        attributes->location.type = ACL_MEM_LOCATION_TYPE_DEVICE;
        attributes->location.id = (uint32_t)device_of_chip(chip);
    } else if (host_memory_is_pinned(p)) {
        attributes->location.type = ACL_MEM_LOCATION_TYPE_HOST;
    } else {
        attributes->location.type = ACL_MEM_LOCATION_TYPE_UNREGISTERED;
    }
    return ACL_SUCCESS;
}
