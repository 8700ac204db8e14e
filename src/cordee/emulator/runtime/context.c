/* Contexts: what a thread works in. Each device has one primary context; more can be made.
 *
 * Follows: CANN "Runtime API", chapter Context Management.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "chip.h"
#include "device.h"

enum { LIVE = 0xc0de0001, DEAD = 0xdeadc0de };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static context *primary[MACHINE_CHIPS]; /* by device number */
static __thread context *current;
static _Atomic int saturation_asked;
static _Atomic int32_t default_device = -1;

void context_set_default(int32_t device)
{
    atomic_store(&default_device, device);
}

int32_t context_default(void)
{
    return atomic_load(&default_device);
}

/* Contexts are small and never given back, so that a stale handle is recognised as such. */
static context *create(int32_t device, int chip, bool is_primary)
{
    context *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    c->magic = LIVE;
    c->device = device;
    c->chip = chip;
    c->primary = is_primary;
    c->saturation = ACL_RT_OVERFLOW_MODE_INFNAN;
    machine_used_device();
    return c;
}

context *context_current(void)
{
    return current && current->magic == LIVE ? current : NULL;
}

aclError context_need(const char *function, context **found)
{
    *found = context_current();
    if (!*found && context_default() >= 0 && aclrtSetDevice(context_default()) == ACL_SUCCESS)
        *found = context_current();
    if (!*found)
        return chip_fail(ACL_ERROR_RT_CONTEXT_NULL, "%s: this thread has no context; "
                         "call aclrtSetDevice first", function);
    if (machine_forked())
        return chip_fail(ACL_ERROR_RT_DEV_SETUP_ERROR, "%s: this process was forked from one "
                         "that already used a device", function);
    return machine_health((*found)->chip);
}

bool context_has_primary(int32_t device)
{
    bool found;

    pthread_mutex_lock(&lock);
    found = primary[device] && primary[device]->magic == LIVE;
    pthread_mutex_unlock(&lock);
    return found;
}

aclError context_use_primary(int32_t device, int chip)
{
    pthread_mutex_lock(&lock);
    if (!primary[device])
        primary[device] = create(device, chip, true);
    else
        primary[device]->magic = LIVE;
    current = primary[device];
    pthread_mutex_unlock(&lock);
    return current ? ACL_SUCCESS
                   : chip_fail(ACL_ERROR_RT_MEMORY_ALLOCATION, "aclrtSetDevice: no host memory");
}

void context_end_primary(int32_t device)
{
    context *c;

    pthread_mutex_lock(&lock);
    c = primary[device];
    pthread_mutex_unlock(&lock);
    if (!c || c->magic != LIVE)
        return;
    streams_destroy_of(c);
    c->magic = DEAD;
}

aclError aclrtCreateContext(aclrtContext *made, int32_t device)
{
    int chip;
    aclError code = device_need("aclrtCreateContext", device, &chip);

    if (code != ACL_SUCCESS)
        return code;
    if (!made)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtCreateContext: context is NULL");
    code = context_has_primary(device) ? ACL_SUCCESS : device_connect("aclrtCreateContext", chip);
    if (code != ACL_SUCCESS)
        return code;
    current = create(device, chip, false);
    if (!current)
        return chip_fail(ACL_ERROR_RT_MEMORY_ALLOCATION, "aclrtCreateContext: no host memory");
    *made = current;
    return ACL_SUCCESS;
}

aclError aclrtDestroyContext(aclrtContext handle)
{
    context *c = handle;

    if (!c || c->magic != LIVE || c->primary)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID,
                         "aclrtDestroyContext: not a context made by aclrtCreateContext");
    streams_destroy_of(c);
    c->magic = DEAD;
    return ACL_SUCCESS;
}

aclError aclrtSetCurrentContext(aclrtContext handle)
{
    context *c = handle;

    if (!c || c->magic != LIVE)
        return chip_fail(ACL_ERROR_RT_CONTEXT_NULL, "aclrtSetCurrentContext: not a live context");
    current = c;
    return ACL_SUCCESS;
}

aclError aclrtGetCurrentContext(aclrtContext *handle)
{
    if (!handle)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtGetCurrentContext: NULL");
    if (!context_current())
        return chip_fail(ACL_ERROR_RT_CONTEXT_NULL, "aclrtGetCurrentContext: none is set");
    *handle = current;
    return ACL_SUCCESS;
}

aclError aclrtGetPrimaryCtxState(int32_t device, uint32_t *flags, int32_t *active)
{
    int chip;
    aclError code = device_need("aclrtGetPrimaryCtxState", device, &chip);

    if (code != ACL_SUCCESS)
        return code;
    if (active)
        *active = context_has_primary(device);
    if (flags)
        *flags = 0;
    return ACL_SUCCESS;
}

aclError aclrtSetDeviceSatMode(aclrtFloatOverflowMode mode)
{
    context *c;
    aclError code = context_need("aclrtSetDeviceSatMode", &c);

    if (code != ACL_SUCCESS)
        return code;
    /* All overflow here gives inf. Refusing would keep chips that only saturate from starting. */
    if (mode == ACL_RT_OVERFLOW_MODE_SATURATION && atomic_fetch_add(&saturation_asked, 1) == 0)
        fprintf(stderr, "cordee: overflow saturates on this chip, but gives inf when emulated\n");
    c->saturation = mode;
    return ACL_SUCCESS;
}

aclError aclrtGetDeviceSatMode(aclrtFloatOverflowMode *mode)
{
    context *c;
    aclError code = context_need("aclrtGetDeviceSatMode", &c);

    if (code == ACL_SUCCESS && mode)
        *mode = c->saturation;
    return code;
}
