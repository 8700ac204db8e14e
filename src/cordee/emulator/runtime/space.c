/* The two windows of address space: device addresses, and the shadow where their bytes are.
 *
 * Both lie in one reservation, so the distance between them is its half. The device half stays
 * PROT_NONE for ever: a host program that follows a device pointer is killed by SIGSEGV, as it
 * would be on hardware. Parts of the shadow half become readable when memory is mapped there.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "chip.h"

enum { TIB_SHIFT = 40 };

static pthread_once_t once = PTHREAD_ONCE_INIT;
static uintptr_t start;
static size_t bytes; /* of one window */

static pthread_mutex_t files_lock = PTHREAD_MUTEX_INITIALIZER;
static int files[MACHINE_CHIPS]; /* descriptor + 1; 0: not made yet */

/* Smaller windows for hosts that limit address space (ulimit -v, 39-bit kernels). */
static void reserve(void)
{
    for (size_t wanted = (size_t)16 << TIB_SHIFT; wanted >= (size_t)1 << 36; wanted /= 2) {
        void *base = mmap(NULL, 2 * wanted, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (base != MAP_FAILED) {
            madvise(base, 2 * wanted, MADV_DONTDUMP);
            start = (uintptr_t)base;
            bytes = wanted;
            return;
        }
    }
    fprintf(stderr, "cordee: cannot reserve address space for device memory: %s\n",
            strerror(errno));
}

bool space_ready(void)
{
    pthread_once(&once, reserve);
    return bytes != 0;
}

uintptr_t space_start(void)
{
    return space_ready() ? start : 0;
}

size_t space_bytes(void)
{
    return space_ready() ? bytes : 0;
}

bool space_holds(const void *p)
{
    return (uintptr_t)p - start < bytes;
}

void *space_shadow(uintptr_t address)
{
    return (void *)(address + bytes);
}

CORDEE_API ptrdiff_t cordee_shadow_offset(void)
{
    return (ptrdiff_t)space_bytes();
}

CORDEE_API int cordee_is_shadow(const void *p)
{
    return (uintptr_t)p - start - bytes < bytes;
}

/* Sparse: offsets below space_bytes() belong to aclrtMalloc, those above to aclrtMallocPhysical. */
static int make_file(int chip)
{
    char name[32];
    struct rlimit limit;
    int file;

    snprintf(name, sizeof name, "cordee-memory-%d", chip);
    file = memfd_create(name, MFD_CLOEXEC);
    if (file < 0)
        return -1;
    /* Growing a file past this limit would raise SIGXFSZ. */
    if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur / 2 < bytes ||
        ftruncate(file, (off_t)(2 * bytes)) != 0) {
        close(file);
        return -1;
    }
    return file;
}

int space_file(int chip)
{
    int file;

    if (!space_ready())
        return -1;
    pthread_mutex_lock(&files_lock);
    if (files[chip] == 0)
        files[chip] = make_file(chip) + 1;
    file = files[chip] - 1;
    pthread_mutex_unlock(&files_lock);
    return file;
}
