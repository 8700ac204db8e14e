/* Device memory: aclrtMalloc, aclrtFree and what they say about themselves.
 *
 * Every allocation is a range of device addresses and the same range of the chip's memfd, mapped
 * at the shadow address. Memory is counted at once and filled by the host on first touch.
 *
 * Follows: CANN "Runtime API", chapter Memory Management.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "board.h"
#include "memory.h"

/* The driver gives blocks over 1 MiB in huge pages, so a chip fills up in steps of 2 MiB. */
enum { PAGE = 4096, HUGE_PAGE = 2 << 20, HUGE_FROM = 1 << 20 };

static const char plain; /* owner of ranges that aclrtMalloc made */

size_t memory_page(size_t size)
{
    return size > HUGE_FROM ? HUGE_PAGE : PAGE;
}

bool memory_host_can(const char *function, size_t size, aclError *code)
{
    uint64_t left = host_available_bytes();

    if (size <= left || getenv("CORDEE_OVERCOMMIT"))
        return true;
    *code = chip_fail(ACL_ERROR_RT_MEMORY_ALLOCATION,
                      "%s: %zu bytes wanted, but this host has only %lu left to emulate the chip "
                      "with; set CORDEE_OVERCOMMIT=1 if they will not all be touched",
                      function, size, (unsigned long)left);
    return false;
}

static aclError allocate(void **p, size_t size, context *c)
{
    size_t page = memory_page(size), bytes = (size + page - 1) / page * page;
    aclError code = ACL_SUCCESS;
    uintptr_t start;
    int file;

    if (bytes < size)
        return chip_fail(ACL_ERROR_RT_MEMORY_ALLOCATION, "aclrtMalloc: %zu bytes", size);
    code = machine_claim(c->chip, bytes);
    if (code != ACL_SUCCESS)
        return code;
    if (!memory_host_can("aclrtMalloc", bytes, &code)) {
        machine_release(c->chip, bytes);
        return code;
    }
    file = space_file(c->chip);
    start = file < 0 ? 0 : address_take(bytes, page, 0, c->chip);
    if (start && address_map(start, bytes, c->chip, file, start - space_start(), (void *)&plain)) {
        *p = (void *)start;
        return ACL_SUCCESS;
    }
    if (start)
        address_give_back(start);
    machine_release(c->chip, bytes);
    return chip_fail(ACL_ERROR_RT_MEMORY_ALLOCATION,
                     "aclrtMalloc: the host refuses to map %zu bytes", bytes);
}

static aclError malloc_named(const char *function, void **p, size_t size)
{
    context *c;
    aclError code = context_need(function, &c);

    if (!p || size == 0)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "%s: size is 0 or the pointer is NULL",
                         function);
    return code == ACL_SUCCESS ? allocate(p, size, c) : code;
}

aclError aclrtMalloc(void **p, size_t size, aclrtMemMallocPolicy policy)
{
    (void)policy; /* huge pages change speed, not meaning */
    return malloc_named("aclrtMalloc", p, size);
}

aclError aclrtMallocAlign32(void **p, size_t size, aclrtMemMallocPolicy policy)
{
    (void)policy;
    return malloc_named("aclrtMallocAlign32", p, size);
}

aclError aclrtMallocCached(void **p, size_t size, aclrtMemMallocPolicy policy)
{
    (void)policy;
    return malloc_named("aclrtMallocCached", p, size);
}

aclError aclrtMallocWithCfg(void **p, size_t size, aclrtMemMallocPolicy policy,
                            aclrtMallocConfig *configuration)
{
    (void)policy;
    (void)configuration; /* module ids only label statistics */
    return malloc_named("aclrtMallocWithCfg", p, size);
}

aclError aclrtFree(void *p)
{
    size_t bytes;
    int chip;

    if (machine_forked())
        return chip_fail(ACL_ERROR_RT_DEV_SETUP_ERROR, "aclrtFree: the memory belongs to the "
                         "process this one was forked from");
    if (!p || !memory_is_plain(p))
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtFree: %p is not what aclrtMalloc gave",
                         p);
    fault_before_free(p);
    address_unmap((uintptr_t)p, &bytes, &chip);
    board_forget(space_file(chip), (uintptr_t)p - space_start(), bytes);
    fallocate(space_file(chip), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
              (off_t)((uintptr_t)p - space_start()), (off_t)bytes);
    address_give_back((uintptr_t)p);
    machine_release(chip, bytes);
    return ACL_SUCCESS;
}

bool memory_is_plain(const void *p)
{
    return address_owner((uintptr_t)p) == &plain;
}

aclError aclrtFreeWithDevSync(void *p)
{
    aclError code = aclrtSynchronizeDevice();

    return code == ACL_SUCCESS ? aclrtFree(p) : code;
}

aclError aclrtGetMemInfo(aclrtMemAttr kind, size_t *available, size_t *total)
{
    context *c;
    aclError code = context_need("aclrtGetMemInfo", &c);
    uint64_t capacity, used;

    (void)kind; /* every chip of the catalogue has one kind of memory */
    if (!available || !total)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtGetMemInfo: NULL");
    if (code != ACL_SUCCESS)
        return code;
    capacity = machine_of_process()->chips[c->chip].memory_bytes;
    used = machine_used(c->chip, false);
    *total = capacity;
    *available = used < capacity ? capacity - used : 0;
    return ACL_SUCCESS;
}

aclError aclrtMemGetAddressRange(void *p, void **base, size_t *size)
{
    uintptr_t start;
    size_t bytes;

    if (!address_range(p, &start, &bytes))
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtMemGetAddressRange: %p is no device "
                         "memory", p);
    if (base)
        *base = (void *)start;
    if (size)
        *size = bytes;
    return ACL_SUCCESS;
}

aclError aclrtMemFlush(void *p, size_t size)
{
    bool covered;

    address_hold();
    covered = address_covers(p, size);
    address_let_go();
    /* There is no cache between a program and the emulated memory, so nothing is left to do. */
    return covered ? ACL_SUCCESS
                   : chip_fail(ACL_ERROR_RT_PARAM_INVALID, "%p is no device memory", p);
}

aclError aclrtMemInvalidate(void *p, size_t size)
{
    return aclrtMemFlush(p, size);
}
