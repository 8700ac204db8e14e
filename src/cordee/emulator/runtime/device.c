/* Devices: how many, which one the thread uses, and how their numbers map to chips.
 *
 * Follows: CANN "Runtime API", chapter Device Management, and "Environment variables",
 * ASCEND_RT_VISIBLE_DEVICES. A process that CORDEE_NODE puts on one node of the machine has only the
 * chips of that node, counted from 0 as on a host of its own: those are the logical and the physical
 * numbers here, and what ASCEND_RT_VISIBLE_DEVICES chooses from.
 */
#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chip.h"
#include "device.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int on_host[MACHINE_CHIPS]; /* chips of this process's node, by their number there */
static int on_host_count;
static int visible[MACHINE_CHIPS]; /* of those, the ones that the process may use */
static int visible_count;
static char nothing[128] = "no chip is visible"; /* why, where none is */

static pthread_mutex_t references_lock = PTHREAD_MUTEX_INITIALIZER;
static int references[MACHINE_CHIPS]; /* aclrtSetDevice minus aclrtResetDevice, by device */

static bool is_visible(int chip)
{
    for (int i = 0; i < visible_count; i++)
        if (visible[i] == chip)
            return true;
    return false;
}

static void read_node(const machine *m)
{
    const char *text = getenv("CORDEE_NODE");
    char *end = NULL;
    unsigned long node = text ? strtoul(text, &end, 10) : 0;

    if (text && (!isdigit((unsigned char)*text) || *end || node >= m->node_count)) {
        snprintf(nothing, sizeof nothing, "CORDEE_NODE=%.20s: the machine has nodes 0 to %u", text,
                 m->node_count - 1);
        fprintf(stderr, "cordee: %s\n", nothing);
        return;
    }
    for (uint32_t i = 0; i < m->chip_count; i++)
        if (!text || m->chips[i].node == node)
            on_host[on_host_count++] = (int)i;
}

/* Only ids before the first invalid one or the first other character count, as documented. */
static void read_visible(void)
{
    const machine *m = machine_of_process();
    const char *text = getenv("ASCEND_RT_VISIBLE_DEVICES");

    if (!m)
        return;
    read_node(m);
    if (!text) {
        for (int i = 0; i < on_host_count; i++)
            visible[visible_count++] = on_host[i];
        return;
    }
    while (isdigit((unsigned char)*text)) {
        char *end;
        unsigned long number = strtoul(text, &end, 10);
        if (number >= (unsigned long)on_host_count || is_visible(on_host[number]))
            return;
        visible[visible_count++] = on_host[number];
        if (*end != ',')
            return;
        text = end + 1;
    }
}

int machine_visible_count(void)
{
    pthread_once(&once, read_visible);
    return machine_of_process() ? visible_count : -1;
}

int machine_chip_of(int32_t device)
{
    return device >= 0 && device < machine_visible_count() ? visible[device] : -1;
}

int32_t device_of_chip(int chip)
{
    for (int i = 0; i < machine_visible_count(); i++)
        if (visible[i] == chip)
            return i;
    return -1;
}

aclError device_need(const char *function, int32_t device, int *chip)
{
    aclError state = machine_state();

    if (state != ACL_SUCCESS)
        return state;
    *chip = machine_chip_of(device);
    if (*chip < 0)
        return chip_fail(ACL_ERROR_RT_INVALID_DEVICEID, "%s: device %d: this process has %d",
                         function, device, machine_visible_count());
    if (machine_forked())
        return chip_fail(ACL_ERROR_RT_DEV_SETUP_ERROR,
                         "%s: this process was forked from one that already used a device; "
                         "start it with the spawn method instead", function);
    return ACL_SUCCESS;
}

aclError aclrtGetDeviceCount(uint32_t *count)
{
    aclError state = machine_state();

    if (!count)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtGetDeviceCount: count is NULL");
    if (state != ACL_SUCCESS)
        return state;
    if (machine_visible_count() == 0)
        return chip_fail(ACL_ERROR_RT_NO_DEVICE, "aclrtGetDeviceCount: %s", nothing);
    *count = (uint32_t)machine_visible_count();
    return ACL_SUCCESS;
}

/* Who has no part of a lost chip yet gets none: github.com/hw-native-sys/PTOAS pull request 523 shows
 * E39009, "Heartbeats are missing on the device", as 507033 of aclrtSetDevice. Who has one keeps it. */
aclError device_connect(const char *function, int chip)
{
    aclError health = machine_health(chip);

    if (health == ACL_SUCCESS || machine_memory_error(health))
        return ACL_SUCCESS;
    return chip_fail(ACL_ERROR_RT_DEV_SETUP_ERROR,
                     "E39009: Failed to connect the device: %s: heartbeats of chip %d are missing",
                     function, chip);
}

aclError aclrtSetDevice(int32_t device)
{
    int chip;
    aclError code = device_need("aclrtSetDevice", device, &chip);

    if (code == ACL_SUCCESS && !context_has_primary(device))
        code = device_connect("aclrtSetDevice", chip);
    if (code != ACL_SUCCESS)
        return code;
    code = context_use_primary(device, chip);
    if (code != ACL_SUCCESS)
        return code;
    pthread_mutex_lock(&references_lock);
    references[device]++;
    pthread_mutex_unlock(&references_lock);
    return ACL_SUCCESS;
}

aclError aclrtGetDevice(int32_t *device)
{
    context *c = context_current();

    if (!device)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtGetDevice: device is NULL");
    if (!c && context_default() < 0)
        return chip_fail(ACL_ERROR_RT_CONTEXT_NULL, "aclrtGetDevice: this thread has no device");
    *device = c ? c->device : context_default();
    return ACL_SUCCESS;
}

aclError aclrtResetDeviceForce(int32_t device)
{
    int chip;
    aclError code = device_need("aclrtResetDevice", device, &chip);

    if (code != ACL_SUCCESS)
        return code;
    pthread_mutex_lock(&references_lock);
    references[device] = 0;
    pthread_mutex_unlock(&references_lock);
    context_end_primary(device);
    return ACL_SUCCESS;
}

aclError aclrtResetDevice(int32_t device)
{
    int chip, left = 0;
    aclError code = device_need("aclrtResetDevice", device, &chip);

    if (code != ACL_SUCCESS)
        return code;
    pthread_mutex_lock(&references_lock);
    if (references[device] > 0)
        left = --references[device];
    pthread_mutex_unlock(&references_lock);
    if (left == 0)
        context_end_primary(device);
    return ACL_SUCCESS;
}

aclError aclrtGetRunMode(aclrtRunMode *mode)
{
    if (!mode)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtGetRunMode: mode is NULL");
    *mode = ACL_HOST;
    return ACL_SUCCESS;
}

static int32_t number_on_host(int chip)
{
    int32_t number = 0;

    while (on_host[number] != chip)
        number++;
    return number;
}

aclError aclrtGetLogicDevIdByUserDevId(const int32_t user, int32_t *const logic)
{
    int chip;
    aclError code = device_need("aclrtGetLogicDevIdByUserDevId", user, &chip);

    if (code == ACL_SUCCESS && !logic)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtGetLogicDevIdByUserDevId: NULL");
    if (code == ACL_SUCCESS)
        *logic = number_on_host(chip);
    return code;
}

aclError aclrtGetUserDevIdByLogicDevId(const int32_t logic, int32_t *const user)
{
    bool known = machine_visible_count() > 0 && logic >= 0 && logic < on_host_count;
    int32_t device = known ? device_of_chip(on_host[logic]) : -1;

    if (!user || device < 0)
        return chip_fail(ACL_ERROR_RT_INVALID_DEVICEID,
                         "aclrtGetUserDevIdByLogicDevId: chip %d is not visible", logic);
    *user = device;
    return ACL_SUCCESS;
}

aclError aclrtGetPhyDevIdByLogicDevId(const int32_t logic, int32_t *const physical)
{
    if (!physical || machine_visible_count() < 0 || logic < 0 || logic >= on_host_count)
        return chip_fail(ACL_ERROR_RT_INVALID_DEVICEID, "no chip %d", logic);
    *physical = logic;
    return ACL_SUCCESS;
}

aclError aclrtGetLogicDevIdByPhyDevId(const int32_t physical, int32_t *const logic)
{
    return aclrtGetPhyDevIdByLogicDevId(physical, logic);
}

aclError aclrtDeviceCanAccessPeer(int32_t *can, int32_t device, int32_t peer)
{
    int chip, other;
    aclError code = device_need("aclrtDeviceCanAccessPeer", device, &chip);

    if (code == ACL_SUCCESS)
        code = device_need("aclrtDeviceCanAccessPeer", peer, &other);
    if (code != ACL_SUCCESS)
        return code;
    if (!can)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtDeviceCanAccessPeer: NULL");
    *can = chip != other; /* a device is no peer of itself */
    return ACL_SUCCESS;
}

aclError aclrtDeviceEnablePeerAccess(int32_t peer, uint32_t flags)
{
    int chip;

    if (flags != 0)
        return chip_fail(ACL_ERROR_RT_FEATURE_NOT_SUPPORT,
                         "aclrtDeviceEnablePeerAccess: flags must be 0");
    return device_need("aclrtDeviceEnablePeerAccess", peer, &chip);
}

aclError aclrtDeviceDisablePeerAccess(int32_t peer)
{
    int chip;

    return device_need("aclrtDeviceDisablePeerAccess", peer, &chip);
}
